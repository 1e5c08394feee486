"""The demo with other seeds, and with parts of the method left out: results/demo_variants.json.

    python -m benchmarks.demo_variants --out runs/variants

One seed an ablation; three of the demo as it is. Every run is trained for the same number of views.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import click
import torch

from benchmarks.results_files import RESULTS, write_results
from cake_edge.pipeline import demo_recipe, run_recipe
from cake_edge.recipe import Recipe
from cake_edge.samplers import CakeConfig

__all__ = ["variants"]


def variants() -> dict[str, Recipe]:
    """The runs by name: the demo's seeds first, then what is left out of seed 0."""
    base = demo_recipe()
    settings = base.synthesis.settings
    assert isinstance(settings, CakeConfig)

    def synthesis(**changes: Any) -> Recipe:
        changed = dataclasses.replace(settings, **changes)
        return dataclasses.replace(
            base, synthesis=dataclasses.replace(base.synthesis, settings=changed)
        )

    return {
        "demo, seed 0": base,
        "demo, seed 1": dataclasses.replace(base, seed=1),
        "demo, seed 2": dataclasses.replace(base, seed=2),
        "nothing pushed: the balanced prior alone": synthesis(pushed_share=0.0),
        "student from random weights": dataclasses.replace(
            base, distill=dataclasses.replace(base.distill, inherit=False)
        ),
    }


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        f"{m['role']} {m['precision']}": {"top1": m["top1"], "agreement": m["agreement"]}
        for m in report["models"]
    }
    return {
        **found,
        "agreement_synthetic": report["distill"]["agreement_synthetic"],
    }


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs.")
@click.option("--workers", default=2, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS / "demo_variants.json")
def main(out: Path, workers: int, results: Path) -> None:
    """Runs every variant; runs that are finished in --out are not run again."""
    torch.set_num_threads(1)
    measured: dict[str, Any] = {}
    for number, (name, recipe) in enumerate(variants().items()):
        report = run_recipe(recipe, out / f"{number}", device=torch.device("cpu"), workers=workers)
        measured[name] = _figures(report)
        top1 = measured[name]["student fp32"]["top1"]
        click.echo(f"{top1:5.1f} % {name}")
        seeds = [value["student int8"]["top1"] for key, value in measured.items() if "seed" in key]
        summary = {
            "int8_top1_mean": mean(seeds),
            "int8_top1_standard_deviation": stdev(seeds) if len(seeds) > 1 else None,
            "seeds": len(seeds),
        }
        command = ["python", "-m", "benchmarks.demo_variants", "--out", out.name]
        write_results(results, command, {"summary": summary, "variants": measured})


if __name__ == "__main__":
    main()
