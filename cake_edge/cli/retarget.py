"""`cake-edge retarget`: an INT8 file for another target."""

from __future__ import annotations

from pathlib import Path

import click

from cake_edge.cli.console import emit
from cake_edge.cli.options import examples, json_option, out_option, verbosity_options
from cake_edge.provenance import refuse_existing, sha256_file
from exporters.quantize import TARGETS, Dialect

__all__ = ["command"]


@click.command(
    "retarget",
    epilog=examples(
        "cake-edge retarget student.int8.onnx --target tensorrt --out student.trt.onnx",
        "cake-edge retarget student.trt.onnx --target ort-arm --out student.arm.onnx --json",
    ),
)
@click.argument("model", metavar="MODEL.onnx", type=click.Path(path_type=Path))
@click.option(
    "--target",
    required=True,
    type=click.Choice([name for name, one in TARGETS.items() if isinstance(one, Dialect)]),
    help="What the new file is for.",
)
@out_option("ONNX file to write; it must not exist.")
@json_option
@verbosity_options
def command(model: Path, target: str, out: Path, as_json: bool) -> None:
    """Writes the INT8 file MODEL.onnx for another target, without images and without its float.

    Weights keep their integers where the target has room for them. Ranges are those that quantize
    stored in the file for every target; of a file from elsewhere, what its scales cover.
    """
    refuse_existing(out)
    from exporters.quantize.retarget import retarget

    report = retarget(model, out, target=target)

    def text() -> None:
        covered = report.coverage
        integer, floating = (sum(covered[kind].values()) for kind in ("int8", "float"))
        click.echo(f"{out}: {report.bytes / 1e6:.2f} MB, from {report.source_target} to {target}")
        click.echo(
            f"{integer} of {integer + floating} operators with weights ask for INT8; "
            f"{report.kept_weights} weights keep their integers"
        )
        if report.rounded_weights:
            click.echo(
                f"{len(report.rounded_weights)} weights had to be rounded again, which costs "
                "accuracy; quantizing the float model for the target costs less"
            )
        if report.ranges == "scales":
            click.echo("the file holds no range table, so ranges are what its scales cover")

    emit({**report.to_dict(), "sha256": sha256_file(out)}, as_json, text)
