"""Fine-tuning a fake-quantized network until it answers as its float original does.

No data: images come from a pool, from a generator that is trained beside the network (Xu et al.,
"Generative Low-bitwidth Data Free Quantization", ECCV 2020, algorithm 1), or from both. Step k
depends on the seed and on k alone.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from cake_edge.distill_config import DistillConfig
from cake_edge.errors import NumericsError, UsageMistake
from cake_edge.losses.head import head_of
from cake_edge.pool import Pool
from cake_edge.priors import structured
from cake_edge.progress import Progress, silent
from cake_edge.qat.config import QatConfig
from cake_edge.qat.convert import Conversion, fake_quantized, quantized_layers, weight_quantizer
from cake_edge.qat.generator import ImageGenerator, draw_noise
from cake_edge.qat.ranges import calibrate
from cake_edge.qat.state import read_state, restore, write_state
from cake_edge.qat.statistics import watch_statistics
from cake_edge.samplers.base import judge
from cake_edge.schedules import cosine
from cake_edge.seeding import derive_seed, generator
from cake_edge.spec import decisions
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.views import Views

__all__ = ["QatReport", "converted", "finetune", "held_out_agreement"]

logger = logging.getLogger(__name__)

SAVE_SECONDS = 5.0
CURVE_POINTS = 50
EXAMPLES = 2
DIVERGED = 100.0
"""Times the first loss, or times 1 where that is less. Clipped weights and activations keep the
answers of a network that is lost finite, so a loss need not become infinite to say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QatReport:
    """What can be said of a fine-tuned network without data."""

    weight_bits: int
    activation_bits: int
    edge_bits: int
    source: str
    steps: int
    layers: int
    """Quantized layers."""
    left_float: Mapping[str, str]
    """Weighted layers that are not quantized, and why."""
    folded: int
    """Batch norms folded into the layer before them."""
    agreement_before: float
    """Percent of held-out structured images, none of them trained on, that the quantized network
    and the float one classify alike, before the first step: ranges and rounding alone."""
    agreement_after: float
    """The same after the last step."""
    curve: tuple[tuple[int, float], ...]
    """(step, mean loss since the point before)."""
    generator: Mapping[str, float | int | None] | None
    """At its last step: cross_entropy, statistics (None: the network has no batch norm to match),
    batch_norms and hit_rate, the percent of images seen as their label; None without generator."""
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "curve": [list(point) for point in self.curve]}


def converted(teacher: FrozenTeacher, config: QatConfig) -> Conversion:
    """Returns the teacher's network fake-quantized as `config` says, its ranges not yet set."""
    example = structured(EXAMPLES, teacher.spec, generator(0, "qat example", device=teacher.device))
    return fake_quantized(
        teacher.network,
        example,
        weight_bits=config.weight_bits,
        activation_bits=config.activation_bits,
        edge_bits=config.edge_bits,
    )


def finetune(
    teacher: FrozenTeacher,
    config: QatConfig,
    *,
    seed: int,
    pool: Pool | None = None,
    state_path: Path | None = None,
    key: str = "",
    progress: Progress = silent,
) -> tuple[nn.Module, QatReport]:
    """Returns the fake-quantized network after the last step, on the teacher's device.

    Args:
        teacher: the float network.
        config: bits, source and training.
        seed: of everything random.
        pool: images, where the source is not the generator alone.
        state_path: where the state of an unfinished run is kept; None keeps none.
        key: hash of all that decides the result; a state with another key is left aside.
        progress: told after every point of the curve.

    Raises:
        UsageMistake: the source needs a pool, and there is none; or it, or the label's weight,
            needs classes that exclude each other.
        NumericsError: the loss is not finite, or far above the first; the state stays at
            `state_path`.
    """
    if config.source != "generator" and pool is None:
        raise UsageMistake(f"source {config.source} needs a pool; give one, or source=generator")
    if teacher.spec.head != "softmax" and (config.source != "pool" or config.label_weight):
        raise UsageMistake(
            "the generator and label_weight use a softmax's cross-entropy, but the network's "
            "labels do not exclude each other (its head is a sigmoid); give a pool, source=pool "
            "and label_weight=0"
        )
    started = time.monotonic()
    conversion = converted(teacher, config)
    run = _Run(teacher, conversion.network, config, seed, pool)
    run.go(state_path, key, progress)
    report = QatReport(
        weight_bits=config.weight_bits,
        activation_bits=config.activation_bits,
        edge_bits=config.edge_bits,
        source=config.source,
        steps=config.steps,
        layers=len(conversion.layers),
        left_float=conversion.left_float,
        folded=conversion.folded,
        agreement_before=run.before,
        agreement_after=held_out_agreement(conversion.network, teacher, seed),
        curve=tuple(run.curve),
        generator=run.told,
        seconds=time.monotonic() - started,
    )
    return conversion.network.requires_grad_(False), report


