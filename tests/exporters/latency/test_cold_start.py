"""From the start of a process to its first answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference.deadly_models import healthy, hog

from exporters.latency.cold_start import cold_start
from exporters.latency.isolation.worker import Setting, WorkerFailed

HOW = {"runtime": "ort", "threads": 1}


def test_every_step_has_its_share(tmp_path: Path) -> None:
    path = healthy(tmp_path / "a.onnx")
    found = cold_start(path, HOW, batch=1, seed=0, runs=2, setting=Setting())
    assert (found["runs"], found["file_cache"]) == (2, "warm")
    for step in ("start", "load", "first", "total"):
        assert 0 < found[step]["min"] <= found[step]["median"] <= found[step]["max"]
    # Python, numpy and ONNX Runtime are imported in no less.
    assert found["start"]["min"] > 0.05
    assert found["total"]["min"] >= found["start"]["min"]


def test_a_run_without_an_answer_is_a_failure(tmp_path: Path) -> None:
    path = hog(tmp_path / "hog.onnx")
    with pytest.raises(WorkerFailed, match="out of memory in a cold start"):
        cold_start(path, HOW, batch=1, seed=0, runs=1, setting=Setting())


def test_the_first_call_sees_what_was_brought(tmp_path: Path) -> None:
    path, file = healthy(tmp_path / "a.onnx"), tmp_path / "images"
    once = {"batch": 2, "seed": 0, "runs": 1, "setting": Setting(), "images_file": file}
    file.write_bytes(np.zeros((2, 3, 8, 8), np.float32).tobytes())
    assert cold_start(path, HOW, **once)["first"]["min"] > 0
    file.unlink()
    with pytest.raises(WorkerFailed, match="FileNotFoundError"):
        cold_start(path, HOW, **once)
