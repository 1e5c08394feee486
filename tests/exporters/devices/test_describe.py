"""The whole description, for every board."""

import json
import os

import pytest
from reference.boards import BOARDS

from exporters.devices import describe_device


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_becomes_plain_values(board, name):
    told = describe_device(board(name)).to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_an_orin_nano(board):
    told = describe_device(board("orin-nano")).to_dict()
    assert told["model"].endswith("Developer Kit Super")
    assert (told["system"], told["kernel"]) == ("Ubuntu 22.04.5 LTS", "5.15.148-tegra")
    assert (told["jetpack"], told["l4t"], told["tensorrt"]) == ("6.2", "36.4.3", "10.3.0")
    assert told["power_mode"] == {
        "number": 0, "name": "15W", "others": ["25W", "MAXN_SUPER", "7W"],
    }  # fmt: skip
    assert told["clocks_locked"] is False
    assert [clock["locked"] for clock in told["clocks"]] == [False] * 3
    assert told["throttling"]["alerts"] == []
    assert told["rails"]["VDD_IN"] == 4.984
    assert told["power_rail"] == "VDD_IN"


def test_locked_clocks_and_the_warmest_zone(board):
    device = describe_device(board("agx-orin"))
    assert device.clocks_locked is True
    assert device.warmest == 88.0


def test_a_raspberry_pi_has_no_jetson_software_and_no_rails(board):
    device = describe_device(board("raspberry-pi-5"))
    assert (device.l4t, device.jetpack, device.power_mode, device.part) == (None,) * 4
    assert (device.rails, device.power_rail) == ({}, None)
    assert not any("JetPack" in reason or "power mode" in reason for reason in device.unknown)
    assert any(reason.startswith("power: ") for reason in device.unknown)


def test_nothing_at_all_gives_reasons_and_no_error(tmp_path):
    device = describe_device(tmp_path)
    assert (device.kind, device.model, device.clocks_locked) == ("other", None, None)
    named = {reason.partition(":")[0] for reason in device.unknown}
    assert named >= {"model", "system", "kernel", "clocks", "temperatures", "memory", "power"}


def test_the_device_at_hand_is_described():
    assert describe_device().to_dict()["kind"]


@pytest.mark.parametrize("name", BOARDS)
def test_nothing_is_changed(board, name):
    root = board(name)
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    before = [(path, path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    for path in files:
        path.chmod(0o444)
    describe_device(root)
    assert [(p, p.read_bytes(), p.stat().st_mtime_ns) for p in files] == before
    assert [path for path in sorted(root.rglob("*")) if path.is_file()] == files


def test_no_command_is_run(board, monkeypatch):
    def refuse(*words: object, **others: object) -> None:
        raise AssertionError(words)

    for name in ("system", "posix_spawn", "fork", "execv", "popen"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr("subprocess.Popen.__init__", refuse)
    describe_device(board("orin-nano"))
