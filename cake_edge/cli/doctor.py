"""`cake-edge doctor`: what is installed, what works, and the line that installs the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import click

from cake_edge.cli.console import emit, table
from cake_edge.cli.options import examples, json_option, verbosity_options

__all__ = ["command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package this tool can use."""

    name: str
    """As pip knows it."""
    purpose: str
    """What it is needed for."""
    install: str
    """The line that installs it."""
    probe: str
    """Code that imports it in a process of its own and sets `detail`."""
    optional: bool = False
    """Nothing but its own purpose is lost without it."""


TORCH = """
import torch
cards = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
if torch.cuda.is_available():
    detail = "computes on " + ", ".join(cards)
elif torch.version.cuda:
    detail = f"computes on cpu: its CUDA {torch.version.cuda} finds no GPU with a driver for it"
else:
    detail = "computes on cpu: built without CUDA"
"""
ONNXRUNTIME = """
import onnxruntime
detail = "loads"
"""
TENSORRT = """
import {module}
detail = "loads"
"""

PACKAGES = (
    Package(
        name="torch",
        purpose="making images, training the student",
        install="pip install 'torch>=2.11'",
        probe=TORCH,
    ),
    Package(
        name="timm",
        purpose="teachers and students",
        install="pip install 'timm>=1.0.22'",
        probe="import timm\ndetail = f'{len(timm.list_models()):,} architectures'",
    ),
    Package(
        name="onnx",
        purpose="export and quantization",
        install="pip install 'onnx>=1.17'",
        probe="import onnx\ndetail = f'opset {onnx.defs.onnx_opset_version()}'",
    ),
    Package(
        name="onnxscript",
        purpose="export",
        install="pip install 'onnxscript>=0.5'",
        probe="import onnxscript\ndetail = 'loads'",
    ),
    Package(
        name="onnxruntime",
        purpose="quantization, evaluation, latency",
        install="pip install 'onnxruntime>=1.20'",
        probe=ONNXRUNTIME,
    ),
    Package(
        name="safetensors",
        purpose="pools and checkpoints",
        install="pip install 'safetensors>=0.4.5'",
        probe="import safetensors\ndetail = 'loads'",
    ),
    Package(
        name="tensorrt",
        purpose="NVIDIA devices",
        install="pip install 'cake-edge[tensorrt]'",
        probe=TENSORRT.format(module="tensorrt"),
        optional=True,
    ),
    Package(
        name="tensorrt_rtx",
        purpose="NVIDIA parser and builder without a GPU",
        install="pip install tensorrt-rtx-cu13",
        probe=TENSORRT.format(module="tensorrt_rtx"),
        optional=True,
    ),
)
GPU = Package(
    name="exporters",
    purpose="",
    install="",
    probe="""
from exporters.tensorrt.driver import find_gpu
gpu = find_gpu()
detail = "none: no NVIDIA driver answers" if gpu is None else (
    f"{gpu.name}, compute capability {gpu.compute_capability}, its driver knows CUDA {gpu.driver}"
)
""",
)
"""The driver is asked in a child too."""
SYSTEMS = {"coreml": "darwin", "dml": "win32"}
"""Providers of one system, not named on others."""
PROBE_SECONDS = 120


@click.command("doctor", epilog=examples("cake-edge doctor", "cake-edge doctor --json"))
@json_option
@verbosity_options
def command(as_json: bool) -> None:
    """Says what is installed, where models can run here, what is missing and how to get it.

    Packages are imported, and runtimes and their providers started, each in a process of its own,
    as a broken one may end its process. Nothing is changed, and the exit code is 0 whatever is
    found.
    """
    from cake_edge.cli.doctor_runtimes import ort_rows, tensorrt_row
    from cake_edge.provenance import versions
    from exporters.latency import latency_environment, load_average

    machine = latency_environment(threads=1, load_before=load_average())
    known = versions()
    packages = [probe(package) for package in PACKAGES]
    loads = any(p["works"] for p in packages if p["name"] == "onnxruntime")
    found = {
        "python": known["python"],
        "cake_edge": known.get("cake-edge"),
        "machine": {
            name: machine[name]
            for name in ("system", "machine", "processor", "cores", "memory_bytes", "cpu_flags")
        },
        "gpu": probe(GPU)["detail"],
        "int8": machine["int8"],
        "packages": packages,
        "runtimes": [*(ort_rows() if loads else []), tensorrt_row(("tensorrt", "tensorrt_rtx"))],
        "missing": [p["install"] for p in packages if not p["works"] and not p["optional"]],
    }
    emit(found, as_json, lambda: _show(found))


