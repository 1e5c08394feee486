"""Options of `cake-edge bench`, and what they amount to.

Each group of options is a decorator; `bench_options` puts them together and gives the command one
`BenchOptions` in their place. A new option is a field of `BenchOptions` and one entry here of the
same name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cake_edge.cli.options import seed_option
from cake_edge.errors import UsageMistake, near_names

if TYPE_CHECKING:
    from exporters.latency.inputs import Brought

__all__ = ["INPUTS", "SECTIONS", "bench_options", "find_input", "input_option"]

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]
RUNTIMES = ("ort", "tensorrt")
INPUTS = ("random", "zeros", "pixels")
LARGEST_BATCH = 64


class Numbers(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Whole numbers of 1 or more, parted by commas."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Returns them in the order given."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(word) for word in str(value).split(","))
        except ValueError:
            numbers = ()
        if not numbers or min(numbers) < 1:
            self.fail(f"{value!r} is not a number of 1 or more, or several as in 1,2,4", param, ctx)
        if len(set(numbers)) < len(numbers):
            self.fail(f"{value!r} names a number twice", param, ctx)
        return numbers


def _known_provider(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Reads it once, so that a mistake ends before anything is started."""
    from exporters.runtimes import parse_provider

    return str(parse_provider(value))


def input_option(function: F) -> F:
    """--input, as the argument `input`: a word for `find_input`."""
    return click.option(
        "--input",
        default=INPUTS[0],
        metavar="random|zeros|pixels|NPZ|FOLDER",
        show_default=True,
        help="What the model is shown: random values, zeros, random pixels normalised as its card "
        "says; or images of yours, which nothing but the clock gets to see.",
    )(function)


def find_input(word: str) -> tuple[str, Brought | None]:
    """What --input stands for: its name in a result, and where images come from that are a file's.

    Raises:
        UsageMistake: it is neither a known word nor there.
        DatasetError: it holds no images.
    """
    if word in INPUTS:
        return word, None
    path = Path(word)
    if not path.exists():
        raise UsageMistake(
            f"no input {word!r}{near_names(word, INPUTS)}; allowed: {', '.join(INPUTS)}, an npz "
            "file that exists, or a folder of images"
        )
    from cake_edge.timing_images import open_timing_images

    found = open_timing_images(path)
    return found.name, found.take


SETTINGS: tuple[Decorator[Any], ...] = (
    click.option(
        "--runtime",
        type=click.Choice(RUNTIMES),
        default="ort",
        show_default=True,
        help="ONNX Runtime; or TensorRT, on the GPU.",
    ),
    input_option,
    click.option(
        "--provider",
        default="cpu",
        metavar="NAME[,OPTION=VALUE...]",
        show_default=True,
        callback=_known_provider,
        help="What ONNX Runtime computes with, as `cake-edge doctor` lists it: cpu, cuda, "
        "tensorrt, openvino, xnnpack, acl, qnn, coreml, dml. One that does not take every node "
        "fails the row.",
    ),
    click.option(
        "--allow-fallback",
        is_flag=True,
        help="Time it even where the provider leaves nodes to another; the JSON counts them.",
    ),
    click.option(
        "--device-input",
        is_flag=True,
        help="Keep the input in the GPU's memory: the clock then holds no copy to or from it.",
    ),
    click.option(
        "--spinning",
        is_flag=True,
        help="Let ONNX Runtime's waiting threads burn their core; for machines with nothing else.",
    ),
    click.option(
        "--affinity",
        metavar="CPUS",
        help='Processors of ONNX Runtime\'s threads but the first, from 1, as "2;3-4".',
    ),
    click.option(
        "--threads",
        type=Numbers(),
        metavar="N[,N...]",
        default="1",
        show_default=True,
        help="Processor threads for one inference; each number is a row.",
    ),
    click.option(
        "--batch",
        type=Numbers(),
        metavar="N[,N...]",
        default="1",
        show_default=True,
        help="Images a call; each number is a row.",
    ),
    click.option(
        "--sweep-batch",
        is_flag=True,
        help="Batch 1, 2, 4, ... until two steps running gain less than 5 % of images a second.",
    ),
    click.option(
        "--max-batch",
        type=click.IntRange(min=1),
        metavar="N",
        default=LARGEST_BATCH,
        show_default=True,
        help="Where --sweep-batch ends at the latest.",
    ),
)
"""What is measured."""

MANNER: tuple[Decorator[Any], ...] = (
    click.option(
        "--seconds",
        type=click.FloatRange(min=0, min_open=True, max=3600),
        metavar="SECONDS",
        default=3.0,
        show_default=True,
        help="Least time for each row, warm-up aside; 100 calls at least.",
    ),
    click.option(
        "--interleave/--no-interleave",
        default=True,
        show_default=True,
        help="Let models take turns, so that noise hits all alike and speed-ups are paired; or "
        "measure one after the other, each alone in memory.",
    ),
    click.option(
        "--cold",
        "cold_runs",
        type=click.IntRange(min=0, max=1000),
        default=0,
        metavar="N",
        help="Also start N fresh processes a row, and time them to their first answer.",
    ),
    click.option(
        "--energy",
        "energy_seconds",
        type=click.FloatRange(min=0, max=3600),
        metavar="SECONDS",
        default=10.0,
        show_default=True,
        help="For each row's energy, where the device has power sensors; 0 leaves it out.",
    ),
    click.option(
        "--force",
        is_flag=True,
        help="Time files made for another machine too, though it says nothing of that machine.",
    ),
    seed_option,
)
"""How it is measured."""

LIMITS: tuple[Decorator[Any], ...] = (
    click.option(
        "--timeout",
        "timeout_seconds",
        type=click.FloatRange(min=0, min_open=True, max=86400),
        metavar="SECONDS",
        show_default="120; 3660 where engines are built",
        help="Give a model up that is silent for longer; the others go on.",
    ),
    click.option(
        "--memory-limit",
        "memory_limit_mib",
        type=click.IntRange(min=64),
        metavar="MIB",
        help="Address space each model's process may use; Linux and macOS.",
    ),
)
"""What a model may take."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "Most used": ("batch", "threads", "seconds", "out", "host", "as_json", "dry_run"),
    "What is measured": ("sweep_batch", "max_batch", "cold_runs", "energy_seconds", "input"),
    "What computes": (
        *("runtime", "provider", "allow_fallback", "device_input", "spinning", "affinity"),
    ),
    "How": ("interleave", "timeout_seconds", "memory_limit_mib", "force", "resume", "strict"),
    "On another machine, with --host": ("python", "ssh_config"),
}
"""How the help of `bench` puts its options; what is not here comes last."""


def bench_options(function: F) -> F:
    """All of the above, as the argument `options`."""
    options = (*SETTINGS, *MANNER, *LIMITS)
    names = _names(options)

    @functools.wraps(function)
    def command(**given: Any) -> Any:
        from exporters.remote import BenchOptions

        chosen = {name: given.pop(name) for name in names}
        return function(options=BenchOptions(**chosen), **given)

    found: Any = command
    for option in reversed(options):
        found = option(found)
    return found  # type: ignore[no-any-return]


def _names(options: Sequence[Decorator[Any]]) -> list[str]:
    """The arguments that options give a command."""

    def nothing() -> None: ...

    carrier: Any = nothing
    for option in options:
        carrier = option(carrier)
    return [parameter.name for parameter in carrier.__click_params__]
