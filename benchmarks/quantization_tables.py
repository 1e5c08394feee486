"""The tables of docs/quantization.md, from the results files; prints them.

python -m benchmarks.quantization_tables
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from benchmarks.results_files import RESULTS
from cake_edge.provenance import read_json

__all__ = ["TABLES", "accuracy_table", "cost_table", "speed_table"]


def accuracy_table(results: Mapping[str, Any]) -> str:
    """Drop in top-1 and agreement with float, a line for each target, effort and source."""
    models = results["models"]
    head = " | ".join(f"{name}, {models[name]['float']['n']:,} images" for name in models)
    lines = [f"| target | effort | ranges from | {head} |", "|" + "---|" * (3 + len(models))]
    floats = " | ".join(f"{models[name]['float']['top1']:.1f} % top-1" for name in models)
    lines.append(f"| FP32 | | | {floats} |")
    # The first source of a model has a name of its own: its pool, or what it pushed itself.
    for place in range(max(len(one["rows"]) for one in models.values())):
        rows = [list(one["rows"].values())[place] for one in models.values()]
        source = rows[0]["images"] if len({row["images"] for row in rows}) == 1 else "the model"
        # Adding 0.0 takes the sign from a zero.
        cells = " | ".join(
            f"{round(-row['drop'], 1) + 0.0:+.1f}, {row['agreement']:.1f} %" for row in rows
        )
        lines.append(f"| {rows[0]['target']} | {rows[0].get('effort', '')} | {source} | {cells} |")
    return "\n".join(lines)


def speed_table(results: Mapping[str, Any]) -> str:
    """Speed over FP32 by wall time, ours and onnxruntime's, a line for each network."""
    names = list(next(iter(results["networks"].values()))["files"])
    lines = [
        f"| network | {names[0]} p50 | {' | '.join(names[1:])} | wanted |",
        "|---|---|" + "---|" * len(names),
    ]
    for name, found in results["networks"].items():
        files = found["files"]
        cells = [f"{files[names[0]]['latency_ms']['p50']:.2f} ms"]
        cells += [_ratio(files[each]["over_float"]["wall"]) for each in names[1:]]
        wanted = "" if found["wanted"] is None else f"{found['wanted']:.2f}x"
        lines.append(f"| {name} | {' | '.join(cells)} | {wanted} |")
    return "\n".join(lines)


def cost_table(results: Mapping[str, Any]) -> str:
    """Processor time and peak memory of quantizing beside onnxruntime's quantizer."""
    lines = [
        "| network | images | time over `quantize_static` | peak memory | `quantize_static`'s |",
        "|---|---|---|---|---|",
    ]
    for name, found in results["networks"].items():
        for count, row in found["images"].items():
            peaks = [
                row[tool]["peak_bytes"]["median"] / 2**20
                for tool in ("cake-edge", "quantize_static")
            ]
            lines.append(
                f"| {name} | {count} | {row['ratio']['processor_seconds']:.2f} | "
                f"{peaks[0]:.0f} MiB | {peaks[1]:.0f} MiB |"
            )
    return "\n".join(lines)


def _ratio(found: Mapping[str, float]) -> str:
    return f"{found['estimate']:.2f}x [{found['low']:.2f}, {found['high']:.2f}]"


TABLES = {
    "quantization_accuracy": accuracy_table,
    "quantization_speed": speed_table,
    "quantization_cost": cost_table,
}


@click.command()
def main() -> None:
    """Prints all tables."""
    for name, table in TABLES.items():
        click.echo(table(read_json(RESULTS / f"{name}.json")) + "\n")


if __name__ == "__main__":
    main()
