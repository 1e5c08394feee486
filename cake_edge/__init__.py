"""Compress a trained image classifier without its training data, and measure the result.

The names in `__all__` are public; each is imported when it is first used, so that neither
`import cake_edge` nor `cake-edge --help` pays for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cake_edge.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from cake_edge.device import resolve_device
    from cake_edge.distill import DistillConfig
    from cake_edge.errors import CakeEdgeError
    from cake_edge.pipeline import demo_recipe, run_recipe
    from cake_edge.pool import Pool, open_pool, synthesize
    from cake_edge.recipe import Recipe, load_recipe
    from cake_edge.samplers import SAMPLERS, sampler_settings
    from cake_edge.spec import ImageSpec
    from cake_edge.students import StudentConfig, build_student
    from cake_edge.teachers import FrozenTeacher, TeacherConfig, load_teacher

__all__ = [
    "SAMPLERS",
    "CakeEdgeError",
    "Checkpoint",
    "DistillConfig",
    "FrozenTeacher",
    "ImageSpec",
    "Pool",
    "Recipe",
    "StudentConfig",
    "TeacherConfig",
    "build_student",
    "demo_recipe",
    "load_checkpoint",
    "load_recipe",
    "load_teacher",
    "open_pool",
    "resolve_device",
    "run_recipe",
    "sampler_settings",
    "save_checkpoint",
    "synthesize",
]

_HOMES = {
    "cake_edge.checkpoint": ("Checkpoint", "load_checkpoint", "save_checkpoint"),
    "cake_edge.device": ("resolve_device",),
    "cake_edge.distill": ("DistillConfig",),
    "cake_edge.errors": ("CakeEdgeError",),
    "cake_edge.pipeline": ("demo_recipe", "run_recipe"),
    "cake_edge.pool": ("Pool", "open_pool", "synthesize"),
    "cake_edge.recipe": ("Recipe", "load_recipe"),
    "cake_edge.samplers": ("SAMPLERS", "sampler_settings"),
    "cake_edge.spec": ("ImageSpec",),
    "cake_edge.students": ("StudentConfig", "build_student"),
    "cake_edge.teachers": ("FrozenTeacher", "TeacherConfig", "load_teacher"),
}


def __getattr__(name: str) -> Any:
    """Imports a public name from its module (PEP 562)."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
