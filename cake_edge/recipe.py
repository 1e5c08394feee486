"""A whole job in one TOML file: teacher, images, student, INT8 targets, and what is measured.

A recipe has the tables [teacher], [synthesis] with [synthesis.settings], [student], [distill],
[quantize], [evaluate] and [bench], and may have [assistant]. A table [budget.NAME] holds the same
tables once more, with only the values that differ: `--budget NAME` lays them over the recipe.
docs/recipes.md has every key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from cake_edge.assistant import AssistantConfig
from cake_edge.distill import DISTILL_PRESETS, DistillConfig
from cake_edge.errors import UsageMistake, near_names
from cake_edge.precision import Precision, check_precision
from cake_edge.priors import anchored, placeless
from cake_edge.samplers import SamplerConfig, sampler_settings
from cake_edge.settings import parse_toml, place, settings_from_dict, settings_to_dict
from cake_edge.spec import ImageSpec
from cake_edge.students import StudentConfig
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.factory import is_factory
from cake_edge.teachers.reference import WAYS
from exporters.latency.harness import LatencyConfig
from exporters.quantize import TARGETS, QuantizeConfig

__all__ = [
    "EvaluationConfig",
    "Recipe",
    "SynthesisConfig",
    "distill_settings",
    "load_recipe",
    "placeless_values",
    "resolved",
    "standard_recipe",
]

ASSETS = Path(__file__).parent / "assets"
SMALL_IMAGES = 64
"""Largest side, in pixels, of images for which a pool of tens of thousands fits into memory."""

DEFAULT_TARGETS = ("ort-x86",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisConfig:
    """How many images are made, and by what."""

    sampler: str
    """Name in `cake_edge.samplers.SAMPLERS`."""
    count: int
    """Images in the pool."""
    settings: SamplerConfig
    """The sampler's own configuration."""
    precision: Precision = "float32"
    """In which the teacher computes while images are moved."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageMistake(f"count is {self.count}; it must be at least 1")
        check_precision(self.precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Which real images the finished models are measured on."""

    data: str | None = None
    """Image folder or .npz file; None measures sizes and latency alone."""
    limit: int | None = None
    """Images to use, evenly spread over all; None for all."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageMistake(f"limit is {self.limit}; it must be at least 1, or left out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what a run computes."""

    name: str
    """What the run is called in its report."""
    seed: int = 0
    """Source of all randomness."""
    teacher: TeacherConfig
    """The trained classifier."""
    synthesis: SynthesisConfig
    """The pool of synthetic images."""
    student: StudentConfig
    """The small network."""
    distill: DistillConfig = field(default_factory=DistillConfig)
    """How the student is trained."""
    assistant: AssistantConfig | None = None
    """A network between teacher and student, which learns first; None for none."""
    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)
    """How INT8 ranges are found."""
    targets: tuple[str, ...] = DEFAULT_TARGETS
    """INT8 targets, one artefact each."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """The real images."""
    bench: LatencyConfig = field(default_factory=LatencyConfig)
    """How latency is measured."""
    threads: int = 1
    """Threads a model runs with when its latency is measured."""

    def __post_init__(self) -> None:
        if not self.targets:
            raise UsageMistake(f"quantize.targets is empty; allowed: {', '.join(TARGETS)}")
        for target in self.targets:
            if target not in TARGETS:
                raise UsageMistake(
                    f"quantize.targets names {target!r}{near_names(target, TARGETS)}; "
                    f"allowed: {', '.join(TARGETS)}"
                )
        if len(set(self.targets)) < len(self.targets):
            raise UsageMistake(f"quantize.targets is {list(self.targets)}; name each target once")
        if self.threads < 1:
            raise UsageMistake(f"bench.threads is {self.threads}; it must be at least 1")
        if self.seed < 0:
            raise UsageMistake(f"seed is {self.seed}; it must be 0 or more")
        if self.assistant is not None and not self.distill.augment:
            raise UsageMistake(
                "an assistant needs distill.augment: without it the student learns the pool's own "
                "logits, which are the teacher's; set augment to true, or leave out [assistant]"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """A recipe file as it is written; the tables that are not one dataclass stay tables."""

    name: str
    seed: int = 0
    teacher: TeacherConfig
    synthesis: _SynthesisTable
    student: StudentConfig
    assistant: AssistantConfig | None = None
    distill: Mapping[str, Any] = field(default_factory=dict)
    quantize: Mapping[str, Any] = field(default_factory=dict)
    evaluate: EvaluationConfig = field(default_factory=EvaluationConfig)
    bench: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SynthesisTable:
    sampler: str = "cake"
    count: int
    precision: Precision = "float32"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Targets:
    targets: tuple[str, ...] = DEFAULT_TARGETS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Threads:
    threads: int = 1


def standard_recipe(teacher: TeacherConfig, spec: ImageSpec, *, budget: str | None) -> Recipe:
    """Returns the recipe for a teacher that has none: one for small images, one for all others.

    Args:
        teacher: what is to be compressed.
        spec: what it expects of its input.
        budget: None, or "smoke".

    Raises:
        UsageMistake: there is no such budget.
    """
    small = max(spec.height, spec.width) <= SMALL_IMAGES
    name = "small-classifier.toml" if small else "classifier.toml"
    return load_recipe(ASSETS / name, budget=budget, teacher=teacher)


def load_recipe(
    path: Path, *, budget: str | None = None, teacher: TeacherConfig | None = None
) -> Recipe:
    """Reads a recipe, with the values of one of its budgets laid over it.

    Paths in the recipe are relative to its folder.

    Args:
        path: the TOML file.
        budget: the NAME of one of its tables [budget.NAME].
        teacher: in place of the recipe's own; its reference is relative to the working folder.

    Raises:
        UsageMistake: the file is missing or not TOML, there is no such budget, or a key or value
            does not fit; the message names the place.
    """
    where = f"{path}: "
    values = _lay_over(_read(path), budget, where)
    if teacher is not None:
        values["teacher"] = {"reference": teacher.reference}
    elif isinstance(values.get("teacher"), dict):
        values["teacher"] = _with_tables(values["teacher"])
    tables = settings_from_dict(_Tables, values, where)
    distill = distill_settings(tables.distill, f"{where}distill")
    targets, quantize = _split(tables.quantize, _Targets, QuantizeConfig, f"{where}quantize")
    threads, bench = _split(tables.bench, _Threads, LatencyConfig, f"{where}bench")
    sampler, evaluation = tables.synthesis.sampler, tables.evaluate
    if evaluation.data is not None:
        data = path.parent / Path(evaluation.data).expanduser()
        evaluation = dataclasses.replace(evaluation, data=str(data))
    given = dict(tables.synthesis.settings)
    if isinstance(given.get("prior"), str):
        given["prior"] = anchored(given["prior"], path.parent)
    settings = sampler_settings(sampler, given, f"{where}synthesis.settings")
    try:
        return Recipe(
            name=tables.name,
            seed=tables.seed,
            teacher=teacher or _anchored(tables.teacher, path.parent),
            synthesis=SynthesisConfig(
                sampler=sampler,
                count=tables.synthesis.count,
                settings=settings,
                precision=tables.synthesis.precision,
            ),
            student=tables.student,
            distill=distill,
            assistant=tables.assistant,
            quantize=quantize,
            targets=targets.targets,
            evaluation=evaluation,
            bench=bench,
            threads=threads.threads,
        )
    except UsageMistake as error:
        raise UsageMistake(f"{where}{error}") from error


def distill_settings(values: Mapping[str, Any], where: str) -> DistillConfig:
    """Returns the training settings of a preset, by default "cake", with `values` over them.

    Raises:
        UsageMistake: no such preset, an unknown setting, or a value that does not fit.
    """
    changes = dict(values)
    preset = changes.pop("preset", "cake")
    if preset not in DISTILL_PRESETS:
        raise UsageMistake(
            f"{place(where, 'preset')} is {preset!r}{near_names(str(preset), DISTILL_PRESETS)}; "
            f"allowed: {', '.join(DISTILL_PRESETS)}"
        )
    below = settings_to_dict(DISTILL_PRESETS[preset])
    return settings_from_dict(DistillConfig, {**below, **changes}, where)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageMistake(f"there is no recipe {path}; give the path of a .toml file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageMistake(f"the recipe {path} cannot be read: {error}") from error
    return parse_toml(text, str(path))


def _lay_over(values: dict[str, Any], budget: str | None, where: str) -> dict[str, Any]:
    """Takes the budgets out of a recipe, and lays the one asked for over the rest."""
    budgets = values.pop("budget", {})
    if not isinstance(budgets, dict) or not all(isinstance(b, dict) for b in budgets.values()):
        raise UsageMistake(f"{where}budget must hold tables, as [budget.NAME.synthesis] does")
    if budget is None:
        return values
    if budget not in budgets:
        there = f"it has {', '.join(budgets)}" if budgets else "it has none"
        raise UsageMistake(f"{where}no budget {budget!r}{near_names(budget, budgets)}; {there}")
    return _merged(values, budgets[budget])


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lays nested tables over one another; settings do not outlive what they were settings of."""
    result = dict(below)
    for selector, dependent in (("sampler", "settings"), ("name", "arguments")):
        if selector in above and above[selector] != below.get(selector):
            result.pop(dependent, None)
    for key, value in above.items():
        under = result.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        result[key] = _merged(under, value) if both else value  # type: ignore[arg-type]
    return result


