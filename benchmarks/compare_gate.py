"""How often `cake-edge compare` is wrong: benchmarks/results/compare_gate.json.

    python -m benchmarks.compare_gate
    python -m benchmarks.compare_gate runs/recorded/new --chosen-on runs/recorded/first

Records one model many times with `cake-edge bench`, each time in a new process and some seconds
after the last, while whatever else the machine does goes on; or takes folders of such results.
Two recordings of one model are an A/A pair: what the gate calls worse there is a false alarm. With
the second scaled by 1.1 it is a true slowdown of 10 %: what is not called worse there is missed.

Every ordered pair of recordings is judged as it was recorded; and pairs drawn at random are judged
after both were resampled in blocks of neighbouring rounds. The slowdown is simulated from recorded
samples: other work, which a slower model would not stretch, is scaled with the model.

The gate's two constants, the fastest tenth and its 3 %, were chosen on recordings; the promises are
therefore judged on others, made afterwards. Both stand in the results.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from benchmarks.quantization_subjects import EMBEDDED_TEACHER, export_subject
from benchmarks.results_files import RESULTS, write_results
from exporters.latency.bench_file import BenchFile, read_bench_file
from exporters.latency.gate import Resampled, judge, resample
from exporters.latency.likeness import disturbance
from exporters.latency.limits import Limit, parse_limits
from exporters.latency.statistics import Samples

SLOWDOWN = 1.1
DEFAULT = "p50:+5%"
LIMITS = (DEFAULT, "p50:+1%", "p50:+2%", "p50:+3%", "p90:+5%", "p99:+10%", "mean:+5%")
PROMISES = {"false alarms": "at most 5 of 100", "slowdowns caught": "at least 95 of 100"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One result of `cake-edge bench` on the one model."""

    samples_ms: Samples
    disturbed: str | None
    resampled: Resampled


