"""What a report says in words: the headline, the tables' cells, the notes. Rendered elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporters.report import words
from exporters.report.pareto import dominators
from exporters.report.schema import Environment, Model, Report

__all__ = [
    "LARGE_DROP",
    "Figure",
    "Table",
    "facts",
    "file_table",
    "headline",
    "latency_table",
    "model_name",
    "model_table",
    "remark",
    "subtitle",
    "title",
]

LARGE_DROP = 10.0
"""A student this many points of top-1 below its teacher cannot replace it."""
AGREEMENT = (
    "share of decisions on the evaluation images that are the teacher's: on the class of an image, "
    "or on each label where labels do not exclude each other"
)
PERCENTILES = (
    "nearest-rank over single calls, models taking turns; speed-ups are medians over rounds "
    "with 95 % block bootstrap intervals"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of the headline."""

    value: str
    """Such as 6.7x."""
    label: str
    """What it is a number of."""
    detail: str
    """From what to what."""
    bad: bool = False
    """It got worse by more than a person expects."""

    def __str__(self) -> str:
        return f"{self.value} {self.label}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells as text; the first column names the row."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def without(self, *headers: str) -> Table:
        """Returns the table less some of its columns."""
        kept = [i for i, name in enumerate(self.headers) if name not in headers]
        return self._columns(kept)

    def without_empty(self) -> Table:
        """Returns the table less the columns in which no row says anything."""
        return self._columns(
            [i for i in range(len(self.headers)) if i == 0 or any(row[i] for row in self.rows)]
        )

    def numbers(self) -> list[bool]:
        """Tells of each column whether it holds numbers, to be set flush right."""
        return [index > 0 and self._numeric(index) for index in range(len(self.headers))]

    def _columns(self, kept: list[int]) -> Table:
        return Table(
            headers=tuple(self.headers[i] for i in kept),
            rows=tuple(tuple(row[i] for i in kept) for row in self.rows),
        )

    def _numeric(self, index: int) -> bool:
        said = [row[index] for row in self.rows if row[index] not in ("", words.UNKNOWN)]
        return bool(said) and all(cell[0].isdigit() for cell in said)


def model_name(model: Model) -> str:
    """Returns a short name: Student INT8 (ort-x86)."""
    target = f" ({model['target']})" if model["target"] not in (None, "any") else ""
    return f"{model['role'].capitalize()} {model['precision'].upper()}{target}"


def headline(report: Report) -> list[Figure]:
    """The student to ship against the teacher; empty where one of them is missing."""
    pair = _pair(report)
    if pair is None:
        return []
    teacher, student = pair
    figures = [_size(teacher, student), _speed(teacher, student), _accuracy(teacher, student)]
    return [figure for figure in figures if figure is not None]


def title(report: Report) -> str:
    """The headline as one line."""
    figures = headline(report)
    if not figures:
        return f"{len(report['models'])} models measured"
    return ", ".join(str(figure) for figure in figures)


def subtitle(report: Report) -> str:
    """Who became whom."""
    pair = _pair(report)
    if pair is None:
        return ", ".join(_long_name(model) for model in report["models"])
    return f"{_long_name(pair[0])} {words.ARROW} {_long_name(pair[1])}"


def model_table(report: Report) -> Table:
    """Accuracy, size and median latency, one row a model."""
    models = report["models"]
    top5 = any(model["top5"] is not None for model in models)
    above = dominators(models)
    rows = []
    for model, better in zip(models, above, strict=True):
        latency = model["latency_ms"]
        rows.append(
            (
                model_name(model),
                model.get("architecture", ""),
                words.count(model["parameters"]) if model["parameters"] is not None else "unknown",
                words.size(model["bytes"]),
                _top1(model),
                *((words.percent(model["top5"]),) if top5 else ()),
                words.percent(model["agreement"]),
                words.milliseconds(latency["p50"] if latency else None),
                _speedup(model),
                remark(models, better),
            )
        )
    headers = (
        *("Model", "Network", "Parameters", "Size", "Top-1"),
        *(("Top-5",) if top5 else ()),
        *("Agreement", "Latency p50", "Speed-up", "Remark"),
    )
    return Table(headers=headers, rows=tuple(rows)).without_empty()


def remark(models: Sequence[Model], better: int | None) -> str:
    """Says which model makes this one needless; empty where none does."""
    return "" if better is None else f"dominated by {model_name(models[better])}"


def latency_table(report: Report) -> Table:
    """The whole distribution of each timed model, in milliseconds a call."""
    rows = []
    for model in report["models"]:
        latency = model["latency_ms"]
        if latency is None:
            continue
        p99 = _milliseconds(latency["p99"])
        rows.append(
            (
                model_name(model),
                *(_milliseconds(latency[name]) for name in ("p50", "p90", "p95")),
                p99 if latency.get("p99_reliable", True) else f"{p99} *",
                _milliseconds(latency.get("mean")),
                _milliseconds(latency.get("std")),
                _optional_count(latency.get("n_samples")),
                _optional_count(latency.get("images_per_second")),
                "unstable" if latency.get("unstable") else "steady",
            )
        )
    return Table(
        headers=(
            *("Model", "p50", "p90", "p95", "p99", "mean", "std"),
            *("calls", "images/s", "machine"),
        ),
        rows=tuple(rows),
    )


