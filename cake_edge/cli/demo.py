"""`cake-edge demo`: the whole job on the embedded teacher."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from cake_edge.cli.compress import show_run
from cake_edge.cli.console import command_line, emit, progress_sink
from cake_edge.cli.options import examples, out_option, torch_device, work_options
from cake_edge.provenance import refuse_existing

__all__ = ["command"]


@click.command(
    "demo",
    epilog=examples(
        "cake-edge demo --out runs/demo",
        "cake-edge demo --out runs/demo --seed 7 --workers 1 --json > report.json",
    ),
)
@out_option("Folder of the run: a new one, or one that the demo has begun.")
@work_options(workers=True, recipe=True)
def command(
    out: Path, seed: int | None, device: str, workers: int, threads: int | None, as_json: bool
) -> None:
    """Compresses the embedded Fashion-MNIST teacher, and measures what came of it.

    Synthetic images are made from the teacher alone; the 2 000 real test images that lie in the
    package are read only after the student is finished.
    """
    if not (out / "run.json").exists():
        refuse_existing(out, folder=True)
    from cake_edge.pipeline import demo_recipe, run_recipe

    recipe = demo_recipe()
    if seed is not None:
        recipe = dataclasses.replace(recipe, seed=seed)
    threads = threads or recipe.threads
    where = torch_device(device, threads)
    with progress_sink() as progress:
        report = run_recipe(
            recipe,
            out,
            device=where,
            threads=threads,
            workers=workers,
            command=command_line(),
            progress=progress,
        )
    emit(report, as_json, lambda: show_run(report, out))
