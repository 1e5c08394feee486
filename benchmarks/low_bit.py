"""Few bits without data: rounding alone, and fine-tuning on a pool or on GDFQ's generator.

    python -m benchmarks.low_bit --out runs/low-bit

Two networks: the embedded Fashion-MNIST teacher, and the vendor's CIFAR-10 ResNet-20, where its
weights and the JPEG test images lie in ../shared/data. Every figure is of the weights at the last
step; real images are read when all training is over. Settings are the defaults of `QatConfig` but
for SHORT, which keeps the whole within half an hour of one core: no row is trained to its end.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.paper.networks import ResNet20
from benchmarks.results_files import RESULTS, ROOT, write_results
from cake_edge.evaluate import Infer, evaluate_many, open_dataset
from cake_edge.pool import Pool, synthesize
from cake_edge.qat.config import QatConfig
from cake_edge.qat.finetune import converted, finetune, held_out_agreement
from cake_edge.qat.ranges import calibrate
from cake_edge.samplers import SAMPLERS
from cake_edge.spec import ImageSpec
from cake_edge.teachers import load_teacher
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.weights_file import read_state

logger = logging.getLogger("benchmarks.low_bit")

SHORT: dict[str, Any] = {"steps": 80, "warmup": 80, "width": 48}
BITS = (4, 3)
SANITY = 8
"""Bits that the first seed is measured at as well: they should cost next to nothing."""
SEEDS = (0, 1, 2)
POOL = 2048
IMAGES = 2000
"""Real images a network is evaluated on, evenly spread over its set."""
FASHION = ROOT / "cake_edge" / "assets" / "fashion_mnist" / "eval.npz"
SHARED = ROOT.parent / "shared" / "data"
RESNET20 = SHARED / "vendor-resnet20-cifar10" / "resnet20-12fca82f.th"
CIFAR = SHARED / "cifar10-jpeg-dev.npz"
CIFAR_SPEC = ImageSpec(
    channels=3, height=32, width=32, classes=10,
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
)  # fmt: skip

Measured = dict[str, dict[str, Any]]


def resnet20(weights: Path) -> FrozenTeacher:
    """The vendor's network as a teacher."""
    network = ResNet20()
    network.load_state_dict(read_state(weights))
    return FrozenTeacher(network, CIFAR_SPEC, architecture="resnet20-cifar10")


def train_rows(
    teacher: FrozenTeacher, seed: int, folder: Path
) -> tuple[Measured, dict[str, nn.Module]]:
    """Every row of one seed: what is known of it without data, and its network."""
    sampler = SAMPLERS["cake"]()
    pool = synthesize(teacher, sampler, folder / f"pool-{seed}", count=POOL, seed=seed, workers=1)
    about: Measured = {}
    networks: dict[str, nn.Module] = {}
    for bits in BITS if seed else (SANITY, *BITS):
        config = QatConfig(weight_bits=bits, activation_bits=bits, **SHORT)
        for start in ("min-max", "least-error"):
            name = f"W{bits}A{bits} rounded, {start}"
            about[name], networks[name] = _rounded(
                teacher, replace(config, start=start), pool, seed
            )
        for source in ("pool", "generator"):
            name = f"W{bits}A{bits} trained, {source}"
            networks[name], report = finetune(
                teacher, replace(config, source=source), seed=seed, pool=pool
            )
            about[name] = report.to_dict() | {"agreement_synthetic": report.agreement_after}
            logger.info("seed %d, %s: %.1f s", seed, name, report.seconds)
    return about, networks


def _rounded(
    teacher: FrozenTeacher, config: QatConfig, pool: Pool, seed: int
) -> tuple[dict[str, Any], nn.Module]:
    started = time.monotonic()
    network = converted(teacher, config).network.requires_grad_(False)
    batches = pool.batches(config.batch)
    calibrate(network, (next(batches).images for _ in range(config.calibration_batches)),
              config.start)  # fmt: skip
    agreement = held_out_agreement(network, teacher, seed)
    return {"agreement_synthetic": agreement, "seconds": time.monotonic() - started}, network


def _infer(network: nn.Module) -> Infer:
    def infer(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            return network(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]

    return infer


def evaluated_rows(
    teacher: FrozenTeacher, networks: Mapping[str, nn.Module], data: Path
) -> Measured:
    """Accuracy of the float network and of all rows, on equal images."""
    dataset = open_dataset(data, teacher.spec).limited(IMAGES)
    infers = {"float": _infer(teacher), **{n: _infer(m) for n, m in networks.items()}}
    found = evaluate_many(infers, dataset, reference="float")
    return {
        name: {"top1": one.top1, "agreement": one.agreement, "n": one.n}
        for name, one in found.items()
    }


def summary(runs: list[Measured]) -> Measured:
    """Mean and standard deviation over seeds of what every row has."""
    rows: Measured = {}
    for name in runs[0]:
        rows[name] = {}
        for figure in ("top1", "agreement", "agreement_synthetic"):
            values = [
                run[name][figure] for run in runs if run.get(name, {}).get(figure) is not None
            ]
            if values:
                spread = statistics.stdev(values) if len(values) > 1 else None
                rows[name][figure] = {"mean": statistics.mean(values), "sd": spread}
    return rows


def measure(
    make: Callable[[], FrozenTeacher], data: Path, seeds: tuple[int, ...], folder: Path
) -> dict[str, Any]:
    """All rows of one network: training for every seed, then evaluation of everything."""
    teacher = make()
    trained = [train_rows(teacher, seed, folder) for seed in seeds]
    runs: list[Measured] = []
    for about, networks in trained:
        real = evaluated_rows(teacher, networks, data)
        runs.append({name: {**about.get(name, {}), **real[name]} for name in real})
    return {
        "parameters": teacher.parameters_total,
        "data": data.name,
        "seeds": list(seeds),
        "rows": summary(runs),
        "runs": runs,
    }


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for pools.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS / "low_bit.json")
def main(out: Path, results: Path) -> None:
    """Trains and evaluates all rows on one core."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    started, worked = time.monotonic(), time.process_time()
    found: dict[str, Any] = {
        "settings": asdict(QatConfig(**SHORT)),
        "pool": POOL,
        "fashion-mnist": measure(_embedded, FASHION, SEEDS, out / "fashion-mnist"),
    }
    if RESNET20.is_file() and CIFAR.is_file():
        found["vendor-resnet20"] = measure(
            lambda: resnet20(RESNET20), CIFAR, SEEDS[:1], out / "resnet20"
        )
    command = ["python", "-m", "benchmarks.low_bit", "--out", out.name]
    found["seconds"] = time.monotonic() - started
    found["cpu_seconds"] = time.process_time() - worked
    write_results(results, command, found)
    for network in ("fashion-mnist", "vendor-resnet20"):
        for name, row in found.get(network, {}).get("rows", {}).items():
            top1 = row["top1"]
            spread = "" if top1["sd"] is None else f" ± {top1['sd']:.1f}"
            click.echo(f"{network:16} {name:32} {top1['mean']:.1f}{spread}")


def _embedded() -> FrozenTeacher:
    return load_teacher(TeacherConfig(reference="embedded"), device=torch.device("cpu"))


if __name__ == "__main__":
    main()