def _split(values: Mapping[str, Any], first: type[Any], second: type[Any], where: str) -> Any:
    """Builds two dataclasses from one table: the keys of `first`, and the rest."""
    names = {f.name for f in dataclasses.fields(first)}
    mine = {key: value for key, value in values.items() if key in names}
    rest = {key: value for key, value in values.items() if key not in names}
    return settings_from_dict(first, mine, where), settings_from_dict(second, rest, where)


def _with_tables(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Makes a table of a reference alone in `also`: it is read as the first teacher's is."""
    also = teacher.get("also")
    if not isinstance(also, list):
        return dict(teacher)
    first = {key: value for key, value in teacher.items() if key != "also"}
    tables = [{**first, "reference": one} if isinstance(one, str) else one for one in also]
    return {**first, "also": tables}


def _anchored(teacher: TeacherConfig, folder: Path) -> TeacherConfig:
    """Reads references that are paths from the recipe's folder; timm:NAME is none."""
    also = tuple(_anchored(member, folder) for member in teacher.also)
    reference = _from_folder(teacher.reference, folder)
    return dataclasses.replace(teacher, reference=reference, also=also)


def _from_folder(reference: str, folder: Path) -> str:
    scheme, colon, _ = reference.partition(":")
    if scheme in WAYS and (colon or scheme == "embedded"):
        return reference
    path = folder / Path(reference).expanduser()
    return reference if is_factory(reference) and not path.exists() else str(path)


def resolved(recipe: Recipe) -> dict[str, Any]:
    """Returns every value of a recipe, defaults included, in the layout of the file.

    Further teachers and an assistant, which few recipes have, are there where they are named.
    """
    synthesis, assistant = recipe.synthesis, recipe.assistant
    return {
        "name": recipe.name,
        "seed": recipe.seed,
        "teacher": _teacher_values(recipe.teacher),
        "synthesis": {
            "sampler": synthesis.sampler,
            "count": synthesis.count,
            "precision": synthesis.precision,
            "settings": settings_to_dict(synthesis.settings),
        },
        "student": settings_to_dict(recipe.student),
        **({"assistant": settings_to_dict(assistant)} if assistant is not None else {}),
        "distill": settings_to_dict(recipe.distill),
        "quantize": {"targets": list(recipe.targets), **settings_to_dict(recipe.quantize)},
        "evaluate": settings_to_dict(recipe.evaluation),
        "bench": {"threads": recipe.threads, **settings_to_dict(recipe.bench)},
    }


def _teacher_values(teacher: TeacherConfig) -> dict[str, Any]:
    values = settings_to_dict(teacher)
    del values["also"]
    if teacher.also:
        values["also"] = [_teacher_values(member) for member in teacher.also]
    return values


def placeless_values(recipe: Recipe) -> dict[str, Any]:
    """Returns what `resolved` does, the same wherever the recipe's files lie."""
    values = resolved(recipe)
    teacher = values["teacher"]
    for named in (teacher, *teacher.get("also", ())):
        named["reference"] = PurePath(named["reference"]).name
    settings = values["synthesis"]["settings"]
    if "prior" in settings:
        settings["prior"] = placeless(settings["prior"])
    del values["evaluate"]["data"]
    return values
