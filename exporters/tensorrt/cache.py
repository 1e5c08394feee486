"""Engines that were built before: one folder each, named by all that shapes an engine.

A build takes minutes on a board, and its result depends on the file, the TensorRT version, the GPU
and the settings alone. So those four, hashed, are the name; nothing is ever out of date, and to
clean up is to remove the folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cake_edge.errors import ArtifactError
from cake_edge.provenance import atomic_path, sha256_json
from exporters.tensorrt.config import EngineConfig
from exporters.tensorrt.manifest import Manifest, manifest_path, read_manifest
from exporters.tensorrt.probe import Probe

__all__ = ["cache_key", "default_cache", "find_engine", "new_engine", "put_copy"]

ENGINE = "model.engine"
FORM = 1
"""Raised when the builder comes to make other engines from the same settings."""


def default_cache() -> Path:
    """Where engines are kept: under XDG_CACHE_HOME, or else ~/.cache."""
    above = os.environ.get("XDG_CACHE_HOME")
    base = Path(above) if above else Path.home() / ".cache"
    return base / "cake-edge" / "engines"


def cache_key(onnx_sha256: str, built_with: Probe, config: EngineConfig) -> str:
    """The name of an engine: a hash of the file, the TensorRT, the GPU and the settings."""
    settings = {k: v for k, v in config.to_dict().items() if k != "timing_cache"}
    gpu: Any = built_with.gpu
    return sha256_json(
        {
            "form": FORM,
            "onnx": onnx_sha256,
            "module": built_with.module,
            "version": built_with.version,
            # What is built for a named target is the same wherever it is built.
            "gpu": None
            if built_with.module == "tensorrt_rtx" or gpu is None
            else [gpu["name"], gpu["compute_capability"], gpu["memory_bytes"]],
            "config": settings,
        }
    )


def find_engine(cache: Path, key: str) -> tuple[Path, Manifest] | None:
    """Returns the engine of that name, if it is whole, and its manifest."""
    engine = cache / key / ENGINE
    try:
        manifest = read_manifest(engine) if engine.is_file() else None
    except ArtifactError:
        return None  # It is built again, and replaced.
    return None if manifest is None else (engine, manifest)


@contextmanager
def new_engine(cache: Path, key: str) -> Iterator[Path]:
    """Yields where to write an engine and its manifest; keeps both if the block succeeds.

    Two builds of one engine at a time do not disturb each other: each has a folder of its own, and
    the last to finish is the one that is kept.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=cache))
    try:
        yield folder / ENGINE
        final = cache / key
        if final.exists():
            final.rename(folder / "replaced")
        folder.rename(final)
        shutil.rmtree(final / "replaced", ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_copy(engine: Path, out: Path) -> None:
    """Copies an engine and its manifest to `out`; the manifest first, so none goes without."""
    for source, place in ((manifest_path(engine), manifest_path(out)), (engine, out)):
        with atomic_path(place) as temporary:
            shutil.copyfile(source, temporary)
