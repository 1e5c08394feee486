"""What the latency harness itself costs and gets wrong: benchmarks/results/latency_harness.json.

    python -m benchmarks.latency_harness

Each of three models is measured in three ways that take turns, a short block of calls each time:
by `measure()`; by a bare loop of the clock and `InferenceSession.run` over the very same session;
and by `measure()` over a session that keeps ONNX Runtime's own profile, whose `model_run` events
are held against the harness's clock call by call. Ratios are medians over blocks, and carry
bootstrap intervals.

What the harness adds to a call is told apart on models that do nothing: `Session.infer` and the
clock over a bare `InferenceSession.run` of a network of one Flatten, and the clock alone over a
Python function that returns what it is given.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper

from benchmarks.quantization_subjects import (
    EMBEDDED_STUDENT,
    EMBEDDED_TEACHER,
    export_subject,
    store_images,
)
from benchmarks.results_files import RESULTS, write_results
from exporters.latency import LatencyConfig, latency_environment, load_average, measure
from exporters.latency.lane import Images, no_garbage_collection
from exporters.latency.statistics import Samples, bootstrap_median
from exporters.quantize import QuantizeConfig, quantize
from exporters.runtimes.ort import OrtSession, open_inference_session, session_options

__all__ = ["NO_OPS", "PROMISES", "NoOp", "kept", "no_op_model", "profiled_calls"]

MOBILENET = "mobilenetv2_100"
INT8_STUDENT = f"{EMBEDDED_STUDENT}, INT8"
PROMISES = {
    "p50 beside a bare loop": "within 1 %",
    "p50 beside ONNX Runtime's profile": "within 1 %",
    "added to a model that does nothing": "under 20 us a call",
}
NO_OPS = ("onnx", "python")
WARM = 3
BURST = LatencyConfig().burst
PROFILED = 50
"""Calls of a block that are profiled: ONNX Runtime keeps a million events, and a call has many."""
Microseconds = npt.NDArray[np.float64]


class NoOp:
    """Answers at once."""

    def infer(self, images: Images, /) -> Images:
        """Returns what it is given."""
        return images


def no_op_model(path: Path) -> None:
    """Writes a network of one Flatten, [1, 3, 8, 8] to [1, 192]."""
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["logits"])],
        "nothing",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 192])],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opsets), path)


def write_models(folder: Path) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """File and input size of each of the three models, by name."""
    found: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for name in (EMBEDDED_TEACHER, EMBEDDED_STUDENT, MOBILENET):
        path = folder / f"{name.replace(' ', '-')}.onnx"
        spec = export_subject(name, path)
        found[name] = (path, spec.input_size)
        if name == EMBEDDED_STUDENT:
            images = store_images(folder / "images.npy", spec, 48)
            config = QuantizeConfig(latency_seconds=0)
            report = quantize(path, folder / "int8.onnx", images.chunks, config=config)
            found[INT8_STUDENT] = (report.path, spec.input_size)
            del found[name]
    return found


def bare_loop(session: OrtSession, images: Images, calls: int) -> Microseconds:
    """Microseconds of each call of the session under `session`, with nothing around it."""
    run = session._session.run  # the same session is the point
    clock, found = time.perf_counter_ns, [0] * calls
    feed = {session._input.name: images}
    for _ in range(WARM):
        run(None, feed)
    for call in range(calls):
        before = clock()
        run(None, feed)
        found[call] = clock() - before
    return np.asarray(found) / 1e3


def harness_loop(session: OrtSession | NoOp, images: Images, calls: int) -> Microseconds:
    """Microseconds of each call as `measure()` tells it."""
    config = LatencyConfig(
        warmup_seconds=0, warmup_count=WARM, min_seconds=0, min_count=calls, max_seconds=600
    )
    (found,) = measure([session], [images], config)
    return 1e3 * found.samples_ms.reshape(-1)


def beside_bare_loop(path: Path, images: Images, blocks: int, calls: int) -> dict[str, Any]:
    """p50 of the harness over that of the bare loop, both on one session, block by block."""
    with OrtSession(path, fixed_batch=1) as session, no_garbage_collection():
        random, pairs = np.random.default_rng(0), []
        for _ in range(blocks):
            ways = [harness_loop, bare_loop]
            order = random.permutation(2)
            found = {int(i): ways[i](session, images, calls) for i in order}
            pairs.append([np.median(found[0]), np.median(found[1])])
    harness, bare = np.array(pairs).T
    return _compared(harness, bare, "harness_us", "bare_us")


def beside_profile(
    path: Path, images: Images, blocks: int, calls: int, folder: Path
) -> dict[str, Any]:
    """p50 of the harness over that of ONNX Runtime's profile of the same calls, block by block.

    A bare loop is held against its profile too: what both are longer by is what the profile leaves
    out of a call, and no part of the harness.
    """
    found = {}
    for name, loop, ahead in (("harness", harness_loop, 1), ("bare", bare_loop, 0)):
        options = session_options()
        options.enable_profiling = True
        options.profile_file_prefix = os.fspath(folder / name)
        profiled = open_inference_session(os.fspath(path), options, what=path.name)
        with OrtSession(path, fixed_batch=1) as session:
            session._session, session._call = profiled, profiled.run  # the loop must not know
            clock = loop(session, images, blocks * calls)
        profile = profiled_calls(Path(profiled.end_profiling()), ahead)
        if profile.size != clock.size:
            raise click.ClickException(f"{profile.size} calls were profiled of {clock.size}")
        ours, theirs = (np.median(each.reshape(blocks, -1), axis=1) for each in (clock, profile))
        found[name] = _compared(ours, theirs, f"{name}_us", "profile_us")
    return {**found["harness"], "bare_loop_over_its_profile": found["bare"]}


def profiled_calls(profile: Path, ahead: int) -> Microseconds:
    """Microseconds of `model_run` of every timed call, [calls], without the warm-up's.

    Args:
        ahead: calls outside the clock before each burst.
    """
    events = json.loads(profile.read_text(encoding="utf-8"))
    runs = [event["dur"] for event in events if event.get("name") == "model_run"]
    turns = np.asarray(runs[WARM:], dtype=np.float64).reshape(-1, ahead + BURST)
    return turns[:, ahead:].reshape(-1)


def no_ops(folder: Path, blocks: int, calls: int) -> dict[str, Any]:
    """What a call of the harness costs where the model costs nothing."""
    path = folder / "nothing.onnx"
    no_op_model(path)
    images = np.zeros((1, 3, 8, 8), np.float32)
    wired = beside_bare_loop(path, images, blocks, calls)
    idle = [float(np.median(harness_loop(NoOp(), images, calls))) for _ in range(blocks)]
    return {
        "onnx": {**wired, "added_us": wired["harness_us"] - wired["bare_us"]},
        "python": {"added_us": float(np.median(idle))},
    }


def kept(models: Mapping[str, Any], nothing: Mapping[str, Any]) -> dict[str, bool]:
    """Which of `PROMISES` the figures keep; an interval decides nothing, the estimate does."""
    names = list(PROMISES)
    return {
        names[0]: all(_within(row["bare loop"]) for row in models.values()),
        names[1]: all(_within(row["profile"]) for row in models.values()),
        names[2]: all(nothing[name]["added_us"] < 20 for name in NO_OPS),
    }


def _within(row: Mapping[str, Any]) -> bool:
    return bool(abs(row["ratio"]["estimate"] - 1) <= 0.01)


def _compared(ours: Samples, theirs: Samples, our_name: str, their_name: str) -> dict[str, Any]:
    return {
        our_name: float(np.median(ours)),
        their_name: float(np.median(theirs)),
        "difference_us": float(np.median(ours - theirs)),
        "ratio": bootstrap_median(ours / theirs).to_dict(),
        "blocks": len(ours),
    }


@click.command()
@click.option("--blocks", default=40, show_default=True, help="Turns of each way.")
@click.option("--seconds", default=12.0, show_default=True, help="Of each way and model, roughly.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=RESULTS / "latency_harness.json"
)
def main(blocks: int, seconds: float, results: Path) -> None:
    """Measures all, model by model."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    models = {}
    with tempfile.TemporaryDirectory(prefix="cake-edge-") as place:
        folder = Path(place)
        files = write_models(folder)
        load = load_average()
        for name, (path, size) in files.items():
            images = np.random.default_rng(0).standard_normal((1, *size), dtype=np.float32)
            models[name] = _measured(path, images, blocks, seconds, folder)
            click.echo(f"{name}: {_line(models[name])}")
        nothing = no_ops(folder, blocks, calls=2000)
    click.echo(f"nothing: {[round(nothing[name]['added_us'], 2) for name in NO_OPS]} us")
    measured = {
        "seed": 0,
        "promises": PROMISES,
        "kept": kept(models, nothing),
        "models": models,
        "model that does nothing": nothing,
        "machine": latency_environment(threads=1, load_before=load),
    }
    command = ["python", "-m", "benchmarks.latency_harness"]
    write_results(results, [*command, "--seconds", f"{seconds:g}"], measured)


def _measured(
    path: Path, images: Images, blocks: int, seconds: float, folder: Path
) -> dict[str, Any]:
    with OrtSession(path, fixed_batch=1) as session:
        call = float(np.median(harness_loop(session, images, 20))) / 1e6
    calls = max(10, 5 * round(seconds / (5 * 2 * blocks * call)))
    before = load_average()
    return {
        "bytes": path.stat().st_size,
        "calls_a_block": calls,
        "bare loop": beside_bare_loop(path, images, blocks, calls),
        "profile": beside_profile(path, images, blocks, min(calls, PROFILED), folder),
        "load": [before, load_average()],
    }


def _line(row: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{way} x{row[way]['ratio']['estimate']:.4f} [{row[way]['ratio']['low']:.4f}, "
        f"{row[way]['ratio']['high']:.4f}] {row[way]['difference_us']:+.1f} us of "
        f"{row[way]['harness_us']:.0f}"
        for way in ("bare loop", "profile")
    )


if __name__ == "__main__":
    main()
