"""The program on the other machine: measures models there, or says what the machine is.

    python3 runner.pyz probe [--json]
    python3 runner.pyz bench --models a.onnx b.onnx [--options JSON] [--json]

The result goes to stdout, progress and log to stderr. Beside Python it needs numpy and a runtime.
An error is one sentence on stderr and, with --json, an object on stdout.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cake_edge import provenance
from cake_edge.errors import CakeEdgeError
from exporters.devices import advice, describe_device
from exporters.remote.options import BenchOptions

__all__ = ["PROGRESS", "main", "probe"]

PROGRESS = "cake-edge-progress "
"""Begins a line of stderr that tells progress as JSON: task, done, total, note."""
TELL_EVERY = 1.0
"""Seconds between two lines of progress."""
PROBED = ("numpy", "onnxruntime", "tensorrt")
PROBE_SECONDS = 120
PROBE = """
import json, {name} as found
more = getattr(found, "get_available_providers", list)()
print(json.dumps([str(getattr(found, "__version__", "unknown")), more]))
"""


def main(words: Sequence[str] | None = None) -> None:
    """Runs one command, and ends the process with its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    _show_ourselves_to_children()
    arguments = _parser().parse_args(words)
    try:
        found = probe() if arguments.command == "probe" else _bench(arguments)
    except CakeEdgeError as error:
        sys.stderr.write(f"error: {error}\n")
        told = {"error": str(error), "kind": type(error).__name__, "exit_code": error.exit_code}
        if arguments.json:
            sys.stdout.write(json.dumps(told) + "\n")
        sys.exit(error.exit_code)
    text = json.dumps(found, allow_nan=False) if arguments.json else _in_words(found)
    sys.stdout.write(text + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="runner.pyz", description="Measures models here.")
    commands = parser.add_subparsers(dest="command", required=True)
    look = commands.add_parser("probe", help="say what this machine is and has")
    bench = commands.add_parser("bench", help="measure latency and, where it can be, energy")
    bench.add_argument("--models", nargs="+", type=Path, required=True, help="model files")
    bench.add_argument(
        "--options",
        type=BenchOptions.from_json,
        default=BenchOptions(),
        metavar="JSON",
        help=f"what to change of {BenchOptions().to_json()}",
    )
    for command in (look, bench):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def probe() -> dict[str, Any]:
    """What this machine is, which packages load, and what should be known before measuring."""
    device = describe_device()
    return {
        "schema_version": 1,
        "python": provenance.versions()["python"],
        "executable": sys.executable,
        "environment": provenance.environment(),
        "packages": {name: _probe_package(name) for name in PROBED},
        "device": device.to_dict(),
        "advice": list(advice(device)),
    }


def _bench(arguments: argparse.Namespace) -> dict[str, Any]:
    from exporters.remote.measure import measure_here

    return measure_here(arguments.models, arguments.options, _Teller())


def _probe_package(name: str) -> dict[str, Any]:
    """Loads a package in a process of its own: a broken one may take its process with it."""
    found: dict[str, Any] = {"works": False, "version": None, "providers": [], "problem": None}
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE.format(name=name)],
            capture_output=True, text=True, errors="replace", timeout=PROBE_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {**found, "problem": f"did not load in {PROBE_SECONDS} s"}
    if done.returncode == 0:
        version, providers = json.loads(done.stdout.splitlines()[-1])
        return {**found, "works": True, "version": version, "providers": providers}
    if done.returncode < 0:
        return {**found, "problem": f"loading it ends the process (signal {-done.returncode})"}
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return {**found, "problem": last[:300]}


class _Teller:
    """Progress for whoever reads our stderr, seldom enough to leave the measurement alone."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if done < total and now - self._told < TELL_EVERY:
            return
        self._told = now
        sys.stderr.write(PROGRESS + json.dumps([task, done, total, note]) + "\n")
        sys.stderr.flush()


def _show_ourselves_to_children() -> None:
    """Lets `python -m exporters.…` in a child process find what is bundled here."""
    here = str(Path(__file__).resolve().parents[2])
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([here, others] if others else [here])


def _in_words(found: dict[str, Any]) -> str:
    """A few lines for a person at the machine itself."""
    device = found["device"] if "packages" in found else found["device"]["after"]
    lines = [f"{device['model'] or device['kind']}, {device['system'] or 'unknown system'}"]
    for name, package in found.get("packages", {}).items():
        lines.append(f"{name}: {package['version'] or package['problem']}")
    for row in found.get("models", []):
        latency, power = row["latency_ms"], row["energy"]
        said = f"p50 {latency['p50']:.3f} ms, p99 {latency['p99']:.3f}" if latency else "not timed"
        if row["failure"] is not None:
            said = f"failed: {row['failure']}"
        if power is not None:
            said += f", {power['mean_watts']:.2f} W, {power['millijoules']:.3f} mJ an inference"
        lines.append(f"{row['path']}: {said}")
    return "\n".join([*lines, *(f"Note: {sentence}" for sentence in found["advice"])])
