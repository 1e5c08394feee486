"""`cake-edge compress`: the whole job from a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.console import command_line, duration, emit, progress_sink, table
from cake_edge.cli.options import examples, out_option, torch_device, work_options
from cake_edge.cli.teacher_options import teacher_options
from cake_edge.provenance import refuse_existing

if TYPE_CHECKING:
    import torch

    from cake_edge.recipe import Recipe
    from cake_edge.teachers.config import TeacherConfig
    from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["command", "show_run"]


@click.command(
    "compress",
    epilog=examples(
        "cake-edge compress --teacher vendor.onnx --preset imagenet --budget smoke --out runs/x",
        "cake-edge compress recipes/efficientnet-lite0.toml --out runs/lite0",
        "cake-edge compress recipes/efficientnet-lite0.toml --budget smoke --out runs/smoke \\",
        "    --data photos --json > report.json",
    ),
)
@click.argument("recipe", metavar="[RECIPE.toml]", required=False, type=click.Path(path_type=Path))
@teacher_options(required=False)
@out_option("Folder of the run: a new one, or one that this recipe has begun.")
@click.option("--budget", metavar="NAME", help="Use the values of the recipe's [budget.NAME].")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    help="Real images to evaluate on, in place of the recipe's: an image folder or .npz.",
)
@work_options(workers=True, recipe=True)
def command(
    recipe: Path | None,
    teacher: TeacherConfig | None,
    out: Path,
    budget: str | None,
    data: Path | None,
    seed: int | None,
    device: str,
    workers: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Runs a recipe: teacher, images, student, ONNX, INT8, accuracy, latency, report.

    Give a recipe, or a teacher, or both: --teacher takes the place of the recipe's, and without a
    recipe a standard one is chosen by the size of the images. `cake-edge inspect REF` shows what
    is understood of a teacher before anything runs.

    A stage whose inputs and settings have not changed is found in --out and not run again, so an
    interrupted command goes on when it is given once more. Real images are read only after the
    student is finished.
    """
    if recipe is None and teacher is None:
        raise click.UsageError(
            "nothing to compress was named; give a RECIPE.toml, or a teacher with --teacher"
        )
    if not (out / "run.json").exists():
        refuse_existing(out, folder=True)
    from cake_edge.pipeline import run_recipe

    where = torch_device(device, threads or 1)
    plan, loaded = _plan(recipe, teacher, budget, where, seed)
    threads = threads or plan.threads
    with progress_sink() as progress:
        report = run_recipe(
            plan,
            out,
            device=where,
            teacher=loaded,
            threads=threads,
            workers=workers,
            data=data,
            command=command_line(),
            progress=progress,
        )
    emit(report, as_json, lambda: show_run(report, out))


def _plan(
    recipe: Path | None,
    teacher: TeacherConfig | None,
    budget: str | None,
    device: torch.device,
    seed: int | None,
) -> tuple[Recipe, FrozenTeacher | None]:
    """The recipe, and the teacher where it had to be loaded to choose one."""
    from cake_edge.recipe import load_recipe, standard_recipe
    from cake_edge.teachers import load_teacher

    loaded = None
    if recipe is not None:
        plan = load_recipe(recipe, budget=budget, teacher=teacher)
    else:
        assert teacher is not None
        loaded = load_teacher(teacher, device=device, seed=seed or 0)
        plan = standard_recipe(teacher, loaded.spec, budget=budget)
    return (plan if seed is None else dataclasses.replace(plan, seed=seed)), loaded


def show_run(report: Mapping[str, Any], out: Path) -> None:
    """Prints what a run made and what it cost."""
    header = ("role", "precision", "target", "size", "top-1", "agreement", "p50", "file")
    click.echo(table(header, [_row(model) for model in report["models"]]))
    seconds = sum(stage["seconds"] for stage in report["stages"])
    click.echo(f"\n{len(report['stages'])} stages, {duration(seconds)}; open {out / 'report.html'}")


def _row(model: Mapping[str, Any]) -> tuple[str, ...]:
    latency = model["latency_ms"]
    return (
        model["role"],
        model["precision"],
        model["target"] or "any",
        f"{model['bytes'] / 1e6:.2f} MB",
        _percent(model["top1"]),
        _percent(model["agreement"]),
        f"{latency['p50']:.2f} ms" if latency else "-",
        model["path"],
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"
