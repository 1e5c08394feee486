"""`cake-edge doctor`, with packages that are absent, broken or fatal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from cake_edge.cli import doctor, doctor_runtimes
from cake_edge.cli.doctor import PACKAGES, Package, probe


def package(name: str, code: str = "detail = 'fine'", *, optional: bool = False) -> Package:
    return Package(
        name=name, purpose="a test", install=f"pip install {name}", probe=code, optional=optional
    )


def test_a_package_that_loads_works() -> None:
    found = probe(package("click", "import click\ndetail = click.Option.__name__"))
    assert found["works"] is True
    assert found["detail"] == "Option"
    assert found["version"]


def test_an_absent_package_is_not_installed() -> None:
    found = probe(package("surely_not_there"))
    assert found["works"] is False
    assert found["version"] is None
    assert found["detail"] == "not installed"


def test_a_package_that_does_not_load_says_why() -> None:
    found = probe(package("click", "raise ImportError('libx.so.1 is missing')"))
    assert found["works"] is False
    assert "does not load: ImportError: libx.so.1 is missing" in found["detail"]


def test_a_package_that_ends_its_process_does_not_end_ours() -> None:
    found = probe(package("click", "import os\nos.kill(os.getpid(), 9)"))
    assert found["works"] is False
    assert "ends the process (signal 9)" in found["detail"]


def test_a_package_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.5)
    found = probe(package("click", "import time\ntime.sleep(60)"))
    assert "did not load in 0.5 s" in found["detail"]


def test_what_a_package_prints_does_not_disturb() -> None:
    assert probe(package("click", "print('hello')\ndetail = 'fine'"))["detail"] == "fine"


NO_TENSORRT = {
    "runtime": "tensorrt", "provider": None, "present": False, "works": False,
    "detail": "not installed", "install": "pip install it",
}  # fmt: skip


@pytest.fixture
def three_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    found = (package("click"), package("not_there"), package("neither", optional=True))
    monkeypatch.setattr(doctor, "PACKAGES", found)
    monkeypatch.setattr(doctor_runtimes, "tensorrt_row", lambda modules: NO_TENSORRT)


@pytest.mark.usefixtures("three_packages")
def test_what_is_missing_comes_with_the_line_that_installs_it(run: Callable[..., Result]) -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert " works " in rows["click"]
    assert " MISSING " in rows["not_there"]
    assert " absent " in rows["neither"]
    assert "  pip install not_there\n" in result.stdout
    assert "  pip install neither  (optional)" in result.stdout
    assert "INT8: " in result.stdout


@pytest.mark.usefixtures("three_packages")
def test_json_tells_the_same(run_json: Callable[..., dict[str, Any]]) -> None:
    found = run_json("doctor")
    assert found["missing"] == ["pip install not_there"]
    assert [p["works"] for p in found["packages"]] == [True, False, False]
    assert isinstance(found["int8"]["gain_expected"], bool)
    assert found["machine"]["memory_bytes"] > 0


@pytest.mark.usefixtures("three_packages")
def test_runtimes_and_their_providers_are_told_with_how_to_get_the_others(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"runtime": "ort", "present": True, "works": True, "detail": "starts", "install": "x"}
    rows = [
        {**row, "provider": "cpu"},
        {**row, "provider": "openvino", "works": False, "detail": "Device GPU is not available"},
        {**row, "provider": "cuda", "present": False, "install": "pip install onnxruntime-gpu"},
        {**row, "provider": "coreml", "present": False, "install": "a Mac"},
    ]
    monkeypatch.setattr(doctor, "PACKAGES", (package("onnxruntime"),))
    monkeypatch.setattr(doctor_runtimes, "ort_rows", lambda: rows)
    monkeypatch.setattr("sys.platform", "linux")
    said = run("doctor").stdout
    lines = [line.split() for line in said.splitlines()]
    assert ["--runtime", "ort", "--provider", "cpu", "works", "starts"] in lines
    assert any(line[:5] == ["--runtime", "ort", "--provider", "openvino", "no"] for line in lines)
    assert ["--runtime", "tensorrt", "no", "not", "installed"] in lines
    assert ["cuda", "pip", "install", "onnxruntime-gpu"] in lines
    assert "a Mac" not in said


@pytest.mark.usefixtures("three_packages")
def test_without_onnx_runtime_there_are_no_providers_to_tell_of(
    run_json: Callable[..., dict[str, Any]],
) -> None:
    found = run_json("doctor")
    assert [row["runtime"] for row in found["runtimes"]] == ["tensorrt"]
    assert found["gpu"]


def test_install_lines_are_those_of_the_project(root: Path) -> None:
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    for entry in PACKAGES:
        if not entry.optional:
            requirement = entry.install.removeprefix("pip install ").strip("'")
            assert f'"{requirement}"' in project


def test_probes_compile() -> None:
    for entry in PACKAGES:
        assert "detail" in compile(entry.probe, entry.name, "exec").co_names
