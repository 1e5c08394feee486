"""`cake-edge quantize`: an ONNX model as INT8."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from cake_edge.cli.console import emit
from cake_edge.cli.export import about
from cake_edge.cli.options import examples, out_option, torch_device, work_options
from cake_edge.cli.quantize_options import (
    PRIOR_NAMES,
    quantize_config,
    quantize_options,
    targets_said,
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
    from exporters.report.schema import Quantize

    # Called several times; gives the same images each time.
    Images = Callable[[], Iterator[npt.NDArray[np.float32]]]

__all__ = ["command"]

BATCH = 32
"""Images handed over at once."""
DEFAULT_PRIOR = PRIOR_NAMES[0]
WIDTH = 96


@click.command(
    "quantize",
    epilog=targets_said()
    + "\n\n"
    + examples(
        "cake-edge quantize student.fp32.onnx --pool pool --out student.int8.onnx",
        "cake-edge quantize student.fp32.onnx --target tensorrt --out student.trt.onnx",
        "cake-edge quantize student.fp32.onnx --pool pool --effort full \\",
        "    --max-agreement-drop 1% --target-size 2MB --out student.int8.onnx",
    ),
)
@click.argument("model", metavar="MODEL.onnx", type=click.Path(path_type=Path))
@out_option("ONNX file to write; it must not exist.")
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    default="ort-x86",
    show_default=True,
    help="What the file is for; a line on each stands below.",
)
@click.option(
    "--pool",
    type=click.Path(path_type=Path),
    help="Pool to find ranges on; without it, structured images are made for the purpose.",
)
@quantize_options
@teacher_options(required=False)
@work_options()
def command(
    model: Path,
    out: Path,
    target: str,
    pool: Path | None,
    prior: str | None,
    settings: dict[str, Any],
    teacher: TeacherConfig | None,
    seed: int,
    device: str,
    threads: int,
    as_json: bool,
    **flags: Any,
) -> None:
    """Writes MODEL.onnx with 8-bit weights and activations, and says whether to ship it.

    No data is needed: ranges come from synthetic images, those of --pool, or structured ones made
    for the purpose, which --teacher pushes towards its classes. Every fourth is kept apart; on
    them INT8 is compared with float, and both are timed in turns where the target runs on this
    machine. A file that is slower, or over its budget, is not written.
    """
    if pool is not None and teacher is not None:
        raise click.UsageError("give one of the two: the images of --pool, or a --teacher")
    if pool is not None and prior is not None:
        raise click.UsageError("--prior says which images to make; with --pool none are made")
    config = quantize_config(flags, settings, prior=prior)
    refuse_existing(out)
    from exporters.quantize import quantize

    where = torch_device(device, threads)
    spec = _card(model).spec
    made, count = prior or DEFAULT_PRIOR, config.images
    with tempfile.TemporaryDirectory(prefix="cake-edge-") as folder:
        scratch = Path(folder)
        if pool is not None:
            images = _from_pool(pool, spec, count)
        elif teacher is not None:
            images = _from_teacher(teacher, spec, count, seed, where, made, scratch)
        else:
            images = _from_prior(spec, count, seed, made, scratch)
        report = quantize(model, out, images, target=target, config=config)
    result = {
        **report.to_dict(),
        **about(out, _card(out)),
        "float": {"path": str(model), "bytes": model.stat().st_size},
    }
    emit(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    """Prints what was made, what speaks for and against it, and which file to ship."""
    from exporters.report.int8 import int8_advice, int8_facts
    from exporters.report.words import size

    before = result["float"]
    share = result["bytes"] / before["bytes"]
    click.echo(
        f"{result['path']}: {result['precision'].upper()} for {result['target']}, "
        f"{size(result['bytes'])}, "
        f"{share:.0%} of {before['path']}"
    )
    facts = dict(int8_facts(cast("Quantize", result)))
    ship = facts.pop("Ship")
    for name, value in facts.items():
        click.echo(_wrapped(f"{name}: {value}"))
    for line in int8_advice(cast("Quantize", result)):
        click.echo(_wrapped(f"Note: {line}"))
    ship = ship.replace("the FP32 file", before["path"]).replace("this file", result["path"])
    click.echo(f"Ship {ship}")


def _wrapped(line: str) -> str:
    return textwrap.fill(
        line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )


def _card(path: Path) -> ModelCard:
    """What an ONNX file says of itself.

    Raises:
        ArtifactError: it is not one of ours.
    """
    from exporters.runtimes import read_card

    card = read_card(path)
    if card is None:
        raise ArtifactError(
            f"{path} carries no cake_edge metadata, so its input space is not known; "
            "give a file that export wrote"
        )
    return card


def _from_pool(path: Path, spec: ImageSpec, most: int) -> Images:
    from cake_edge.pipeline import pool_images
    from cake_edge.pool import open_pool

    pool = open_pool(path)
    pool.check()
    _require_same_space(f"the pool {path}", pool.spec, spec)
    return lambda: pool_images(pool, BATCH, most)


def _from_teacher(
    config: TeacherConfig,
    spec: ImageSpec,
    count: int,
    seed: int,
    device: torch.device,
    prior: str,
    scratch: Path,
) -> Images:
    from cake_edge.samplers import CakeConfig
    from cake_edge.teachers import load_teacher

    teacher = load_teacher(config, device=device, seed=seed)
    _require_same_space(f"the teacher {config.reference}", teacher.spec, spec)
    sampler = CakeConfig(prior=prior, images_per_shard=BATCH, batch=BATCH, stored="float32")
    maker = sampler.build(teacher, count=count, seed=seed)
    batches = (maker.shard(index).images.cpu().numpy() for index in range(-(-count // BATCH)))
    return _kept(batches, scratch)


def _from_prior(spec: ImageSpec, count: int, seed: int, prior: str, scratch: Path) -> Images:
    from cake_edge.priors import PRIORS
    from cake_edge.seeding import generator

    starts = range(0, count, BATCH)
    batches = (
        PRIORS[prior](min(BATCH, count - start), spec, generator(seed, "quantize", start)).numpy()
        for start in starts
    )
    return _kept(batches, scratch)


def _kept(batches: Iterable[npt.NDArray[np.float32]], scratch: Path) -> Images:
    """Keeps batches on disk: they are read several times, and hundreds of them fill a memory."""
    from safetensors.numpy import load_file, save_file

    files = []
    for place, batch in enumerate(batches):
        files.append(scratch / f"{place}.safetensors")
        save_file({"images": batch}, files[-1])
    return lambda: (load_file(file)["images"] for file in files)


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
