"""What `report.json` holds: the format, and the check that a report keeps it.

Version 1. Fields may be added; none is renamed or given another meaning without a new version.
Top-1, top-5, agreement and `agreement_synthetic` are in percent; what is called a share is from 0
to 1; what was not measured is null. Paths are relative to the folder of
the report and stay inside it, so that the folder can be moved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypedDict, cast

from cake_edge.errors import ArtifactError
from exporters.report.checks import check

__all__ = [
    "SCHEMA_VERSION",
    "DataFree",
    "Distill",
    "Environment",
    "Latency",
    "Manifest",
    "Model",
    "Picture",
    "Pool",
    "Report",
    "Stage",
    "build_report",
    "validate",
]

SCHEMA_VERSION = 1
VERDICTS = ("quantized", "float")


class Manifest(TypedDict):
    """How to make the same again."""

    command: str
    """The command line."""
    seed: int
    """Source of all randomness."""


class Stage(TypedDict):
    """What one stage cost."""

    name: str
    """A word such as synthesize."""
    seconds: float
    """Wall time; of the run that did the work, where this run found it done."""
    peak_memory_bytes: int | None
    """Largest resident memory while it ran."""
    skipped: bool
    """The stage's result was found by hash and not made again."""


class _LatencyCore(TypedDict):
    p50: float
    p90: float
    p95: float
    p99: float


class Latency(_LatencyCore, total=False):
    """Milliseconds a call; `LatencyResult.to_dict()` writes it."""

    mean: float
    std: float
    cv: float
    """std / mean."""
    min: float
    max: float
    n_samples: int
    p99_reliable: bool
    p99_bound: float | None
    """What the true p99 does not exceed, with 99 % confidence; null after too few calls."""
    unstable: bool
    settled: bool
    """The median held still at the end, whatever came before."""
    spread: float | None
    first: float
    warmup_mean: float
    batch: int
    """Images a call."""
    images_per_second: float


class Ratio(TypedDict):
    """A paired comparison, with its interval."""

    estimate: float
    low: float
    high: float


class _ModelCore(TypedDict):
    role: str
    """teacher or student."""
    precision: str
    """fp32, int8, …"""
    target: str | None
    """What the file was made for, such as ort-x86; null for any runtime."""
    path: str
    bytes: int
    parameters: int | None
    top1: float | None
    """Percent of evaluation images whose label has the largest logit."""
    top5: float | None
    """Percent of evaluation images whose label is among the five largest logits."""
    agreement: float | None
    """Percent of evaluation images on which this model and the teacher name one class; where labels
    do not exclude each other, of the labels of all images that both find or neither does."""
    latency_ms: Latency | None
    n: int | None
    """Evaluation images."""
    sha256: str


class Model(_ModelCore, total=False):
    """One model file and what was measured of it."""

    architecture: str
    overlap: float
    """Where labels do not exclude each other: of those that this model or the teacher finds in an
    evaluation image, the percent that both find."""
    interval95: list[float] | None
    """95 % interval of top1, in percent: low and high."""
    speedup: Ratio | None
    """How many times faster than the first model, paired over interleaved rounds."""
    why_not_timed: str | None
    """Why latency_ms is null; such as a target that does not run on this machine."""
    emulated: bool
    """Accuracy was computed in float with values rounded, as the target does not run here."""


class Picture(TypedDict):
    """A PNG to show."""

    title: str
    file: str


class Pool(TypedDict, total=False):
    """What the synthetic images are like."""

    images: int
    classes_covered: int
    pushed: int
    """Images that were optimised; the others are the prior's."""
    hit_rate: float | None
    """Share of pushed images that the teacher sees as their target."""
    label_entropy: float
    """Entropy of the class histogram, as a share of an even one's."""
    teacher_confidence: float
    """Mean of the teacher's highest probability, a share."""
    statistics_layers: int | None
    """Layers whose BatchNorm statistics the images were held to; None where that was not asked."""
    class_histogram: list[int]
    """Images a class, by the teacher's class."""
    labels: list[str] | None
    """Class names in logit order."""


class Distill(TypedDict, total=False):
    """How the student was trained."""

    student: str
    steps: int
    views: int
    """Images seen, each view counted."""
    loss: list[list[float]]
    """[step, loss] in the order of steps."""
    checks: list[list[float]]
    """[step, agreement on held-out synthetic images], where they decided when training ended."""
    agreement_families: dict[str, float]
    """As agreement_synthetic, on families of images that the pool does not start from."""
    matching: dict[str, float]
    """distance_even and distance_matched from what the teacher's batch norms remember, without and
    with weights on images, and the share of them in effect; empty where there is nothing to match,
    absent where that was not asked."""
    agreement_synthetic: float | None
    """Percent of synthetic images not trained on that student and teacher classify alike; where
    labels do not exclude each other, of the labels of all of them."""
    parameters: int
    assistant: Distill
    """Of the network that learned from the teacher first, and that the student learned from."""


class Parity(TypedDict, total=False):
    """INT8 against float on synthetic images kept apart."""

    top1_agreement: float
    """Share of images on which both name one class; where labels do not exclude each other, of the
    labels of all images."""
    sqnr_db: float | None


class Coverage(TypedDict, total=False):
    """What really runs in INT8."""

    int8: dict[str, int]
    """Layers by operator."""
    float: dict[str, int]
    left_float: list[str]
    """Nodes that run in float."""
    reasons: dict[str, str]
    """By node, why it runs in float."""
    profiled: bool
    """Counted in an inference; else read off the file, whose target does not run here."""


