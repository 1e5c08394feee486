"""Distillation: a student learns to answer as the teacher does, on synthetic views alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cake_edge.checkpoint import Checkpoint, load_checkpoint, read_header, save_checkpoint
from cake_edge.claims import claimed
from cake_edge.diagnostics import agreement_by_family, agreement_on_fresh_images
from cake_edge.distill_config import DISTILL_PRESETS, DistillConfig
from cake_edge.errors import CakeEdgeError, NumericsError, OutputExists, PoolError, UsageMistake
from cake_edge.networks import parameter_count
from cake_edge.pool import Pool
from cake_edge.progress import Progress, silent
from cake_edge.provenance import refuse_existing, sha256_file, sha256_json, versions
from cake_edge.ranks import ALONE, Rank
from cake_edge.students import StudentConfig, build_student, inherit_weights
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.team import assembled
from cake_edge.training import train
from cake_edge.training_state import History, saved_average

__all__ = ["DISTILL_PRESETS", "DistillConfig", "DistillResult", "distill", "distill_share"]


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
    checks: list[tuple[int, float]]
    """(step, agreement on held-out synthetic images) that decided how long training went on."""
    agreement_synthetic: float
    """Percent of fresh prior images, none of them trained on, that both classify alike; of a
    teacher with a sigmoid, percent of its decisions on labels that are the student's."""
    agreement_families: dict[str, float]
    """The same on families of images that the pool does not start from, their classes made even."""
    matching: dict[str, float] | None
    """How near the statistics of the images as drawn come to those that the teacher's batch norms
    remember, as `matching.Matching` says; empty where there is nothing to match, None where nobody
    asked."""
    inherited: int
    """Tensors that started from the weights of the teacher, or of its assistant."""

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
    assistant: FrozenTeacher | None = None,
    workers: int = 0,
    progress: Progress = silent,
) -> DistillResult:
    """Trains a student and writes it to `out`, or goes on with a run that was interrupted.

    Args and errors are those of `distill_share`.
    """
    result = distill_share(
        teacher, student, pool, config, out,
        rank=ALONE, seed=seed, assistant=assistant, workers=workers, progress=progress,
    )  # fmt: skip
    assert result is not None  # one that is alone is the first
    return result


