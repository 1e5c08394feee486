"""A network with one output tells two classes apart, no and yes, and gets a logit for each."""

from __future__ import annotations

import logging
from dataclasses import replace

from torch import nn

from cake_edge.teachers.adapters import TwoLogits
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.stated import Stated

__all__ = ["one_as_two", "with_two"]

logger = logging.getLogger(__name__)


def one_as_two(
    config: TeacherConfig, stated: Stated, outputs: int
) -> tuple[TeacherConfig, Stated, int]:
    """Returns what was said of a network with so many outputs, and how many classes it tells apart.

    One sigmoid, whoever speaks of it, is a softmax of the two logits that it becomes.
    """
    if outputs != 1:
        return config, stated, outputs
    logger.info("its one logit stands for two classes that exclude each other, no and yes")
    return replace(config, head=None), replace(stated, head=None), 2


def with_two(network: nn.Module, outputs: int) -> nn.Module:
    """Returns a network that answers with `outputs` logits, with a second one where it has one."""
    return TwoLogits(network) if outputs == 1 else network
