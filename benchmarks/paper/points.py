"""What comparisons of settings are made of: one pool, one student, one look at the real images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import click
import torch

from benchmarks.paper.data import absent
from benchmarks.paper.rows import ROWS, Network, Row
from benchmarks.paper.run import teacher_of
from cake_edge.distill_config import DistillConfig
from cake_edge.errors import UsageMistake
from cake_edge.precision import Precision, refuse_unsound
from cake_edge.samplers import CakeConfig
from cake_edge.spec import ImageSpec
from cake_edge.students import StudentConfig, build_student
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = [
    "BASES",
    "numbers",
    "over_seeds",
    "pairs",
    "sound_precision",
    "subject",
]

BASES = {"fashion-mnist": "fashion-mnist-lenet5", "cifar10": "cifar10-resnet20"}
"""Data set -> the row whose teacher and student are compared on."""


def numbers(_context: object, _parameter: object, text: str) -> tuple[int, ...]:
    """Reads comma-separated whole numbers, for an option."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no list of whole numbers, as 0,1,2 is") from error
    if len(set(found)) < len(found) or min(found) < 0:
        raise click.BadParameter(f"{text!r}: every number once, and none below 0")
    return found


def sound_precision(student: Network, spec: ImageSpec) -> Precision:
    """Returns bfloat16 where torch computes this student's gradients rightly in it."""
    config = StudentConfig(name=student.name, arguments=student.arguments)
    network, _, _ = build_student(config, spec, seed=0)
    try:
        refuse_unsound(network, torch.zeros(2, *spec.input_size))
    except UsageMistake:
        return "float32"
    return "bfloat16"


def subject(dataset: str, folder: Path, steps: int) -> tuple[str, Row, FrozenTeacher]:
    """Returns what is compared on: the row's name, the row at the default settings, its teacher.

    Args:
        dataset: of `BASES`.
        folder: where a teacher lies, or is trained into.
        steps: of distillation.

    Raises:
        ClickException: something that the data set needs is not here.
    """
    lacking = absent(dataset)
    if lacking:
        raise click.ClickException(f"{dataset} cannot be measured here: it needs {lacking}")
    name = BASES[dataset]
    row, teacher = ROWS[name], teacher_of(ROWS[name], folder)
    precision = sound_precision(row.student, teacher.spec)
    training = DistillConfig(steps=steps, precision=precision)
    return name, replace(row, sampler=CakeConfig(), training=training), teacher


def pairs(first: Iterable[float], second: Iterable[float]) -> list[float]:
    """Returns the differences of two series, seed by seed."""
    return [a - b for a, b in zip(first, second, strict=True)]


def over_seeds(values: Iterable[float]) -> Mapping[str, float | None]:
    """Returns mean and standard deviation; of one seed there is no deviation."""
    every = [float(value) for value in values]
    return {
        "mean": round(mean(every), 3),
        "deviation": round(stdev(every), 3) if len(every) > 1 else None,
    }
