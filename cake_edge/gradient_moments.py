"""Of the gradients of a teacher's logits: what its weights say of the images they were fitted to.

Through training the weights W of a layer come to be in proportion with the gradients of the outputs
over the training data: W'W with a power of the mean of g g', g being the gradient at the layer's
input (the neural feature ansatz: Radhakrishnan et al., arXiv 2212.13881; of convolutions:
Beaglehole et al., arXiv 2309.00570). With the power of a half that they find, and the gradient d
at the layer's output, of which g is W'd, the mean of d d' is in proportion with WW'. Over other
images it is so less. What is not in proportion is averaged here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from cake_edge.moments import FEATURES, batch_of
from cake_edge.seeding import generator
from cake_edge.stored_images import ImageSource
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["GradientMoments"]

_Pass = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], torch.Tensor]
"""Outer products by layer, how much of them is in proportion, and the classes."""

CHANNELS = 128
"""Most channels of a layer that are told apart; more are summed at random signs into as many."""
PROBES = 16
"""Most gradients an image: of its logits, or of as many sums of them at random signs."""
SCALED_ON = 2_000
"""Images over which a layer's gradients get their unit."""
EVEN = 3.0
"""How much the evenness of the classes counts, of everything else."""
BATCH = 100


class GradientMoments:
    """What the outer products of gradients have beside a multiple of WW', a layer and an image.

    In units of what they have of it over the pool; each layer counts as much as any other. Beside
    these stand the probabilities of the classes, less an even share: images like those that
    a layer has seen are not to be images of a few classes. The last layer, whose gradients are the
    same for all images, is left out, and so are layers whose output has not a row for each image.
    """

    def __init__(self, teacher: FrozenTeacher, images: ImageSource, index: torch.Tensor, seed: int):
        """Finds the layers and their units.

        Args:
            images: of the pool.
            index: of those that are weighed.
            seed: of random signs, and of which images the units are taken from.
        """
        self.teacher, self._random = teacher, generator(seed, "gradients")
        found = {name: m for name, m in teacher.network.named_modules() if _tells(m)}
        self.layers: dict[str, nn.Module] = dict(list(found.items())[:-1])
        self._probes = self._signs(teacher.spec.classes, PROBES)
        if teacher.spec.head == "softmax":  # a number that is added to all logits changes nothing
            self._probes = self._probes - self._probes.mean(0)
        self._narrow: dict[str, torch.Tensor] = {}
        self._wanted: dict[str, torch.Tensor] = {}
        self._folding: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for name, layer in self.layers.items():
            weight = layer.get_parameter("weight").detach().float().flatten(1)
            self._narrow[name] = self._signs(len(weight), CHANNELS)
            product = (lambda w: w @ w.T)(self._narrow[name].T @ weight)
            self._wanted[name] = product / product.norm().clamp_min(1e-30)
            place = torch.randint(FEATURES, (product.numel(),), generator=self._random)
            sign = torch.randint(2, (product.numel(),), generator=self._random) * 2.0 - 1.0
            self._folding[name] = place.to(teacher.device), sign.to(teacher.device)
        self._units: dict[str, float] = {}
        self._even = 0.0
        if self.layers:
            order = torch.randperm(len(index), generator=self._random)[:SCALED_ON]
            self._measure(images, index[order.sort().values])

    def of(self, images: ImageSource, index: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yields the moments [B, F] of the images that `index` names, some at a time, in order."""
        for products, along, chances in self._passes(images, index):
            beside = self._folded(products, along)
            yield torch.cat([beside, chances * self._even], 1)

    def distance(self, mean: torch.Tensor) -> float:
        """Returns the sum over layers of the square of what is not in proportion, estimated."""
        return float(mean[:FEATURES].square().sum())

    def _measure(self, images: ImageSource, index: torch.Tensor) -> None:
        """Sets the units, and leaves out layers that have none."""
        passes = list(self._passes(images, index))
        for name in list(self.layers):
            seen = [along[name] for _, along, _ in passes if name in along]
            unit = float(torch.cat(seen).mean()) if seen else 0.0
            if math.isfinite(unit) and unit > 0:
                self._units[name] = unit
            else:
                del self.layers[name]
        sizes = [self._folded(products, along).square().sum(1) for products, along, _ in passes]
        self._even = EVEN * math.sqrt(float(torch.cat(sizes).mean()))

    def _passes(self, images: ImageSource, index: torch.Tensor) -> Iterator[_Pass]:
        for part in index.split(batch_of(self.teacher, BATCH)):
            shown = images.gather(part.to(self.teacher.device)).requires_grad_()
            outputs: dict[str, list[torch.Tensor]] = {}
            handles = [
                layer.register_forward_hook(_keeping(outputs.setdefault(name, []), len(part)))
                for name, layer in self.layers.items()
            ]
            try:
                with torch.enable_grad():
                    logits = self.teacher(shown)
            finally:
                for handle in handles:
                    handle.remove()
            products = self._products(logits, outputs)
            along = {name: (p * self._wanted[name]).sum((1, 2)) for name, p in products.items()}
            yield products, along, self._chances(logits.detach())

    def _products(
        self, logits: torch.Tensor, outputs: dict[str, list[torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """By layer [B, d, d]: outer products of the gradients at its outputs, summed."""
        calls = [(name, out) for name, outs in outputs.items() for out in outs if out.requires_grad]
        found: dict[str, torch.Tensor] = {}
        for probe in self._probes.T:
            given = torch.autograd.grad(
                logits, [out for _, out in calls], probe.expand_as(logits),
                retain_graph=True, allow_unused=True,
            )  # fmt: skip
            for (name, _), gradient in zip(calls, given, strict=True):
                if gradient is None:
                    continue
                rows = _rows(self.layers[name], gradient) @ self._narrow[name]
                product = rows.transpose(1, 2) @ rows
                found[name] = found[name] + product if name in found else product
        return found

    def _folded(
        self, products: dict[str, torch.Tensor], along: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Of all layers together [B, FEATURES]: what is not in proportion, in units."""
        count = len(next(iter(products.values())))
        folded = torch.zeros((count, FEATURES), device=self.teacher.device)
        for name, product in products.items():
            if name in self._units:
                beside = product - along[name][:, None, None] * self._wanted[name]
                place, sign = self._folding[name]
                folded.index_add_(1, place, beside.flatten(1) / self._units[name] * sign)
        return folded.nan_to_num_(0.0, 0.0, 0.0)

    def _chances(self, logits: torch.Tensor) -> torch.Tensor:
        """Probabilities of the classes less an even share; of labels that may go together, none."""
        if self.teacher.spec.head != "softmax":
            return logits[:, :0]
        return logits.softmax(1) - 1 / logits.shape[1]

    def _signs(self, count: int, most: int) -> torch.Tensor:
        """A matrix [count, at most `most`] that keeps inner products; of few, nothing changes."""
        if count <= most:
            return torch.eye(count, device=self.teacher.device)
        signs = torch.randint(2, (count, most), generator=self._random) * 2.0 - 1.0
        return (signs / math.sqrt(most)).to(self.teacher.device)


def _tells(module: nn.Module) -> bool:
    """Whether it multiplies its whole input by the weights that it holds."""
    if type(module).__name__.startswith(("Std", "ScaledStd")):  # timm's: by others made of them
        return False
    if isinstance(module, (nn.Conv1d, nn.Conv2d)):
        return module.groups == 1
    return isinstance(module, nn.Linear)


def _keeping(outputs: list[torch.Tensor], count: int) -> Any:
    def hook(module: nn.Module, given: tuple[Any, ...], output: torch.Tensor) -> None:
        if len(output) == count:
            outputs.append(output)

    return hook


def _rows(layer: nn.Module, gradient: torch.Tensor) -> torch.Tensor:
    """Gradients at a layer's output as [B, places, channels]."""
    if isinstance(layer, nn.Linear):
        return gradient.reshape(len(gradient), -1, gradient.shape[-1]).float()
    return gradient.flatten(2).transpose(1, 2).float()
