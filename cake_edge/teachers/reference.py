"""From a reference, the word after --teacher, to a teacher on a device."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import timm
import torch

from cake_edge.errors import (
    DeviceUnavailable,
    NumericsError,
    TeacherError,
    UsageMistake,
    near_names,
)
from cake_edge.teachers.checkpoint_file import load_file_teacher
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.factory import is_factory
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.program_file.archive import kind_of_program
from cake_edge.teachers.several import average_of
from cake_edge.teachers.subset import keep_classes
from cake_edge.teachers.timm_name import load_timm
from cake_edge.teachers.weights_file import SUFFIXES

__all__ = ["EMBEDDED", "WAYS", "load_teacher", "package_file", "teacher_file"]

EMBEDDED = {"fashion-mnist": "assets/fashion_mnist/teacher.safetensors"}
"""Teachers that come with this package, by name; the first is the default."""
PYTORCH = tuple(suffix for suffix in SUFFIXES if suffix != ".safetensors")
"""Endings of what torch.save, torch.jit.save and torch.export.save all may have written."""
ENDINGS = (*SUFFIXES, ".onnx", ".pt2")
"""Endings of the files that a teacher may be in."""


def load_teacher(config: TeacherConfig, *, device: torch.device, seed: int = 0) -> FrozenTeacher:
    """Returns the teacher that `config` refers to, frozen, on `device`.

    Args:
        config: the reference, and what its file does not tell; with others beside it, the teacher
            is the average of all.
        device: where to put it; `cake_edge.device.resolve_device` makes one of a word.
        seed: of the random weights, where those are asked for.

    Raises:
        UsageMistake: the reference, or an option beside it, is wrong; or the teachers' answers have
            no average.
        TeacherError: the teacher cannot be read, or does not fit what was said of it.
        ArtifactError: a checkpoint of our own is damaged.
        NumericsError: a weight, or a logit of a mid-grey image, is NaN or infinite.
        DeviceUnavailable: it cannot be put on the device.
    """
    members = [_one(member, seed + place) for place, member in enumerate((config, *config.also))]
    teacher = members[0] if len(members) == 1 else average_of(members)
    try:
        return teacher.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DeviceUnavailable(
            f"the teacher cannot be put on {device}: {reason}; use --device cpu"
        ) from error


def _one(config: TeacherConfig, seed: int) -> FrozenTeacher:
    teacher = _load(config, seed)
    if config.classes is None:
        return teacher
    return keep_classes(teacher, config.classes, other=config.other)


def _load(config: TeacherConfig, seed: int) -> FrozenTeacher:
    scheme, colon, rest = config.reference.partition(":")
    if scheme in WAYS and (colon or scheme == "embedded"):
        return WAYS[scheme](rest, config, seed)
    path = Path(config.reference).expanduser()
    if not path.exists() and is_factory(config.reference):
        from cake_edge.teachers.factory import load_factory

        return load_factory(config.reference, config, seed=seed)
    if not path.exists():
        raise _missing(config.reference)
    return _from_file(path, config)


def teacher_file(config: TeacherConfig) -> Path | None:
    """Returns the file that a teacher comes from, or None where it comes from elsewhere."""
    scheme, _, rest = config.reference.partition(":")
    if scheme == "package":
        return package_file(rest)
    if scheme == "embedded":
        return _embedded_file(rest)
    path = Path(config.reference).expanduser()
    return path if scheme not in WAYS and path.is_file() else None


def _from_file(path: Path, config: TeacherConfig) -> FrozenTeacher:
    """The teacher in a file; every error names the file."""
    try:
        return _read_file(path, config)
    except (TeacherError, NumericsError) as error:
        if path.name in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def _read_file(path: Path, config: TeacherConfig) -> FrozenTeacher:
    """The teacher in a file, whose kind its ending and, for PyTorch's, its content tell."""
    if config.random_weights:
        raise UsageMistake(f"--random-weights goes with timm:NAME; {path} brings its own weights")
    if not path.is_file():
        raise TeacherError(f"{path} is a folder; name the teacher's file in it")
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        from cake_edge.teachers.onnx_teacher import load_onnx_teacher

        return load_onnx_teacher(path, config)
    if suffix == ".pt2" or (suffix in PYTORCH and kind_of_program(path) is not None):
        from cake_edge.teachers.program_teacher import load_program_teacher

        return load_program_teacher(path, config)
    if suffix in SUFFIXES:
        return load_file_teacher(path, config)
    raise TeacherError(
        f"{path} ends in {path.suffix or 'nothing'!r}; a teacher's file is one of "
        f"{', '.join(ENDINGS)}"
    )