def held_out_agreement(network: nn.Module, teacher: FrozenTeacher, seed: int) -> float:
    """Percent of decisions on structured images of a stream of their own that are alike."""
    count = 2048 if teacher.spec.height * teacher.spec.width <= 64 * 64 else 256
    random = generator(derive_seed(seed, "held out"), "prior", device=teacher.device)
    images = structured(count, teacher.spec, random)
    head = teacher.spec.head
    wanted = decisions(judge(teacher, images, 256), head)
    with torch.no_grad():
        given = torch.cat([decisions(network(part), head) for part in images.split(256)])
    return 100 * float((given == wanted).double().mean())


class _Run:
    """One fine-tuning: the networks and what has been seen of them."""

    def __init__(
        self,
        teacher: FrozenTeacher,
        network: nn.Module,
        config: QatConfig,
        seed: int,
        pool: Pool | None,
    ) -> None:
        self.teacher, self.network, self.config, self.seed = teacher, network, config, seed
        self.head = head_of(teacher.spec)
        self.before, self.first = 0.0, 0.0
        self.curve = list[tuple[int, float]]()
        self.told: dict[str, float | int | None] | None = None
        self.optimiser = _optimiser(network, config)
        self.parts: dict[str, Any] = {"network": network, "optimiser": self.optimiser}
        self.views = _views(teacher, pool, config, seed) if config.source != "generator" else None
        self.generator: ImageGenerator | None = None
        if config.source != "pool":
            made = ImageGenerator(teacher.spec, latent=config.latent, width=config.width)
            self.generator = made.initialise(generator(seed, "generator weights")).to(
                teacher.device
            )
            self.generator_optimiser = torch.optim.Adam(
                self.generator.parameters(), lr=config.generator_rate, betas=(0.5, 0.999)
            )
            self.parts |= {
                "generator": self.generator,
                "generator_optimiser": self.generator_optimiser,
            }

    def go(self, state_path: Path | None, key: str, progress: Progress) -> None:
        """Warm-up, ranges, and the steps; from where an interrupted run stopped."""
        config, done, window = self.config, 0, 0.0
        found = read_state(state_path, key) if state_path is not None else None
        if found is not None:
            about, tensors = found
            restore(tensors, self.parts)
            done, window = about["step"], about["window"]
            self.before, self.first = about["before"], about["first"]
            self.curve = [(int(step), float(loss)) for step, loss in about["curve"]]
            self.told = about["generator"]
            logger.info("going on from step %d of %d", done, config.steps)
        else:
            self._begin(progress)
        every, saved = max(1, config.steps // CURVE_POINTS), time.monotonic()
        for step in range(done, config.steps):
            loss = self._step(step)
            self.first = loss if step == 0 else self.first
            if not (math.isfinite(loss) and loss <= DIVERGED * max(1.0, self.first)):
                raise _diverged(loss, step, state_path)
            window += loss
            if (step + 1) % every == 0 or step + 1 == config.steps:
                mean = window / (step % every + 1)
                self.curve.append((step + 1, mean))
                window = 0.0
                progress("qat", step + 1, config.steps, f"loss {mean:.4f}")
            if state_path is not None and time.monotonic() - saved > SAVE_SECONDS:
                about = {
                    "step": step + 1,
                    "window": window,
                    "before": self.before,
                    "first": self.first,
                    "curve": self.curve,
                    "generator": self.told,
                }
                write_state(state_path, key, about, self.parts)
                saved = time.monotonic()

    def _begin(self, progress: Progress) -> None:
        config = self.config
        if self.generator is not None:
            for step in range(config.warmup):
                self._generate(step, "warm-up")
                if (step + 1) % 20 == 0 or step + 1 == config.warmup:
                    progress("generator", step + 1, config.warmup)
        calibrate(self.network, self._calibration(), config.start)
        self.before = held_out_agreement(self.network, self.teacher, self.seed)

    def _calibration(self) -> Iterator[torch.Tensor]:
        for index in range(self.config.calibration_batches):
            if self.views is not None:
                yield self.views.step(self.config.steps + index)[0]
            if self.generator is not None:
                random = generator(self.seed, "ranges", index, device=self.teacher.device)
                noise, labels = draw_noise(self.config.batch, self.generator, random)
                yield self.generator(noise, labels)

    def _step(self, step: int) -> float:
        """One step of the generator, where there is one, and one of the quantized network."""
        images, logits, labels = self._images(step)
        rate = cosine(step, self.config.steps, self.config.learning_rate, self.config.steps // 50)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        given = self.network(images)
        loss = self.head.match(given, logits, self.config.temperature)
        if self.config.label_weight:
            loss = loss + self.config.label_weight * functional.cross_entropy(given, labels)
        self.optimiser.zero_grad()
        loss.backward()
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimiser.step()
        return float(loss.detach())

    def _images(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images, the float network's logits on them, labels."""
        found = []
        if self.views is not None:
            images, logits = self.views.step(step)
            found.append((images, logits, logits.argmax(1)))
        if self.generator is not None:
            found.append(self._generate(step, "step"))
        if len(found) == 1:
            return found[0]
        halves = [tuple(t[: self.config.batch // 2] for t in part) for part in found]
        images, logits, labels = (torch.cat(parts) for parts in zip(*halves, strict=True))
        return images, logits, labels

    def _generate(self, step: int, stream: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Trains the generator on a batch; returns the batch: images, logits, labels."""
        assert self.generator is not None
        random = generator(self.seed, "generator", stream, step, device=self.teacher.device)
        noise, labels = draw_noise(self.config.batch, self.generator, random)
        with watch_statistics(self.teacher) as statistics:
            images = self.generator(noise, labels)
            logits = self.teacher(images)
            apart = statistics.take()
        aimed = functional.cross_entropy(logits, labels)
        loss = aimed if apart is None else aimed + self.config.statistics_weight * apart
        self.generator_optimiser.zero_grad()
        loss.backward()
        self.generator_optimiser.step()
        self.told = {
            "cross_entropy": float(aimed.detach()),
            "statistics": None if apart is None else float(apart.detach()),
            "batch_norms": statistics.layers,
            "hit_rate": 100 * float((logits.detach().argmax(1) == labels).double().mean()),
        }
        return images.detach(), logits.detach(), labels


def _views(teacher: FrozenTeacher, pool: Pool | None, config: QatConfig, seed: int) -> Views:
    assert pool is not None
    shown = DistillConfig(batch=config.batch, augment=config.augment,
                          mixed=0.5 if config.augment else 0.0).views()  # fmt: skip
    logits = pool.logits().to(teacher.device)
    return Views(pool.images(), logits, teacher, shown, seed=seed, first=0, last=config.steps)


def _optimiser(network: nn.Module, config: QatConfig) -> torch.optim.Optimizer:
    """Weight decay acts on weights of two dimensions and more: not on biases, norms and steps."""
    steps = set()
    for _, layer in quantized_layers(network):
        steps |= {layer.input_quantizer.step, weight_quantizer(layer).step}
    for parameter in network.parameters():
        parameter.requires_grad_(config.ranges == "learned" or parameter not in steps)
    trained = [p for p in network.parameters() if p.requires_grad and p not in steps]
    wide, narrow = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": wide, "weight_decay": config.weight_decay, "share": 1.0},
        {"params": narrow, "weight_decay": 0.0, "share": 1.0},
    ]
    if config.ranges == "learned":
        learned = [p for p in network.parameters() if p in steps]
        groups.append({"params": learned, "weight_decay": 0.0, "share": config.range_rate})
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)


def _diverged(loss: float, step: int, state: Path | None) -> NumericsError:
    kept = f" The last good state is kept in {state}." if state and state.exists() else ""
    return NumericsError(
        f"the loss is {loss:.3g} at step {step + 1}: lower learning_rate, set clip, or give more "
        f"bits.{kept}"
    )
