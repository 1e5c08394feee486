"""Where a file came from: hashes, the environment, and writing that never leaves half a file.

Imports neither torch nor timm, so that the device side can use it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from cake_edge.errors import ArtifactError, OutOfSpace, OutputExists

__all__ = [
    "atomic_path",
    "canonical_json",
    "environment",
    "read_json",
    "refuse_existing",
    "sha256_file",
    "sha256_json",
    "versions",
    "write_json",
]

PACKAGES = (
    "cake-edge",
    "torch",
    "timm",
    "numpy",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "safetensors",
)
CPU_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
)

FULL = (errno.ENOSPC, errno.EDQUOT)


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """Returns JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_json(value: Any) -> str:
    """Returns the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that shape a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, Any]:
    """Returns what of this machine shapes a measured figure: processor, flags, system."""
    model, flags = _processor()
    return {
        "versions": versions(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": model,
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
    }


def _processor() -> tuple[str, frozenset[str]]:
    """The processor's name and flags as Linux tells them; elsewhere the name alone."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor(), frozenset()
    model, flags = platform.processor(), frozenset[str]()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = frozenset(value.split())
            break
    return model, flags


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it over `path` if the block succeeds.

    Whatever happens, `path` holds either what it held before or the whole new file (or folder).
    A file gets the mode that the umask gives to new ones.

    Raises:
        OutOfSpace: the disk is full; the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # No process id in the name: what a killed run left behind is overwritten, not collected.
    temporary = path.with_name(f".{path.name}.partial")
    _remove(temporary)
    try:
        yield temporary
        _flush(temporary)
        _open_up(temporary)
        temporary.replace(path)
    except Exception as error:
        _remove(temporary)
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)  # the name that was asked for
        if _is_full(error):
            raise OutOfSpace(
                f"no space left while writing {path}: free some, or choose another place, "
                "and start the same command again"
            ) from error
        raise
    except BaseException:
        _remove(temporary)
        raise


def _is_full(error: Exception) -> bool:
    """Whether a disk or a quota is full; safetensors tells it as text, not as an OSError."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return any(f"(os error {number})" in str(error) for number in FULL)


def _left_behind(path: Path) -> bool:
    """True of what a process that was killed in the middle of writing leaves."""
    return path.name.startswith(".") and path.name.endswith(".partial")


def _flush(path: Path) -> None:
    if path.is_file():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _open_up(path: Path) -> None:
    """Gives a file the mode of any new file: safetensors writes its own for the owner alone."""
    if path.is_file():
        mask = os.umask(0)
        os.umask(mask)
        path.chmod(0o666 & ~mask)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes indented JSON with a final newline, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ArtifactError: the file is missing, unreadable, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} does not exist") from error
    except (OSError, RecursionError, ValueError) as error:
        raise ArtifactError(f"{path} is not readable as JSON: {error}") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value


def refuse_existing(path: Path, *, folder: bool = False) -> None:
    """Refuses a place that is taken, or at which nothing can be made, before any work is done.

    Args:
        folder: a folder is to be made; an empty one may be there.

    Raises:
        OutputExists: `path` is taken, or below something that is no folder.
        PermissionError: the folder that it is to be made in may not be written to.
    """
    if path.is_dir() and all(_left_behind(entry) for entry in path.iterdir()):
        if folder:
            return
        raise OutputExists(f"{path} is a folder; give the name of a file that is to be made")
    if path.exists() or path.is_symlink():
        kind = "folder that is not empty" if path.is_dir() else "file"
        raise OutputExists(
            f"{path} is a {kind} already; nothing was changed. Choose another --out, or remove it"
        )
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise OutputExists(
            f"{path} cannot be made, because {above} is not a folder; choose another --out"
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(above))
