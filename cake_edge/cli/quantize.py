"""`cake-edge quantize`: an ONNX model as INT8."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.console import emit
from cake_edge.cli.export import about
from cake_edge.cli.options import (
    device_option,
    examples,
    json_option,
    key_values,
    out_option,
    seed_option,
    threads_option,
    torch_device,
    verbosity_options,
)
from cake_edge.cli.teacher_options import teacher_options
from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.provenance import refuse_existing
from exporters.quantize import TARGETS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from cake_edge.spec import ImageSpec
    from cake_edge.teachers.config import TeacherConfig
    from exporters.artifact import ModelCard

    # Called several times; gives the same images each time.
    Images = Callable[[], Iterator[npt.NDArray[np.float32]]]

__all__ = ["command"]

BATCH = 32
"""Images handed over at once."""


@click.command(
    "quantize",
    epilog=examples(
        "cake-edge quantize student.fp32.onnx --pool pool --out student.int8.onnx",
        "cake-edge quantize student.fp32.onnx --target ort-x86 --out student.int8.onnx",
        "cake-edge quantize student.fp32.onnx --teacher embedded --set images=256 \\",
        "    --set max_agreement_drop=0.02 --out student.int8.onnx",
    ),
)
@click.argument("model", metavar="MODEL.onnx", type=click.Path(path_type=Path))
@click.option(
    "--pool",
    type=click.Path(path_type=Path),
    help="Pool to find ranges on; without it, structured images are made for the purpose.",
)
@teacher_options(required=False)
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    default="ort-x86",
    show_default=True,
    help="What the file is for.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    callback=key_values,
    help="A setting of the quantizer, as in [quantize] of a recipe; may be repeated.",
)
@out_option("ONNX file to write; it must not exist.")
@seed_option
@device_option
@threads_option
@json_option
@verbosity_options
def command(
    model: Path,
    pool: Path | None,
    teacher: TeacherConfig | None,
    target: str,
    settings: dict[str, Any],
    out: Path,
    seed: int,
    device: str,
    threads: int,
    as_json: bool,
) -> None:
    """Writes MODEL.onnx with 8-bit weights and activations; ranges come from synthetic images.

    The images are those of --pool; or structured ones made for the purpose, which --teacher
    pushes towards its classes. No data is read.
    """
    if pool is not None and teacher is not None:
        raise click.UsageError("give one of the two: the images of --pool, or a --teacher")
    refuse_existing(out)
    from cake_edge.settings import settings_from_dict
    from exporters.quantize import QuantizeConfig, quantize

    config = settings_from_dict(QuantizeConfig, settings, "--set ")
    where = torch_device(device, threads)
    spec = _card(model).spec
    if pool is not None:
        images = _from_pool(pool, spec, config.images)
    elif teacher is not None:
        images = _from_teacher(teacher, spec, config.images, seed, where)
    else:
        images = _from_prior(spec, config.images, seed)
    report = quantize(model, out, images, target=target, config=config)

    def text() -> None:
        same, share = report.parity.top1_agreement, report.bytes / model.stat().st_size
        click.echo(f"{out}: {report.bytes / 1e6:.2f} MB, {share:.0%} of {model.name}")
        click.echo(
            f"names the class of the float model on {same:.1%} of {report.checked_images} images "
            f"kept apart; ranges from {report.calibration_images} others"
        )

    emit({**report.to_dict(), **about(out, _card(out))}, as_json, text)


def _card(path: Path) -> ModelCard:
    """What an ONNX file says of itself.

    Raises:
        ArtifactError: it is not one of ours.
    """
    from exporters.runtimes import open_session

    with open_session(path) as session:
        if session.card is None:
            raise ArtifactError(
                f"{path} carries no cake_edge metadata, so its input space is not known; "
                "give a file that export wrote"
            )
        return session.card


def _from_pool(path: Path, spec: ImageSpec, most: int) -> Images:
    from cake_edge.pipeline import pool_images
    from cake_edge.pool import open_pool

    pool = open_pool(path)
    _require_same_space(f"the pool {path}", pool.spec, spec)
    return lambda: pool_images(pool, BATCH, most)


def _from_teacher(
    config: TeacherConfig, spec: ImageSpec, count: int, seed: int, device: torch.device
) -> Images:
    from cake_edge.samplers import CakeConfig
    from cake_edge.teachers import load_teacher

    teacher = load_teacher(config, device=device, seed=seed)
    _require_same_space(f"the teacher {config.reference}", teacher.spec, spec)
    sampler = CakeConfig(images_per_shard=BATCH, batch=BATCH, half=False)
    maker = sampler.build(teacher, count=count, seed=seed)
    shards = [maker.shard(index).images.cpu().numpy() for index in range(-(-count // BATCH))]
    return lambda: iter(shards)


def _from_prior(spec: ImageSpec, count: int, seed: int) -> Images:
    from cake_edge.priors import structured
    from cake_edge.seeding import generator

    drawn = structured(count, spec, generator(seed, "quantize"))
    return lambda: (part.numpy() for part in drawn.split(BATCH))


def _require_same_space(what: str, found: ImageSpec, wanted: ImageSpec) -> None:
    """Ranges hold for the space they were found in.

    Raises:
        UsageMistake: the images of `what` are of another shape or normalisation.
    """
    for name in ("input_size", "mean", "std"):
        if getattr(found, name) != getattr(wanted, name):
            raise UsageMistake(
                f"{what} has {name} {list(getattr(found, name))}, the model "
                f"{list(getattr(wanted, name))}; give images of the model's own input space"
            )
