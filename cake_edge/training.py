"""The training loop of distillation, from start to end or from where it was cut short.

Of several ranks each shows its own part of a step's views; gradients are averaged before they are
clipped, so that a step is that of one process up to rounding (and to batch norms on CPUs, see
`Team.wrap`). The first rank alone averages weights, saves and tells.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from cake_edge.diagnostics import HeldOut
from cake_edge.distill_config import DistillConfig
from cake_edge.errors import CakeEdgeError, NumericsError, UsageMistake
from cake_edge.losses.head import Head, head_of
from cake_edge.matching import match_statistics
from cake_edge.pool import Pool
from cake_edge.precision import mixed, refuse_unsound
from cake_edge.progress import Progress
from cake_edge.schedules import cosine, one_cycle
from cake_edge.seeding import derive_seed
from cake_edge.stopping import last_step, latest_turn, looks_every, settled, settling_rate
from cake_edge.stored_images import HeldImages, ImageSource
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.team import SOLO, Team
from cake_edge.training_state import Average, History, restore_state, save_state
from cake_edge.views import Views
from cake_edge.workers import follow_parent, quiet_start

__all__ = ["train"]

logger = logging.getLogger(__name__)

SAVE_SECONDS = 5.0
CURVE_POINTS = 100


def train(
    network: nn.Module,
    teacher: FrozenTeacher,
    pool: Pool,
    config: DistillConfig,
    key: str,
    state_path: Path,
    *,
    seed: int,
    workers: int,
    progress: Progress,
    team: Team = SOLO,
    remembers: FrozenTeacher | None = None,
    views_of: Callable[..., Views] = Views,
) -> tuple[Average, History]:
    """Trains `network` in place, from where an interrupted run stopped.

    Args:
        key: hash of all that decides the result; a state with another key is of no use here, and
            is written over.
        state_path: where the state of the unfinished run lies, on the first rank.
        team: the ranks that train; another number of them may go on with a run.
        remembers: whose batch norms the views are matched to, where that is asked; `teacher`, if it
            is not given.
        views_of: makes the views; takes what `Views` does.

    Returns:
        The moving average of the weights after the last step, and what was done (both whole on the
        first rank alone).

    Raises:
        NumericsError: the loss or a weight is not finite; the state is the last one that was saved,
            in which all of them were.
    """
    if config.precision == "bfloat16":
        refuse_unsound(network, torch.zeros(2, *teacher.spec.input_size, device=teacher.device))
    optimiser = _optimiser(network, config)
    average = Average(network, config.average)
    window = torch.zeros((), device=teacher.device)
    with team.file_of_first(state_path) as held:
        history = restore_state(
            held, key=key, network=network, average=average, optimiser=optimiser, window=window
        )
    if history.ranks[-1:] != [team.rank.world]:
        history.ranks.append(team.rank.world)
    done = history.step
    if done:
        logger.info("going on from step %d of %d", done, config.steps)
    stopping = _Stopping(network, average, teacher, pool, config, seed, team)
    images, logits = _source(pool, teacher.device), pool.logits().to(teacher.device)
    if teacher.device.type != "cpu":
        workers = 0
    weights = _weights(
        remembers or teacher, images, pool, config, history, seed=seed, team=team, progress=progress
    )
    views = views_of(
        images, logits, teacher, config.views(),
        seed=seed, first=done, last=config.steps, rank=team.rank, weights=weights,
    )  # fmt: skip
    head = head_of(teacher.spec)
    every = max(1, config.steps // CURVE_POINTS)
    saved = time.monotonic()
    network.train()
    wrapped = team.wrap(network)
    forward = torch.compile(wrapped) if config.compile else wrapped
    for step, (shown, wanted) in enumerate(_batches(views, workers, config.augment), start=done):
        stopping.look(step, history)
        end = last_step(history.turned, config.steps)
        if step >= end:
            break
        _set_rate(optimiser, config, step, history.turned)
        with _own_randomness(seed, step, team.rank.index, teacher.device):
            with mixed(config.precision, teacher.device):
                given = forward(shown)
            loss = _loss(given.float(), wanted, config, head)
        optimiser.zero_grad()
        loss.backward()
        if config.clip:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimiser.step()
        if team.rank.first:
            average.update(network, step)
        window += loss.detach()
        history.step = step + 1
        last, due = step + 1 == end, time.monotonic() - saved > SAVE_SECONDS
        point = last or (step + 1) % every == 0
        # Clocks differ: what all ranks have to do at once hangs on the step alone.
        due = due and (point or team.rank.alone)
        if point or due:
            # All ranks know of one whose weights or running statistics are not finite any more.
            told = window if _finite(network) else window + math.nan
            mean = float(team.mean(told)) / (step % every + 1)
            if not math.isfinite(mean):
                raise NumericsError(
                    "the distillation loss, or a weight, is NaN or infinite after step "
                    f"{step + 1}: lower learning_rate, or set clip"
                )
            progress("distill", step + 1, end, f"loss {mean:.3f}")
        if point:
            history.curve.append((step + 1, mean))
            window.zero_()
        if due and not last and team.rank.first:
            save_state(
                state_path, key=key, history=history, network=network, average=average,
                optimiser=optimiser, window=window,
            )  # fmt: skip
            saved = time.monotonic()
    return average, history


def _weights(
    teacher: FrozenTeacher,
    images: ImageSource,
    pool: Pool,
    config: DistillConfig,
    history: History,
    *,
    seed: int,
    team: Team,
    progress: Progress,
) -> torch.Tensor | None:
    """How often each image is shown, and a note of what that brings; None leaves it to `config`.

    A run that goes on takes what it had found: sums on a CUDA device have other last bits then.
    """
    if not config.match or history.weights is not None or history.matching == {}:
        return history.weights
    found = match_statistics(teacher, images, pool.drawn(), seed=seed, progress=progress)
    # Machines may differ in the last bits of a sum, and ranks draw as if each made all views.
    if not team.decide(lambda: found is not None):
        history.matching = {}
        logger.info(
            "no statistics to match: the teacher remembers none, or too few images are as drawn, "
            "or no weights bring them nearer"
        )
        return None
    history.matching = found.to_dict() if found is not None else {}
    own = found.weights if found is not None else torch.zeros(len(pool.drawn()), dtype=torch.double)
    history.weights = team.agree(own)
    return history.weights


class _Stopping:
    """Looks at held-out images from time to time, where the schedule hangs on them."""

    def __init__(
        self,
        network: nn.Module,
        average: Average,
        teacher: FrozenTeacher,
        pool: Pool,
        config: DistillConfig,
        seed: int,
        team: Team,
    ) -> None:
        self._average, self._config, self._team = average, config, team
        self._every = looks_every(config.steps)
        self._asked = config.schedule == "until-settled"
        self._draw = partial(HeldOut, teacher, pool.about["config"].get("prior"), seed)
        self._images: HeldOut | None = None
        self._student = copy.deepcopy(network).eval() if self._asked else None

    def look(self, step: int, history: History) -> None:
        """Notes before `step` how alike the decisions are, and whether the rate falls from here.

        A step at which a killed run goes on may have been looked at already.
        """
        if not self._asked or history.turned is not None:
            return
        if step >= latest_turn(self._config.steps) or (
            step
            and step % self._every == 0
            and self._team.decide(lambda: self._over(step, history))
        ):
            history.turned = step

    def _over(self, step: int, history: History) -> bool:
        if [when for when, _ in history.checks][-1:] != [step]:
            assert self._student is not None  # the schedule asks
            self._images = self._images or self._draw()
            self._student.load_state_dict(self._average.state)
            history.checks.append((step, self._images.agreement(self._student)))
        return settled(history.checks, self._config.patience)


@contextmanager
def _own_randomness(seed: int, step: int, rank: int, device: torch.device) -> Iterator[None]:
    """Lets dropout and stochastic depth draw what depends on the step and the rank alone.

    They draw from the global generators, which are put back as they were.
    """
    names = [rank] if rank else []
    drawn, cards = derive_seed(seed, "student", step, *names), device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cards else []):
        # torch.manual_seed would also seed cards that are no part of this, now or once they start.
        torch.default_generator.manual_seed(drawn)
        if cards:
            torch.cuda.manual_seed_all(drawn)
        yield


def _source(pool: Pool, device: torch.device) -> ImageSource:
    """The pool's images: in the memory of a CUDA device where half of what is free holds them."""
    mapped = pool.images()
    if device.type == "cuda" and mapped.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        return HeldImages(mapped.copy_to(device), pool.spec)
    return mapped


