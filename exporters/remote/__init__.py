"""Measuring on another machine: over ssh, with one file that is gone afterwards."""

from __future__ import annotations

from exporters.remote.options import BenchOptions
from exporters.remote.run import probe_remote, run_remote
from exporters.remote.ssh import Host

__all__ = ["BenchOptions", "Host", "probe_remote", "run_remote"]
