"""The stage: a teacher in, a file with its few-bit form out; an interrupted run goes on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cake_edge.checkpoint import Checkpoint
from cake_edge.claims import claimed
from cake_edge.errors import OutputExists, PoolError, UsageMistake
from cake_edge.networks import check_architecture
from cake_edge.pool import Pool
from cake_edge.progress import Progress, silent
from cake_edge.provenance import sha256_json, versions
from cake_edge.qat.checkpoint import read_qat_header, save_qat
from cake_edge.qat.config import QatConfig
from cake_edge.qat.finetune import finetune
from cake_edge.teachers.adapters import Adapter
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["write_low_bit"]

GRAPHS = ("onnx", "torch.export", "torchscript")
"""How a teacher comes whose network was rebuilt from a graph."""


def write_low_bit(
    teacher: FrozenTeacher,
    config: QatConfig,
    out: Path,
    *,
    seed: int,
    pool: Pool | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Fine-tunes the teacher's network for few bits and writes it; returns the report.

    Args:
        teacher: the float network, of an architecture of timm.
        config: bits, source and training.
        out: a new safetensors file; beside it lies the state of an unfinished run. A finished
            file of the same plan is reported as it is.
        seed: of everything random.
        pool: images, where the source is not the generator alone.
        progress: told as the training goes on.

    Raises:
        UsageMistake: the source needs a pool, and there is none; or timm cannot build the network,
            or not with what is around it.
        PoolError: the pool was made by another teacher, or is damaged.
        NumericsError: the loss is not finite.
        OutputExists: `out` holds a network of another plan.
    """
    _check_network(teacher)
    if pool is not None and pool.teacher_digest != teacher.digest:
        raise PoolError(f"the pool {pool.path} was made by another teacher; make one with this one")
    if pool is not None:
        pool.check()
    plan = json.loads(json.dumps({
        "config": asdict(config),
        "seed": seed,
        "teacher": teacher.digest,
        "pool": pool.digest if pool is not None and config.source != "generator" else None,
        "versions": versions(),
    }))  # fmt: skip
    with claimed(out):
        if out.exists():
            return _finished(out, plan)
        return _made(teacher, config, pool, out, plan, seed=seed, progress=progress)


def _made(
    teacher: FrozenTeacher,
    config: QatConfig,
    pool: Pool | None,
    out: Path,
    plan: dict[str, Any],
    *,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    place = {"device": teacher.device.type, "threads": torch.get_num_threads()}
    state = out.with_name(f".{out.name}.state")
    network, report = finetune(
        teacher, config, seed=seed, pool=pool, state_path=state,
        key=sha256_json({**plan, **place}), progress=progress,
    )  # fmt: skip
    seconds = {"seconds": None}  # the same plan gives the same bytes
    manifest = {**plan, **place, "report": {**report.to_dict(), **seconds}}
    about = Checkpoint(
        architecture=teacher.architecture,
        arguments=teacher.arguments,
        spec=teacher.spec,
        manifest=manifest,
    )
    save_qat(out, network, about)
    state.unlink(missing_ok=True)
    return report.to_dict()


def _check_network(teacher: FrozenTeacher) -> None:
    """Refuses a network that the finished file could not be loaded into again.

    Layers are swapped for their few-bit forms, and the file names the architecture that they go
    back into: a graph out of a file has no such layers, and no name.
    """
    if teacher.architecture in GRAPHS or ":" in teacher.architecture:
        raise UsageMistake(
            f"few bits are for a network of timm, and {teacher.source or 'this teacher'} came as "
            f"{teacher.architecture}; distill a student, and give its checkpoint, or give the "
            "teacher's weights with --arch NAME"
        )
    if isinstance(teacher.network, Adapter):
        raise UsageMistake(
            "few bits are for a network of timm as it is, and this one has something around it, "
            "such as a selection of its classes; distill a student, and give its checkpoint"
        )
    check_architecture(teacher.architecture)


def _finished(out: Path, plan: dict[str, Any]) -> dict[str, Any]:
    found = read_qat_header(out).manifest
    differs = sorted(key for key in plan if found.get(key) != plan[key])
    if differs:
        raise OutputExists(
            f"{out} holds a network of other settings (different: {', '.join(differs)}); "
            "choose another --out, or remove it"
        )
    return dict(found["report"])
