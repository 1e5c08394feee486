"""`cake-edge inspect`: what is understood of a teacher, before anything is made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.console import emit, table
from cake_edge.cli.options import (
    examples,
    json_option,
    seed_option,
    threads_option,
    torch_device,
    verbosity_options,
)
from cake_edge.cli.teacher_options import teacher_options

if TYPE_CHECKING:
    from cake_edge.teachers.anatomy import Gradient
    from cake_edge.teachers.config import TeacherConfig
    from cake_edge.teachers.inspection import Inspection
    from cake_edge.teachers.plausibility import Plausibility

__all__ = ["command"]

SHOWN = 3
"""Class names and renamed tensors that are shown, beside the last."""
FEW = 0.5
"""Share of the input below which too little of it has a gradient."""
WIDTH = 20
"""Columns that the names of values take."""

Rows = list[tuple[str, str]]


@click.command(
    "inspect",
    epilog=examples(
        "cake-edge inspect embedded",
        "cake-edge inspect model.onnx --preset imagenet",
        "cake-edge inspect weights.pth --arch resnet18 --json",
    ),
)
@teacher_options(positional=True)
@click.option(
    "--check/--no-check",
    default=True,
    show_default=True,
    help="Compare the usual preprocessings on made-up images.",
)
@seed_option
@threads_option
@json_option
@verbosity_options
def command(teacher: TeacherConfig, check: bool, seed: int, threads: int, as_json: bool) -> None:
    """Says what is understood of the teacher REF, and what can be made from it.

    REF is what --teacher of other commands takes, with the same options beside it. No data is
    read: the preprocessing is judged on images of nothing in particular.
    """
    from cake_edge.teachers.inspection import inspect_reference

    torch_device("cpu", threads)
    found = inspect_reference(teacher, seed=seed, check=check)
    emit(found.to_dict(), as_json, lambda: _show(found))


def _show(found: Inspection) -> None:
    groups = {
        "Teacher": _teacher(found),
        "Input": _input(found),
        "Output": _output(found),
        "Network": _network(found),
        "Weights": _weights(found),
        "Samplers": [(fit.name, _sampler(fit.fits, fit.said)) for fit in found.samplers],
    }
    for title, rows in groups.items():
        if rows:
            click.echo(title)
            for name, said in rows:
                click.echo(f"  {name:<{WIDTH}} {said}".rstrip())
            click.echo()
    if found.check is not None:
        _show_check(found.check)


def _teacher(found: Inspection) -> Rows:
    from exporters.report.words import size

    rows = [("kind", found.kind), ("source", found.source), ("architecture", found.architecture)]
    if found.file is not None:
        rows.append(("file", f"{found.file['name']}, {size(found.file['bytes'])}"))
        rows.append(("sha256", found.file["sha256"]))
    if found.arguments and "sha256" not in found.arguments:
        rows.append(("arguments", ", ".join(f"{k}={v!r}" for k, v in found.arguments.items())))
    return rows


def _input(found: Inspection) -> Rows:
    spec, who = found.spec, found.origins
    channels, height, width = spec["input_size"]
    colour = spec.get("colour", "rgb") if channels == 3 else "none" if channels == 1 else "other"
    rows = [("size", _by(f"{channels} x {height} x {width}", who.get("input size")))]
    if found.value_range is None:
        rows.append(("mean, std", who["mean and std"]))
    else:
        both = f"{_numbers(spec['mean'])} and {_numbers(spec['std'])}"
        rows.append(("mean, std", _by(both, who.get("mean and std"))))
        low, high = found.value_range
        rows.append(("pixels", f"black is {low:.4g}, white {high:.4g}"))
    rows.append(("colour", colour))
    if found.batch is not None:
        rows.append(("batch", f"{found.batch} at a time; more are shown one part after another"))
    return rows


def _output(found: Inspection) -> Rows:
    spec, who = found.spec, found.origins
    labels = spec["labels"]
    meaning = {
        "softmax": "softmax: one class an image",
        "sigmoid": "sigmoid: any number of labels an image",
    }[spec.get("head", "softmax")]
    rows = [("classes", _by(str(spec["classes"]), who.get("classes")))]
    names = "not known" if labels is None else _by(_some(labels), who.get("labels"))
    rows.append(("labels", names))
    rows.append(("logits mean", _by(meaning, who.get("head"))))
    return rows


def _network(found: Inspection) -> Rows:
    macs = "not counted: nothing in it that torch's counter knows"
    if found.macs is not None:
        macs = f"{found.macs:,} multiply-adds an image"
    norms = [
        f"{norm.count} {norm.kind} {'with' if norm.running_statistics else 'without'} statistics"
        for norm in found.norms
    ]
    known = {"classes", "input size", "mean and std", "labels", "head"}
    return [
        ("parameters", f"{found.parameters:,}"),
        ("work", macs),
        (
            "normalisation",
            ", ".join(norms) or "none left: folded into other layers, or never there",
        ),
        ("gradients", _reach(found.gradient)),
        *(("around it", said) for said in found.adapters),
        *((name, said) for name, said in found.origins.items() if name not in known),
    ]


def _reach(gradient: Gradient) -> str:
    if not gradient.reached:
        return "NONE reach the input: it is saturated, or rounds on the way"
    if not gradient.finite:
        return "NOT FINITE at the input"
    said = (
        f"reach {gradient.share:.0%} of the input, {gradient.reached} of {gradient.images} images"
    )
    return said if gradient.share > FEW else f"{said}; the rest is saturated, or not looked at"


def _weights(found: Inspection) -> Rows:
    if found.matched is None:
        return []
    renamed = [pair for pair in found.matched if pair[0] != pair[1]]
    rows = [("matched", f"{len(found.matched)} tensors, {len(renamed)} of them under other names")]
    shown = renamed[:SHOWN] + renamed[-1:] if len(renamed) > SHOWN else renamed
    rows += [("", f"{theirs} -> {ours}") for theirs, ours in shown]
    if found.left_out:
        rows.append(("left out", f"{len(found.left_out)}: {_some(found.left_out)}"))
    return rows


def _show_check(check: Plausibility) -> None:
    click.echo(f"Preprocessing: what {check.images} made-up images tell, the likeliest first")
    rows = [
        (
            f"{row.name}{' (used)' if row.stated else ''}",
            f"{row.score:.2f}",
            f"{row.confidence:.2f}",
            str(row.decisions),
        )
        for row in check.rows
    ]
    for line in table(("", "information", "confidence", "classes"), rows).splitlines():
        click.echo(f"  {line}")
    if check.telling:
        click.echo("  Scores that are near one another say nothing; none sees the colour order.")
    else:
        click.echo("  It has too few classes for these scores to say anything.")
    if check.warning is not None:
        click.echo(f"  WARNING: {check.warning}")


def _by(said: str, origin: str | None) -> str:
    return f"{said}  ({origin})" if origin else said


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in dict.fromkeys(values))


def _some(names: Any) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown}, ..., {names[-1]}" if len(names) > SHOWN + 1 else ", ".join(names)


def _sampler(fits: bool, said: str) -> str:
    return f"{'fits' if fits else 'does not fit'}{f': {said}' if said else ''}"
