"""Reads the tensors of a checkpoint file that others wrote; runs nothing that is in it."""

from __future__ import annotations

import io
import logging
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from cake_edge.errors import NumericsError, TeacherError
from cake_edge.memory import check_memory
from cake_edge.teachers.program_file.archive import kind_of_program

__all__ = ["SUFFIXES", "read_state", "refuse_non_finite"]

logger = logging.getLogger(__name__)

SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".tar", ".bin", ".ckpt")
"""Endings of the files that hold tensors in a form we read."""

ENTRIES = (
    "state_dict_ema",
    "ema_state_dict",
    "model_ema",
    "ema_model",
    "params_ema",
    "ema",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "params",
    "network",
    "net",
    "weights",
)
"""Where training scripts keep the weights; averaged ones come first, as in timm."""

MOST_AXES = 8

REPEATED = 1 << 20
"""Bytes that a tensor may have beyond those stored for it, by strides of zero."""

DEEPEST = 8
"""Entries that lie in each other."""

PREFIXES = ("module.", "model.", "_orig_mod.")
"""What data parallelism, wrappers and torch.compile put before every name."""


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Returns the weights in the order of the file: float32 or integer, on the CPU.

    Entries such as `state_dict` are opened, and prefixes that all names share are taken off.

    Raises:
        TeacherError: the file is missing or damaged, holds more than plain tensors, or no tensors.
        NumericsError: a weight is NaN or infinite.
    """
    check_memory(path, _declared_bytes(path), TeacherError)
    if path.suffix.lower() == ".safetensors":
        content = _read_safetensors(path)
    else:
        content = _read_torch(path)
    state = {
        name: _plain(name, tensor, path)
        for name, tensor in _without_prefixes(_tensors_in(content, path)).items()
    }
    refuse_non_finite(state, str(path))
    return state


def _declared_bytes(path: Path) -> int:
    """Bytes that loading takes at least: those of the file, or more if its directory says so."""
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            return max(size, sum(info.file_size for info in archive.infolist()))
    except OSError as error:
        raise TeacherError(f"{path} cannot be opened: {error.strerror or error}") from error
    except Exception:  # noqa: BLE001  # another format, or damaged, which the reader will word
        return size


def refuse_non_finite(state: Mapping[str, torch.Tensor], where: str) -> None:
    """Refuses weights with NaN or infinity.

    Raises:
        NumericsError: naming the first such tensor.
    """
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise NumericsError(
                f"{where}: {bad} of {tensor.numel()} values of {name} are NaN or infinite; "
                "the file is damaged or its training diverged, so use another checkpoint"
            )


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except Exception as error:
        raise TeacherError(
            f"{path} is not a readable safetensors file ({_first_line(error)}); get it again"
        ) from error


def _read_torch(path: Path) -> Any:
    """torch.load, told to build tensors and containers only."""
    zipped = _begins_as_zip(path)
    if zipped and (kind := kind_of_program(path)) is not None:
        raise TeacherError(
            f"{path} holds a {kind} program, its network with the weights, and not weights alone; "
            "give it as the teacher, without --arch"
        )
    try:
        with warnings.catch_warnings():
            # Of a pickle it does not know torch also warns; what is wrong is said below.
            warnings.simplefilter("ignore")
            if zipped:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with _Bounded(path) as stream:
                return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make the unpickler raise anything
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is not None:
            raise TeacherError(
                f"{path} is a pickle with more than plain tensors: it asks for {found[1]}, and "
                "loading that would run code from the file, so it was refused. If you trust it, "
                "convert it inside a sandbox and use the result: "
                f"{_conversion('torch.load({0!r}, weights_only=False)', path)}"
            ) from error
        # What torch says of a pickle that it refuses is advice to load it all the same.
        refused = type(error).__name__ == "UnpicklingError"
        reason = "a pickle that is not plain tensors" if refused else _first_line(error)
        raise TeacherError(
            f"{path} cannot be read as a PyTorch checkpoint ({type(error).__name__}: {reason}); "
            "it is damaged or cut short, or of another kind. Get it again, or give one of "
            f"{', '.join(SUFFIXES)}"
        ) from error


class _Bounded(io.BufferedReader):
    """A file of which no more can be asked than it has: a pickle can ask for 2 GiB in 5 bytes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("rb", buffering=0))
        self._size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns up to `size` bytes, all that are left at most."""
        left = max(0, self._size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _begins_as_zip(path: Path) -> bool:
    """Tells torch's format since 1.6, which can be mapped into memory, from the older one."""
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise TeacherError(f"{path} cannot be opened: {error.strerror or error}") from error


def _conversion(load: str, path: Path) -> str:
    """A command line that writes the plain weights of a file beside it."""
    return (
        f'python -c "import torch; x = {load.format(path.name)}; '
        "torch.save(x.state_dict() if hasattr(x, 'state_dict') else x['state_dict'], "
        f"'{path.stem}-plain.pth')\""
    )


def _tensors_in(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """Opens the entry that holds the weights, and leaves out what is no tensor."""
    found = _search(content, [], set())
    if found is None:
        said = type(content).__name__
        if isinstance(content, Mapping):
            said = f"a dict of {', '.join(sorted(map(str, content))[:8]) or 'nothing'}"
        raise TeacherError(
            f"{path} holds no named tensors but {said}; save the weights alone, with "
            "torch.save(model.state_dict(), path)"
        )
    entries, tensors = found
    if entries:
        inner = " in ".join(repr(entry) for entry in reversed(entries))
        logger.info("%s: the weights are taken from its entry %s", path.name, inner)
    return tensors


def _search(
    content: Any, entries: list[str], seen: set[int]
) -> tuple[list[str], dict[str, torch.Tensor]] | None:
    """The first entry, of an entry, with named tensors; an average kept as a list has no names."""
    # A damaged pickle can hold itself, or others to any depth.
    if not isinstance(content, Mapping) or id(content) in seen or len(entries) > DEEPEST:
        return None
    seen.add(id(content))
    for name in ENTRIES:
        found = _search(content.get(name), [*entries, name], seen)
        if found is not None:
            return found
    tensors = {str(n): t for n, t in content.items() if isinstance(t, torch.Tensor)}
    return (entries, tensors) if tensors else None


def _without_prefixes(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    while True:
        prefix = next((p for p in PREFIXES if all(n.startswith(p) for n in state)), None)
        if prefix is None:
            return state
        state = {name[len(prefix) :]: tensor for name, tensor in state.items()}


def _plain(name: str, tensor: torch.Tensor, path: Path) -> torch.Tensor:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex():
        kind = "quantized" if tensor.is_quantized else f"{tensor.layout} {tensor.dtype}"
        raise TeacherError(
            f"{path}: the tensor {name} is {kind}; give a checkpoint with dense real weights, "
            "float32, float16 or bfloat16"
        )
    if tensor.ndim > MOST_AXES:
        raise TeacherError(
            f"{path}: the tensor {name} has {tensor.ndim} axes, which no weight has; the file is "
            "damaged, so get it again"
        )
    if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes() + REPEATED:
        raise TeacherError(
            f"{path}: the tensor {name} is said to have {tensor.numel():,} elements, and the file "
            f"holds {tensor.untyped_storage().nbytes():,} bytes for it; it is damaged, so get it "
            "again"
        )
    tensor = tensor.detach()
    return tensor.float() if tensor.is_floating_point() else tensor


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]
