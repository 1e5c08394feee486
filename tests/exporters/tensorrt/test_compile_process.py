"""The child asks of a library only what its version has, and needs nothing of a training host."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from exporters.tensorrt import compile_onnx

OLD_LIBRARY = """
import sys
from reference.fake_tensorrt import fake_tensorrt
sys.modules[__name__] = fake_tensorrt("8.6.1")
"""


def test_an_older_library_gets_the_flags_it_needs(
    stand_in: Callable[[str], None], quantized: Path
) -> None:
    stand_in(OLD_LIBRARY)
    result = compile_onnx(quantized, module="tensorrt", batches=(1, 2, 4), timeout_seconds=60)
    assert (result.ok, result.stage, result.version) == (True, "build", "8.6.1")
    assert result.compute_capability == "present"
    assert result.engine_bytes > 100
    assert result.warnings == ("one",)
    assert result.coverage is None


def test_neither_side_loads_a_training_stack(root: Path) -> None:
    code = (
        "import sys, exporters.tensorrt, exporters.tensorrt.compile_process\n"
        "import exporters.tensorrt.probe_process, exporters.tensorrt.profile_process\n"
        "print(*sys.modules.keys() & {'torch', 'onnx', 'timm', 'tensorrt_rtx'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
