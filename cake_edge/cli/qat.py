"""`cake-edge qat`: a network fine-tuned for few bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.console import duration, emit, progress_sink
from cake_edge.cli.options import (
    examples,
    out_option,
    settings_option,
    torch_device,
    work_options,
)
from cake_edge.cli.teacher_options import teacher_options
from cake_edge.errors import UsageMistake
from cake_edge.provenance import refuse_existing, sha256_file
from cake_edge.ranks import refuse_ranks

if TYPE_CHECKING:
    from cake_edge.qat.config import QatConfig
    from cake_edge.teachers.config import TeacherConfig

__all__ = ["command"]

CHECKED = 64
"""Images on which an ONNX file is held against torch."""
COSINE = 0.999
"""Of the two sets of logits; a lost bias or a wrong step is far below."""


@click.command(
    "qat",
    epilog=examples(
        "cake-edge qat student.safetensors --weight-bits 4 --activation-bits 4 \\",
        "    --out student.w4a4.safetensors",
        "cake-edge qat --teacher embedded --pool pool --out t.w4a4.safetensors \\",
        "    --onnx t.w4a4.onnx --set steps=2000",
    ),
)
@click.argument("checkpoint", metavar="[CKPT]", required=False, type=click.Path(path_type=Path))
@teacher_options(required=False)
@click.option(
    "--weight-bits",
    type=click.IntRange(2, 8),
    show_default="4",
    help="Of every weighted layer but the first and the last, which have 8 (edge_bits).",
)
@click.option(
    "--activation-bits", type=click.IntRange(2, 8), show_default="4", help="Of their inputs."
)
@click.option(
    "--source",
    type=click.Choice(["pool", "generator", "both"]),
    show_default="pool where one is given, or else generator",
    help="Where images come from: a pool, a generator that is trained beside the network, or both.",
)
@click.option(
    "--pool",
    type=click.Path(path_type=Path),
    help="Folder that synthesize wrote, with the same network as its teacher.",
)
@settings_option("A setting of the fine-tuning, such as steps or learning_rate; may be repeated.")
@out_option("File to write, a new .safetensors file.")
@click.option(
    "--onnx",
    type=click.Path(path_type=Path),
    help="ONNX file to write as well, with QuantizeLinear pairs; it must not exist.",
)
@work_options()
def command(
    checkpoint: Path | None,
    teacher: TeacherConfig | None,
    pool: Path | None,
    settings: dict[str, Any],
    out: Path,
    onnx: Path | None,
    seed: int,
    device: str,
    threads: int,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Fine-tunes CKPT, or the network of --teacher, so that it bears few bits; no data is read.

    It learns to answer as its float original does on synthetic images. The file holds whole
    numbers. An interrupted command goes on where it stopped when it is given again.
    """
    if (checkpoint is None) == (teacher is None):
        raise click.UsageError("give one of the two: a checkpoint CKPT, or --teacher REF")
    if out.suffix.lower() != ".safetensors":
        raise click.UsageError(f"--out {out} must end in .safetensors: that is what is written")
    if not out.is_file():  # of a file, the stage itself finds out whether it is of this plan
        refuse_existing(out)
    refuse_ranks("qat")
    if onnx is not None:
        refuse_existing(onnx)
    from cake_edge.pool import open_pool
    from cake_edge.qat.stage import write_low_bit
    from cake_edge.teachers import load_teacher
    from cake_edge.teachers.config import TeacherConfig

    config = _config(settings, chosen, pool)
    reference = teacher or TeacherConfig(reference=str(checkpoint))
    network = load_teacher(reference, device=torch_device(device, threads), seed=seed)
    images = open_pool(pool, teacher_digest=network.digest) if pool is not None else None
    with progress_sink() as progress:
        report = write_low_bit(network, config, out, seed=seed, pool=images, progress=progress)
    if onnx is not None:
        _write_onnx(out, onnx)
        report["onnx"] = str(onnx)

    def text() -> None:
        bits = f"W{config.weight_bits}A{config.activation_bits}"
        spent = "" if report["seconds"] is None else f", {duration(report['seconds'])}"
        click.echo(f"{out}: {bits}, {out.stat().st_size / 1e6:.2f} MB")
        click.echo(f"{config.steps} steps on images of {config.source}{spent}")
        same, share = "names the class of the float network", "% of"
        if network.spec.head == "sigmoid":
            same, share = "decides as the float network", "% of all labels of"
        click.echo(
            f"{same} on {report['agreement_after']:.1f} {share} synthetic images kept apart; "
            f"{report['agreement_before']:.1f} % before training"
        )
        for name, reason in report["left_float"].items():
            click.echo(f"left in float: {name}, {reason}")

    emit({"path": str(out), "sha256": sha256_file(out), **report}, as_json, text)


def _config(settings: dict[str, Any], chosen: dict[str, Any], pool: Path | None) -> QatConfig:
    from cake_edge.qat.config import QatConfig
    from cake_edge.settings import settings_from_dict

    given = {name: value for name, value in chosen.items() if value is not None}
    twice = sorted(given.keys() & settings.keys())
    if twice:
        raise UsageMistake(
            f"{twice[0]} is given twice: by --{twice[0].replace('_', '-')} and by --set; "
            "leave one of them out"
        )
    values = {"source": "pool" if pool is not None else "generator", **settings, **given}
    return settings_from_dict(QatConfig, values, "--set ")


def _write_onnx(path: Path, onnx_path: Path) -> None:
    """Writes what qat wrote to `path` as ONNX.

    Raises:
        GateFailed: ONNX Runtime answers otherwise than torch.
    """
    import torch

    from cake_edge.networks import parameter_count
    from cake_edge.priors import structured
    from cake_edge.provenance import atomic_path
    from cake_edge.qat.checkpoint import load_qat
    from cake_edge.qat.onnx_form import onnx_form
    from cake_edge.seeding import generator
    from exporters.artifact import ModelCard, attach_card
    from exporters.onnx_export import onnx_from_torch
    from exporters.parity import compare, require
    from exporters.runtimes.ort import OrtSession

    network, header = load_qat(path)
    card = ModelCard(
        architecture=header.architecture,
        spec=header.spec,
        role="student",
        parent=sha256_file(path),
        precision="int8",
        parameters=parameter_count(network),
        manifest={key: header.manifest[key] for key in ("config", "seed", "teacher", "pool")},
    )
    model = onnx_from_torch(onnx_form(network), card)
    attach_card(model, card)
    images = structured(CHECKED, card.spec, generator(0, "qat onnx"))
    with torch.no_grad():
        wanted = network(images).numpy()
    with atomic_path(onnx_path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        with OrtSession(temporary) as session:
            # Not to the last digit: a value half way between two levels may fall to either.
            given = session.infer(images.numpy())
            require(compare(wanted, given), what=f"{onnx_path} against torch", min_cosine=COSINE)
