"""`cake-edge lint`: what a target will not take of a model, and what mends it."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.console import emit
from cake_edge.cli.options import examples, json_option, verbosity_options
from exporters.quantize import TARGETS

if TYPE_CHECKING:
    from exporters.lint import Finding
    from exporters.tensorrt import CompileResult

__all__ = ["command"]

WIDTH = 96
INDENT = " " * 10
FAMILY = "tensorrt"


@click.command(
    "lint",
    epilog=examples(
        "cake-edge lint student.int8.onnx --target ort-x86",
        "cake-edge lint student.int8.onnx --target tensorrt --compile",
        "cake-edge lint vendor.onnx --target tensorrt --json",
    ),
)
@click.argument("model", metavar="MODEL.onnx", type=click.Path(path_type=Path))
@click.option(
    "--target",
    required=True,
    type=click.Choice(list(TARGETS)),
    help="What the file is to run on.",
)
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Let NVIDIA's compiler parse and build it too; for TensorRT, and needs no GPU.",
)
@click.option(
    "--compute-capability",
    default="8.7",
    show_default=True,
    metavar="MAJOR.MINOR",
    help="The GPU that --compile builds for; 8.7 is Jetson Orin.",
)
@json_option
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    target: str,
    compiled: bool,
    compute_capability: str,
    as_json: bool,
) -> None:
    """Says what a target will refuse of MODEL.onnx, leave in float, or run slowly, and why.

    Each finding names its nodes and the command that mends it. Nothing is changed. The exit code
    is 1 where the target would refuse the file, and 0 where it would not.
    """
    if compiled and not target.startswith(FAMILY):
        raise click.UsageError(
            f"--compile asks NVIDIA's compiler, which does not build for {target}; "
            "leave it out, or give --target tensorrt"
        )
    from exporters.lint import lint

    findings = lint(model, target)
    result = _compile(model, compute_capability) if compiled else None

    def text() -> None:
        for finding in findings:
            _tell(finding)
        if result is not None:
            _tell_compiled(result, compute_capability)
        click.echo(f"{model} for {target}: {_summary(findings)}")

    refused = sum(finding.severity == "rejected" for finding in findings)
    value: dict[str, Any] = {
        "path": str(model),
        "target": target,
        "rejected": refused,
        "findings": [finding.to_dict() for finding in findings],
        "compile": result.to_dict() if result is not None else None,
    }
    emit(value, as_json, text)
    if refused or (result is not None and not result.ok):
        ctx.exit(1)


def _compile(model: Path, compute_capability: str) -> CompileResult:
    from exporters.tensorrt import compile_onnx

    return compile_onnx(model, compute_capability=compute_capability)


def _tell(finding: Finding) -> None:
    more = finding.count - len(finding.nodes)
    where = ", ".join(finding.nodes) + (f" and {more} more" if more else "")
    click.echo(f"{finding.severity:<10}{finding.rule}: {where}")
    click.echo(_wrapped(finding.reason))
    # Not wrapped: a command is copied.
    click.echo(f"{INDENT}mend: {finding.remedy}\n")


def _tell_compiled(result: CompileResult, asked: str) -> None:
    who = f"{result.module} {result.version}".strip()
    if not result.ok:
        click.echo(f"{'compiler':<10}{who} ended at stage {result.stage}:")
        for message in result.messages:
            click.echo(_wrapped(message))
    else:
        place = f"compute capability {result.compute_capability}"
        if result.compute_capability != asked:
            place += f", the nearest it has to {asked}"
        click.echo(
            f"{'compiler':<10}{who} built {result.engine_bytes / 1e6:.2f} MB in "
            f"{result.seconds:.1f} s for {place}"
        )
        if result.coverage is not None:
            click.echo(_wrapped(_counted(result.coverage)))
    for warning in result.warnings:
        click.echo(_wrapped(f"warning: {warning}"))
    click.echo()


def _counted(coverage: Any) -> str:
    integer, floating = (sum(coverage[kind].values()) for kind in ("int8", "float"))
    return f"{integer} of {integer + floating} convolutions and matrix products are INT8 in it"


def _summary(findings: tuple[Finding, ...]) -> str:
    counted = Counter(finding.severity for finding in findings)
    return ", ".join(f"{number} {kind}" for kind, number in counted.items()) or "nothing to say"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