def distill_share(
    teacher: FrozenTeacher,
    student: StudentConfig,
    pool: Pool,
    config: DistillConfig,
    out: Path,
    *,
    rank: Rank,
    seed: int,
    assistant: FrozenTeacher | None = None,
    workers: int = 0,
    progress: Progress = silent,
) -> DistillResult | None:
    """Trains a student together with the other ranks; the first one writes it to `out`.

    The result is the moving average of the weights at the last step: nothing is chosen.

    Args:
        teacher: who judged the pool, and whom the student is compared with at the end.
        pool: at hand on every machine; the state of a run need be on the first rank's alone.
        out: a new safetensors file; beside it lies the state of an unfinished run.
        rank: which of the processes this is; each makes an equal part of a step's views.
        assistant: a student of the teacher's that this one learns from, and inherits from, in the
            teacher's place (Mirzadeh et al., arXiv 1902.03393).
        workers: processes that make views while this one trains; 0 makes them here.

    Returns:
        What was trained, on the first rank; None on the others.

    Raises:
        PoolError: the pool was made by another teacher, or is damaged.
        NumericsError: the loss is not finite; where the run had been saved before, its weights are
            kept as a student beside `out`, and the message names it.
        OutputExists: `out` holds a student of another plan.
        UsageMistake: the batch cannot be shared evenly, the ranks' plans differ, or there is an
            assistant but nothing to ask it.
        RuntimeUnavailable: there are several ranks, and Accelerate is not installed.
    """
    if pool.teacher_digest != teacher.digest:
        raise PoolError(
            f"the pool {pool.path} was made by another teacher (weights "
            f"{pool.teacher_digest[:12]}…, given {teacher.digest[:12]}…); make one with this one"
        )
    if assistant is not None and not config.augment:
        raise UsageMistake(
            "augment is off, so the pool's own logits are learned, which are the teacher's and not "
            "the assistant's; set augment to true, or leave the assistant out"
        )
    answering = assistant or teacher
    _check_parts(config.batch, rank)
    started = time.monotonic()
    network, architecture, arguments = build_student(student, teacher.spec, seed=seed)
    inherited = inherit_weights(network, answering.network) if config.inherit else 0
    plan = json.loads(json.dumps({
        "config": asdict(config),
        "seed": seed,
        "teacher": teacher.digest,
        **({"assistant": assistant.digest} if assistant is not None else {}),
        "pool": pool.digest,
        "architecture": architecture,
        "arguments": arguments,
        "inherited": inherited,
        "versions": versions(),
    }))  # fmt: skip
    key = sha256_json({**plan, **_place(teacher.device)})

    def write(path: Path, weights: dict[str, torch.Tensor], history: History, **said: Any) -> None:
        network.load_state_dict(weights)
        manifest = {**plan, **_place(teacher.device), **history.to_dict(), **said}
        about = Checkpoint(
            architecture=architecture, arguments=arguments, spec=teacher.spec, manifest=manifest
        )
        save_checkpoint(path, network, about)

    claim = claimed(out) if rank.first else nullcontext()
    with claim, assembled(rank, teacher.device) as team:
        team.refuse_other(key)
        finished = team.decide(lambda: _finished(out, plan))
        if not finished:
            pool.check(rank)
            network.to(teacher.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            try:
                average, history = train(
                    network, answering, pool, config, key, _state_path(out),
                    team=team, remembers=teacher, seed=seed, workers=workers, progress=progress,
                )  # fmt: skip
            except NumericsError as error:
                raise NumericsError(f"{error}{_rescued(out, key, rank, write)}") from error
        if rank.first and not finished:
            write(out, average.state, history)
        if rank.first:
            _state_path(out).unlink(missing_ok=True)
    if not rank.first:
        return None
    return _result(out, teacher, pool, config, seed, time.monotonic() - started)


def _result(
    out: Path, teacher: FrozenTeacher, pool: Pool, config: DistillConfig, seed: int, seconds: float
) -> DistillResult:
    trained, about = load_checkpoint(out)
    history = History.from_dict(about.manifest)
    return DistillResult(
        path=out,
        sha256=sha256_file(out),
        architecture=about.architecture,
        parameters=parameter_count(trained),
        steps=history.step,
        views=history.step * config.batch,
        seconds=seconds,
        curve=history.curve,
        checks=history.checks,
        agreement_synthetic=agreement_on_fresh_images(trained, teacher, seed),
        agreement_families=agreement_by_family(
            trained, teacher, pool.about["config"].get("prior"), seed
        ),
        matching=history.matching,
        inherited=int(about.manifest["inherited"]),
    )


def _rescued(out: Path, key: str, rank: Rank, write: Callable[..., None]) -> str:
    """Keeps the last good weights of a run that diverged as a student; returns where, to be read.

    The state they are in is no student, and is lost when the run is begun anew. What has the name
    already stays.
    """
    saved = saved_average(_state_path(out), key=key) if rank.first else None
    if saved is None:
        return ""
    weights, history = saved
    path = out.with_name(f"{out.stem}-step-{history.step}{out.suffix}")
    try:
        refuse_existing(path)
        write(path, weights, history, diverged=True)
    except (CakeEdgeError, OSError) as error:
        return f". The last good weights, of step {history.step}, could not be kept: {error}"
    return f". The last good weights, of step {history.step}, are kept as the student {path}"


def _check_parts(batch: int, rank: Rank) -> None:
    """Equal parts make the mean over ranks the mean over the batch."""
    if batch % rank.world or batch < 2 * rank.world:
        nearest = max(2, round(batch / rank.world)) * rank.world
        raise UsageMistake(
            f"batch is {batch}, and {rank.world} ranks share it in equal parts of at least 2; "
            f"take another batch, {nearest} for instance"
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
    # A plan without an assistant does not name one, and none is to diverge.
    differs = sorted(
        k for k in {*plan, "assistant", "diverged"} if about.manifest.get(k) != plan.get(k)
    )
    if differs:
        raise OutputExists(
            f"{out} holds a student of other settings (different: {', '.join(differs)}); "
            "choose another --out, or remove it"
        )
    return True