class Quantize(TypedDict, total=False):
    """How one INT8 file was made; the key beside it is its target."""

    calibration_images: int
    checked_images: int
    ranges: str
    parity: Parity
    coverage: Coverage
    bytes: int
    steps: list[str]
    """What was done to the float model before its values were rounded, in order."""
    left_float: list[str]
    """Nodes kept in float to hold the accuracy asked for, the most harmful first."""
    four_bit: list[str]
    """Nodes whose weights have 4 bits."""
    sensitivity: dict[str, float]
    """By node, the divergence in nats that leaving it in float would save."""
    speed: Ratio | None
    """How many times faster than the student's float file; null where it was not timed."""
    verdict: str
    """Which of the two files to ship: quantized or float."""
    advice: list[str]
    """What speaks against the quantized file or bounds what was measured, and what to do."""
    over_student_fp32: Ratio
    """How many times faster than the student's float file, paired over interleaved rounds."""


class Runtime(TypedDict, total=False):
    """What ran the models; `Session.describe()` writes it."""

    runtime: str
    version: str
    providers: list[str]


class _EnvironmentCore(TypedDict):
    versions: dict[str, str]
    system: str
    machine: str
    processor: str
    cpu_flags: list[str]
    cores: int | None


class Environment(_EnvironmentCore, total=False):
    """The machine; `latency_environment()` writes it."""

    memory_bytes: int
    governor: str | None
    threads: int
    clock: str
    """What a latency contains."""
    runtime: Runtime
    load_before: float | None
    load_after: float | None
    warnings: list[str]


class RealData(TypedDict):
    """Real images that were read."""

    stage: str
    """The stage that read them."""
    what: str
    images: int


class DataFree(TypedDict):
    """What real data was read, and when."""

    statement: str
    reads: list[RealData]
    """Empty where no real image was read."""


class _ReportCore(TypedDict):
    schema_version: int
    manifest: Manifest
    stages: list[Stage]
    models: list[Model]
    environment: Environment
    data_free: DataFree
    images: list[Picture]


class Report(_ReportCore, total=False):
    """The whole of `report.json`."""

    pool: Pool
    distill: Distill
    quantize: dict[str, Quantize]


def build_report(
    *,
    manifest: Mapping[str, Any],
    stages: Sequence[Mapping[str, Any]],
    models: Sequence[Mapping[str, Any]],
    environment: Mapping[str, Any],
    data_free: Mapping[str, Any],
    images: Sequence[Mapping[str, Any]] = (),
    **sections: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Puts a report together and checks it; `pool`, `distill` and `quantize` are optional.

    Raises:
        ArtifactError: a field is missing, of another type, or out of range; named by its place.
    """
    report = {
        "schema_version": SCHEMA_VERSION,
        "manifest": manifest,
        "stages": stages,
        "models": models,
        "environment": environment,
        "data_free": data_free,
        "images": images,
        **{name: value for name, value in sections.items() if value is not None},
    }
    plain: dict[str, Any] = json.loads(json.dumps(report))
    validate(plain)
    return plain


def validate(report: Mapping[str, Any]) -> Report:
    """Checks a report against this version of the format and returns it, typed.

    Raises:
        ArtifactError: a field is missing, of another type, or out of range; named by its place.
    """
    version = report.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ArtifactError(
            f"schema_version is {version!r}; this version of cake-edge reads {SCHEMA_VERSION}"
        )
    check(report, Report, "")
    checked = cast("Report", report)
    _check_values(checked)
    return checked


def _check_values(report: Report) -> None:
    for index, model in enumerate(report["models"]):
        place = f"models[{index}]"
        _inside(model["path"], f"{place}.path")
        for name in ("top1", "top5", "agreement", "overlap"):
            _within(model.get(name), 100, f"{place}.{name}")
        _ordered(model["latency_ms"], f"{place}.latency_ms")
        if model["bytes"] < 0:
            raise ArtifactError(f"{place}.bytes is {model['bytes']}; it must be 0 or more")
    for index, picture in enumerate(report["images"]):
        _inside(picture["file"], f"images[{index}].file")
    for index, point in enumerate(report.get("distill", {}).get("loss", [])):
        if len(point) != 2:
            raise ArtifactError(f"distill.loss[{index}] is {point}; it must be [step, loss]")
    for target, about in report.get("quantize", {}).items():
        if about.get("verdict", "float") not in VERDICTS:
            raise ArtifactError(
                f"quantize.{target}.verdict is {about['verdict']!r}; it must be one of "
                f"{', '.join(VERDICTS)}"
            )
    for name in ("label_entropy", "teacher_confidence", "hit_rate"):
        _within(report.get("pool", {}).get(name), 1, f"pool.{name}")
    synthetic = report.get("distill", {}).get("agreement_synthetic")
    _within(synthetic, 100, "distill.agreement_synthetic")
    effective = report.get("distill", {}).get("matching", {}).get("effective")
    _within(effective, 1, "distill.matching.effective")


def _within(value: object, most: int, place: str) -> None:
    # Rounding may lift a sum of probabilities over its bound in the last digits.
    if isinstance(value, (int, float)) and not 0 <= value <= most + 1e-6:
        unit = "in percent" if most == 100 else "a share"
        raise ArtifactError(f"{place} is {value}; it is {unit} and must lie in [0, {most}]")


def _ordered(latency: Latency | None, place: str) -> None:
    if latency is None:
        return
    found = [latency["p50"], latency["p90"], latency["p95"], latency["p99"]]
    if found != sorted(found) or found[0] < 0:
        raise ArtifactError(
            f"{place} has p50, p90, p95, p99 = {found}; they must not be negative or fall"
        )


def _inside(path: str, place: str) -> None:
    given = PurePosixPath(path)
    if not path or given.is_absolute() or ".." in given.parts:
        raise ArtifactError(
            f"{place} is {path!r}; it must be relative to the report's folder and stay inside it"
        )
