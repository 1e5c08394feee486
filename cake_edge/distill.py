"""Distillation: a student learns to answer as the teacher does, on synthetic views alone."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.data import DataLoader

from cake_edge.checkpoint import Checkpoint, load_checkpoint, read_header, save_checkpoint
from cake_edge.errors import CakeEdgeError, NumericsError, OutputExists, PoolError, UsageMistake
from cake_edge.losses.distill import soft_cross_entropy, temperature_kl
from cake_edge.networks import parameter_count
from cake_edge.pool import Pool
from cake_edge.priors import structured
from cake_edge.progress import Progress, silent
from cake_edge.provenance import refuse_existing, sha256_file, sha256_json, versions
from cake_edge.samplers.base import judge
from cake_edge.schedules import cosine, one_cycle
from cake_edge.seeding import derive_seed, generator
from cake_edge.stored_images import HeldImages, ImageSource
from cake_edge.students import StudentConfig, build_student, inherit_weights
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.training_state import Average, restore_state, save_state
from cake_edge.views import ViewConfig, Views
from cake_edge.workers import quiet_start

__all__ = ["DISTILL_PRESETS", "DistillConfig", "DistillResult", "distill"]

logger = logging.getLogger(__name__)

SAVE_SECONDS = 5.0
CURVE_POINTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """How the student is trained; the defaults are function matching with a long cosine."""

    steps: int = 4000
    """Optimiser steps."""
    batch: int = 256
    """Views a step."""
    loss: Literal["kl", "soft-cross-entropy"] = "kl"
    """T^2 KL at `temperature`, or cross-entropy with the teacher's probabilities."""
    temperature: float = 2.0
    """Of the KL; 1 compares the answers as they are."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """SGD has momentum 0.9, cycled where the schedule says so."""
    schedule: Literal["cosine", "one-cycle"] = "cosine"
    """Warm-up over a fiftieth of the steps and half a cosine; or torch's OneCycleLR."""
    learning_rate: float = 4e-3
    """The highest rate."""
    weight_decay: float = 1e-2
    """Decoupled for adamw."""
    clip: float = 5.0
    """Largest norm of the whole gradient; 0 for none."""
    average: float = 0.995
    """Decay of the moving average of weights that is the result; 0 takes the last weights."""
    augment: bool = True
    """Change the views at every step and ask the teacher anew; off: the pool's own logits."""
    motion: float = 0.4
    """How far augmentation turns, moves and scales; 0 for flips alone."""
    mixed: float = 0.5
    """Share of views that are blended with another."""
    balance: bool = True
    """Draw the classes that the teacher sees evenly; off: every image once before any again."""
    inherit: bool = True
    """Start from a selection of the teacher's weights where both are of one family."""

    def __post_init__(self) -> None:
        for field in ("steps", "batch", "temperature", "learning_rate"):
            if not getattr(self, field) > 0:
                raise UsageMistake(f"{field} is {getattr(self, field)}; it must be positive")
        for field in ("average", "mixed"):
            if not 0 <= getattr(self, field) <= 1:
                raise UsageMistake(f"{field} is {getattr(self, field)}; it must lie in [0, 1]")
        for field in ("motion", "weight_decay", "clip"):
            if getattr(self, field) < 0:
                raise UsageMistake(f"{field} is {getattr(self, field)}; it must be 0 or more")
        if self.batch < 2:
            raise UsageMistake("batch is 1; batch normalisation needs at least 2")
        if self.mixed and not self.augment:
            raise UsageMistake(
                "mixed needs augment: blended views must be shown to the teacher; "
                "set mixed to 0, or augment to true"
            )

    def views(self) -> ViewConfig:
        """Returns the part that says how views are made."""
        return ViewConfig(
            batch=self.batch,
            augment=self.augment,
            motion=self.motion,
            mixed=self.mixed,
            balance=self.balance,
        )


