from __future__ import annotations

import subprocess
import sys

import pytest

from cake_edge.errors import UsageMistake
from exporters.quantize import TARGETS, quantize


def test_a_target_is_listed_under_its_own_name():
    assert {name: dialect.name for name, dialect in TARGETS.items()} == {n: n for n in TARGETS}


def test_an_unknown_target_is_answered_with_the_known(float_file, images, tmp_path):
    with pytest.raises(UsageMistake, match="did you mean ort-x86"):
        quantize(float_file, tmp_path / "q.onnx", images, target="ort-x68")


def test_listing_the_targets_imports_no_onnx():
    code = (
        "import sys, exporters.quantize\n"
        "assert exporters.quantize.TARGETS\n"
        "assert not {'onnx', 'onnxruntime', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
