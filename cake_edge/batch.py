"""The value that samplers hand on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["SyntheticBatch"]


@dataclass(frozen=True, slots=True)
class SyntheticBatch:
    """N synthetic images with what the teacher says of them."""

    images: torch.Tensor
    """[N, C, H, W] float32, in the teacher's normalised space; rounded to what is stored."""
    logits: torch.Tensor
    """[N, classes] float32, the teacher's logits on exactly these images."""
    targets: torch.Tensor
    """[N] int64, the class an image was pushed towards, or -1 where none was intended."""
    steps: torch.Tensor
    """[N] int64, optimisation steps behind an image; 0 for one straight from the prior."""

    def __len__(self) -> int:
        return int(self.images.shape[0])

    @staticmethod
    def concatenate(parts: list[SyntheticBatch]) -> SyntheticBatch:
        """Joins batches along the first axis, in order."""
        return SyntheticBatch(
            images=torch.cat([part.images for part in parts]),
            logits=torch.cat([part.logits for part in parts]),
            targets=torch.cat([part.targets for part in parts]),
            steps=torch.cat([part.steps for part in parts]),
        )

    def select(self, index: torch.Tensor) -> SyntheticBatch:
        """Returns the rows named by `index` ([M] int64), in that order."""
        return SyntheticBatch(
            images=self.images[index],
            logits=self.logits[index],
            targets=self.targets[index],
            steps=self.steps[index],
        )
