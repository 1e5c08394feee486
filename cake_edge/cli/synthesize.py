"""`cake-edge synthesize`: a pool of synthetic images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.console import configure_logging, emit, progress_sink
from cake_edge.cli.options import (
    examples,
    out_option,
    settings_option,
    torch_device,
    work_options,
)
from cake_edge.cli.teacher_options import teacher_options
from cake_edge.provenance import refuse_existing
from cake_edge.ranks import rank_here

if TYPE_CHECKING:
    from cake_edge.precision import Precision
    from cake_edge.teachers.config import TeacherConfig

__all__ = ["command"]


@click.command(
    "synthesize",
    epilog=examples(
        "cake-edge synthesize --teacher embedded --count 9600 --out pool",
        "cake-edge synthesize --teacher timm:resnet18 --input-size 3,64,64 --count 960 --out pool",
        "cake-edge synthesize --teacher weights.safetensors --arch resnet18 --preset imagenet \\",
        "    --sampler cake-paper --set steps=64 --set batch=100 --count 1000 --out pool",
    ),
)
@teacher_options()
@click.option(
    "--sampler",
    default="cake",
    show_default=True,
    metavar="NAME",
    help="How images are made: cake, cake-paper, lake, deep-inversion, data-impressions, cmi, gdfq "
    "or forward-only; docs/samplers.md says what each needs.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="bfloat16: faster on CUDA and on some processors with AVX512-BF16, slower on others. "
    "cake-paper always computes in bfloat16, as released.",
)
@click.option("--count", type=click.IntRange(min=1), required=True, help="Images in the pool.")
@settings_option(
    "A setting of the sampler, as in [synthesis.settings] of a recipe; may be repeated."
)
@out_option("Folder of the pool: a new one, or one that the same command has begun.")
@work_options(workers=True)
def command(
    teacher: TeacherConfig,
    sampler: str,
    precision: Precision,
    count: int,
    settings: dict[str, Any],
    out: Path,
    seed: int,
    device: str,
    workers: int,
    threads: int,
    as_json: bool,
) -> None:
    """Makes a pool of synthetic images from a teacher alone.

    No data is read, unless the sampler's prior names a folder or a photo of yours. An interrupted
    command goes on where it stopped when it is given again. Under torchrun or accelerate launch
    each process makes a part (docs/scaling.md).
    """
    rank = rank_here()
    if rank.alone and not (out / "pool.json").exists():
        refuse_existing(out, folder=True)  # of several ranks, another may be writing it just now
    if not rank.first:
        configure_logging(logging.WARNING)
    from cake_edge.pool import synthesize_share
    from cake_edge.samplers import sampler_settings
    from cake_edge.teachers import load_teacher

    config = sampler_settings(sampler, settings, "--set ")
    network = load_teacher(teacher, device=torch_device(rank.device(device), threads), seed=seed)
    with progress_sink() as progress:
        pool = synthesize_share(
            network,
            config,
            out,
            rank=rank,
            count=count,
            seed=seed,
            precision=precision,
            workers=rank.workers(workers),
            progress=progress,
        )
    if pool is None:  # the first rank tells of it
        return
    summary = pool.summary()

    def text() -> None:
        hit = summary["hit_rate"]
        click.echo(f"{summary['images']} images in {out}")
        click.echo(f"classes covered     {summary['classes_covered']} of {pool.spec.classes}")
        click.echo(f"teacher confidence  {summary['teacher_confidence']:.3f}")
        if hit is not None:
            click.echo(f"pushed              {summary['pushed']}, {hit:.1%} reach their class")
        layers = summary["statistics_layers"]
        if layers is not None:
            of = f"matched in {layers} layers" if layers else "none: the teacher remembers none"
            click.echo(f"statistics          {of}")

    emit({"pool": str(out), "digest": pool.digest, **summary}, as_json, text)
