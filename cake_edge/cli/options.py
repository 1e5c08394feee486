"""Options that several commands share, each worded once."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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
    "settings_option",
    "threads_option",
    "torch_device",
    "verbosity_options",
    "work_options",
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
        help="Processes that make images, or views of them; their number does not change them.",
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


def work_options(*, workers: bool = False, recipe: bool = False) -> Callable[[F], F]:
    """What every command takes that computes for long: seed, device, threads, --json and the log.

    Args:
        workers: it spreads its work over processes, and takes --workers too.
        recipe: what is not given of seed and threads is the recipe's.
    """
    seed, threads = (
        (recipe_seed_option, recipe_threads_option) if recipe else (seed_option, threads_option)
    )

    def decorate(function: F) -> F:
        function = threads(json_option(verbosity_options(function)))
        function = workers_option(function) if workers else function
        return seed(device_option(function))

    return decorate


def settings_option(help_text: str) -> Callable[[F], F]:
    """--set, which may be repeated, as the dict `settings`."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        callback=key_values,
        help=help_text,
    )


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
