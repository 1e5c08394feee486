"""`cake-edge export`: a checkpoint, or a teacher, as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.console import emit
from cake_edge.cli.options import (
    examples,
    json_option,
    out_option,
    seed_option,
    threads_option,
    torch_device,
    verbosity_options,
)
from cake_edge.cli.teacher_options import teacher_options
from cake_edge.provenance import refuse_existing, sha256_file

if TYPE_CHECKING:
    from cake_edge.teachers.config import TeacherConfig
    from exporters.artifact import ModelCard

__all__ = ["command"]


@click.command(
    "export",
    epilog=examples(
        "cake-edge export student.safetensors --out student.fp32.onnx",
        "cake-edge export --teacher embedded --out teacher.fp32.onnx",
        "cake-edge export --teacher weights.safetensors --arch resnet18 --preset imagenet \\",
        "    --labels classes.txt --out teacher.fp32.onnx",
    ),
)
@click.argument("checkpoint", metavar="[CKPT]", required=False, type=click.Path(path_type=Path))
@teacher_options(required=False)
@out_option("ONNX file to write; it must not exist.")
@seed_option
@threads_option
@json_option
@verbosity_options
def command(
    checkpoint: Path | None,
    teacher: TeacherConfig | None,
    out: Path,
    seed: int,
    threads: int,
    as_json: bool,
) -> None:
    """Writes CKPT, a checkpoint of distill, or the network of --teacher as ONNX.

    The graph takes a batch of any size, unless the teacher's own file fixes it. Before the file
    gets its name it is run against torch.
    """
    if (checkpoint is None) == (teacher is None):
        raise click.UsageError("give one of the two: a checkpoint CKPT, or --teacher REF")
    refuse_existing(out)
    # The exporter works on the processor, and so does the run that checks its file.
    torch_device("cpu", threads)
    if checkpoint is not None:
        card = _export_checkpoint(checkpoint, out)
    else:
        assert teacher is not None
        card = _export_teacher(teacher, seed, out)

    def text() -> None:
        click.echo(f"{card.role} {card.architecture}, {card.parameters} weights")
        click.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB")

    emit(about(out, card), as_json, text)


def about(path: Path, card: ModelCard) -> dict[str, Any]:
    """Returns what a report says of a model file before anything is measured of it."""
    return {
        "role": card.role,
        "architecture": card.architecture,
        "precision": card.precision,
        "target": card.target,
        "path": str(path),
        "bytes": path.stat().st_size,
        "parameters": card.parameters,
        "sha256": sha256_file(path),
    }


def _export_checkpoint(path: Path, out: Path) -> ModelCard:
    from cake_edge.checkpoint import load_checkpoint
    from cake_edge.networks import parameter_count
    from cake_edge.teachers.weights_file import refuse_non_finite
    from exporters.artifact import ModelCard
    from exporters.onnx_export import export_onnx

    network, header = load_checkpoint(path)
    refuse_non_finite(network.state_dict(), str(path))
    card = ModelCard(
        architecture=header.architecture,
        spec=header.spec,
        role="student",
        parent=sha256_file(path),
        parameters=parameter_count(network),
    )
    return export_onnx(network, out, card)


def _export_teacher(config: TeacherConfig, seed: int, out: Path) -> ModelCard:
    import torch

    from cake_edge.teachers import load_teacher
    from cake_edge.teachers.adapters import fixed_batch
    from exporters.artifact import ModelCard
    from exporters.onnx_export import export_teacher

    teacher = load_teacher(config, device=torch.device("cpu"), seed=seed)
    card = ModelCard(
        architecture=teacher.architecture,
        spec=teacher.spec,
        role="teacher",
        parent=teacher.digest,
        parameters=teacher.parameters_total,
    )
    return export_teacher(teacher.network, out, card, batch=fixed_batch(teacher.network))
