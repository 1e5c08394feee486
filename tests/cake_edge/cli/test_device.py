"""`cake-edge device`, here and on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reference.boards import BOARDS, plant

import exporters.devices
import exporters.remote
from cake_edge.errors import DeviceUnavailable
from exporters.devices import advice, describe_device


@pytest.fixture
def as_board(tmp_path, monkeypatch):
    """Makes the command find another board at hand."""

    def as_board(name: str):
        device = describe_device(plant(tmp_path, BOARDS[name]))
        monkeypatch.setattr(exporters.devices, "describe_device", lambda: device)
        return device

    return as_board


def test_a_newcomer_reads_what_the_board_is_and_what_to_do(run, as_board):
    as_board("orin-nano")
    out = " ".join(run("device", "-q").stdout.split())
    for words in (
        "Orin Nano Engineering Reference Developer Kit Super (Jetson Orin Nano or NX, p3767-0005)",
        "JetPack 6.2",
        "power mode 15W; it also has 25W, MAXN_SUPER, 7W",
        "clock cpu0-3 730 to 1498 MHz, now 1498, schedutil",
        "rail VDD_IN 4.98 W",
        "held back no",
        "Note: clocks are not locked",
        "run sudo jetson_clocks yourself",
        "memory clock (root may read it)",
    ):
        assert words in out


def test_locked_clocks_and_alerts_show(run, as_board):
    as_board("agx-orin")
    out = run("device", "-q").stdout
    assert "1300 MHz, locked" in out
    assert "cpu-throttle-alert" in out
    assert "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0" in out


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_can_be_told(run, as_board, name):
    as_board(name)
    result = run("device", "-q")
    assert result.exit_code == 0, result.output


def test_json_holds_everything(run_json, as_board):
    device = as_board("thor")
    assert run_json("device") == {"device": device.to_dict(), "advice": list(advice(device))}


def remote(monkeypatch, answer: dict[str, Any] | Exception) -> list[Any]:
    asked: list[Any] = []

    def probe(host, progress):
        asked.append(host)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(exporters.remote, "probe_remote", probe)
    return asked


def test_another_machine_is_asked_over_ssh(run, monkeypatch, tmp_path):
    device = describe_device(plant(tmp_path / "root", BOARDS["xavier-nx"]))
    package = {"works": True, "version": "2.1.0", "problem": None}
    broken = {"works": False, "version": None, "problem": "No module named 'tensorrt'"}
    answer = {"device": device.to_dict(), "advice": [], "packages": {"numpy": package,
              "tensorrt": broken}}  # fmt: skip
    asked = remote(monkeypatch, answer)
    config = tmp_path / "ssh_config"
    config.touch()
    result = run("device", "--host", "me@nx", "--python", "venv/bin/python",
                 "--ssh-config", config, "-q")  # fmt: skip
    assert "Xavier NX" in result.stdout
    assert "2.1.0" in result.stdout
    assert "no: No module named 'tensorrt'" in result.stdout
    (host,) = asked
    assert (host.target, host.python, host.config) == ("me@nx", "venv/bin/python", Path(config))


def test_a_machine_that_cannot_be_reached_is_one_sentence(run, monkeypatch):
    remote(monkeypatch, DeviceUnavailable("nx cannot be reached"))
    result = run("device", "--host", "nx", "-q")
    assert result.exit_code == 1
    assert result.stderr == "error: nx cannot be reached\n"


def test_a_host_that_would_be_an_option_of_ssh_is_wrong_usage(run):
    result = run("device", "--host=-oProxyCommand=x", "-q")
    assert result.exit_code == 2
    assert "it must be user@board" in result.stderr
