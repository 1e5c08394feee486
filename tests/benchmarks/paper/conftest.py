"""A row small enough to be made in a second, without the real images."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.paper import points, run
from benchmarks.paper.data import FASHION_MNIST
from benchmarks.paper.rows import ROWS, Network
from cake_edge.networks import build_network
from cake_edge.samplers import CakeConfig
from cake_edge.teachers.frozen import FrozenTeacher


def teacher_from(architecture, **arguments):
    network = build_network(architecture, channels=1, classes=10, arguments=arguments, seed=0)
    return FrozenTeacher(network.eval(), FASHION_MNIST, architecture=architecture)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Teacher and row of random weights, forty made-up test images, and what was trained."""
    name = points.BASES["fashion-mnist"]
    row = replace(
        ROWS[name],
        teacher=Network(name="cake_mlp", arguments={"width": 8}),
        student=Network(name="cake_mlp", arguments={"width": 4}),
        images=20,
        sampler=CakeConfig(steps=2),
        training=replace(ROWS[name].training, steps=2, batch=8),
    )
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1), np.uint8)
    np.savez(tmp_path / "test.npz", images=images, labels=np.arange(40) % 10)
    teacher = teacher_from("cake_mlp", width=8)
    trained = []

    def distill(*given, **named):
        trained.append(given[4])
        return run_distill(*given, **named)

    run_distill = run.distill
    monkeypatch.setattr(run, "distill", distill)
    monkeypatch.setattr(run, "evaluation_set", lambda dataset, folder: tmp_path / "test.npz")
    monkeypatch.setattr(run, "trained_teacher", lambda *given, **named: teacher)
    monkeypatch.setitem(ROWS, name, row)
    # Drawing images for them takes seconds a student.
    monkeypatch.setattr("cake_edge.distill.agreement_on_fresh_images", lambda *given: 50.0)
    monkeypatch.setattr("cake_edge.distill.agreement_by_family", lambda *given: {})
    monkeypatch.setattr(points, "absent", lambda dataset: None)
    return SimpleNamespace(row=row, teacher=teacher, trained=trained)
