"""`cake-edge import-trtexec`: what trtexec measured on a board, as a result of `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cake_edge.cli.console import emit, table
from cake_edge.cli.options import examples, json_option, out_option, verbosity_options

__all__ = ["command"]


@click.command(
    "import-trtexec",
    epilog=examples(
        "cake-edge import-trtexec student.int8.tensorrt.trtexec "
        "--model student.int8.tensorrt.onnx --out orin.json",
        "cake-edge import-trtexec times.json trtexec.log --model student.fp32.onnx --out orin.json",
        "cake-edge report orin.json --accuracy runs/demo/report.json --out pages",
    ),
)
@click.argument(
    "runs", metavar="DIR|FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The ONNX file, or engine, that was timed; one for each run.",
)
@out_option("JSON file for the result, as of `bench --out`; a new one.")
@json_option
@verbosity_options
def command(runs: tuple[Path, ...], models: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Reads what trtexec exported and printed, for `report` and `compare`.

    Folders are a run each; files together are one run: --exportTimes, --exportProfile,
    --exportLayerInfo, and what it printed as .log or .txt. Without the times there are trtexec's
    own percentiles, and no samples to compare by. trtexec's latency is time on the GPU, not what a
    program waits for: the result says so, and `compare` holds it against other runs of trtexec.
    """
    from cake_edge.provenance import refuse_existing, write_json
    from exporters.trtexec import bench_from_trtexec

    refuse_existing(out)
    found = bench_from_trtexec(runs, models)
    write_json(out, found)
    rows = [{k: v for k, v in row.items() if k != "samples_ms"} for row in found["models"]]
    told = {**found, "models": rows}
    emit(told, as_json, lambda: _show(told, out))


def _show(found: dict[str, Any], out: Path) -> None:
    rows = []
    for row in found["models"]:
        latency, layers = row["latency_ms"], row["trtexec"]["layers"]
        calls = latency.get("n_samples")
        rows.append(
            (
                row["path"],
                str(latency["batch"]),
                *(f"{latency[name]:.3f}" for name in ("p50", "p90", "p95", "p99")),
                f"{latency['images_per_second']:,.0f}" if "images_per_second" in latency else "",
                f"{calls:,}" if calls else "not told",
                _layers(layers),
            )
        )
    header = ("model", "batch", "p50 ms", "p90", "p95", "p99", "images/s", "calls", "layers")
    click.echo(table(header, rows))
    runtime = found["environment"]["runtime"]
    where = [runtime["gpu"] or "a GPU that is not named"]
    where += [f"TensorRT {runtime['version']}"] if runtime["version"] else []
    click.echo(f"Measured by trtexec on {', '.join(where)}.")
    for clock in sorted({row["clock"] for row in found["models"]}):
        click.echo(f"Inside the clock: {clock}.")
    for warning in found["environment"]["warnings"]:
        click.echo(f"Note: {warning}")
    click.echo(f"The result is in {out}")


def _layers(layers: dict[str, Any] | None) -> str:
    if layers is None:
        return ""
    kinds = ", ".join(f"{count} in {kind}" for kind, count in layers["precisions"].items())
    moves = layers["reformats"]
    return f"{kinds}; {moves} move data" if moves else kinds