def _batches(
    views: Views, workers: int, augmented: bool
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The views in order, made here or in worker processes."""
    if workers == 0 or not augmented:
        yield from views
        return
    loader = DataLoader(
        views,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="spawn",
        # One that waits to hand over its views would outlive a parent that was killed.
        worker_init_fn=partial(follow_parent, os.getpid(), torch.get_num_threads()),
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
    if config.optimiser == "muon":
        return _muon()(groups, lr=config.learning_rate)
    return torch.optim.AdamW(groups, lr=config.learning_rate, foreach=True)


def _muon() -> Callable[..., torch.optim.Optimizer]:
    try:
        from timm.optim.muon import Muon
    except ImportError as error:
        raise UsageMistake(
            "optimiser is muon, which timm has from 1.0.22 on: update timm, or set optimiser to "
            "adamw and learning_rate to 0.004"
        ) from error
    return Muon


def _set_rate(
    optimiser: torch.optim.Optimizer, config: DistillConfig, step: int, turned: int | None
) -> None:
    warmup, momentum = max(1, config.steps // 50), None
    if config.schedule == "cosine":
        rate = cosine(step, config.steps, config.learning_rate, warmup)
    elif config.schedule == "until-settled":
        rate = settling_rate(step, turned, config.learning_rate, warmup)
    else:
        rate, momentum = one_cycle(step, config.steps, config.learning_rate)
    for group in optimiser.param_groups:
        group["lr"] = rate
        if momentum is not None and config.optimiser == "sgd":
            group["momentum"] = momentum


def _loss(
    given: torch.Tensor, wanted: torch.Tensor, config: DistillConfig, head: Head
) -> torch.Tensor:
    if config.loss == "kl":
        return head.match(given, wanted, config.temperature)
    return head.soft_cross_entropy(given, wanted)


def _finite(network: nn.Module) -> bool:
    """Tells whether a step has left weights and running statistics finite.

    A loss is that of the weights before its step, and says nothing of what the step made of them.
    """
    state = network.state_dict().values()
    return all(bool(torch.isfinite(t).all()) for t in state if t.is_floating_point())
