"""Clocks and power modes."""

import pytest

from exporters.devices.clocks import find_clocks, power_mode
from exporters.devices.tree import Tree


def test_clocks_of_processor_and_gpu_in_megahertz(board):
    clocks = find_clocks(Tree(board("orin-nano")), jetson=True)
    assert [clock.name for clock in clocks] == ["cpu0-3", "cpu4-5", "17000000.gpu"]
    first, second, gpu = clocks
    assert (first.lowest, first.now, first.highest) == (729.6, 1497.6, 1497.6)
    assert first.governor == "schedutil"
    assert second.now == 729.6
    assert (gpu.kind, gpu.lowest, gpu.highest) == ("gpu", 306.0, 612.0)
    assert not any(clock.locked for clock in clocks)


def test_the_memory_clock_is_unknown_to_an_ordinary_user(board):
    tree = Tree(board("orin-nano"))
    find_clocks(tree, jetson=True)
    assert tree.unknown[0].startswith("memory clock (root may read it): ")


def test_jetson_clocks_leaves_no_room(board):
    clocks = find_clocks(Tree(board("agx-orin")), jetson=True)
    assert [clock.name for clock in clocks] == ["cpu0-3", "17000000.gpu", "emc"]
    assert all(clock.locked for clock in clocks)


@pytest.mark.parametrize(
    ("name", "gpus"),
    [("xavier-nx", ["17000000.gv11b"]), ("thor", ["gpu-gpc-0", "gpu-nvd-0"]), ("pc", [])],
)
def test_gpus_of_each_generation(board, name, gpus):
    clocks = find_clocks(Tree(board(name)), jetson=name != "pc")
    assert [clock.name for clock in clocks if clock.kind == "gpu"] == gpus


def test_older_kernels_list_frequencies_by_core(board):
    folder = "sys/devices/system/cpu/cpu3/cpufreq"
    files = {f"{folder}/scaling_{end}_freq": "918000\n" for end in ("min", "max")}
    (clock,) = find_clocks(Tree(board("nano", files)), jetson=True)
    assert (clock.name, clock.locked, clock.now, clock.governor) == ("cpu3", True, None, None)


def test_no_clocks_are_said(board):
    tree = Tree(board("virtual"))
    assert find_clocks(tree, jetson=False) == ()
    assert tree.unknown[0].startswith("clocks: ")


def test_the_power_mode_has_its_name_from_the_configuration(board):
    mode = power_mode(Tree(board("orin-nano")))
    assert (mode.number, mode.name) == (0, "15W")
    assert mode.others == ("25W", "MAXN_SUPER", "7W")


def test_a_mode_without_a_name_keeps_its_number(board):
    mode = power_mode(Tree(board("xavier-nx")))
    assert (mode.number, mode.name, mode.others) == (8, None, ("MODE_15W_2CORE",))


def test_a_board_that_does_not_tell_its_mode(board):
    tree = Tree(board("nano"))
    assert power_mode(tree) is None
    assert tree.unknown[0].startswith("power mode: ")
