"""Small layers around a vendor's network that make it a classifier as every other.

Each stands where something differs: images with channels last, a batch of one size, an answer that
is no plain tensor, probabilities in place of logits. All are exact, and pass gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cake_edge.errors import TeacherError

__all__ = [
    "Adapter",
    "ChannelsLast",
    "FixedBatch",
    "LogitsOf",
    "LogitsOfProbabilities",
    "LogitsOfShares",
    "TwoLogits",
    "fixed_batch",
    "innermost",
    "plain_answer",
]

SMALLEST = 1e-30
"""Below it a probability is taken for this: its logarithm, and the gradient, stay finite."""
NEAR_ONE = 1e-7
"""Distance from 0 and 1 at which float32 cannot tell a sigmoid's argument any more."""


class Adapter(nn.Module):
    """A layer around `network`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


class LogitsOf(Adapter):
    """Takes the logits out of an answer that is a mapping, a tuple, or has further axes."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to [N, classes]."""
        return plain_answer(self.network(images))


class ChannelsLast(Adapter):
    """Shows images [N, C, H, W] to a network that takes [N, H, W, C]."""

    def forward(self, images: torch.Tensor) -> Any:
        """Returns what the network answers."""
        return self.network(images.permute(0, 2, 3, 1).contiguous())


class FixedBatch(Adapter):
    """Shows any number of images to a network that takes exactly `size` at a time."""

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__(network)
        self.size = size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to [N, classes]; the last part is filled up with its last image."""
        answers = []
        for part in images.split(self.size):
            missing = self.size - len(part)
            full = torch.cat([part, part[-1:].expand(missing, -1, -1, -1)]) if missing else part
            answers.append(plain_answer(self.network(full))[: len(part)])
        return torch.cat(answers)


class LogitsOfProbabilities(Adapter):
    """The logarithm of an answer that has been through a softmax.

    log softmax(z) = z - log sum exp z: the same logits but for one constant an image, which neither
    a softmax nor its gradient sees.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to [N, classes]."""
        answer: torch.Tensor = self.network(images)
        return answer.clamp_min(SMALLEST).log()


class LogitsOfShares(Adapter):
    """The argument of the sigmoid that an answer has been through: log(p / (1 - p))."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to [N, classes]."""
        return torch.logit(self.network(images), eps=NEAR_ONE)


class TwoLogits(Adapter):
    """Turns the one logit z of a yes-or-no classifier into two, (0, z).

    softmax(0, z) = (1 - sigmoid(z), sigmoid(z)): the same probabilities, as two classes.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to [N, 2]: no, yes."""
        answer: torch.Tensor = self.network(images)
        return torch.cat([torch.zeros_like(answer), answer], dim=1)


def plain_answer(answer: Any) -> torch.Tensor:
    """Returns the tensor [N, classes] in what a network answers.

    A mapping or an object gives its `logits`, a tuple its first; axes of length one beside the
    classes are taken off.

    Raises:
        TeacherError: there is no such tensor.
    """
    if isinstance(answer, Mapping) and "logits" in answer:
        answer = answer["logits"]
    elif not isinstance(answer, torch.Tensor) and hasattr(answer, "logits"):
        answer = answer.logits
    elif isinstance(answer, (tuple, list)) and answer:
        answer = answer[0]
    if not isinstance(answer, torch.Tensor):
        raise TeacherError(
            f"the teacher answers with a {type(answer).__name__}, not with a tensor of logits; "
            "wrap it in a module whose forward returns the logits alone"
        )
    rows: torch.Tensor = answer
    if rows.ndim > 2 and sum(size != 1 for size in rows.shape[1:]) <= 1:
        rows = rows.flatten(1)
    if rows.ndim != 2:
        raise TeacherError(
            f"the teacher answers images with a tensor of shape {list(rows.shape)}, not with "
            "logits [N, classes]; it is no classifier of images"
        )
    return rows


def fixed_batch(network: nn.Module) -> int | None:
    """Returns the number of images that the network inside takes at a time; None for any."""
    while isinstance(network, Adapter):
        if isinstance(network, FixedBatch):
            return network.size
        network = network.network
    return None


def innermost(network: nn.Module) -> nn.Module:
    """Returns the network inside all adapters."""
    while isinstance(network, Adapter):
        network = network.network
    return network
