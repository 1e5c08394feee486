"""A student taught with views that are drawn in another way than `distill` draws them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.paper.rows import Row
from benchmarks.paper.run import agreement
from cake_edge.pool import Pool
from cake_edge.progress import silent
from cake_edge.students import StudentConfig, build_student, inherit_weights
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.training import train
from cake_edge.views import Views

__all__ = ["taught"]


def taught(
    row: Row,
    teacher: FrozenTeacher,
    pool: Pool,
    folder: Path,
    *,
    key: str,
    seed: int,
    views_of: Callable[[nn.Module], Callable[..., Views]],
) -> dict[str, Any]:
    """Trains one student and evaluates the moving average of its weights.

    Args:
        folder: of the runs, with the real test images.
        key: names what lies in `folder` while the training runs.
        seed: of the student's first weights and of the views.
        views_of: student -> what makes its views, of what `Views` takes.
    """
    config = StudentConfig(name=row.student.name, arguments=row.student.arguments)
    network, _, _ = build_student(config, teacher.spec, seed=seed)
    if row.training.inherit:
        inherit_weights(network, teacher.network)
    network.to(memory_format=torch.channels_last)
    # `views_of` chooses what is shown, and how often.
    training = replace(row.training, match=False)
    # Begun afresh: what a way has shown is not kept over an interruption.
    state = folder / f".{key}.state"
    state.unlink(missing_ok=True)
    started = time.monotonic()
    average, _ = train(
        network, teacher, pool, training, f"{key} {seed}", state,
        seed=seed, workers=0, progress=silent, views_of=views_of(network),
    )  # fmt: skip
    state.unlink(missing_ok=True)
    network.load_state_dict(average.state)
    return {
        **agreement(row, teacher, network, folder),
        "seconds": round(time.monotonic() - started, 1),
    }
