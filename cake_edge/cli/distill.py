"""`cake-edge distill`: a student trained on a pool."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.console import configure_logging, duration, emit, progress_sink
from cake_edge.cli.options import (
    examples,
    key_values,
    out_option,
    settings_option,
    torch_device,
    work_options,
)
from cake_edge.cli.teacher_options import teacher_options
from cake_edge.provenance import refuse_existing
from cake_edge.ranks import rank_here

if TYPE_CHECKING:
    from cake_edge.teachers.config import TeacherConfig

__all__ = ["command"]


@click.command(
    "distill",
    epilog=examples(
        "cake-edge distill --teacher embedded --student small-resnet --pool pool \\",
        "    --out student.safetensors",
        "cake-edge distill --teacher weights.safetensors --arch resnet18 --preset imagenet \\",
        "    --student mobilenetv3_small_050 --pool pool --set steps=2000 --out s.safetensors",
    ),
)
@teacher_options()
@click.option(
    "--student",
    required=True,
    metavar="NAME",
    help="tiny-resnet, small-resnet, medium-resnet, small-mobile, or any architecture of timm.",
)
@click.option(
    "--student-arguments",
    multiple=True,
    metavar="KEY=VALUE",
    callback=key_values,
    help="Argument of the student's timm.create_model; may be repeated.",
)
@click.option(
    "--inherit/--from-scratch",
    default=None,
    help="Start from a selection of the teacher's weights where both are of one family, "
    "or from random ones; left out: as --training says (cake inherits).",
)
@click.option(
    "--pool",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder that synthesize wrote, with the same teacher.",
)
@click.option(
    "--assistant",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Checkpoint that distill wrote, of a larger student of this teacher's: learn from it in "
    "the teacher's place.",
)
@click.option(
    "--training",
    default="cake",
    show_default=True,
    metavar="NAME",
    help="How to train: cake, or cake-paper for the published settings.",
)
@settings_option("A setting of the training, as in [distill] of a recipe; may be repeated.")
@out_option("Checkpoint to write, a new .safetensors file.")
@work_options(workers=True)
def command(
    teacher: TeacherConfig,
    student: str,
    student_arguments: dict[str, Any],
    inherit: bool | None,
    pool: Path,
    assistant: Path | None,
    training: str,
    settings: dict[str, Any],
    out: Path,
    seed: int,
    device: str,
    workers: int,
    threads: int,
    as_json: bool,
) -> None:
    """Trains a student to answer as the teacher does on a pool of synthetic images.

    An interrupted command goes on where it stopped when it is given again.
    Under torchrun or accelerate launch the processes train together (docs/scaling.md).
    """
    rank = rank_here()
    if not rank.first:
        configure_logging(logging.WARNING)
    if out.suffix.lower() != ".safetensors":
        raise click.UsageError(f"--out {out} must end in .safetensors: that is what is written")
    if rank.first and not out.is_file():
        # Of a file, distill itself finds out whether it is this very student.
        refuse_existing(out)
    from cake_edge.assistant import load_assistant
    from cake_edge.distill import distill_share
    from cake_edge.pool import open_pool
    from cake_edge.recipe import distill_settings
    from cake_edge.students import StudentConfig
    from cake_edge.teachers import load_teacher

    chosen = {} if inherit is None else {"inherit": inherit}
    config = distill_settings({"preset": training, **chosen, **settings}, "--set ")
    small = StudentConfig(name=student, arguments=student_arguments)
    network = load_teacher(teacher, device=torch_device(rank.device(device), threads), seed=seed)
    images = open_pool(pool, teacher_digest=network.digest)
    middle = load_assistant(assistant, network) if assistant is not None else None
    with progress_sink() as progress:
        result = distill_share(
            network,
            small,
            images,
            config,
            out,
            rank=rank,
            seed=seed,
            assistant=middle,
            workers=rank.workers(workers) - 1,  # this process trains, the others make views
            progress=progress,
        )
    if result is None:  # the first rank tells of it
        return

    def text() -> None:
        click.echo(f"{result.architecture}, {result.parameters} weights, in {out}")
        short = f" of at most {config.steps}" if result.steps < config.steps else ""
        took = duration(result.seconds)
        click.echo(f"{result.steps} steps{short}, {result.views} views, {took}")
        if result.matching:
            even, near = (result.matching[f"distance_{how}"] for how in ("even", "matched"))
            click.echo(
                "images are drawn by what the teacher's batch norms remember: they are "
                f"{near:.3g} from it, and would be {even:.3g} if drawn alike (0: the same)"
            )
        click.echo(f"agrees with the teacher on {result.agreement_synthetic:.1f} % of fresh images")
        for family, value in result.agreement_families.items():
            click.echo(f"and on {value:.1f} % of a family that it was never shown, {family}")

    emit(result.to_dict(), as_json, text)
