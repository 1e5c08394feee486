"""An engine from an ONNX file: built in a child process, kept in a cache, told of in a manifest."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cake_edge.errors import ArtifactError, DeviceUnavailable, UsageMistake
from cake_edge.provenance import atomic_path, refuse_existing, sha256_file
from exporters.artifact import METADATA_KEY
from exporters.tensorrt.cache import cache_key, default_cache, find_engine, new_engine, put_copy
from exporters.tensorrt.child import ask_child
from exporters.tensorrt.compiler import CHILD, refuse_unusable
from exporters.tensorrt.config import EngineConfig
from exporters.tensorrt.manifest import Manifest, manifest_path, write_manifest
from exporters.tensorrt.onnx_header import OnnxHeader, read_header
from exporters.tensorrt.probe import Probe, probe_tensorrt

__all__ = ["EngineReport", "cached_engine", "engine_from_onnx"]

logger = logging.getLogger(__name__)

TOLD = 3  # of the reasons for a refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """An engine, and how it came about."""

    path: Path
    """The engine; its manifest lies beside it."""
    manifest: Manifest
    """What it was made from and for."""
    cached: bool
    """Whether it had been built before."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"path": str(self.path), "cached": self.cached, **self.manifest.to_dict()}


def engine_from_onnx(
    path: Path,
    out: Path,
    config: EngineConfig | None = None,
    *,
    module: str | None = None,
    cache: Path | None = None,
    timeout_seconds: float = 3600,
) -> EngineReport:
    """Builds an engine, or copies the one that was built before, to `out`.

    Args:
        out: a new file; its manifest goes beside it, as `out` with ".json" behind.
        config: how to build it; None is `EngineConfig()`.
        module: "tensorrt", which builds for the GPU of this machine, or "tensorrt_rtx", which
            needs none; None takes the first that is installed.
        cache: the folder with engines that were built before; None keeps and asks none.
        timeout_seconds: after which the build is given up.

    Raises:
        UsageMistake: the settings ask for what this version or machine does not have.
        OutputExists: `out` or its manifest is there already.
        ArtifactError: there is no such file, or TensorRT does not build it, and why.
        RuntimeUnavailable: TensorRT is not installed, or does not load.
        DeviceUnavailable: `tensorrt` was to build, and there is no GPU.
    """
    for place in (out, manifest_path(out)):
        refuse_existing(place)
    with ExitStack() as stack:
        if cache is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cake-edge-"))
            cache = Path(folder)
        report = cached_engine(
            path, config, module=module, cache=cache, timeout_seconds=timeout_seconds
        )
        put_copy(report.path, out)
    return EngineReport(path=out, manifest=report.manifest, cached=report.cached)


def cached_engine(
    path: Path,
    config: EngineConfig | None = None,
    *,
    module: str | None = None,
    cache: Path | None = None,
    timeout_seconds: float = 3600,
) -> EngineReport:
    """Returns the engine of a file from the cache, building it where it is not there yet.

    Args:
        cache: the folder; None is `default_cache()`.

    Raises:
        As `engine_from_onnx`.
    """
    if timeout_seconds <= 0:
        raise UsageMistake(f"timeout_seconds is {timeout_seconds}; it must be above 0")
    config = config if config is not None else EngineConfig()
    folder = cache if cache is not None else default_cache()
    header = read_header(path)
    host = probe_tensorrt(module)
    _refuse_hopeless(host)
    key = cache_key(header.sha256, host, config)
    known = find_engine(folder, key)
    if known is not None:
        logger.info("%s was built before: %s", path, known[0])
        return EngineReport(path=known[0], manifest=known[1], cached=True)
    logger.info("building %s with %s %s", path, host.module, host.version)
    with new_engine(folder, key) as place:
        manifest = _build(path, place, header, host, config, timeout_seconds)
        write_manifest(place, manifest)
    return EngineReport(path=folder / key / place.name, manifest=manifest, cached=False)


def _refuse_hopeless(host: Probe) -> None:
    if not host.loads:
        raise ArtifactError(f"{host.module} does not come up: {host.reason}")
    if host.module == "tensorrt" and host.gpu is None:
        raise DeviceUnavailable(
            "tensorrt builds for the GPU of the machine it builds on, and no CUDA driver answers "
            "here; build on the board, or with tensorrt_rtx, or print the command for the board "
            "with --trtexec"
        )


def _build(
    path: Path,
    engine: Path,
    header: OnnxHeader,
    host: Probe,
    config: EngineConfig,
    timeout_seconds: float,
) -> Manifest:
    timing = config.timing_cache
    measured = engine.with_name("timing.cache")
    request = {
        "path": str(path.absolute()),
        "module": host.module,
        "config": config.to_dict(),
        "engine": str(engine),
        "inspect": host.gpu is not None,
        "timing_cache": None if timing is None else str(timing.absolute()),
        "new_timing_cache": str(measured),
    }
    started = time.monotonic()
    reply = ask_child(CHILD, request, timeout_seconds=timeout_seconds)
    seconds = time.monotonic() - started
    refuse_unusable(reply, host.module)
    _refuse_failed(path, reply, host)
    if timing is not None and measured.is_file():
        with atomic_path(timing) as temporary:
            measured.replace(temporary)
    return Manifest(
        onnx={"name": path.name, "sha256": header.sha256, "bytes": path.stat().st_size},
        engine={"sha256": sha256_file(engine), "bytes": engine.stat().st_size},
        module=host.module,
        version=reply["version"],
        gpu=host.gpu,
        compute_capability=reply["compute_capability"],
        config=config.to_dict(),
        typing=reply["typing"],
        profile=reply["profile"],
        layers=reply["layers"],
        coverage=reply["coverage"],
        warnings=tuple(reply["warnings"]),
        seconds=seconds,
        card=header.metadata.get(METADATA_KEY),
    )


def _refuse_failed(path: Path, reply: Mapping[str, Any], host: Probe) -> None:
    if reply.get("ok"):
        return
    reasons = reply["messages"][:TOLD] or ["it does not say why"]
    more = len(reply["messages"]) - TOLD
    told = "; ".join(reasons) + (f"; and {more} more" if more > 0 else "")
    verb = {"parse": "does not take", "build": "cannot build"}.get(reply["stage"], "broke on")
    raise ArtifactError(
        f"{host.module} {host.version} {verb} {path}: {told}. What mends a file says "
        f"cake-edge lint {path} --target tensorrt"
    )
