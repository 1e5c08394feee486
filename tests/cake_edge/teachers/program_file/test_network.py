from __future__ import annotations

import pytest
import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.network import ProgramNetwork, Run
from cake_edge.teachers.program_file.tensors import Weight


class Scaling(ProgramNetwork):
    """Images times a weight, by whatever operators the test says."""

    def __init__(self, calls=(), names=("scale",)):
        weights = [Weight(name=n, tensor=torch.tensor([2.0]), trained=True) for n in names]
        super().__init__(weights, None)
        self.calls = calls

    def _answer(self, images, run):
        value = run.operate("mul", "Tensor", [images, run.tensors["scale"]], {})
        for name, args in self.calls:
            value = run.operate(name, None, [value, *args], {})
        return value


def test_names_of_weights_are_told_apart_and_need_not_be_identifiers():
    network = Scaling(names=("scale", "a.b", "a/b", "", "forward", "training", "a_b_2"))
    keys = list(network.weights.state_dict())
    assert keys[:2] == ["scale", "a_b"]
    assert len(set(keys)) == 7
    assert network(torch.ones(1, 1, 1, 1)).item() == 2


def test_the_layout_of_memory_stays_and_the_type_does_not():
    network = Scaling()
    assert network.to(memory_format=torch.channels_last) is network
    assert network.to(torch.float64).weights.scale.dtype is torch.float64


def test_double_results_become_float32():
    network = Scaling(calls=[("to", [torch.float64])])
    assert network(torch.ones(1, 1, 1, 1)).dtype is torch.float32


def test_every_shape_is_rehearsed_once(monkeypatch):
    network = Scaling()
    assert network.rehearse((2, 3, 4, 4)) == (2, 3, 4, 4)
    monkeypatch.setattr(network, "_answer", None)
    assert network.rehearse((2, 3, 4, 4)) == (2, 3, 4, 4)


def test_what_torch_cannot_compute_is_one_sentence():
    network = Scaling(calls=[("reshape", [[7]])])
    with pytest.raises(TeacherError, match=r"cannot be run for images of shape \[1, 1, 2, 2\]"):
        network(torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize("given", ["out", "generator"])
def test_a_place_for_results_or_a_generator_is_refused(given):
    run = Run({}, torch.device("cpu"))
    with pytest.raises(TeacherError, match="hands relu"):
        run.operate("relu", None, [torch.ones(1)], {given: torch.ones(1)})


def test_the_count_of_training_steps_stays():
    count = torch.tensor(3)
    run = Run({"count": count}, torch.device("cpu"))
    assert run.operate("add_", None, [count, 1], {}).item() == 4
    assert count.item() == 3
