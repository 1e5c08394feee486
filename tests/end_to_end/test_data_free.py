"""Data-free, watched from outside: what the process opens, in the order it opens it."""

import json
import subprocess
import sys

import pytest

WATCHED = """
import dataclasses, json, sys
from pathlib import Path

opened = []
data, out = Path(sys.argv[1]), Path(sys.argv[2])

def watch(event, arguments):
    if event == "open" and str(arguments[0]).endswith((".npz", ".jpg", ".png", ".gz")):
        made = sorted(file.name for file in (out / "artifacts").glob("*.onnx"))
        opened.append([Path(str(arguments[0])).name, str(arguments[1]), made])

sys.addaudithook(watch)

import torch
from cake_edge.distill import DistillConfig
from cake_edge.pipeline import demo_recipe, run_recipe
from cake_edge.samplers import CakeConfig
from exporters.latency.harness import LatencyConfig

if __name__ == "__main__":
    torch.set_num_threads(1)
    recipe = demo_recipe()
    settings = CakeConfig(steps=2, oversample=2, images_per_shard=40)
    recipe = dataclasses.replace(
        recipe,
        synthesis=dataclasses.replace(recipe.synthesis, count=80, settings=settings),
        distill=DistillConfig(steps=4, batch=16),
        bench=LatencyConfig(min_seconds=0.05, min_count=5, warmup_seconds=0.0),
    )
    report = run_recipe(recipe, out, device=torch.device("cpu"))
    print(json.dumps({"opened": opened, "reads": report["data_free"]["reads"]}))
"""


@pytest.mark.slow
def test_no_real_image_is_opened_before_every_file_that_could_depend_on_it_is_finished(
    root, tmp_path
):
    script, out = tmp_path / "watched.py", tmp_path / "run"
    script.write_text(WATCHED)
    data = root / "cake_edge/assets/fashion_mnist/eval.npz"
    done = subprocess.run(
        [sys.executable, str(script), str(data), str(out)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    reads = [(name, made) for name, mode, made in told["opened"] if "r" in mode and "w" not in mode]
    real = [made for name, made in reads if name == "eval.npz"]
    assert real, "the watch saw no evaluation at all"
    finished = ["student.fp32.onnx", "student.int8.ort-x86.onnx", "teacher.fp32.onnx"]
    assert all(made == finished for made in real)
    # Sheets of synthetic pictures are written, and shown in the report: no other picture is read.
    assert {name for name, _ in reads} <= {"eval.npz", "prior.png", "pushed.png"}
    assert told["reads"] == [{"stage": "evaluate", "what": "eval.npz", "images": 2000}]
