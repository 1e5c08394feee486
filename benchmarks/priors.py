"""How fast priors draw, on one thread: benchmarks/results/priors_speed.json, and a sheet of them.

    python -m benchmarks.priors [--sheet docs/priors.jpg]

All take turns, together with a draw of white noise of the same shape, so that a busy machine slows
them alike: the ratio to noise is the figure to compare between machines. Seconds are of the
processor, which is what one core gives; those of the wall stand beside them. The user's own images
are stood in for by JPEG files that a prior has drawn.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from benchmarks.results_files import RESULTS, write_results
from cake_edge.priors import PRIORS, Prior
from cake_edge.provenance import atomic_path
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from exporters.latency.environment import load_average

__all__ = ["PROMISES", "kept", "sheet"]

SIZES = {"32": 512, "224": 24}
"""By the side in pixels, the images of one draw."""
PROMISES = {"32": 2000, "224": 100}
"""Images a second that every procedural prior draws on one core."""
NOISE = "white noise"
OWN_SIZE, OWN_FILES = (480, 640), 24
COLUMNS, SIDE, GAP = 14, 64, 2  # of the sheet


def spec_of(height: int, width: int) -> ImageSpec:
    """Colour images of a size."""
    return ImageSpec(
        channels=3, height=height, width=width,
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), classes=1000,
    )  # fmt: skip


def noise(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    """What the others are compared with."""
    return torch.randn((count, *spec.input_size), generator=random)


def own_priors(folder: Path) -> dict[str, Prior]:
    """A folder of JPEG files as a camera of VGA size takes them, and the first as a photo."""
    spec = spec_of(*OWN_SIZE)
    images = PRIORS["leaves"](OWN_FILES, spec, generator(0, "own"))
    for number, pixels in enumerate(as_bytes(images, spec)):
        Image.fromarray(pixels).save(folder / f"{number:02d}.jpg", quality=90)
    return {
        "folder:PATH": PRIORS[f"folder:{folder}"],
        "photo:PATH": PRIORS[f"photo:{folder / '00.jpg'}"],
    }


def as_bytes(images: torch.Tensor, spec: ImageSpec) -> npt.NDArray[np.uint8]:
    """[N, H, W, C]."""
    scaled = (spec.denormalise(images.numpy()) * 255).round().clip(0, 255)
    pixels: npt.NDArray[np.uint8] = scaled.astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels


def measure(priors: Mapping[str, Prior], side: int, count: int, rounds: int) -> dict[str, Any]:
    """Images a second of each, and how many times the processor seconds of noise it takes."""
    spec = spec_of(side, side)
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in priors}
    for turn in range(rounds + 1):
        for name, prior in priors.items():
            random = generator(0, name, turn)
            wall, processor = time.perf_counter(), time.process_time()
            prior(count, spec, random)
            if turn:  # the first warms up
                now = time.perf_counter(), time.process_time()
                spent[name].append((now[0] - wall, now[1] - processor))
    of_noise = [processor for _, processor in spent[NOISE]]
    return {
        name: {
            "images_per_processor_second": _rate(count, [p for _, p in pairs]),
            "images_per_wall_second": _rate(count, [w for w, _ in pairs]),
            "times_noise": round(
                statistics.median(p / n for (_, p), n in zip(pairs, of_noise, strict=True)), 1
            ),
        }
        for name, pairs in spent.items()
    }


def _rate(count: int, seconds: list[float]) -> int:
    return round(count / statistics.median(seconds))


def kept(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """By size, whether every procedural prior is as fast as is promised."""
    return {
        side: all(measured[side][name]["images_per_processor_second"] >= promise for name in PRIORS)
        for side, promise in PROMISES.items()
    }


def sheet(path: Path) -> None:
    """Writes one row of images a prior, in the order of `PRIORS`."""
    spec, step = spec_of(SIDE, SIDE), SIDE + GAP
    canvas = np.full((len(PRIORS) * step - GAP, COLUMNS * step - GAP, 3), 255, np.uint8)
    for row, (name, prior) in enumerate(PRIORS.items()):
        images = prior(COLUMNS, spec, generator(0, "sheet", name))
        for column, pixels in enumerate(as_bytes(images, spec)):
            top, left = row * step, column * step
            canvas[top : top + SIDE, left : left + SIDE] = pixels
    with atomic_path(path) as temporary:
        Image.fromarray(canvas).save(temporary, format="JPEG", quality=85)


@click.command()
@click.option("--rounds", default=9, show_default=True)
@click.option("--sheet", "picture", type=click.Path(path_type=Path), help="Draw it, and no more.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS / "priors_speed.json")
def main(rounds: int, picture: Path | None, results: Path) -> None:
    """Measures all in turns."""
    torch.set_num_threads(1)
    if picture is not None:
        sheet(picture)
        return
    before = load_average()
    with tempfile.TemporaryDirectory() as folder:
        priors: dict[str, Prior] = {NOISE: noise, **PRIORS, **own_priors(Path(folder))}
        measured = {
            side: measure(priors, int(side), count, rounds) for side, count in SIZES.items()
        }
    record = {
        "rounds": rounds,
        "threads": 1,
        "load": {"before": before, "after": load_average()},
        "sides": measured,
        "promise": {side: f"at least {n} images/s on one core" for side, n in PROMISES.items()},
        "kept": kept(measured),
    }
    write_results(results, ["python", "-m", "benchmarks.priors"], record)
    for name in priors:
        rates = [measured[side][name]["images_per_processor_second"] for side in SIZES]
        click.echo(f"{name:16} {rates[0]:>8} {rates[1]:>8}")


if __name__ == "__main__":
    main()
