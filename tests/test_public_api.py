"""What is public is listed, exists, and costs nothing until it is used."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import cake_edge
import exporters

ROOT = Path(__file__).resolve().parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for room in ("cake_edge", "exporters")
    for path in sorted((ROOT / room).rglob("*.py"))
    if path.name != "__main__.py"
]


@pytest.mark.parametrize("name", MODULES)
def test_every_listed_name_exists_and_is_listed_once(name):
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert len(listed) == len(set(listed))
    missing = [each for each in listed if not hasattr(module, each)]
    assert missing == []


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name):
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("package", [cake_edge, exporters])
def test_public_names_are_shown_and_private_ones_refused(package):
    assert set(getattr(package, "__all__", [])) <= set(dir(package))
    with pytest.raises(AttributeError, match="no_such_name"):
        package.no_such_name  # noqa: B018 - reading it is the test


def test_importing_the_package_is_free():
    code = "import cake_edge, exporters, sys; print(*{'torch', 'numpy', 'click'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
