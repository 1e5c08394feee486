"""Runs the demo as a user would, and keeps what it shows: benchmarks/results/demo.json.

    python -m benchmarks.demo --out runs/evidence

Holds the figures against what is promised: wall time, memory, accuracy of the INT8 student on real
images, its distance from FP32, and its speed over FP32 in paired runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from benchmarks.results_files import RESULTS, write_results
from benchmarks.runs import run_and_summarise

__all__ = ["markdown_table", "promises"]


def promises(result: Mapping[str, Any]) -> dict[str, bool]:
    """What is promised of the demo, and whether a result keeps it."""
    student, small = _model(result, "student", "fp32"), _model(result, "student", "int8")
    teacher = _model(result, "teacher", "fp32")
    return {
        "at most 6 minutes": result["wall_seconds"] <= 360,
        "at most 6 GiB of memory": result["peak_memory_bytes"] <= 6 * 2**30,
        "student at least 5 times smaller": teacher["parameters"] >= 5 * student["parameters"],
        "INT8 top-1 at least 78 %": small["top1"] >= 78,
        "INT8 within 0.5 points of FP32": small["top1"] >= student["top1"] - 0.5,
        "INT8 no slower than FP32": small["speedup_over_fp32"]["estimate"] >= 1,
    }


def markdown_table(result: Mapping[str, Any]) -> str:
    """The table that README quotes."""
    lines = [
        "| model | parameters | file | top-1, 2 000 real images | agreement | p50 | speed |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in result["models"]:
        name = f"{model['role']} {model['precision'].upper()}"
        lines.append(
            f"| {name} | {model['parameters']:,} | {model['bytes'] / 1e6:.2f} MB "
            f"| {model['top1']:.1f} % | {model['agreement']:.1f} % "
            f"| {model['latency_ms']['p50']:.3f} ms | {model['speedup']['estimate']:.1f}x |"
        )
    return "\n".join(lines)


def _model(result: Mapping[str, Any], role: str, precision: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(
        m for m in result["models"] if (m["role"], m["precision"]) == (role, precision)
    )
    return found


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new run folder.")
@click.option("--seed", default=0, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS / "demo.json")
def main(out: Path, seed: int, results: Path) -> None:
    """Runs the demo in a process of its own and writes its results."""
    result = run_and_summarise(["demo", "--out", str(out), "--seed", str(seed)], out)
    result["promises"] = promises(result)
    write_results(
        results, ["python", "-m", "benchmarks.demo", "--out", out.name, "--seed", str(seed)], result
    )
    click.echo(markdown_table(result))
    for promise, kept in result["promises"].items():
        click.echo(f"{'kept  ' if kept else 'MISSED'} {promise}")


if __name__ == "__main__":
    main()