DISTILL_PRESETS: dict[str, DistillConfig] = {
    "cake": DistillConfig(),
    # As released with cake-paper: 30 epochs, the last weights. Two things differ: the authors keep
    # one image in a hundred apart for a validation that decides nothing, and train under bfloat16.
    "cake-paper": DistillConfig(
        steps=30000,
        loss="soft-cross-entropy",
        optimiser="sgd",
        schedule="one-cycle",
        learning_rate=0.1,
        weight_decay=5e-4,
        clip=0.0,
        average=0.0,
        augment=False,
        mixed=0.0,
        balance=False,
        inherit=False,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillResult:
    """A trained student and what can be said of it without data."""

    path: Path
    sha256: str
    architecture: str
    parameters: int
    steps: int
    views: int
    seconds: float
    curve: list[tuple[int, float]]
    """(step, mean loss since the point before)."""
    agreement_synthetic: float
    """Percent of fresh prior images, none of them trained on, that both classify alike."""
    inherited: int
    """Tensors that started from the teacher's weights."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "path": str(self.path)}


def distill(
    teacher: FrozenTeacher,
    student: StudentConfig,
    pool: Pool,
    config: DistillConfig,
    out: Path,
    *,
    seed: int,
    workers: int = 0,
    progress: Progress = silent,
) -> DistillResult:
    """Trains a student and writes it to `out`, or goes on with a run that was interrupted.

    The result is the moving average of the weights at the last step: nothing is chosen.

    Args:
        out: a new safetensors file; beside it lies the state of an unfinished run.
        workers: processes that make views while this one trains; 0 makes them here.

    Raises:
        PoolError: the pool was made by another teacher.
        NumericsError: the loss is not finite.
        OutputExists: `out` holds a student of another plan.
    """
    if pool.teacher_digest != teacher.digest:
        raise PoolError(
            f"the pool {pool.path} was made by another teacher (weights "
            f"{pool.teacher_digest[:12]}…, given {teacher.digest[:12]}…); make one with this one"
        )
    started = time.monotonic()
    network, architecture, arguments = build_student(student, teacher.spec, seed=seed)
    inherited = inherit_weights(network, teacher.network) if config.inherit else 0
    plan = json.loads(json.dumps({
        "config": asdict(config),
        "seed": seed,
        "teacher": teacher.digest,
        "pool": pool.digest,
        "architecture": architecture,
        "arguments": arguments,
        "inherited": inherited,
        "versions": versions(),
    }))  # fmt: skip
    if not _finished(out, plan):
        network.to(teacher.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        average, curve = _train(network, teacher, pool, config, plan, out, seed, workers, progress)
        network.load_state_dict(average.state)
        manifest = {**plan, **_place(teacher.device), "curve": curve}
        about = Checkpoint(
            architecture=architecture, arguments=arguments, spec=teacher.spec, manifest=manifest
        )
        save_checkpoint(out, network, about)
    _state_path(out).unlink(missing_ok=True)
    trained, about = load_checkpoint(out)
    return DistillResult(
        path=out,
        sha256=sha256_file(out),
        architecture=architecture,
        parameters=parameter_count(trained),
        steps=config.steps,
        views=config.steps * config.batch,
        seconds=time.monotonic() - started,
        curve=[(int(step), float(loss)) for step, loss in about.manifest["curve"]],
        agreement_synthetic=_held_out_agreement(trained, teacher, seed),
        inherited=int(about.manifest["inherited"]),
    )


def _place(device: torch.device) -> dict[str, Any]:
    """What shapes the last bits of a sum: a run that is cut short goes on in the same place."""
    threads = torch.get_num_threads() if device.type == "cpu" else None
    return {"device": device.type, "threads": threads}


def _state_path(out: Path) -> Path:
    return out.with_name(f".{out.name}.state")


def _finished(out: Path, plan: dict[str, Any]) -> bool:
    """True where `out` is the result of this very plan; refuses anything else that is there."""
    if not out.exists():
        return False
    about = read_header(out) if out.is_file() else None
    if about is None:
        refuse_existing(out)
        return False
    differs = sorted(key for key in plan if about.manifest.get(key) != plan[key])
    if differs:
        raise OutputExists(
            f"{out} holds a student of other settings (different: {', '.join(differs)}); "
            "choose another --out, or remove it"
        )
    return True


def _train(
    network: nn.Module,
    teacher: FrozenTeacher,
    pool: Pool,
    config: DistillConfig,
    plan: dict[str, Any],
    out: Path,
    seed: int,
    workers: int,
    progress: Progress,
) -> tuple[Average, list[tuple[int, float]]]:
    """The training loop, from where an interrupted run stopped."""
    optimiser = _optimiser(network, config)
    average = Average(network, config.average)
    state_path, key = _state_path(out), sha256_json({**plan, **_place(teacher.device)})
    window = torch.zeros((), device=teacher.device)
    done, curve = restore_state(
        state_path, key=key, network=network, average=average, optimiser=optimiser, window=window
    )
    if done:
        logger.info("going on from step %d of %d", done, config.steps)
    images, logits = _source(pool, teacher.device), pool.logits().to(teacher.device)
    if teacher.device.type != "cpu":
        workers = 0
    views = Views(images, logits, teacher, config.views(), seed=seed, first=done, last=config.steps)
    every = max(1, config.steps // CURVE_POINTS)
    saved = time.monotonic()
    network.train()
    for step, (shown, wanted) in enumerate(_batches(views, workers, config.augment), start=done):
        _set_rate(optimiser, config, step)
        with _own_randomness(seed, step, teacher.device):
            loss = _loss(network(shown), wanted, config)
        optimiser.zero_grad()
        loss.backward()
        if config.clip:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimiser.step()
        average.update(network, step)
        window += loss.detach()
        last, due = step + 1 == config.steps, time.monotonic() - saved > SAVE_SECONDS
        if last or due or (step + 1) % every == 0:
            mean = _checked(float(window) / (step % every + 1), step, state_path)
            progress("distill", step + 1, config.steps, f"loss {mean:.3f}")
        if last or (step + 1) % every == 0:
            curve.append((step + 1, mean))
            window.zero_()
        if due and not last:
            save_state(
                state_path, key=key, step=step + 1, network=network, average=average,
                optimiser=optimiser, window=window, curve=curve,
            )  # fmt: skip
            saved = time.monotonic()
    return average, curve


@contextmanager
def _own_randomness(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Lets dropout and stochastic depth draw what depends on the step alone.

    They draw from the global generators, which are put back as they were.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, "student", step))  # noqa: TID251
        yield


def _source(pool: Pool, device: torch.device) -> ImageSource:
    """The pool's images: in the memory of a CUDA device where half of what is free holds them."""
    mapped = pool.images()
    if device.type == "cuda" and mapped.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        return HeldImages(mapped.copy_to(device))
    return mapped


def _batches(
    views: Views, workers: int, augmented: bool
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The views in order, made here or in worker processes."""
    if workers == 0 or not augmented:
        yield from views
        return
    loader = DataLoader(
        views, batch_size=None, num_workers=workers, multiprocessing_context="spawn"
    )
    with quiet_start():
        made = iter(loader)
    try:
        yield from made
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise CakeEdgeError(
            "a process that makes views was killed (out of memory?): run the same command again, "
            "with fewer --workers"
        ) from error


def _optimiser(network: nn.Module, config: DistillConfig) -> torch.optim.Optimizer:
    """Weight decay acts on weights of two dimensions and more: not on biases and norms."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    spared = [p for p in network.parameters() if p.ndim <= 1]
    if config.optimiser == "sgd":
        # As released: one group, momentum 0.9.
        return torch.optim.SGD(
            network.parameters(),
            lr=config.learning_rate,
            momentum=0.9,
            weight_decay=config.weight_decay,
        )
    groups = [{"params": decayed, "weight_decay": config.weight_decay},
              {"params": spared, "weight_decay": 0.0}]  # fmt: skip
    return torch.optim.AdamW(groups, lr=config.learning_rate, foreach=True)


def _set_rate(optimiser: torch.optim.Optimizer, config: DistillConfig, step: int) -> None:
    if config.schedule == "cosine":
        warmup = max(1, config.steps // 50)
        rate, momentum = cosine(step, config.steps, config.learning_rate, warmup), None
    else:
        rate, momentum = one_cycle(step, config.steps, config.learning_rate)
    for group in optimiser.param_groups:
        group["lr"] = rate
        if momentum is not None and "momentum" in group:
            group["momentum"] = momentum


def _loss(given: torch.Tensor, wanted: torch.Tensor, config: DistillConfig) -> torch.Tensor:
    if config.loss == "kl":
        return temperature_kl(given, wanted, config.temperature)
    return soft_cross_entropy(given, wanted)


def _checked(loss: float, step: int, state: Path) -> float:
    if math.isfinite(loss):
        return loss
    kept = f" The last good state is kept in {state}." if state.exists() else ""
    raise NumericsError(
        f"the distillation loss is {loss} after step {step + 1}: lower learning_rate, or set clip."
        + kept
    )


def _held_out_agreement(student: nn.Module, teacher: FrozenTeacher, seed: int) -> float:
    """Percent of fresh prior images that both classify alike; a stream no training draws from."""
    count = 2048 if teacher.spec.height * teacher.spec.width <= 64 * 64 else 256
    random = generator(derive_seed(seed, "held out"), "prior", device=teacher.device)
    images = structured(count, teacher.spec, random)
    student = student.to(teacher.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    wanted = judge(teacher, images, 256).argmax(1)
    with torch.no_grad():
        given = torch.cat([student(part).argmax(1) for part in images.split(256)])
    return 100 * float((given == wanted).double().mean())
