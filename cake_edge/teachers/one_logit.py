"""A network with one output tells two classes apart, no and yes, and gets a logit for each."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import nn

from cake_edge.spec import ImageSpec
from cake_edge.teachers.adapters import TwoLogits
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.stated import Stated

__all__ = ["one_as_two", "with_two"]

logger = logging.getLogger(__name__)


def one_as_two(
    config: TeacherConfig, stated: Stated, outputs: int
) -> tuple[TeacherConfig, Stated, int]:
    """Returns what was said of a network with so many outputs, and its classes.

    One sigmoid, whoever speaks of it, is a softmax of the two logits that it becomes.
    """
    if outputs != 1:
        return config, stated, outputs
    logger.info("its one logit stands for two classes that exclude each other, no and yes")
    return replace(config, head=None), replace(stated, head=None), 2


def with_two(network: nn.Module, spec: ImageSpec) -> nn.Module:
    """Returns a network that answers with logits [N, K], with a second one where K is 1."""
    if spec.classes != 2:
        return network
    with torch.no_grad():
        answer = network.eval()(torch.zeros((1, *spec.input_size)))
    return TwoLogits(network) if answer.shape[1:] == (1,) else network
