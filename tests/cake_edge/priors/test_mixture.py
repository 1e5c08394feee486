import pytest
import torch

from cake_edge.priors import broad, structured
from cake_edge.priors import mixture as module
from cake_edge.seeding import generator


def constant(value):
    return lambda count, spec, random: torch.full((count, *spec.input_size), value)


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [0] * 5), (1, [1, 0, 0, 0, 0]), (10, [2] * 5), (12, [3, 3, 2, 2, 2])]
)
def test_broad_takes_every_family_alike(spec_of, monkeypatch, count, sizes):
    monkeypatch.setattr(module, "FAMILIES", [constant(float(k)) for k in range(5)])
    images = broad(count, spec_of(1, 4, 4), generator(0, "x"))
    assert [int((images[:, 0, 0, 0] == k).sum()) for k in range(5)] == sizes


def test_a_mixture_is_shuffled(spec_of, monkeypatch):
    monkeypatch.setattr(module, "FAMILIES", [constant(float(k)) for k in range(5)])
    drawn = broad(100, spec_of(1, 4, 4), generator(0, "x"))[:, 0, 0, 0]
    assert drawn.diff().ne(0).sum() > 50


def test_structured_is_four_parts_of_shapes_and_one_of_leaves(spec_of, monkeypatch):
    monkeypatch.setattr(module, "shapes", constant(1.0))
    monkeypatch.setattr(module, "leaves", constant(0.0))
    images = structured(50, spec_of(1, 4, 4), generator(0, "x"))
    assert int(images[:, 0, 0, 0].sum()) == 40
