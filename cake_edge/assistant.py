"""A teacher assistant: a network between a large teacher and a small student.

It learns from the teacher first, and the student from it (Mirzadeh et al., "Improved Knowledge
Distillation via Teacher Assistant", arXiv 1902.03393). Both see views of the same pool; what the
student is measured by stays the teacher.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cake_edge.checkpoint import read_header
from cake_edge.distill_config import DistillConfig
from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.students import StudentConfig
from cake_edge.teachers import TeacherConfig, load_teacher
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["AssistantConfig", "load_assistant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantConfig:
    """Which network learns between teacher and student, and for how long."""

    name: str
    """As a student's: a name of `STUDENTS`, or any timm architecture."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `timm.create_model`, over those of the preset."""
    steps: int | None = None
    """Optimiser steps of its training; None for as many as the student's."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise UsageMistake(f"steps is {self.steps}; it must be at least 1, or left out")

    @property
    def student(self) -> StudentConfig:
        """The network, as one that is trained."""
        return StudentConfig(name=self.name, arguments=self.arguments)

    def training(self, config: DistillConfig) -> DistillConfig:
        """Returns how it is trained: as the student, but for the steps."""
        return config if self.steps is None else dataclasses.replace(config, steps=self.steps)


def load_assistant(path: Path, teacher: FrozenTeacher) -> FrozenTeacher:
    """Returns the student in a checkpoint as a teacher of others, on the device of its own.

    Args:
        path: a file that `cake_edge.distill.distill` wrote.
        teacher: from whom it learned.

    Raises:
        UsageMistake: it is no student of this teacher's.
        ArtifactError: the file is no checkpoint of ours, or damaged.
    """
    about = read_header(path)
    if about is None:
        raise ArtifactError(f"{path} is not a checkpoint; give one that distill wrote")
    if about.manifest.get("teacher") != teacher.digest:
        raise UsageMistake(
            f"the assistant {path} did not learn from this teacher; distill one from it first"
        )
    return load_teacher(TeacherConfig(reference=str(path)), device=teacher.device)
