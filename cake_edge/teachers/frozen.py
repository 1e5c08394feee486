"""A teacher that cannot be trained by accident."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, cast

import torch
from torch import nn

from cake_edge.errors import NumericsError, TeacherError
from cake_edge.networks import parameter_count, weights_digest
from cake_edge.provenance import sha256_json
from cake_edge.spec import ImageSpec
from cake_edge.teachers.match import Matched

__all__ = ["FrozenTeacher"]


class FrozenTeacher(nn.Module):
    """A classifier in eval mode for good, with gradients to its input and none to its weights.

    `forward` maps [N, C, H, W] float32 in the normalised space to [N, classes] float32 logits.
    """

    matched: Matched | None = None
    """For weights that were put into a network: which tensor of the file went where."""

    def __init__(
        self,
        network: nn.Module,
        spec: ImageSpec,
        *,
        architecture: str,
        arguments: Mapping[str, Any] | None = None,
        source: str = "",
        origins: Mapping[str, str] | None = None,
    ) -> None:
        """Freezes `network` and checks that it gives finite logits of the promised length.

        Args:
            network: what computes the logits.
            spec: what it expects.
            architecture: timm's name of it, or how else it came.
            arguments: with which that name is built, or what else tells it from others.
            source: a line for the manifest.
            origins: for parts of the spec, who says so.

        Raises:
            TeacherError: the logits have another shape than [N, classes].
            NumericsError: the logits hold NaN or infinity.
        """
        super().__init__()
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)
        self.network.eval()
        self.spec = spec
        self.architecture = architecture
        self.arguments = dict(arguments or {})
        self.source = source
        self.origins = dict(origins or {})
        self.digest = self._digest()
        self.parameters_total = parameter_count(self.network)
        self._check()

    def _digest(self) -> str:
        """What makes two teachers the same: weights, architecture, and what input they expect."""
        spec = {k: v for k, v in self.spec.to_dict().items() if k != "labels"}
        return sha256_json(
            {
                "weights": weights_digest(self.network),
                "architecture": self.architecture,
                "arguments": self.arguments,
                "spec": spec,
            }
        )

    def _check(self) -> None:
        try:
            with torch.no_grad():
                probe = torch.zeros((2, *self.spec.input_size), device=self.device)
                logits = self.network(probe)
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            raise TeacherError(
                f"the teacher {self.architecture} does not accept images of shape "
                f"{list(self.spec.input_size)}: {error}"
            ) from error
        if not isinstance(logits, torch.Tensor) or logits.shape != (2, self.spec.classes):
            shape = (
                list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            )
            raise TeacherError(
                f"the teacher {self.architecture} answers two images with {shape}, "
                f"not with logits of shape [2, {self.spec.classes}]"
            )
        if not torch.isfinite(logits).all():
            raise NumericsError(
                f"the teacher {self.architecture} answers a mid-grey image with NaN or infinity; "
                "check its weights, and the mean and std given for it"
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        # Those of a program that was frozen before it was saved are constants: buffers here.
        first = next(chain(self.network.parameters(), self.network.buffers()), None)
        return first.device if first is not None else torch.device("cpu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns float32 logits [N, classes] of images [N, C, H, W]."""
        return cast(torch.Tensor, self.network(images)).float()

    def train(self, mode: bool = True) -> FrozenTeacher:
        """Does nothing: a frozen teacher stays in eval mode."""
        return self
