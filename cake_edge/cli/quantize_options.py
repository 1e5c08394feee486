"""What `cake-edge quantize` can be asked for, and how it becomes a configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cake_edge.cli.options import settings_option
from exporters.quantize import TARGETS

if TYPE_CHECKING:
    from exporters.quantize import QuantizeConfig

__all__ = ["NOISE", "PRIOR_NAMES", "quantize_config", "quantize_options", "targets_said"]

F = TypeVar("F", bound=Callable[..., Any])

PRIOR_NAMES = (
    "structured", "broad", "shapes", "leaves", "spectrum", "gratings", "random-network", "gaussian",
)  # fmt: skip
"""Those of `cake_edge.priors.PRIORS`, which loads torch."""
NOISE = "gaussian"

FLAGS = {
    "max_agreement_drop": "--max-agreement-drop",
    "effort": "--effort",
    "weight_bits": "--weight-bits",
    "target_bytes": "--target-size",
    "when_slower": "--keep-slower",
    "allow_noise": "--allow-noise",
}
"""By setting of the quantizer, the flag that sets it."""

MEANINGS = {
    "ort-x86": "ONNX Runtime on x86 with VNNI (`cake-edge doctor` says)",
    "ort-x86-novnni": "ONNX Runtime on x86 without VNNI; weights of 7 bits",
    "ort-arm": "ONNX Runtime on 64-bit ARM",
    "tensorrt": "NVIDIA TensorRT 8.6 to 10; float layers as the builder picks",
    "tensorrt-fp16": "NVIDIA TensorRT 11, strongly typed; float layers in float16",
    "ort-w8": "ONNX Runtime; 8-bit weights of transformers, the rest float",
    "ort-w4": "ONNX Runtime; 4-bit weights of transformers, the rest float",
}
UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2}


def _size(ctx: click.Context, parameter: click.Parameter, given: str | None) -> int | None:
    """A click callback: 800kB, 2MB, 1.5MiB, or bytes alone, as bytes."""
    if given is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", given)
    if found is None or found[2].lower() not in UNITS:
        raise click.BadParameter(
            f"{given!r} is not a size such as 800kB, 2MB or 1.5MiB", ctx, parameter
        )
    return round(float(found[1]) * UNITS[found[2].lower()])


def _share(ctx: click.Context, parameter: click.Parameter, given: str | None) -> float | None:
    """A click callback: 0.01, or 1%, as a share."""
    if given is None:
        return None
    text = given.strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise click.BadParameter(
            f"{given!r} is not a share of all images, such as 0.01 or 1%", ctx, parameter
        )
    return share


def _bits(ctx: click.Context, parameter: click.Parameter, given: str | None) -> int | None:
    return int(given) if given is not None else None


def quantize_options(function: F) -> F:
    """The flags of `FLAGS`, --prior and --set, as the arguments `flags`, `prior`, `settings`.

    A flag that is not given is None, so that it can be told from one given its default.
    """
    for option in reversed(OPTIONS):
        function = option(function)
    return function


OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--max-agreement-drop",
        metavar="SHARE",
        callback=_share,
        help="Largest share of images that INT8 may class otherwise than float, such as 1%. The "
        "layers that hurt most stay in float until it holds; where it cannot, nothing is written.",
    ),
    click.option(
        "--effort",
        type=click.Choice(["fast", "full"]),
        help="fast, the default, takes seconds. full also tries every rewrite of the network and "
        "better rounding of its weights: minutes, and nearer to float.",
    ),
    click.option(
        "--weight-bits",
        type=click.Choice(["8", "4"]),
        callback=_bits,
        help="8, the default; or 4, which halves the file again: smaller, not faster.",
    ),
    click.option(
        "--target-size",
        "target_bytes",
        metavar="SIZE",
        callback=_size,
        help="Largest size of the file, such as 800kB or 2MB: weights go to 4 bits, those that "
        "hurt least first, until it fits.",
    ),
    click.option(
        "--keep-slower",
        "when_slower",
        flag_value="keep",
        help="Write the file even if it is slower than MODEL.onnx here; else it is refused.",
    ),
    click.option(
        "--prior",
        type=click.Choice(PRIOR_NAMES),
        help="Which images are made where there is no --pool; structured, a mixture, by default. "
        "gaussian is white noise, and costs accuracy.",
    ),
    click.option(
        "--allow-noise",
        is_flag=True,
        default=None,
        help="Take a --pool of pure noise too; else it is refused.",
    ),
    settings_option(
        "Any other setting, as in [quantize] of a recipe (images, latency_seconds, …); may "
        "be repeated."
    ),
)


def quantize_config(
    flags: Mapping[str, Any], settings: Mapping[str, Any], *, prior: str | None
) -> QuantizeConfig:
    """Returns the configuration that flags and --set ask for together.

    Args:
        flags: by setting, what its flag was given; None where it was not.
        prior: the one asked for by name; noise asked for by name is allowed.

    Raises:
        UsageError: a setting is given both ways.
        UsageMistake: an unknown setting, or a value that does not fit.
    """
    from cake_edge.settings import settings_from_dict
    from exporters.quantize import QuantizeConfig

    given = {name: value for name, value in flags.items() if value is not None}
    for name in given:
        if name in settings:
            raise click.UsageError(f"give {FLAGS[name]} or --set {name}, not both")
    # A person at the command line means a faster file; a recipe goes on and reports.
    values = {"when_slower": "refuse", **given, **settings}
    if prior == NOISE:
        values.setdefault("allow_noise", True)
    return settings_from_dict(QuantizeConfig, values, "--set ")


def targets_said() -> str:
    """Returns the targets with a line each, for the end of a command's help."""
    width = max(map(len, TARGETS)) + 2
    lines = (f"  {name:<{width}}{MEANINGS.get(name, '')}" for name in TARGETS)
    return "\b\nTargets:\n" + "\n".join(lines)
