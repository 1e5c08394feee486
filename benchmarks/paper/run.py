"""A published row measured anew, from the teacher's training to the student's accuracy.

    python -m benchmarks.paper.run fashion-mnist-lenet5 --seeds 0,1,2 --out runs/paper

The teacher is trained on real images; from there on nothing sees a real image until the student is
finished. A seed stands for all that follows, and where the teacher is trained here for that too:
two teachers differ by more than two students of one. What is reported is the moving average of the
weights at the last step. Writes results/paper/ROW.json and keeps the first seed's student beside
it, where it is small. A row that needs what this machine lacks is named and left out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import click
import torch

from benchmarks.paper.data import EVALUATED_ON, absent, evaluation_set
from benchmarks.paper.pools import pool_of
from benchmarks.paper.rows import ROWS, Row
from benchmarks.paper.teachers import VENDORS, trained_teacher
from benchmarks.results_files import RESULTS, write_results
from cake_edge.checkpoint import load_checkpoint
from cake_edge.device import resolve_device
from cake_edge.distill import distill
from cake_edge.errors import OutputExists
from cake_edge.evaluate import Infer, evaluate_many, open_dataset
from cake_edge.networks import parameter_count
from cake_edge.provenance import read_json, sha256_file, versions, write_json
from cake_edge.samplers.cost import pool_cost
from cake_edge.students import StudentConfig
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = [
    "KEPT",
    "about",
    "accuracy",
    "agreement",
    "evaluated",
    "finished",
    "measured",
    "teacher_of",
]

KEPT = RESULTS / "paper"
LARGEST = 1 << 20
"""Bytes of a student that is kept beside its results."""


def teacher_of(row: Row, folder: Path, seed: int = 0) -> FrozenTeacher:
    """Returns the row's teacher on its device, trained into `folder` where it is not there yet.

    Args:
        seed: of the first weights and the order of the images of one that is trained here.

    Raises:
        DeviceUnavailable: the row wants a CUDA device, and there is none.
    """
    device, name = resolve_device(row.device), row.teacher.name
    if row.origin == "vendor":
        return VENDORS[name]().to(device)
    path = folder / "teachers" / f"{name}{f'-seed{seed}' if seed else ''}.safetensors"
    return trained_teacher(row.dataset, name, row.teacher.arguments, path, device=device, seed=seed)


def evaluated(row: Row, teacher: FrozenTeacher, student: Path, folder: Path) -> dict[str, Any]:
    """Returns top-1 of both and their agreement in percent, over the whole real test set."""
    return agreement(row, teacher, load_checkpoint(student)[0], folder)


def agreement(
    row: Row, teacher: FrozenTeacher, student: torch.nn.Module, folder: Path
) -> dict[str, Any]:
    """Does what `evaluated` does, for a network in memory; it goes to the teacher's device."""
    dataset = open_dataset(evaluation_set(row.dataset, folder), teacher.spec)
    found = evaluate_many(
        {"teacher": _infer(teacher), "student": _infer(student.eval().to(teacher.device))},
        dataset, reference="teacher", batch=250,
    )  # fmt: skip
    return {
        "teacher_top1": found["teacher"].top1,
        "top1": found["student"].top1,
        "agreement": found["student"].agreement,
        "n": len(dataset),
    }


def accuracy(student: Path, dataset: Path) -> float:
    """Returns top-1 in percent of a stored student over a real test set."""
    network, about = load_checkpoint(student)
    infers = {"student": _infer(network.eval())}
    images = open_dataset(dataset, about.spec)
    return evaluate_many(infers, images, batch=250)["student"].top1


def _measure(
    row: Row, teacher: FrozenTeacher, place: Path, folder: Path, *, seed: int, workers: int
) -> dict[str, Any]:
    pool, synthesis = pool_of(row, teacher, folder, seed, workers)
    made = distill(
        teacher, StudentConfig(name=row.student.name, arguments=row.student.arguments), pool,
        row.training, place / "student.safetensors", seed=seed, workers=workers - 1,
    )  # fmt: skip
    cost = pool_cost(row.sampler, row.images, teacher.spec.classes)
    return {
        **evaluated(row, teacher, made.path, folder),
        "agreement_synthetic": made.agreement_synthetic,
        "agreement_families": made.agreement_families,
        "synthesis_seconds": synthesis,
        "distillation_seconds": round(made.seconds, 1),
        "images": row.images,
        "image_steps": cost.image_steps,
        "looks": cost.looks,
        "views": made.views,
        "device": _name(teacher.device),
        "student": str(made.path.relative_to(folder)),
    }


def measured(
    row: Row, teacher: FrozenTeacher, place: Path, folder: Path, *, seed: int, workers: int
) -> dict[str, Any]:
    """Makes one student and evaluates it, or reads what was measured of the same settings before.

    Args:
        place: where the student goes, and beside it what was measured of it.
        folder: of the runs, with the pools and the real test images.
        seed: of synthesis, training and the student's first weights; the teacher has been made.
        workers: processes.

    Raises:
        OutputExists: `place` holds a student of other settings.
    """
    record, plan = place / "measured.json", _plan(row, teacher, seed)
    if record.exists():
        said = read_json(record)
        if said["plan"] != plan:
            differs = ", ".join(sorted(key for key in plan if said["plan"].get(key) != plan[key]))
            raise OutputExists(
                f"{place} holds a student of other settings (different: {differs}); "
                "choose another --out, or remove it"
            )
        return dict(said["measured"])
    found = _measure(row, teacher, place, folder, seed=seed, workers=workers)
    write_json(record, {"plan": plan, "measured": found})
    return found


