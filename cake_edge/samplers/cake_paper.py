"""CAKE as its authors released it (arXiv 2306.02090; code of ml-research/CAKE, MIT).

Exactly so but for one thing: images move in bfloat16 on every device, not in float16 on CUDA's.
Kept for comparison: white noise starts, plain SGD with one step size a mini-batch that falls
log-linearly over the pool, losses whose weights are tied to batch and tuple size. The defaults
are the released Fashion-MNIST and MNIST settings; CIFAR-10 and SVHN use contrast = 10,
variation = 1e5.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch

from cake_edge.batch import SyntheticBatch
from cake_edge.errors import NumericsError, UsageMistake
from cake_edge.losses.classification import target_cross_entropy_released
from cake_edge.losses.contrast import pair_contrast_released, soft_nearest_neighbour_released
from cake_edge.losses.diversity import class_entropy_released
from cake_edge.losses.image_prior import total_variation_released
from cake_edge.precision import mixed
from cake_edge.priors.gaussian import gaussian
from cake_edge.samplers.base import judge
from cake_edge.samplers.common import not_negative
from cake_edge.samplers.needs import samplers_without
from cake_edge.samplers.optimise import draw_tuples
from cake_edge.schedules import log_cosine, log_linear
from cake_edge.seeding import generator
from cake_edge.storage import Stored, as_stored, check_stored
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["CakePaperConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CakePaperConfig:
    """Settings of the sampler `cake-paper`, under the project's names."""

    name: ClassVar[str] = "cake-paper"
    batch: int = 500
    """Images a mini-batch (B), a multiple of the tuple size; also the shard."""
    tuple_size: int = 10
    """Images of distinct classes in a tuple (G, the released num_groups)."""
    steps: int = 256
    """SGD steps a mini-batch (T)."""
    classification: float = 1e3
    """Weight of G times the mean cross-entropy."""
    contrast: float = 1e-3
    """Weight of the contrast between the images of a tuple."""
    contrast_form: Literal["mse", "snn"] = "mse"
    """Squared logit distance, or 0.5 G^2 over the soft-nearest-neighbour loss."""
    variation: float = 1e7
    """Weight of the mean absolute step between neighbouring pixels."""
    entropy: float = 0.0
    """Weight of the class-balance term."""
    step_size: float = 1e-1
    """SGD learning rate of the first mini-batch (eta)."""
    decades: float = 4.0
    """Powers of ten by which the learning rate falls over the pool."""
    schedule: Literal["linear", "cosine"] = "linear"
    """How it falls, in log10."""
    langevin: bool = False
    """Add sqrt(2 eta) N(0, 1) after every step: the explicit form, LAKE."""
    soft_labels: bool = True
    """Keep the teacher's soft answer; otherwise its decision alone."""
    stored: Stored = "float32"
    """What a value of an image is stored as: float16 or float32."""

    def __post_init__(self) -> None:
        check_stored(self.stored, "the images of cake-paper go beyond them")
        if self.tuple_size < 1 or self.batch < 1 or self.batch % self.tuple_size:
            raise UsageMistake(
                f"batch is {self.batch} and tuple_size {self.tuple_size}; "
                "the batch must be a multiple of the tuple size"
            )
        if self.contrast_form == "snn" and self.batch == self.tuple_size:
            raise UsageMistake(
                f"contrast_form is 'snn' and batch {self.batch} a single tuple: no image has a "
                "neighbour of its class; use a batch of at least two tuples"
            )
        if self.steps < 1 or self.step_size <= 0:
            raise UsageMistake(
                f"steps is {self.steps} and step_size {self.step_size}; both must be positive"
            )
        not_negative(self, "classification", "contrast", "variation", "decades")

    @property
    def images_per_shard(self) -> int:
        """One mini-batch a shard."""
        return self.batch

    def build(self, teacher: FrozenTeacher, *, count: int, seed: int) -> CakePaperSampler:
        """Returns the sampler.

        Raises:
            UsageMistake: the tuple size exceeds the number of classes, or classes do not exclude
                each other.
        """
        if teacher.spec.head != "softmax":
            raise UsageMistake(
                "cake-paper pushes images by a softmax's cross-entropy, but the teacher's labels "
                "do not exclude each other (its head is a sigmoid); use one of the samplers that "
                f"work without: {samplers_without('exclusive classes')}"
            )
        if self.tuple_size > teacher.spec.classes:
            raise UsageMistake(
                f"tuple_size is {self.tuple_size}, but the teacher has {teacher.spec.classes} "
                "classes; cake-paper draws tuples of distinct classes"
            )
        return CakePaperSampler(self, teacher, count, seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


class CakePaperSampler:
    """Makes one mini-batch a shard."""

    def __init__(
        self, config: CakePaperConfig, teacher: FrozenTeacher, count: int, seed: int
    ) -> None:
        self.config, self.teacher, self.count, self.seed = config, teacher, count, seed
        self._batches = -(-count // config.batch)

    def shard(self, index: int) -> SyntheticBatch:
        """Returns mini-batch `index`, cut to what is left of the pool."""
        config, teacher = self.config, self.teacher
        random = generator(self.seed, "cake-paper", index, device=teacher.device)
        images = gaussian(config.batch, teacher.spec, random).requires_grad_()
        targets = draw_tuples(
            config.batch // config.tuple_size, config.tuple_size, teacher.spec.classes, random
        )
        rate = self.step_size(index)
        optimiser = torch.optim.SGD([images], lr=rate)
        for _ in range(config.steps):
            # As released, but for float16 on CUDA devices, which overflows at weights like these.
            with mixed("bfloat16", images.device):
                value = self.loss(images, targets)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            if config.langevin:
                noise = gaussian(config.batch, teacher.spec, random)
                images.data.add_(noise, alpha=(2 * rate) ** 0.5)
        if not torch.isfinite(value):
            raise NumericsError(
                f"the CAKE loss of mini-batch {index} is {float(value.detach())} after "
                f"{config.steps} steps at step size {rate:.3g}; "
                "use a smaller step_size or smaller weights"
            )
        return self._labelled(images.detach(), targets, index)

    def step_size(self, index: int) -> float:
        """Returns eta of mini-batch `index`: it falls over the pool, not over a trajectory."""
        fall = log_linear if self.config.schedule == "linear" else log_cosine
        return fall(index, self._batches, self.config.step_size, self.config.decades)

    def loss(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the released total of images [B, C, H, W] and targets [B / G, G], a scalar."""
        config = self.config
        logits = self.teacher.network(images)
        flat = targets.flatten()
        if config.contrast_form == "mse":
            contrast = pair_contrast_released(logits.view(*targets.shape, -1))
        else:
            nearest = soft_nearest_neighbour_released(logits, flat)
            contrast = 0.5 * config.tuple_size**2 / nearest
        total = (
            config.classification * target_cross_entropy_released(logits, flat, config.tuple_size)
            + config.contrast * contrast
            + config.variation * total_variation_released(images)
        )
        if config.entropy:
            total = total + config.entropy * class_entropy_released(logits)
        return total

    def _labelled(self, images: torch.Tensor, targets: torch.Tensor, index: int) -> SyntheticBatch:
        size = min(self.config.batch, self.count - index * self.config.batch)
        images = as_stored(images[:size], self.teacher.spec, self.config.stored)
        logits = judge(self.teacher, images, self.config.batch)
        if not self.config.soft_labels:
            # A decision as logits: a margin that softmax turns into one and zeros in float32.
            logits = (
                100.0
                * torch.nn.functional.one_hot(logits.argmax(1), self.teacher.spec.classes).float()
            )
        steps = torch.full((size,), self.config.steps, device=images.device)
        return SyntheticBatch(
            images=images, logits=logits, targets=targets.flatten()[:size], steps=steps
        )