def _missing(reference: str) -> TeacherError:
    hint = near_names(reference, ["embedded"])
    if timm.is_model(reference.partition(".")[0]):
        hint = f"; for timm's architecture of that name write timm:{reference}"
    return TeacherError(
        f"the teacher {reference!r} is not an existing file{hint}. Give timm:NAME, hf-hub:NAME, a "
        f"file ({', '.join(ENDINGS)}), package:MODULE/FILE, MODULE:FACTORY, or embedded"
    )


def package_file(inside: str) -> Path:
    """Returns the path of MODULE/FILE in the installed package MODULE, which is not imported.

    Raises:
        UsageMistake: the reference has another form, or leaves the package.
        TeacherError: the package is not installed, or has no such file.
    """
    module, _, name = inside.partition("/")
    if not module.isidentifier() or not name:
        raise UsageMistake(
            f"package:{inside} is not of the form package:MODULE/FILE, with a top-level module "
            "and a path inside its folder"
        )
    # A top-level name is looked up on sys.path; only a dotted one would run its parent.
    found = find_spec(module)
    folders = [Path(p) for p in (found.submodule_search_locations or [])] if found else []
    if not folders:
        raise TeacherError(
            f"package:{inside}: no package with a folder {module} is installed in this "
            "environment; install the distribution that brings it, with pip"
        )
    for folder in folders:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise UsageMistake(f"package:{inside} leaves the folder of {module}")
        if path.is_file():
            return path
    present = [
        path.relative_to(folder).as_posix()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix in ENDINGS
    ]
    raise TeacherError(
        f"the package {module} has no file {name}{near_names(name, present)}; "
        f"teachers' files in it: {', '.join(present[:5]) or 'none'}"
    )


def _from_timm(rest: str, config: TeacherConfig, seed: int) -> FrozenTeacher:
    return load_timm(rest, config, seed=seed)


def _from_hub(rest: str, config: TeacherConfig, seed: int) -> FrozenTeacher:
    return load_timm(f"hf-hub:{rest}", config, seed=seed)


def _from_folder(rest: str, config: TeacherConfig, seed: int) -> FrozenTeacher:
    return load_timm(f"local-dir:{rest}", config, seed=seed)


def _from_package(rest: str, config: TeacherConfig, seed: int) -> FrozenTeacher:
    return _from_file(package_file(rest), config)


def _from_embedded(rest: str, config: TeacherConfig, seed: int) -> FrozenTeacher:
    return load_file_teacher(_embedded_file(rest), config)


def _embedded_file(rest: str) -> Path:
    name = rest or next(iter(EMBEDDED))
    if name not in EMBEDDED:
        raise UsageMistake(
            f"there is no embedded teacher {name!r}{near_names(name, EMBEDDED)}; "
            f"there are: {', '.join(EMBEDDED)}"
        )
    path = Path(__file__).parent.parent / EMBEDDED[name]
    if not path.is_file():
        raise TeacherError(f"{path} is missing; install cake-edge again")
    return path


WAYS: dict[str, Callable[[str, TeacherConfig, int], FrozenTeacher]] = {
    "timm": _from_timm,
    "hf-hub": _from_hub,
    "local-dir": _from_folder,
    "package": _from_package,
    "embedded": _from_embedded,
}
"""What may stand before the colon; everything else is a file, or the name of a factory."""
