"""--teacher and what goes with it: the same words wherever a teacher is asked for."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from cake_edge.cli.options import key_values

if TYPE_CHECKING:
    from cake_edge.teachers.config import TeacherConfig

__all__ = ["teacher_options"]

F = TypeVar("F", bound=Callable[..., Any])

LONGEST_LABELS = 16 << 20
"""Bytes; ImageNet's 21843 names have half a million."""


def _numbers(kind: type[int] | type[float], count: int | None = None) -> Callable[..., Any]:
    """A click callback: comma-separated numbers as a tuple."""

    def parse(ctx: click.Context, parameter: click.Parameter, given: str | None) -> Any:
        if given is None:
            return None
        try:
            values = tuple(kind(part) for part in given.split(","))
        except ValueError as error:
            word = "whole numbers" if kind is int else "numbers"
            raise click.BadParameter(f"{given!r} is not {word} with commas", ctx, parameter) from (
                error
            )
        if count is not None and len(values) != count:
            raise click.BadParameter(
                f"{given!r} has {len(values)} values, not {count}", ctx, parameter
            )
        return values

    return parse


def _words(
    ctx: click.Context, parameter: click.Parameter, given: str | None
) -> tuple[str, ...] | None:
    """A click callback: words with commas as a tuple; a name with a comma stands in quotes."""
    if given is None:
        return None
    return tuple(word.strip() for word in next(csv.reader([given], skipinitialspace=True), []))


def _read_labels(
    ctx: click.Context, parameter: click.Parameter, path: Path | None
) -> tuple[str, ...] | None:
    if path is None:
        return None
    if not path.is_file() or path.stat().st_size > LONGEST_LABELS:
        raise click.BadParameter(
            f"{path} is no text of at most {LONGEST_LABELS >> 20} MiB with one class name a line",
            ctx,
            parameter,
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{path} is not UTF-8 text", ctx, parameter) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise click.BadParameter(f"{path} is empty; it has one class name a line", ctx, parameter)
    return names


TEACHER_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--arch",
        metavar="NAME",
        help="timm architecture, or MODULE:FACTORY, of a checkpoint that does not name it.",
    ),
    click.option(
        "--arguments",
        multiple=True,
        metavar="KEY=VALUE",
        callback=key_values,
        help="Argument of timm.create_model or of the factory; may be repeated.",
    ),
    click.option(
        "--match",
        type=click.Choice(["name", "order"]),
        default="name",
        show_default=True,
        help="How tensors of a checkpoint find their place.",
    ),
    click.option("--random-weights", is_flag=True, help="Leave timm's random weights, seeded."),
    click.option(
        "--input-size",
        metavar="C,H,W",
        callback=_numbers(int, 3),
        help="Channels, height and width of the input.",
    ),
    click.option(
        "--mean", metavar="M,...", callback=_numbers(float), help="Mean of pixels in --value-range."
    ),
    click.option(
        "--std",
        metavar="S,...",
        callback=_numbers(float),
        help="Deviation of pixels in --value-range.",
    ),
    click.option(
        "--value-range",
        metavar="LOW,HIGH",
        callback=_numbers(float, 2),
        help="What black and white become before mean and std apply.  [default: 0,1]",
    ),
    click.option(
        "--colour", type=click.Choice(["rgb", "bgr"]), help="Order of the channels.  [default: rgb]"
    ),
    click.option(
        "--num-classes", type=click.IntRange(min=1), help="Number of classes of the file."
    ),
    click.option(
        "--classes",
        metavar="A,B,...",
        callback=_words,
        help="Keep only these classes, by name or index, in this order.",
    ),
    click.option(
        "--other", is_flag=True, help="With --classes: one more class for all that are left out."
    ),
    click.option(
        "--head",
        type=click.Choice(["softmax", "sigmoid"]),
        help="What logits mean: one class an image, or any number of labels.",
    ),
    click.option(
        "--labels",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=_read_labels,
        help="Class names, one a line, in logit order.",
    ),
    click.option("--preset", metavar="NAME", help="A known preprocessing, such as imagenet."),
)
ALSO = click.option(
    "--also",
    multiple=True,
    metavar="REF",
    help="Another teacher of the same classes, described by the same options, to average with; "
    "may be repeated.",
)
# As the commands' parameters are named, so are the fields of TeacherConfig.
NAMES = (
    "arch",
    "arguments",
    "match",
    "random_weights",
    "input_size",
    "mean",
    "std",
    "value_range",
    "colour",
    "num_classes",
    "classes",
    "other",
    "head",
    "labels",
    "preset",
)
SILENT: tuple[Any, ...] = (None, "name", {}, False)
"""What the options hold when nobody has given them."""


def teacher_options(*, required: bool = True, positional: bool = False) -> Callable[[F], F]:
    """--teacher and what goes with it, as the argument `teacher`: a TeacherConfig or None.

    A command about nothing but a teacher takes the reference as its one `positional` word.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapper(
            *args: Any, teacher: str | None, also: tuple[str, ...] = (), **given: Any
        ) -> Any:
            about = {name: given.pop(name) for name in NAMES}
            return function(*args, teacher=_teacher_config(teacher, also, about), **given)

        decorated: Any = wrapper
        for option in reversed(TEACHER_OPTIONS):
            decorated = option(decorated)
        if positional:
            return cast(F, click.argument("teacher", metavar="REF")(decorated))
        option = click.option(
            "--teacher",
            required=required,
            metavar="REF",
            help="timm:NAME, hf-hub:NAME, a file, package:MODULE/FILE, MODULE:FACTORY, embedded.",
        )
        return cast(F, option(ALSO(decorated)))

    return decorate


def _teacher_config(
    reference: str | None, also: tuple[str, ...], about: Mapping[str, Any]
) -> TeacherConfig | None:
    if reference is not None:
        from cake_edge.teachers.config import TeacherConfig

        others = tuple(TeacherConfig(reference=other, **about) for other in also)
        return TeacherConfig(reference=reference, **about, also=others)
    said = [f"--{name.replace('_', '-')}" for name in NAMES if about[name] not in SILENT]
    said += ["--also"] if also else []
    if said:
        raise click.UsageError(
            f"{', '.join(said)}: given without a teacher; name one with --teacher"
        )
    return None
