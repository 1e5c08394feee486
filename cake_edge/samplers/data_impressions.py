"""Data Impressions: images for soft labels that follow how alike the teacher holds its classes.

Nayak et al., "Zero-Shot Knowledge Distillation in Deep Networks", arXiv 1905.08114, and "Mining
Data Impressions from Deep Models", arXiv 2101.06069, written from the papers' equations. The cosine
between the weight vectors of two classes in the last layer says how alike they are; scaled to
[0, 1] a row of it is the concentration of a Dirichlet distribution, from which labels for that
class are drawn, and images are optimised until the teacher answers with them.

What differs from the papers: no concentration is less than 0.01, and pixels stay between black and
white.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional

from cake_edge.batch import SyntheticBatch
from cake_edge.errors import UsageMistake
from cake_edge.losses.soft_targets import soft_target_cross_entropy
from cake_edge.priors import PRIORS
from cake_edge.samplers.common import (
    Cost,
    at_least_one,
    even_targets,
    finished,
    pixel_box,
    positive,
    shard_size,
)
from cake_edge.samplers.linear_head import head_weights
from cake_edge.samplers.needs import samplers_without
from cake_edge.samplers.optimise import descend
from cake_edge.seeding import derive_seed, generator
from cake_edge.storage import Stored, check_stored
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["DataImpressionsConfig", "class_concentrations", "draw_labels"]

SMALLEST = 0.01
"""Concentration of the least similar class, before it is scaled: a Dirichlet's must be above 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataImpressionsConfig:
    """Settings of the sampler `data-impressions`."""

    name: ClassVar[str] = "data-impressions"
    prior: str = "gaussian"
    """Where images start; a name in `cake_edge.priors.PRIORS`."""
    scales: tuple[float, ...] = (1.0, 0.1)
    """Factors of the concentration (beta), in turn: the lower, the surer the labels."""
    temperature: float = 20.0
    """Of the teacher's answer that is compared with the labels."""
    steps: int = 200
    """Optimisation steps of an image."""
    step_size: float = 0.02
    """How far a pixel may move a step, in pixels of [0, 1]."""
    images_per_shard: int = 240
    """Images a shard: the unit of resuming and of parallel work."""
    batch: int = 120
    """Images that pass the teacher at once; bounds the memory."""
    stored: Stored = "float16"
    """What a value of an image is stored as: uint8, float16 or float32."""

    def __post_init__(self) -> None:
        PRIORS.check(self.prior)
        check_stored(self.stored)
        at_least_one(self, "steps", "images_per_shard", "batch")
        positive(self, "temperature", "step_size")
        if not self.scales or min(self.scales) <= 0:
            raise UsageMistake(f"scales is {list(self.scales)}; give at least one, all above 0")

    def build(self, teacher: FrozenTeacher, *, count: int, seed: int) -> DataImpressionsSampler:
        """Returns the sampler.

        Raises:
            UsageMistake: the teacher's classes do not exclude each other, or its last layer is not
                linear.
        """
        if teacher.spec.head != "softmax":
            raise UsageMistake(
                "data-impressions draws labels that sum to one, but the teacher's labels do not "
                "exclude each other (its head is a sigmoid); use one of the samplers that work "
                f"without: {samplers_without('exclusive classes')}"
            )
        weights = head_weights(teacher)
        if weights is None:
            raise UsageMistake(
                "data-impressions reads how alike classes are from the weights of a last linear "
                "layer, and the teacher's logits are not the product of one (nor is the average of "
                "several teachers); use one of the samplers that work without: "
                f"{samplers_without('linear head')}"
            )
        return DataImpressionsSampler(self, teacher, count, seed, class_concentrations(weights))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)

    def cost(self, count: int, classes: int) -> Cost:
        """Returns what `count` images ask of the teacher."""
        return Cost(image_steps=count * self.steps, looks=count)


class DataImpressionsSampler:
    """Draws labels, and optimises an image for each."""

    def __init__(
        self,
        config: DataImpressionsConfig,
        teacher: FrozenTeacher,
        count: int,
        seed: int,
        concentrations: torch.Tensor,
    ) -> None:
        self.config, self.teacher, self.count, self.seed = config, teacher, count, seed
        self.concentrations = concentrations.cpu()
        self._std, self._bounds = pixel_box(teacher.spec, teacher.device)

    def shard(self, index: int) -> SyntheticBatch:
        """Returns shard `index`; the targets are the classes that labels were drawn for."""
        config, spec = self.config, self.teacher.spec
        size = shard_size(config.images_per_shard, self.count, index)
        random = generator(self.seed, "data-impressions", index, device=self.teacher.device)
        targets = even_targets(size, spec.classes, random)
        labels = self.labels(targets, index).to(random.device)
        starts = PRIORS[config.prior](size, spec, random)
        made = [
            self._impress(images, wanted)
            for images, wanted in zip(
                starts.split(config.batch), labels.split(config.batch), strict=True
            )
        ]
        return finished(
            self.teacher, torch.cat(made), targets,
            steps=config.steps, batch=config.batch, stored=config.stored,
        )  # fmt: skip

    def labels(self, targets: torch.Tensor, index: int) -> torch.Tensor:
        """Returns soft labels [N, K] for targets [N] of shard `index`, on the CPU."""
        scales = torch.tensor(self.config.scales)[
            torch.arange(len(targets)) % len(self.config.scales)
        ]
        random = np.random.default_rng(derive_seed(self.seed, "data-impressions", index, "labels"))
        return draw_labels(self.concentrations[targets.cpu()] * scales[:, None], random)

    def _impress(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Optimises images [N, C, H, W] for labels [N, K]."""
        config = self.config

        def loss(current: torch.Tensor) -> torch.Tensor:
            return soft_target_cross_entropy(self.teacher(current), labels, config.temperature)

        reach = config.step_size / self._std
        (images,) = descend(images, loss, reach, self._bounds, (config.steps,))
        return images


def class_concentrations(weights: torch.Tensor) -> torch.Tensor:
    """Returns the Dirichlet concentrations of every class, [K, K], from weight vectors [K, D].

    Row k holds the cosines of class k with all classes (eq. 1 of arXiv 1905.08114), scaled so that
    the least is `SMALLEST` and the greatest, its own, is 1.
    """
    unit = functional.normalize(weights.double(), dim=1)
    alike = unit @ unit.t()
    low, high = alike.amin(1, keepdim=True), alike.amax(1, keepdim=True)
    share = (alike - low) / (high - low).clamp_min(1e-12)
    return share.clamp_min(SMALLEST)


def draw_labels(concentrations: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Returns one draw of the Dirichlet distribution of every row, [N, K] float32.

    Normalised gamma variates; in double precision, as those of small concentrations underflow.
    """
    drawn = random.standard_gamma(concentrations.double().numpy())
    drawn = np.maximum(drawn, np.finfo(np.float64).tiny)
    return torch.from_numpy(drawn / drawn.sum(1, keepdims=True)).float()