def record(folder: Path, runs: int, seconds: float, pause: float) -> None:
    """Measures the embedded teacher in so many processes, one after another."""
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "teacher.onnx"
        export_subject(EMBEDDED_TEACHER, model)
        for number in range(runs):
            out = folder / f"{number:03d}.json"
            subprocess.run(
                [sys.executable, "-m", "cake_edge", "bench", str(model), "-q",
                 "--seconds", f"{seconds:g}", "--out", str(out)],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(pause)


def recording(file: BenchFile, seed: int) -> Recording:
    """The first model of a result."""
    row = file.rows[0]
    if row.samples_ms is None:
        raise click.UsageError(f"{file.path} has no samples; record with bench --out")
    return Recording(
        samples_ms=row.samples_ms,
        disturbed=disturbance(file, row),
        resampled=resample(row.samples_ms, seed=seed),
    )


def slower(measured: Resampled) -> Resampled:
    """The same with every call longer: percentiles follow scale."""
    return replace(
        measured,
        estimates={share: SLOWDOWN * value for share, value in measured.estimates.items()},
        draws={share: SLOWDOWN * values for share, values in measured.draws.items()},
    )


def redrawn(samples_ms: Samples, random: np.random.Generator) -> Samples:
    """Rounds drawn anew in circular blocks of a twentieth of the recording."""
    rounds = len(samples_ms)
    block = max(1, rounds // 20)
    starts = random.integers(0, rounds, size=-(-rounds // block))
    index: npt.NDArray[np.intp] = (starts[:, np.newaxis] + np.arange(block)).reshape(-1)
    return samples_ms[index[:rounds] % rounds]


def shares(pairs: Iterable[tuple[Recording, Recording]], limits: Sequence[Limit]) -> dict[str, Any]:
    """Of pairs of recordings of one model: how often each limit alarms, and catches a slowdown."""
    unchanged: dict[str, Counter[str]] = {str(limit): Counter() for limit in limits}
    slowed: dict[str, Counter[str]] = {str(limit): Counter() for limit in limits}
    for base, new in pairs:
        disturbed = base.disturbed or new.disturbed
        behind = slower(new.resampled)
        for limit in limits:
            verdict = judge(base.resampled, new.resampled, limit, disturbed=disturbed).verdict
            unchanged[str(limit)][verdict] += 1
            verdict = judge(base.resampled, behind, limit, disturbed=disturbed).verdict
            slowed[str(limit)][verdict] += 1
    return {
        name: {
            "pairs": found.total(),
            "false alarms of 100": _of_100(found, "worse"),
            "noisy of 100": _of_100(found, "noisy"),
            "slowdowns caught of 100": _of_100(slowed[name], "worse"),
            "slowdowns called noisy of 100": _of_100(slowed[name], "noisy"),
        }
        for name, found in unchanged.items()
    }


def random_pairs(
    recordings: Sequence[Recording], trials: int, seed: int
) -> Iterable[tuple[Recording, Recording]]:
    """Two recordings at random, both resampled."""
    random = np.random.default_rng(seed)
    for trial in range(trials):
        chosen = random.choice(len(recordings), size=2, replace=False)
        first, second = (
            replace(
                recordings[index],
                resampled=resample(
                    redrawn(recordings[index].samples_ms, random), seed=2 * trial + side
                ),
            )
            for side, index in enumerate(chosen)
        )
        yield first, second


def measure_folder(folder: Path, trials: int, seed: int) -> dict[str, Any]:
    """Everything about one model's recordings."""
    files = [read_bench_file(path) for path in sorted(folder.glob("*.json"))]
    recordings = [recording(file, seed=1000 + index) for index, file in enumerate(files)]
    medians = [r.resampled.estimates[50.0] for r in recordings]
    loads = [file.environment["load_before"] for file in files]
    limits = parse_limits(DEFAULT)
    every = [limit for text in LIMITS for limit in parse_limits(text)]
    return {
        "model": files[0].rows[0].architecture,
        "bytes": files[0].rows[0].bytes,
        "recordings": len(recordings),
        "rounds": [min(len(r.samples_ms) for r in recordings),
                   max(len(r.samples_ms) for r in recordings)],
        "median_ms": [round(min(medians), 4), round(max(medians), 4)],
        "load_before": [min(loads), max(loads)],
        "cores": files[0].environment["cores"],
        "disturbed recordings": sum(r.disturbed is not None for r in recordings),
        "every pair as recorded": shares(itertools.permutations(recordings, 2), every),
        "random pairs, resampled": shares(random_pairs(recordings, trials, seed), limits),
    }  # fmt: skip


def _of_100(counts: Counter[str], verdict: str) -> float:
    return round(100 * counts[verdict] / counts.total(), 2)


def _keeps(found: dict[str, Any]) -> dict[str, bool]:
    """Whether the default gate keeps its promises on the first folder, both ways of judging."""
    rows = [found[way][DEFAULT] for way in ("every pair as recorded", "random pairs, resampled")]
    return {
        "false alarms": all(row["false alarms of 100"] <= 5 for row in rows),
        "slowdowns caught": all(row["slowdowns caught of 100"] >= 95 for row in rows),
    }


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--chosen-on",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Recordings on which the gate's constants were chosen; repeatable.",
)
@click.option("--runs", default=100, show_default=True, help="Recordings to make.")
@click.option("--seconds", default=3.0, show_default=True, help="Of each recording.")
@click.option("--pause", default=8.0, show_default=True, help="Seconds between recordings.")
@click.option("--trials", default=400, show_default=True, help="Random pairs.")
@click.option("--seed", default=0, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS / "compare_gate.json")
def main(
    folders: tuple[Path, ...],
    chosen_on: tuple[Path, ...],
    runs: int,
    seconds: float,
    pause: float,
    trials: int,
    seed: int,
    results: Path,
) -> None:
    """Records, or reads recordings, and counts the gate's mistakes."""
    with tempfile.TemporaryDirectory() as place:
        if not folders:
            record(Path(place), runs, seconds, pause)
        found = [measure_folder(folder, trials, seed) for folder in folders or (Path(place),)]
    earlier = [measure_folder(folder, trials, seed) for folder in chosen_on]
    measured = {
        "what": "simulated from recorded samples: pairs of recordings of one model, "
        f"the second scaled by {SLOWDOWN} for a true slowdown",
        "default": DEFAULT,
        "promises": PROMISES,
        "kept": _keeps(found[0]),
        "seed": seed,
        "models": found,
        "recordings that the gate's constants were chosen on": earlier,
    }
    words = [folder.name for folder in folders]
    words += [word for folder in chosen_on for word in ("--chosen-on", folder.name)]
    write_results(results, ["python", "-m", "benchmarks.compare_gate", *words], measured)
    for model in [*found, *earlier]:
        row = model["every pair as recorded"][DEFAULT]
        click.echo(f"{model['model']}: {row}")


if __name__ == "__main__":
    main()
