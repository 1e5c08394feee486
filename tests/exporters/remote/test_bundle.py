"""The single file: what is in it, and that it runs."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cake_edge.errors import ArtifactError
from exporters.remote import bundle as module
from exporters.remote.bundle import bundle, needed_modules


def names():
    return zipfile.ZipFile(io.BytesIO(bundle())).namelist()


def needed_packages():
    """What else is imported as the bundled modules are loaded, Python's own modules aside."""
    found = {
        name.partition(".")[0]
        for needed in needed_modules()
        for name in module._at_top(ast.parse(module._source(needed).read_text()).body)
    }
    return found - set(module.OURS) - sys.stdlib_module_names


def test_equal_sources_give_equal_bytes():
    assert bundle() == bundle()


def test_it_needs_numpy_and_nothing_else():
    assert needed_packages() == {"numpy"}


def test_it_holds_what_a_device_needs_and_not_what_a_host_needs():
    needed = needed_modules()
    assert {
        "cake_edge.errors", "exporters.runtimes.ort", "exporters.latency.power",
        "exporters.devices.rails", "exporters.remote.measure",
    } <= needed  # fmt: skip
    assert not {name for name in needed if name.startswith(("cake_edge.cli", "cake_edge.teachers"))}
    assert not needed & {
        "exporters.remote.ssh",
        "exporters.remote.session",
        "exporters.onnx_export",
    }


def test_packages_that_are_only_passed_through_are_empty():
    archive = zipfile.ZipFile(io.BytesIO(bundle()))
    assert archive.read("exporters/remote/__init__.py") == b""
    assert archive.read("exporters/devices/__init__.py") != b""


def test_nothing_in_it_tells_when_or_where_it_was_made():
    for entry in zipfile.ZipFile(io.BytesIO(bundle())).infolist():
        assert entry.date_time == (1980, 1, 1, 0, 0, 0)
        assert not entry.filename.startswith("/")
        assert (entry.create_system, entry.compress_type) == (3, zipfile.ZIP_STORED)


def plant(tmp_path, monkeypatch, **sources):
    for name, text in sources.items():
        path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for folder in [path for path in tmp_path.rglob("*") if path.is_dir()]:
        (folder / "__init__.py").touch()
    monkeypatch.setattr(module, "ROOT", tmp_path)


def test_imports_are_followed_where_a_device_would(tmp_path, monkeypatch):
    plant(
        tmp_path,
        monkeypatch,
        exporters__remote__runner=(
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import cake_edge.typed\n"
            "else:\n    import cake_edge.other\n"
            "try:\n    import cake_edge.tried\nexcept ImportError:\n    import cake_edge.caught\n"
            "def f():\n    from cake_edge import late\n    return 'exporters.child'\n"
        ),
        exporters__child="",
        cake_edge__typed="",
        cake_edge__other="class A:\n    def f(self):\n        import cake_edge.host\n",
        cake_edge__tried="import numpy.linalg, json",
        cake_edge__caught="",
        cake_edge__late="from pathlib import Path\nfrom cake_edge.tried import name",
        cake_edge__host="import torch",
    )
    found = {name.rpartition(".")[2] for name in needed_modules()}
    assert found == {"runner", "other", "tried", "caught", "late", "child"}
    assert needed_packages() == {"numpy"}


def test_a_damaged_installation_is_said(tmp_path, monkeypatch):
    plant(tmp_path, monkeypatch, exporters__other="")
    with pytest.raises(ArtifactError, match=r"exporters\.remote\.runner is missing"):
        bundle()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "runner.pyz"
    path.write_bytes(bundle())
    return path


def test_it_runs_by_itself(file, tmp_path):
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(file), "bench", "--help"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--models" in done.stdout


def test_it_uses_its_own_modules_and_no_installed_ones(file, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(file)!r})\n"
        "import exporters.remote.measure, exporters.runtimes.ort\n"
        "ours = [m for n, m in sys.modules.items() if n.startswith(('cake_edge', 'exporters'))]\n"
        "assert all('runner.pyz' in str(m.__file__) for m in ours), ours\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'click', 'rich', 'torch',"
        " 'onnx', 'timm', 'psutil', 'safetensors', 'PIL'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_old_python_is_told_so(file):
    text = zipfile.ZipFile(file).read("__main__.py").decode()
    start = text.replace("sys.version_info", "(3, 8, 10)").partition("from exporters")[0]
    done = subprocess.run(
        [sys.executable, "-c", start], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Python 3.8 is too old, 3.10 is needed" in done.stderr


def test_the_archive_names_every_parent_package():
    assert {
        "cake_edge/__init__.py",
        "exporters/__init__.py",
        "exporters/latency/__init__.py",
    } <= set(names())
