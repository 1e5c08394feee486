from __future__ import annotations

import json

import pytest

from cake_edge.errors import RuntimeUnavailable
from exporters.optional import import_package


def test_an_installed_package_is_imported():
    assert import_package("json", install="pip install json") is json


def test_a_missing_package_is_named_with_the_line_that_installs_it():
    with pytest.raises(RuntimeUnavailable, match=r"no_such_x is not installed: pip install x"):
        import_package("no_such_x", install="pip install x")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_y", "needs no_such_y"),
        ("raise ImportError('lib.so.1 is missing')", "does not load .*lib.so.1"),
        ("raise OSError('wrong ELF class')", "does not load .*wrong ELF class"),
    ],
)
def test_a_package_that_does_not_load_says_why(tmp_path, monkeypatch, source, said):
    (tmp_path / "broken_x.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeUnavailable, match=said):
        import_package("broken_x", install="pip install x")
