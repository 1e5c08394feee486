"""NVIDIA's trtexec: the command for a board that has nothing else, and its output as a result."""

from __future__ import annotations

from exporters.trtexec.bench import bench_from_trtexec
from exporters.trtexec.command import TrtexecConfig, trtexec_command
from exporters.trtexec.results import rows_from_trtexec

__all__ = ["TrtexecConfig", "bench_from_trtexec", "rows_from_trtexec", "trtexec_command"]
