from __future__ import annotations

import pytest
import torch

from cake_edge.device import resolve_device
from cake_edge.errors import DeviceUnavailable, UsageMistake


@pytest.fixture
def cards(monkeypatch):
    """Makes torch say how many CUDA devices there are."""

    def say(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return say


def test_the_cpu_is_always_there(cards):
    cards(0)
    assert resolve_device("cpu") == torch.device("cpu")


def test_auto_takes_cuda_where_there_is_one(cards):
    cards(0)
    assert resolve_device() == torch.device("cpu")
    cards(2)
    assert resolve_device("auto") == torch.device("cuda:0")


@pytest.mark.parametrize(("name", "expected"), [("cuda", "cuda:0"), ("cuda:1", "cuda:1")])
def test_a_card_is_taken_by_its_number(cards, name, expected):
    cards(2)
    assert resolve_device(name) == torch.device(expected)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "", "cuda:0 "])
def test_another_word_is_wrong_usage(cards, name):
    cards(2)
    with pytest.raises(UsageMistake, match="is not one of auto, cpu, cuda, cuda:N"):
        resolve_device(name)


def test_a_missing_card_is_said_so_and_never_replaced_by_another(cards):
    cards(0)
    with pytest.raises(DeviceUnavailable, match=r"'cuda' was asked for.*use --device cpu"):
        resolve_device("cuda")
    cards(2)
    with pytest.raises(DeviceUnavailable, match=r"there are 2 \(cuda:0 to cuda:1\)"):
        resolve_device("cuda:2")
