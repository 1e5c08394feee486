from __future__ import annotations

import subprocess
import sys

import pytest

from cake_edge.errors import UsageMistake
from exporters.runtimes import RUNTIMES, open_session


def test_every_runtime_opens_a_model_and_names_itself(pooled):
    for name in RUNTIMES:
        with open_session(pooled, runtime=name) as session:
            assert session.describe()["runtime"] == name


def test_an_unknown_runtime_is_answered_with_the_known(pooled):
    with pytest.raises(UsageMistake, match="did you mean ort"):
        open_session(pooled, runtime="orrt")


def test_the_device_side_needs_neither_torch_timm_nor_onnx():
    code = (
        "import sys, exporters.artifact, exporters.parity, exporters.runtimes\n"
        "import exporters.runtimes.coverage\n"
        "assert not {'torch', 'timm', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
