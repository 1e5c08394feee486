"""Ways in for a teacher: timm's name, a checkpoint file, a file in a package, the embedded one."""

from __future__ import annotations

from cake_edge.teachers.config import PRESETS, TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.reference import load_teacher

__all__ = ["PRESETS", "FrozenTeacher", "TeacherConfig", "load_teacher"]
