"""What runs on a device, in an environment that has only what a device has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from exporters.remote.bundle import bundle

pytestmark = pytest.mark.slow

ROOMS = ("runtimes", "latency", "report", "tensorrt", "trtexec", "devices", "remote")
SHORT = '{"seconds": 0.05, "energy_seconds": 0}'


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with numpy, onnxruntime, click and rich, and nothing of ours."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False, symlinks=True)
    found = folder / "bin" / "python"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(found), "install", "--quiet",
         "numpy", "onnxruntime", "click", "rich"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"no packages can be installed here: {done.stderr.strip()[-300:]}")
    return found


def run(python, *words, cwd):
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), *map(str, words)], cwd=cwd, env=clean,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_module_of_the_device_side_can_be_imported(python, root):
    modules = [
        path.relative_to(root).with_suffix("").as_posix().replace("/", ".")
        for room in ROOMS
        for path in sorted((root / "exporters" / room).rglob("*.py"))
        if path.stem != "__init__"
    ]
    assert {name.split(".")[1] for name in modules} == set(ROOMS)
    code = (
        f"import importlib, json, sys\nfor name in {modules}:\n    importlib.import_module(name)\n"
        "print(json.dumps(sorted(name for name in sys.modules if '.' not in name)))"
    )
    loaded = run(python, "-c", code, cwd=root)
    assert not {"torch", "timm", "onnx", "PIL", "safetensors"} & set(loaded)


def test_models_are_measured_with_numpy_and_a_runtime_alone(python, float_file, tmp_path):
    (tmp_path / "runner.pyz").write_bytes(bundle())
    words = ["bench", "--json", "--options", SHORT, "--models", float_file]
    found = run(python, "runner.pyz", *words, cwd=tmp_path)
    assert found["models"][0]["latency_ms"]["p50"] > 0


def test_a_device_is_described_by_the_runner(python, tmp_path):
    (tmp_path / "runner.pyz").write_bytes(bundle())
    found = run(python, "runner.pyz", "probe", "--json", cwd=tmp_path)
    assert found["packages"]["onnxruntime"]["works"] is True
    assert found["packages"]["tensorrt"]["works"] is False


def test_a_device_is_described_by_the_command(python, root):
    found = run(python, "-m", "cake_edge", "device", "--json", "-q", cwd=root)
    assert found["device"]["kind"]
