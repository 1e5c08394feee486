"""What synthesis and distillation cost beside bare loops, and what a large pool needs of memory.

    python -m benchmarks.distillation_speed

Writes benchmarks/results/distillation_speed.json. Networks have random weights: time does not
depend on them. Ours and the bare loop take turns on one thread, at the same batch and precision; a
figure is the median over the turns of the ratio of their speeds, above 1 where ours is the quicker.

* Synthesis beside `autograd.grad` of a cross-entropy through the same teacher, without a step.
* `cake` in bfloat16 beside `cake-paper`, which computes what the released code computes, under
  autocast and with weights in torch's default memory format as that does. The released code itself
  is not run here.
* Distillation beside a bare loop: the teacher's answer, the student's loss, its gradient, one step
  of the same optimiser, on one batch that is never changed.
* A pool of 250 000 images of 32 x 32 pixels written and read back, in a process of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import click
import psutil
import torch
from timm.optim.muon import Muon
from torch.nn import functional

from benchmarks.paper.data import CIFAR10, FASHION_MNIST
from benchmarks.paper.rows import LENET, RESNET20, Row
from benchmarks.results_files import RESULTS, write_results
from cake_edge.networks import build_network
from cake_edge.pool import Pool, synthesize
from cake_edge.precision import Precision, mixed
from cake_edge.progress import silent
from cake_edge.ranks import ALONE
from cake_edge.samplers import CakeConfig, CakePaperConfig
from cake_edge.samplers.cost import pool_cost
from cake_edge.students import StudentConfig, build_student
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.team import assembled
from cake_edge.training import train
from exporters.latency import load_average

__all__ = ["SUBJECTS", "bare_distillation", "bare_gradient", "median_ratio"]

SUBJECTS: dict[str, tuple[Row, Precision]] = {
    "LeNet-5, float32": (LENET, "float32"),
    "ResNet-20, float32": (RESNET20, "float32"),
    "ResNet-20, bfloat16": (RESNET20, "bfloat16"),
}
BATCH, STEPS, TRAINED = 240, 20, 60
LEAST = {"synthesis": 0.95, "distillation": 0.9, "over cake-paper": 1.1}
POOL, POOL_GIB = 250_000, 4.0

Work = Callable[[], None]


def teacher_like(row: Row) -> FrozenTeacher:
    """The row's teacher with random weights."""
    spec = CIFAR10 if row.dataset == "cifar10" else FASHION_MNIST
    network = build_network(
        row.teacher.name, channels=spec.channels, classes=spec.classes,
        arguments=row.teacher.arguments,
    ).to(memory_format=torch.channels_last)  # fmt: skip
    return FrozenTeacher(network, spec, architecture=row.teacher.name)


def bare_gradient(teacher: FrozenTeacher, precision: Precision, batch: int, steps: int) -> Work:
    """Returns a loop of gradients of a cross-entropy by images [batch, C, H, W]."""
    images = torch.randn(batch, *teacher.spec.input_size)
    targets = torch.arange(batch) % teacher.spec.classes

    def work() -> None:
        for _ in range(steps):
            shown = images.detach().requires_grad_()
            with mixed(precision, shown.device):
                loss = functional.cross_entropy(teacher(shown), targets, reduction="sum")
            torch.autograd.grad(loss, shown)

    return work


