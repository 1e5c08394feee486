"""Options that several commands share, each worded once."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from cake_edge.cli.console import configure_logging
from cake_edge.errors import UsageMistake

if TYPE_CHECKING:
    import torch

__all__ = [
    "device_option",
    "examples",
    "json_option",
    "key_values",
    "out_option",
    "recipe_seed_option",
    "recipe_threads_option",
    "seed_option",
    "teacher_options",
    "threads_option",
    "torch_device",
    "verbosity_options",
    "workers_option",
]

F = TypeVar("F", bound=Callable[..., Any])


def examples(*lines: str) -> str:
    """Returns an epilog for `click.command` that shows real command lines."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def json_option(function: F) -> F:
    """--json, as the argument `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout."
    )(function)


def seed_option(function: F) -> F:
    """--seed, as the argument `seed`."""
    return click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Source of all randomness; equal seeds give equal bytes.",
    )(function)


def recipe_seed_option(function: F) -> F:
    """--seed, as the argument `seed`, which is None where the recipe's own seed holds."""
    return click.option(
        "--seed",
        type=click.IntRange(min=0),
        show_default="the recipe's",
        help="Source of all randomness; equal seeds give equal bytes.",
    )(function)


def device_option(function: F) -> F:
    """--device, as the argument `device`: a word for `torch_device`."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]",
        help="Where to compute; auto takes CUDA where there is one.",
    )(function)


def threads_option(function: F) -> F:
    """--threads, as the argument `threads`."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Processor threads for one computation; results are exact for one.",
    )(function)


def recipe_threads_option(function: F) -> F:
    """--threads, as the argument `threads`, which is None where the recipe's own number holds."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        show_default="the recipe's",
        help="Processor threads of training in this process, and of a model that is measured.",
    )(function)


def workers_option(function: F) -> F:
    """--workers, as the argument `workers`."""
    return click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=_cores,
        show_default="one a core",
        help="Processes that make images; their number does not change the images.",
    )(function)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def out_option(help_text: str) -> Callable[[F], F]:
    """--out, required, as the argument `out`."""
    return click.option("--out", required=True, type=click.Path(path_type=Path), help=help_text)


def verbosity_options(function: F) -> F:
    """-v, -q and --debug; they set up the log and give the command no argument."""

    def apply(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        level = logging.DEBUG if parameter.name == "verbose" else logging.WARNING
        if value:
            ctx.meta["cake_edge.level"] = level
        configure_logging(ctx.meta.get("cake_edge.level", logging.INFO))

    flag = functools.partial(click.option, is_flag=True, expose_value=False)
    function = flag("--debug", help="Show the traceback of an error.")(function)
    function = flag("-q", "--quiet", callback=apply, is_eager=True, help="Log warnings only.")(
        function
    )
    return flag("-v", "--verbose", callback=apply, is_eager=True, help="Log more.")(function)


def torch_device(name: str, threads: int) -> torch.device:
    """Sets torch's threads, and returns the device that `name` stands for.

    Raises:
        UsageMistake: the name is of another form.
        DeviceUnavailable: CUDA, or that card, is not there.
    """
    import torch

    from cake_edge.device import resolve_device

    torch.set_num_threads(threads)
    return resolve_device(name)


def key_values(
    ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, Any]:
    """A click callback: KEY=VALUE words as a dict; a value is read as TOML, or else as text."""
    found: dict[str, Any] = {}
    for word in given:
        key, separator, text = word.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{word!r} is not of the form KEY=VALUE", ctx, parameter)
        found[key.strip()] = _toml_value(text.strip())
    return found


def _toml_value(text: str) -> Any:
    from cake_edge.settings import parse_toml

    try:
        return parse_toml(f"value = {text}", text)["value"]
    except UsageMistake:
        return text


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


def _read_labels(
    ctx: click.Context, parameter: click.Parameter, path: Path | None
) -> tuple[str, ...] | None:
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{path} is not UTF-8 text", ctx, parameter) from error
    return tuple(line.strip() for line in lines if line.strip())


TEACHER_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--arch", metavar="NAME", help="timm architecture of a checkpoint that does not name it."
    ),
    click.option(
        "--arguments",
        multiple=True,
        metavar="KEY=VALUE",
        callback=key_values,
        help="Argument of timm.create_model; may be repeated.",
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
        "--mean", metavar="M,...", callback=_numbers(float), help="Mean of pixels in [0, 1]."
    ),
    click.option(
        "--std", metavar="S,...", callback=_numbers(float), help="Deviation of pixels in [0, 1]."
    ),
    click.option("--classes", type=click.IntRange(min=1), help="Number of classes."),
    click.option(
        "--labels",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=_read_labels,
        help="Class names, one a line, in logit order.",
    ),
    click.option("--preset", metavar="NAME", help="A known preprocessing, such as imagenet."),
)
TEACHER_FIELDS = {
    "arch": "arch",
    "arguments": "arguments",
    "match": "match",
    "random_weights": "random_weights",
    "input_size": "input_size",
    "mean": "mean",
    "std": "std",
    "classes": "classes",
    "labels": "labels",
    "preset": "preset",
}
"""Parameter of the command, and field of `TeacherConfig`."""


def teacher_options(*, required: bool = True) -> Callable[[F], F]:
    """--teacher and what goes with it, as the argument `teacher`: a TeacherConfig or None."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, teacher: str | None, **given: Any) -> Any:
            about = {field: given.pop(name) for name, field in TEACHER_FIELDS.items()}
            return function(*args, teacher=_teacher_config(teacher, about), **given)

        decorated: Any = wrapper
        for option in reversed(TEACHER_OPTIONS):
            decorated = option(decorated)
        option = click.option(
            "--teacher",
            required=required,
            metavar="REF",
            help="timm:NAME, a checkpoint file, package:MODULE/FILE, or embedded.",
        )
        return cast(F, option(decorated))

    return decorate


def _teacher_config(reference: str | None, about: Mapping[str, Any]) -> Any:
    said = {name: value for name, value in about.items() if value is not None}
    if reference is None:
        idle = {"match": "name", "arguments": {}, "random_weights": False}
        unused = [name for name, value in said.items() if idle.get(name) != value]
        if unused:
            words = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
            raise click.UsageError(f"{words}: given without a teacher; name one with --teacher")
        return None
    from cake_edge.teachers.config import TeacherConfig

    return TeacherConfig(reference=reference, **said)
