from __future__ import annotations

from pathlib import Path

import pytest

from cake_edge import provenance
from exporters.latency import environment
from exporters.latency.environment import governor, int8_outlook, latency_environment


@pytest.mark.parametrize(
    ("machine", "flags", "gain", "words"),
    [
        ("x86_64", ["avx2", "avx512_vnni"], True, "avx512_vnni"),
        ("AMD64", ["avx_vnni"], True, "avx_vnni"),
        ("x86_64", ["avx2", "avx512f"], False, "saturate"),
        ("aarch64", ["asimd", "asimddp"], True, "asimddp"),
        ("aarch64", ["asimd"], False, "hardly any time"),
        ("riscv64", ["v"], False, "riscv64"),
        ("arm64", [], False, "cannot be read"),
    ],
)
def test_int8_is_promised_only_where_the_processor_has_it(
    machine: str, flags: list[str], gain: bool, words: str
) -> None:
    found = int8_outlook(machine, flags)
    assert found["gain_expected"] is gain
    assert words in found["reason"]


def test_governor_is_read_where_there_is_one(tmp_path: Path) -> None:
    assert governor(tmp_path) is None
    place = tmp_path / "devices/system/cpu/cpu0/cpufreq"
    place.mkdir(parents=True)
    (place / "scaling_governor").write_text("powersave\n", encoding="ascii")
    assert governor(tmp_path) == "powersave"


def fake_machine(monkeypatch: pytest.MonkeyPatch, flags: list[str], mode: str | None) -> None:
    found = {**provenance.environment(), "machine": "x86_64", "cpu_flags": flags, "cores": 2}
    monkeypatch.setattr(provenance, "environment", lambda: found)
    monkeypatch.setattr(environment, "governor", lambda: mode)


def test_a_quiet_capable_machine_gives_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_machine(monkeypatch, ["avx512_vnni"], "performance")
    found = latency_environment(threads=1, load_before=0.2)
    assert found["warnings"] == []
    assert found["threads"] == 1
    assert found["memory_bytes"] > 0


def test_each_reason_for_distrust_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_machine(monkeypatch, ["avx2"], "powersave")
    said = " | ".join(latency_environment(threads=4, load_before=1.9)["warnings"])
    for words in ("avx512_vnni", "load 1.9 on 2 cores", "4 threads", "'powersave'"):
        assert words in said
