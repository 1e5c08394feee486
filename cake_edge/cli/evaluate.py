"""`cake-edge evaluate`: accuracy and agreement on real images, through the deployed runtime."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.console import emit, progress_sink, table
from cake_edge.cli.options import examples, json_option, threads_option, verbosity_options
from cake_edge.errors import ArtifactError, UsageMistake

if TYPE_CHECKING:
    from cake_edge.evaluate import Evaluation, Infer
    from cake_edge.spec import ImageSpec
    from exporters.artifact import ModelCard
    from exporters.runtimes.base import Session

__all__ = ["command"]


@click.command(
    "evaluate",
    epilog=examples(
        "cake-edge evaluate runs/demo/artifacts/student.int8.ort-x86.onnx --data photos",
        "cake-edge evaluate student.int8.ort-x86.onnx --against student.fp32.onnx \\",
        "    --data test.npz --limit 500 --json",
    ),
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Image folder (a folder a class, named by its index, or by classes.txt), "
    "or an npz with `images` uint8 [N,H,W(,C)] and `labels`.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="Another ONNX file with the same input; how often both give the same class is reported.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Images a call.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), help="Use that many images, evenly spread over all."
)
@threads_option
@json_option
@verbosity_options
def command(
    model: Path,
    data: Path,
    against: Path | None,
    batch: int,
    limit: int | None,
    threads: int,
    as_json: bool,
) -> None:
    """Measures an ONNX file that cake-edge wrote on real, labelled images.

    Top-1, top-5 and agreement are in percent; interval95 is Wilson's interval of top-1. A file
    whose target does not run on this machine is computed in float with its values rounded, which
    is what its INT8 arithmetic stands for; the result says so.

    A model of some of another's classes is shown images labelled by the other's numbering, and is
    compared with the other in the classes that it has. Of a model whose labels do not exclude each
    other, top-1 says how often the highest logit is the label's, and agreement how many decisions,
    a label in an image each, are the same.
    """
    from cake_edge.evaluate import evaluate_many, open_dataset
    from exporters.runtimes import open_for_accuracy

    paths = [model] if against is None or against == model else [model, against]
    with ExitStack() as stack:
        sessions = {
            path: stack.enter_context(open_for_accuracy(path, threads=threads)) for path in paths
        }
        cards = {path: _card(path, session.card) for path, session in sessions.items()}
        _same_input(cards)
        spec = _common_classes(cards)
        dataset = open_dataset(data, spec).limited(limit)
        with progress_sink() as progress:
            found = evaluate_many(
                {
                    str(path): _answers(session, cards[path].spec, spec)
                    for path, session in sessions.items()
                },
                dataset,
                reference=str(against) if against is not None else None,
                batch=batch,
                progress=progress,
            )
    rows = [_row(path, cards[path], found[str(path)]) for path in paths]
    result = {"data": str(data), **rows[0]}
    if against is not None:
        result["against"] = rows[-1]
    emit(result, as_json, lambda: click.echo(_text(rows)))


def _card(path: Path, card: ModelCard | None) -> ModelCard:
    if card is None:
        raise ArtifactError(
            f"{path} does not say how its input is normalised: it has no cake_edge metadata. "
            "Evaluate a file that `cake-edge export` or `cake-edge quantize` wrote"
        )
    return card


def _same_input(cards: dict[Path, ModelCard]) -> None:
    """Refuses models that cannot be shown the same images."""
    first, *others = cards.items()
    for name in ("input_size", "mean", "std", "colour", "crop", "interpolation", "head"):
        mine = getattr(first[1].spec, name)
        for path, card in others:
            theirs = getattr(card.spec, name)
            if mine != theirs:
                raise UsageMistake(
                    f"{path} has {name} {theirs} and {first[0]} has {mine}; "
                    "--against compares models that take the same images"
                )


def _common_classes(cards: dict[Path, ModelCard]) -> ImageSpec:
    """Returns the spec of the model with the fewest classes, which every other must have."""
    path, card = min(
        cards.items(), key=lambda one: (one[1].spec.classes, one[1].spec.source_classes is None)
    )
    chosen = card.spec.source_classes
    for other, each in cards.items():
        whole, classes = each.spec.source_classes is None, each.spec.classes
        if each.spec.source_classes == chosen and classes == card.spec.classes:
            continue
        if chosen is None or not whole or classes <= max(chosen):
            raise UsageMistake(
                f"{other} tells {_said_classes(each.spec)} apart and {path} "
                f"{_said_classes(card.spec)}; --against compares models of the same classes, or "
                "one with another that some of its classes were selected from"
            )
    return card.spec


def _said_classes(spec: ImageSpec) -> str:
    if spec.source_classes is None:
        return f"{spec.classes} classes"
    return f"the classes {', '.join(map(str, spec.source_classes))} of a selection"


def _answers(session: Session, own: ImageSpec, wanted: ImageSpec) -> Infer:
    """The session's logits, of the classes of `wanted` alone."""
    from cake_edge.selection import own_logits

    chosen = wanted.source_classes
    if chosen is None or own.source_classes is not None:
        return session.infer
    return lambda images: own_logits(session.infer(images), chosen)


def _row(path: Path, card: ModelCard, evaluation: Evaluation) -> dict[str, Any]:
    from exporters.runtimes import why_not_here

    why = why_not_here(card)
    return {
        "path": str(path),
        "role": card.role,
        "precision": card.precision,
        "target": card.target,
        "bytes": path.stat().st_size,
        "parameters": card.parameters,
        "emulated": why is not None,
        "why_emulated": why,
        **evaluation.to_dict(),
    }


def _text(rows: list[dict[str, Any]]) -> str:
    header = ("model", "precision", "top-1 %", "95 % interval", "top-5 %", "agreement %", "images")
    cells = [
        (
            row["path"],
            row["precision"],
            f"{row['top1']:.2f}",
            f"{row['interval95'][0]:.2f} to {row['interval95'][1]:.2f}",
            f"{row['top5']:.2f}",
            "" if row["agreement"] is None else f"{row['agreement']:.2f}",
            str(row["n"]),
        )
        for row in rows
    ]
    lines = [table(header, cells)]
    lines += [
        f"Note: {row['path']} was {row['why_emulated']}: computed in float, its values rounded."
        for row in rows
        if row["emulated"]
    ]
    return "\n".join(lines)