def probe(package: Package) -> dict[str, Any]:
    """Imports a package in a child process and tells how that went."""
    module = package.name
    code = (
        f"import importlib.util, json\n"
        f"if importlib.util.find_spec({module!r}) is None:\n"
        f"    raise SystemExit(3)\n"
        f"{package.probe}\n"
        f"import {module}\n"
        f"version = str(getattr({module}, '__version__', 'unknown'))\n"
        "print(json.dumps({'version': version, 'detail': detail}))\n"
    )
    found: dict[str, Any] = {
        "name": package.name,
        "purpose": package.purpose,
        "optional": package.optional,
        "works": False,
        "version": None,
        "detail": "",
        "install": package.install,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {**found, "detail": f"installed, but did not load in {PROBE_SECONDS} s"}
    if done.returncode == 0:
        return {**found, **json.loads(done.stdout.splitlines()[-1]), "works": True}
    return {**found, "detail": _failure(done)}


def _failure(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode == 3:
        return "not installed"
    if done.returncode < 0:
        return f"installed, but importing it ends the process (signal {-done.returncode})"
    last = done.stderr.strip().splitlines()[-1:] or ["no message"]
    return f"installed, but does not load: {last[0][:200]}"


def _show(found: dict[str, Any]) -> None:
    from exporters.report.words import size

    machine = found["machine"]
    memory = size(machine["memory_bytes"])
    click.echo(f"cake-edge {found['cake_edge'] or 'not installed as a package'}")
    click.echo(f"Python {found['python']} on {machine['system']} {machine['machine']}")
    click.echo(f"{machine['processor']}, {machine['cores']} cores, {memory}")
    flags = ", ".join(machine["cpu_flags"]) or "unknown"
    click.echo(f"Flags: {flags}")
    gain = "faster than FP32" if found["int8"]["gain_expected"] else "not expected to be faster"
    click.echo(f"NVIDIA GPU: {found['gpu']}")
    click.echo(f"INT8: {gain}; {found['int8']['reason']}\n")
    rows = [
        (p["name"], p["version"] or "-", _state(p), p["purpose"], p["detail"])
        for p in found["packages"]
    ]
    click.echo(table(("package", "version", "state", "for", "detail"), rows))
    click.echo("\nWhere `cake-edge bench` can run a model:\n")
    shown = [r for r in found["runtimes"] if r["present"] or r["runtime"] == "tensorrt"]
    told = [(_options(r), "works" if r["works"] else "no", r["detail"]) for r in shown]
    click.echo(table(("options", "state", "detail"), told))
    absent = [p for p in found["packages"] if not p["works"]]
    if absent:
        click.echo("\nTo install what is missing:")
    for package in absent:
        note = "  (optional)" if package["optional"] else ""
        click.echo(f"  {package['install']}{note}")
    lacking = [r for r in found["runtimes"] if r["provider"] and r not in shown]
    if lacking:
        click.echo("\nAnother provider needs another build of ONNX Runtime:")
    for row in lacking:
        if SYSTEMS.get(row["provider"], sys.platform) == sys.platform:
            click.echo(f"  {row['provider']:<9} {row['install']}")


def _options(row: dict[str, Any]) -> str:
    provider = f" --provider {row['provider']}" if row["provider"] else ""
    return f"--runtime {row['runtime']}{provider}"


def _state(package: dict[str, Any]) -> str:
    if package["works"]:
        return "works"
    return "absent" if package["optional"] else "MISSING"
