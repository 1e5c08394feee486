"""The published rows as a table in Markdown: benchmarks/README.md holds what this prints.

    python -m benchmarks.paper.table

Figures are those of results/paper: top-1 of the student in percent, mean and standard deviation
over the seeds, beside the mean of their teachers, and agreement of the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import click
import timm

from benchmarks.paper.rows import A_CUDA_DEVICE, ROWS, Published, Row
from benchmarks.paper.run import KEPT, about
from cake_edge.hooks import statistics_layers
from cake_edge.provenance import read_json

__all__ = ["table"]

HEAD = ("row", "published", "ours", "agreement", "seeds", "cost of a seed")
SETTINGS = ("teacher", "student", "images", "sampler", "training")


def table(folder: Path) -> str:
    """Returns a line for every row, from its results in `folder` where it has any."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for name, row in ROWS.items():
        path = folder / f"{name}.json"
        cells = _measured(row, name, read_json(path)) if path.exists() else _unmeasured(row)
        published = "; ".join(_published(figure) for figure in row.published) or "none"
        lines.append((f"`{name}`", published, *cells))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _published(figure: Published) -> str:
    said = f"{figure.method} {_with_deviation(figure.student, figure.deviation)}"
    return said if figure.teacher is None else f"{said} of {figure.teacher:.1f}"


def _unmeasured(row: Row) -> tuple[str, ...]:
    # What the row wants, and not what this machine lacks: the table is the same everywhere.
    needs = f": needs {A_CUDA_DEVICE}" if row.device == "cuda" else ""
    return (f"unmeasured{needs}", "", "", "")


def _measured(row: Row, name: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    summary = result["summary"]
    first = next(iter(result["measured"].values()))
    top1 = _with_deviation(summary["top1_mean"], summary["top1_deviation"])
    teacher = mean(float(seed["teacher_top1"]) for seed in result["measured"].values())
    earlier = "" if _as_now(row, name, result) else ", with earlier settings"
    cost = (
        f"{summary['synthesis_seconds_mean']:.0f} + {summary['distillation_seconds_mean']:.0f} s, "
        f"{first['image_steps'] / 1e6:.2f} M image-steps, {first['views'] / 1e6:.2f} M views"
    )
    return (
        f"{top1} of {teacher:.1f}{earlier}",
        _with_deviation(summary["agreement_mean"], summary["agreement_deviation"]),
        str(summary["seeds"]),
        cost,
    )


def _as_now(row: Row, name: str, result: Mapping[str, Any]) -> bool:
    """Whether the settings of a result are the row's; one that came later says nothing of it.

    But `match`, which came later, changes what is made of a teacher with batch norms.
    """
    now = json.loads(json.dumps(about(row, name)))
    if now["training"]["match"] and "match" not in result["training"] and _has_norms(row):
        return False
    return all(
        all(now[part].get(k) == v for k, v in result[part].items())
        if isinstance(result[part], dict)
        else now[part] == result[part]
        for part in SETTINGS
    )


def _has_norms(row: Row) -> bool:
    teacher = timm.create_model(row.teacher.name, **row.teacher.arguments)
    return bool(statistics_layers(teacher))


def _with_deviation(value: float, deviation: float | None) -> str:
    return f"{value:.1f}" if deviation is None else f"{value:.1f} ± {deviation:.1f}"


@click.command()
def main() -> None:
    """Prints the table."""
    click.echo(table(KEPT))


if __name__ == "__main__":
    main()