def finished(
    row: Row, teachers: Callable[[int], FrozenTeacher], place: Path
) -> dict[int, dict[str, Any]]:
    """Returns what was measured of a row before with these settings and teachers, by seed."""
    found = {}
    for record in sorted(place.glob("seed*/measured.json")):
        said = read_json(record)
        seed = int(said["plan"]["seed"])
        if said["plan"] == _plan(row, teachers(seed), seed):
            found[seed] = dict(said["measured"])
    return found


def _plan(row: Row, teacher: FrozenTeacher, seed: int) -> dict[str, Any]:
    """What decides a figure, as JSON gives it back."""
    plan: dict[str, Any] = json.loads(json.dumps({
        "teacher": teacher.digest,
        "student": asdict(row.student),
        "sampler": {"name": row.sampler.name, **row.sampler.to_dict()},
        "images": row.images,
        "training": asdict(row.training),
        "seed": seed,
        "versions": versions(),
    }))  # fmt: skip
    return plan


def _infer(network: torch.nn.Module) -> Infer:
    network.to(memory_format=torch.channels_last)
    device = next(network.parameters()).device

    def infer(images: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(images).to(device)).float().cpu().numpy()

    return infer


def _name(device: torch.device) -> str:
    """What a card calls itself; the processor stands in the environment of every result."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def about(row: Row, name: str) -> dict[str, Any]:
    """Returns what a row is, and with which settings it is measured."""
    return {
        "row": name,
        "dataset": row.dataset,
        "evaluated_on": EVALUATED_ON[row.dataset],
        "teacher": asdict(row.teacher),
        "student": asdict(row.student),
        "goal": row.goal,
        "published": [asdict(figure) for figure in row.published],
        "images": row.images,
        "sampler": {"name": row.sampler.name, **row.sampler.to_dict()},
        "training": asdict(row.training),
    }


def _summary(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds."""
    found: dict[str, Any] = {"seeds": len(seeds)}
    for key in ("top1", "agreement", "synthesis_seconds", "distillation_seconds"):
        values = [float(seed[key]) for seed in seeds.values()]
        found[f"{key}_mean"] = round(mean(values), 3)
        found[f"{key}_deviation"] = round(stdev(values), 3) if len(values) > 1 else None
    return found


def _keep(student: Path, name: str, seed: int) -> dict[str, Any] | None:
    """Copies a small student beside its results, for `benchmarks.paper.check`."""
    if student.stat().st_size > LARGEST:
        return None
    kept = KEPT / f"{name}.safetensors"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(student, kept)
    return {
        "file": kept.name,
        "seed": seed,
        "sha256": sha256_file(kept),
        "parameters": parameter_count(load_checkpoint(kept)[0]),
    }


@click.command()
@click.argument("rows", nargs=-1, metavar="ROW...")
@click.option("--seeds", default="0,1,2", show_default=True, help="Comma-separated.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs.")
@click.option("--workers", default=2, show_default=True)
def main(rows: tuple[str, ...], seeds: str, out: Path, workers: int) -> None:
    """Measures rows; without ROW all of them. Finished runs in --out are not run again."""
    torch.set_num_threads(1)
    unknown = [name for name in rows if name not in ROWS]
    if unknown:
        raise click.BadParameter(f"no row {unknown[0]!r}; there are: {', '.join(ROWS)}")
    for name in rows or tuple(ROWS):
        row = ROWS[name]
        lacking = row.needs or absent(row.dataset, trained=row.origin == "trained")
        if lacking:
            click.echo(f"{name}: not measured, it needs {lacking}")
            continue
        teachers = partial(teacher_of, row, out)
        found = finished(row, teachers, out / name)
        for seed in (int(text) for text in seeds.split(",")):
            place = out / name / f"seed{seed}"
            found[seed] = measured(row, teachers(seed), place, out, seed=seed, workers=workers)
            click.echo(f"{name} seed {seed}: {found[seed]['top1']:.2f} % top-1, "
                       f"{found[seed]['agreement']:.2f} % agreement")  # fmt: skip
            found = dict(sorted(found.items()))
            first = next(iter(found))
            kept = _keep(out / found[first]["student"], name, first)
            listed = ",".join(str(number) for number in found)
            command = ["python", "-m", "benchmarks.paper.run", name, "--seeds", listed,
                       "--out", "runs/paper", "--workers", str(workers)]  # fmt: skip
            write_results(KEPT / f"{name}.json", command, {
                **about(row, name), "summary": _summary(found), "kept": kept,
                "measured": {str(number): value for number, value in found.items()},
            })  # fmt: skip


if __name__ == "__main__":
    main()
