"""A student that is already trained, for samplers that look for what it gets wrong."""

from __future__ import annotations

from pathlib import Path

from cake_edge.checkpoint import load_checkpoint
from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.provenance import sha256_file
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["load_rival", "rival_identity"]


def load_rival(path: str, teacher: FrozenTeacher) -> FrozenTeacher:
    """Returns the network in a checkpoint that distill wrote, frozen, on the teacher's device.

    Raises:
        UsageMistake: it takes other images than the teacher, or answers for other classes.
        ArtifactError: the file is no checkpoint of ours, or damaged.
    """
    network, about = load_checkpoint(Path(path))
    ours, theirs = teacher.spec, about.spec
    for what, mine, other in (
        ("input size", ours.input_size, theirs.input_size),
        ("classes", ours.classes, theirs.classes),
        ("mean and std", (ours.mean, ours.std), (theirs.mean, theirs.std)),
        ("head", ours.head, theirs.head),
        ("order of colours", ours.colour, theirs.colour),
    ):
        if mine != other:
            raise UsageMistake(
                f"the rival {path} is a student of another teacher ({what}: {other}, not {mine}); "
                "give one that was distilled from this teacher"
            )
    frozen = FrozenTeacher(network, about.spec, architecture=about.architecture, source=path)
    return frozen.to(teacher.device)


def rival_identity(path: str) -> str:
    """Returns the SHA-256 of a rival's file, which tells it from others wherever it lies.

    Raises:
        ArtifactError: there is no such file.
    """
    file = Path(path)
    if not file.is_file():
        raise ArtifactError(f"the rival {path} is not a file; give a checkpoint that distill wrote")
    return sha256_file(file)