def file_table(report: Report) -> Table:
    """Each file with its hash."""
    return Table(
        headers=("Model", "File", "SHA-256"),
        rows=tuple((model_name(m), m["path"], m["sha256"]) for m in report["models"]),
    )


def facts(report: Report) -> list[tuple[str, str]]:
    """How it was measured: name and value, in reading order."""
    manifest, environment = report["manifest"], report["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    rows = [
        ("Command", manifest["command"]),
        ("Seed", str(manifest["seed"])),
        ("Processor", _processor(environment)),
        ("Integer instructions", ", ".join(environment["cpu_flags"]) or "none known"),
        ("Versions", versions),
    ]
    if environment.get("threads") is not None:
        rows.insert(3, ("Threads a model", str(environment["threads"])))
    runtime = environment.get("runtime")
    if runtime is not None:
        parts = (runtime.get("runtime"), runtime.get("version"), *runtime.get("providers", []))
        rows.append(("Runtime", " ".join(filter(None, parts))))
    if environment.get("load_before") is not None:
        load = f"{environment['load_before']} before, {environment.get('load_after')} after"
        rows.append(("Load of the machine", load))
    if "clock" in environment:
        rows.append(("Inside the clock", environment["clock"]))
    if any(model["latency_ms"] for model in report["models"]):
        rows.append(("Percentiles", PERCENTILES))
    if any(model.get("interval95") for model in report["models"]):
        rows.append(("Accuracy", f"{words.PLUS_MINUS} is half the width of its 95 % interval"))
    if any(model["agreement"] is not None for model in report["models"]):
        rows.append(("Agreement", AGREEMENT))
    return rows


def _pair(report: Report) -> tuple[Model, Model] | None:
    """The first teacher, and the student a person would ship.

    That is the smallest file among those that were timed and are not slower than float.
    """
    teachers = [model for model in report["models"] if model["role"] == "teacher"]
    students = [model for model in report["models"] if model["role"] == "student"]
    if not teachers or not students:
        return None
    told = report.get("quantize", {})
    slow = {target for target, about in told.items() if about.get("verdict") == "float"}
    worth = [model for model in students if model["target"] not in slow] or students
    timed = [model for model in worth if model["latency_ms"] is not None] or worth
    return teachers[0], min(timed, key=lambda model: model["bytes"])


def _size(teacher: Model, student: Model) -> Figure:
    detail = f"{words.size(teacher['bytes'])} {words.ARROW} {words.size(student['bytes'])}"
    ratio = teacher["bytes"] / max(student["bytes"], 1)
    if ratio >= 1:
        return Figure(value=words.times(ratio), label="smaller", detail=detail)
    return Figure(value=words.times(1 / max(ratio, 1e-9)), label="larger", detail=detail, bad=True)


def _speed(teacher: Model, student: Model) -> Figure | None:
    before, after = teacher["latency_ms"], student["latency_ms"]
    if before is None or after is None:
        return None
    paired = student.get("speedup")
    ratio = paired["estimate"] if paired else before["p50"] / max(after["p50"], 1e-9)
    detail = (
        f"{words.milliseconds(before['p50'])} {words.ARROW} {words.milliseconds(after['p50'])}, "
        "median"
    )
    if ratio >= 1:
        return Figure(value=words.times(ratio), label="faster", detail=detail)
    return Figure(value=words.times(1 / max(ratio, 1e-9)), label="slower", detail=detail, bad=True)


def _accuracy(teacher: Model, student: Model) -> Figure:
    if student["top1"] is not None and teacher["top1"] is not None:
        value, _, label = words.points(student["top1"] - teacher["top1"]).partition(" ")
        detail = (
            f"{words.percent(teacher['top1'])} {words.ARROW} {words.percent(student['top1'])}, "
            f"top-1 on {words.count(student['n'])} images"
        )
        bad = teacher["top1"] - student["top1"] > LARGE_DROP
        return Figure(value=value, label=label, detail=detail, bad=bad)
    if student["agreement"] is not None:
        detail = f"on {words.count(student['n'])} images without labels"
        return Figure(
            value=words.percent(student["agreement"]),
            label="agreement with the teacher",
            detail=detail,
        )
    return Figure(
        value="accuracy", label=words.UNKNOWN, detail="no evaluation data was given", bad=True
    )


def _long_name(model: Model) -> str:
    architecture = model.get("architecture")
    return f"{model_name(model)}{f', {architecture}' if architecture else ''}"


def _top1(model: Model) -> str:
    if model["top1"] is None:
        return words.UNKNOWN
    interval = model.get("interval95")
    if interval is None:
        return words.percent(model["top1"])
    half = (interval[1] - interval[0]) / 2
    return f"{words.percent(model['top1'])} {words.PLUS_MINUS} {half:.1f}"


def _speedup(model: Model) -> str:
    ratio = model.get("speedup")
    if ratio is None or ratio["low"] == ratio["high"] == 1:
        return ""
    return f"{ratio['estimate']:.2f}{words.TIMES} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else words.milliseconds(value).removesuffix(" ms")


def _optional_count(value: float | None) -> str:
    return "" if value is None else words.count(round(value))


def _processor(environment: Environment) -> str:
    cores = environment["cores"]
    name = environment["processor"] or environment["machine"]
    return f"{name}, {cores} cores" if cores else name
