"""Runtimes: opens a model file where it is to run. Needs neither torch, timm nor onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cake_edge.errors import UsageMistake, near_names
from exporters.artifact import ModelCard
from exporters.runtimes.base import Session
from exporters.runtimes.ort import OrtSession
from exporters.runtimes.providers import PROVIDERS, ProviderChoice, parse_provider
from exporters.runtimes.tuning import SHARED, OrtTuning

if TYPE_CHECKING:
    from exporters.quantize.dialect import Dialect
    from exporters.quantize.weight_only import WeightOnly

__all__ = [
    "PROVIDERS",
    "RUNTIMES",
    "OrtSession",
    "OrtTuning",
    "ProviderChoice",
    "Session",
    "open_for_accuracy",
    "open_session",
    "parse_provider",
    "read_card",
    "why_not_here",
]


def _open_tensorrt(path: Path, **options: Any) -> Session:
    # Read when it is asked for: most machines have no use for it.
    from exporters.runtimes.trt import open_tensorrt

    return open_tensorrt(path, **options)


RUNTIMES: dict[str, Callable[..., Session]] = {
    "ort": OrtSession,
    "tensorrt": _open_tensorrt,
}
UNSET: dict[str, Any] = {
    "provider": "cpu",
    "provider_options": {},
    "allow_fallback": False,
    "tuning": SHARED,
}
"""ONNX Runtime's own settings where nothing is said of them."""


def open_session(
    path: Path,
    *,
    runtime: str = "ort",
    threads: int = 1,
    fixed_batch: int | None = None,
    optimise: bool = True,
    provider: str = "cpu",
    provider_options: Mapping[str, str] | None = None,
    allow_fallback: bool = False,
    tuning: OrtTuning = SHARED,
) -> Session:
    """Opens `path` on a runtime named in `RUNTIMES`.

    Args:
        threads: processor threads one inference may use.
        fixed_batch: the only batch size that will be asked for; lets the runtime plan for it.
        optimise: False computes the graph as it is written: an INT8 file in float, with its
            values rounded, whatever this machine would make of it.
        provider: what ONNX Runtime computes with, a name in `PROVIDERS`.
        provider_options: what is said to it, in ONNX Runtime's words.
        allow_fallback: whether another may compute what the provider does not take; without it
            that is an error, as the time would be that of something else.
        tuning: how ONNX Runtime's threads wait, and where they run.

    Raises:
        UsageMistake: no such runtime or provider, a number below 1, or a setting of ONNX Runtime
            for another runtime.
        RuntimeUnavailable: the runtime is not installed; or the provider is not there, or did not
            take all nodes.
        ArtifactError: the file is missing or is not a model.
    """
    if runtime not in RUNTIMES:
        raise UsageMistake(
            f"no runtime {runtime!r}{near_names(runtime, RUNTIMES)}; "
            f"allowed: {', '.join(sorted(RUNTIMES))}"
        )
    settings: dict[str, Any] = {
        "provider": provider,
        "provider_options": dict(provider_options or {}),
        "allow_fallback": allow_fallback,
        "tuning": tuning,
    }
    if runtime != "ort":
        if settings != UNSET:
            raise UsageMistake(
                f"providers and the tuning of threads are ONNX Runtime's, and runtime is "
                f"{runtime!r}; leave them out, or take the runtime 'ort'"
            )
        settings = {}
    return RUNTIMES[runtime](
        path, threads=threads, fixed_batch=fixed_batch, optimise=optimise, **settings
    )


def open_for_accuracy(path: Path, *, threads: int = 1) -> Session:
    """Opens `path` to measure its answers: as it is deployed, if its target runs here.

    A file for another target is computed as it is written, in float with its values rounded:
    fused by the runtime at hand, its answers would be neither the target's nor exact.

    Raises:
        ArtifactError: the file is missing or is not a model.
    """
    session = open_session(path, threads=threads, optimise=False)
    if why_not_here(session.card) is not None:
        return session
    return open_session(path, threads=threads)


def read_card(path: Path) -> ModelCard | None:
    """Returns what a model file says of itself, or None where it is not one of ours.

    Raises:
        ArtifactError: the file is missing or is not a model.
    """
    with open_session(path, optimise=False) as session:
        return session.card


def why_not_here(
    card: ModelCard | None, runtime: str | None = None, provider: str = "cpu"
) -> str | None:
    """Returns why a file is not for this machine and runtime as it was meant; None where it is.

    A float file, and one that says nothing of itself, runs wherever a runtime opens it.

    Args:
        runtime: a name in `RUNTIMES`; None stands for what measures and evaluates where nothing is
            chosen, ONNX Runtime on the processor.
        provider: ONNX Runtime's provider; "tensorrt" is what a file for TensorRT was meant for.
    """
    # The quantizer measures with this package, and is imported after it.
    from exporters.quantize import TARGETS
    from exporters.quantize.gate import runs_here

    if card is None or card.target == "any":
        return None
    if card.target not in TARGETS:
        return f"made for {card.target!r}, a target that this version does not know"
    target = TARGETS[card.target]
    if runtime is None:
        here = runs_here(target)
    elif not _is_for(target, runtime, provider):
        asked = runtime if provider == "cpu" else f"{runtime} with {provider}"
        return f"made for {card.target}, which is not what {asked} runs"
    else:
        # Whether there is the GPU of an engine, opening it tells.
        here = target.runtime != "ort" or runs_here(target)
    return None if here else f"made for {card.target}, which does not run on this machine"


def _is_for(target: Dialect | WeightOnly, runtime: str, provider: str) -> bool:
    if runtime == "ort" and provider == "tensorrt":
        return target.runtime == "tensorrt" or target.processor == "any"
    on_processor = runtime != "ort" or PROVIDERS[provider].on_processor
    return target.runtime == runtime and (on_processor or target.processor == "any")
