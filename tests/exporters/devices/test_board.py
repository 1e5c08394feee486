"""Which board it is."""

import pytest
from reference.boards import BOARDS

from exporters.devices.board import board_kind, board_model, module_part
from exporters.devices.tree import Tree

KINDS = {"raspberry-pi-5": "raspberry-pi", "pc": "pc", "virtual": "virtual"}


@pytest.mark.parametrize("name", BOARDS)
def test_the_kind_of_every_board(board, name):
    assert board_kind(Tree(board(name))) == KINDS.get(name, "jetson")


def test_a_jetson_in_a_container_that_hides_its_device_tree_is_known_by_its_release(board):
    hidden = {"proc/device-tree/compatible": None, "proc/device-tree/model": None}
    assert board_kind(Tree(board("agx-orin", hidden))) == "jetson"


def test_a_hypervisor_shows_in_the_processors_flags_where_firmware_is_silent(board):
    silent = {"sys/class/dmi/id/sys_vendor": None, "sys/class/dmi/id/product_name": None}
    assert board_kind(Tree(board("virtual", silent))) == "virtual"


def test_a_machine_that_tells_nothing_is_of_another_kind(tmp_path):
    tree = Tree(tmp_path)
    assert board_kind(tree) == "other"
    assert board_model(tree) is None
    assert tree.unknown[0].startswith("model: ")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("xavier-nx", "NVIDIA Jetson Xavier NX Developer Kit"),
        ("raspberry-pi-5", "Raspberry Pi 5 Model B Rev 1.0"),
        ("pc", "LENOVO 20XW"),
    ],
)
def test_the_model(board, name, model):
    assert board_model(Tree(board(name))) == model


@pytest.mark.parametrize(
    ("name", "part", "module"),
    [
        ("orin-nano", "p3767-0005", "Jetson Orin Nano or NX"),
        ("agx-orin", "p3701-0005", "Jetson AGX Orin"),
        ("xavier-nx", "p3668-0001", "Jetson Xavier NX"),
        ("nano", "p3448-0000", "Jetson Nano"),
        ("thor", "p3834-0008", "Jetson AGX Thor"),
        ("raspberry-pi-5", None, None),
    ],
)
def test_the_module_is_told_from_its_carrier(board, name, part, module):
    assert module_part(Tree(board(name))) == (part, module)