def our_synthesis(teacher: FrozenTeacher, precision: Precision, batch: int, steps: int) -> Work:
    """Returns the diffusion of as many images by `cake`, from images that are there already."""
    config = CakeConfig(steps=steps, snapshots=1, batch=batch)
    sampler = config.build(teacher, count=batch, seed=0)
    size = config.tuple_size
    images = torch.randn(batch // size, size, *teacher.spec.input_size)
    targets = torch.arange(size).expand(batch // size, size).contiguous()
    rates, weights = torch.full((batch // size,), 0.01), torch.full((batch // size,), 0.01)

    def work() -> None:
        with mixed(precision, images.device):
            sampler.diffuse(images, targets, rates, weights, seed=0)

    return work


def bare_distillation(row: Row, teacher: FrozenTeacher, precision: Precision, steps: int) -> Work:
    """Returns a loop that trains a student on one batch that is never changed."""
    student = _student(row, teacher)
    optimiser: torch.optim.Optimizer = Muon(student.parameters(), lr=1e-3)
    images = torch.randn(row.training.batch, *teacher.spec.input_size)
    images = images.contiguous(memory_format=torch.channels_last)

    def work() -> None:
        for _ in range(steps):
            with torch.no_grad(), mixed(precision, images.device):
                wanted = teacher(images)
            with mixed(precision, images.device):
                given = student(images).float()
            loss = functional.kl_div(
                given.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean"
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return work


def our_distillation(
    row: Row, teacher: FrozenTeacher, precision: Precision, steps: int, pool: Pool
) -> Work:
    """Returns a training of as many steps, views and all."""
    config = replace(row.training, steps=steps, precision=precision)

    def work() -> None:
        alone = assembled(ALONE, teacher.device)
        with tempfile.TemporaryDirectory(prefix="cake-edge-") as folder, alone as team:
            train(
                _student(row, teacher), teacher, pool, config, "speed", Path(folder) / "state",
                team=team, seed=0, workers=0, progress=silent,
            )  # fmt: skip

    return work


def _student(row: Row, teacher: FrozenTeacher) -> torch.nn.Module:
    config = StudentConfig(name=row.student.name, arguments=row.student.arguments)
    network, _, _ = build_student(config, teacher.spec, seed=0)
    return network.to(memory_format=torch.channels_last)


def median_ratio(bare: Work, ours: Work, turns: int) -> dict[str, Any]:
    """Speed of ours over that of the bare loop, and the median seconds of both."""
    bare()
    ours()
    seconds = [(_seconds(bare), _seconds(ours)) for _ in range(turns)]
    ratios = sorted(first / second for first, second in seconds)
    return {
        "ratio": round(median(ratios), 3),
        "lowest": round(ratios[0], 3),
        "highest": round(ratios[-1], 3),
        "bare_seconds": round(median(first for first, _ in seconds), 4),
        "our_seconds": round(median(second for _, second in seconds), 4),
        "turns": turns,
    }


def _seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _over_cake_paper(turns: int) -> dict[str, Any]:
    """Image-steps a second of `cake` in bfloat16 over those of `cake-paper`, LeNet-5, batch 250."""
    teacher, batch = teacher_like(LENET), 250
    plain = teacher_like(LENET)
    plain.network.to(memory_format=torch.contiguous_format)
    released = CakePaperConfig(batch=batch, steps=STEPS)
    assert pool_cost(released, batch, 10).image_steps == batch * STEPS
    theirs = released.build(plain, count=batch, seed=0)
    ours = our_synthesis(teacher, "bfloat16", batch, STEPS)

    def released_shard() -> None:
        theirs.shard(0)

    return median_ratio(released_shard, ours, turns)


def _large_pool(folder: Path) -> dict[str, Any]:
    """Peak memory of the process that writes 250 000 images and reads them back in random order."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.distillation_speed", "--write-pool", str(folder)]
    )
    watched, peak, started = psutil.Process(process.pid), 0, time.monotonic()
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.05)
    if process.wait() != 0:
        raise click.ClickException("the process that writes the large pool failed")
    files = sorted(folder.glob("*.safetensors"))
    return {
        "images": POOL,
        "peak_memory_gib": round(peak / 2**30, 2),
        "bytes_on_disk": sum(file.stat().st_size for file in files),
        "shards": len(files),
        "seconds": round(time.monotonic() - started, 1),
        "kept": peak / 2**30 <= POOL_GIB,
    }


def _write_pool(folder: Path) -> None:
    """Noise that a small teacher judges; then every image once, gathered through a memory map."""
    teacher = FrozenTeacher(
        build_network("cake_lenet5", channels=3, classes=10, arguments={"divisor": 2}),
        CIFAR10, architecture="cake_lenet5",
    )  # fmt: skip
    config = CakeConfig(
        prior="gaussian", pushed_share=0.0, oversample=1, images_per_shard=5000, batch=500
    )
    images = synthesize(teacher, config, folder, count=POOL, seed=0).images()
    order = torch.randperm(POOL, generator=torch.Generator().manual_seed(0))
    for index in order.split(500):
        images.gather(index)


@click.command()
@click.option("--turns", default=7, show_default=True)
@click.option("--write-pool", type=click.Path(path_type=Path), hidden=True)
@click.option(
    "--results", type=click.Path(path_type=Path), default=RESULTS / "distillation_speed.json"
)
def main(turns: int, write_pool: Path | None, results: Path) -> None:
    """Measures everything, in some minutes."""
    torch.set_num_threads(1)
    if write_pool is not None:
        _write_pool(write_pool)
        return
    before = load_average()
    found: dict[str, Any] = {"synthesis": {}, "distillation": {}}
    with tempfile.TemporaryDirectory(prefix="cake-edge-") as name:
        for subject, (row, precision) in SUBJECTS.items():
            teacher = teacher_like(row)
            bare = bare_gradient(teacher, precision, BATCH, STEPS)
            ours = our_synthesis(teacher, precision, BATCH, STEPS)
            found["synthesis"][subject] = median_ratio(bare, ours, turns)
            quick = CakeConfig(steps=1, snapshots=1, oversample=1)
            folder = Path(name) / subject.replace(", ", "-")
            pool = synthesize(teacher, quick, folder, count=4800, seed=0)
            bare = bare_distillation(row, teacher, precision, TRAINED)
            ours = our_distillation(row, teacher, precision, TRAINED, pool)
            found["distillation"][subject] = median_ratio(bare, ours, turns)
            click.echo(f"{subject}: {found['synthesis'][subject]['ratio']} synthesis, "
                       f"{found['distillation'][subject]['ratio']} distillation")  # fmt: skip
        found["over cake-paper"] = {"LeNet-5, batch 250, bfloat16": _over_cake_paper(turns)}
        large = Path(name) / "large"
        found["large_pool"] = _large_pool(large)
        shutil.rmtree(large)
    kept = {
        f"{what}, {subject}": figure["ratio"] >= least
        for what, least in LEAST.items()
        for subject, figure in found[what].items()
    }
    command = ["python", "-m", "benchmarks.distillation_speed", "--turns", str(turns)]
    write_results(results, command, {
        "promises": {**kept, "large pool within 4 GiB": found["large_pool"]["kept"]},
        "least": LEAST, "batch": BATCH, "steps": STEPS,
        "load": {"before": before, "after": load_average()}, **found,
    })  # fmt: skip


if __name__ == "__main__":
    main()
