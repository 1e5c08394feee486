"""How fast INT8 runs beside float and beside ONNX Runtime's own quantizer.

    python -m benchmarks.quantization_speed

Writes benchmarks/results/quantization_speed.json. Networks of random weights serve as well as
trained ones for this: time does not depend on values. One thread, one image; all files of a network
take turns in one run. Ratios are paired, with 95 % intervals, in wall time and in processor time:
where other work shares the machine, the second is the one to believe, as the first then also counts
the waiting. Where the system allows it, nothing else gets the core while the clock runs.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.quantization_images import StaticReader, StoredImages
from benchmarks.quantization_subjects import (
    EMBEDDED_STUDENT,
    EMBEDDED_TEACHER,
    export_subject,
    store_images,
)
from benchmarks.results_files import RESULTS, write_results
from exporters.latency import (
    LatencyConfig,
    latency_environment,
    load_average,
    measure,
    paired_ratio,
)
from exporters.latency.statistics import paired_ratio as ratio_of_rounds
from exporters.quantize import QuantizeConfig, quantize
from exporters.runtimes.coverage import coverage
from exporters.runtimes.ort import OrtSession

WANTED: dict[str, float | None] = {
    "resnet18": 3.56,
    "mobilenetv2_100": 3.13,
    "efficientnet_b0": 1.5,
    "vit_small_patch16_224": 2.30,
    EMBEDDED_TEACHER: None,
    EMBEDDED_STUDENT: None,
}
"""Speed over float that is asked for."""
OURS, DEFAULTS, UNSIGNED = "cake-edge", "quantize_static", "quantize_static U8S8 per channel"
FLOAT = "float"
ROUNDS = 60

Images = npt.NDArray[np.float32]


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(WANTED)), help="These networks.")
@click.option("--images", default=48, show_default=True, help="Images to quantize on.")
@click.option("--seconds", default=3.0, show_default=True, help="Least wall time a file.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=RESULTS / "quantization_speed.json"
)
def main(only: tuple[str, ...], images: int, seconds: float, results: Path) -> None:
    """Measures every network and says which speeds are met."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    load, found = load_average(), {}
    config = LatencyConfig(min_seconds=seconds, min_count=100)
    for name in only or WANTED:
        with tempfile.TemporaryDirectory(prefix="cake-edge-") as folder:
            found[name] = measure_network(name, Path(folder), images, config)
        click.echo(f"{name}: {_line(found[name])}")
    command = ["python", "-m", "benchmarks.quantization_speed", "--seconds", str(seconds)]
    measured = {
        "images": images,
        "machine": latency_environment(threads=1, load_before=load),
        "networks": found,
    }
    write_results(results, command, measured)


def measure_network(name: str, folder: Path, count: int, config: LatencyConfig) -> dict[str, Any]:
    """Exports, quantizes in three ways, and times all four files in turns."""
    before = folder / "float.onnx"
    spec = export_subject(name, before)
    images = store_images(folder / "images.npy", spec, count)
    report = quantize(
        before, folder / "ours.onnx", images.chunks, config=QuantizeConfig(latency_seconds=0)
    )
    paths = {FLOAT: before, OURS: report.path, **_rivals(before, folder, images)}
    shown = next(images.chunks())[:1]
    with _undisturbed() as alone:
        timed = time_files(paths, shown, config)
    wanted = WANTED[name]
    speeds = timed[OURS]["over_float"]
    return {
        "input_size": list(spec.input_size),
        "core_to_itself": alone,
        "files": timed,
        "wanted": wanted,
        "met": wanted is None or speeds["wall"]["estimate"] >= wanted,
        "met_in_processor_time": wanted is None or speeds["processor"]["estimate"] >= wanted,
        "coverage": coverage(report.path),
        "sqnr_db": report.parity.sqnr_db,
        "steps": list(report.steps),
    }


@contextmanager
def _undisturbed() -> Iterator[bool]:
    """Puts this process before all others; gives whether the system allows it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except (AttributeError, OSError):
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _rivals(model: Path, folder: Path, images: StoredImages) -> dict[str, Path]:
    from onnxruntime.quantization import QuantType, quantize_static

    defaults, unsigned = folder / "defaults.onnx", folder / "unsigned.onnx"
    quantize_static(model, defaults, StaticReader(images))
    quantize_static(
        model, unsigned, StaticReader(images), per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return {DEFAULTS: defaults, UNSIGNED: unsigned}


def time_files(
    paths: Mapping[str, Path], image: Images, config: LatencyConfig
) -> dict[str, dict[str, Any]]:
    """Returns for each file its latencies, its speed over the first, and that of `OURS` over it."""
    sessions = [OrtSession(path, fixed_batch=1) for path in paths.values()]
    wall = measure(sessions, [image] * len(sessions), config)
    processor = _processor_rounds(sessions, image, config)
    ours = list(paths).index(OURS)
    timed = {}
    for name, one, rounds in zip(paths, wall, processor, strict=True):
        timed[name] = {
            "latency_ms": one.to_dict(),
            "processor_ms": {"p50": float(np.median(rounds)), "min": float(rounds.min())},
            "over_float": {
                "wall": _interval(paired_ratio(wall[0], one)),
                "processor": _interval(ratio_of_rounds(processor[0], rounds)),
            },
            "ours_over_it": {
                "wall": _interval(paired_ratio(one, wall[ours])),
                "processor": _interval(ratio_of_rounds(rounds, processor[ours])),
            },
            "bytes": paths[name].stat().st_size,
        }
    return timed


def _processor_rounds(
    sessions: Sequence[OrtSession], image: Images, config: LatencyConfig
) -> list[npt.NDArray[np.float64]]:
    """Milliseconds of processor time a call, [rounds] for each session: medians of its turns."""
    random, rounds = np.random.default_rng(config.seed), []
    for _ in range(ROUNDS):
        taken = np.zeros(len(sessions))
        for place in random.permutation(len(sessions)):
            sessions[place].infer(image)
            calls = []
            for _ in range(config.burst):
                started = time.thread_time()
                sessions[place].infer(image)
                calls.append(1e3 * (time.thread_time() - started))
            taken[place] = np.median(calls)
        rounds.append(taken)
    return list(np.array(rounds).T)


def _interval(ratio: Any) -> dict[str, float]:
    return {"estimate": ratio.estimate, "low": ratio.low, "high": ratio.high}


def _line(network: Mapping[str, Any]) -> str:
    said = []
    for name, file in network["files"].items():
        speed = file["over_float"]
        said.append(
            f"{name} {file['latency_ms']['p50']:.2f} ms, x{speed['wall']['estimate']:.2f} "
            f"(processor x{speed['processor']['estimate']:.2f})"
        )
    verdict = "" if network["wanted"] is None else f"; wanted x{network['wanted']}"
    return "; ".join(said) + verdict


if __name__ == "__main__":
    main()
