"""Recipes: read strictly, resolved fully, with budgets laid over."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from cake_edge.assistant import AssistantConfig
from cake_edge.distill import DISTILL_PRESETS, DistillConfig
from cake_edge.errors import UsageMistake
from cake_edge.priors import PRIORS
from cake_edge.recipe import (
    EvaluationConfig,
    SynthesisConfig,
    load_recipe,
    placeless_values,
    resolved,
    standard_recipe,
)
from cake_edge.samplers import SAMPLERS, CakeConfig, CakePaperConfig
from cake_edge.settings import parse_toml, settings_from_dict
from cake_edge.spec import ImageSpec
from cake_edge.students import STUDENTS, StudentConfig
from cake_edge.teachers.config import PRESETS, TeacherConfig
from exporters.latency.harness import LatencyConfig
from exporters.quantize import TARGETS, QuantizeConfig

RECIPE = """
name = "tiny"
seed = 3

[teacher]
reference = "weights/teacher.safetensors"
arch = "test_resnet"

[synthesis]
count = 128
settings = { steps = 8, images_per_shard = 64 }

[student]
name = "test_efficientnet"
arguments = { act_layer = "relu" }

[quantize]
targets = ["ort-x86"]

[evaluate]
data = "real.npz"

[bench]
threads = 2
min_count = 7

[budget.smoke]
seed = 4
synthesis.count = 16
synthesis.settings.snapshots = 1
bench.min_count = 3

[budget.paper.synthesis]
sampler = "cake-paper"
settings = { steps = 2 }

[budget.other.student]
name = "test_resnet"
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_recipe_becomes_the_settings_of_every_stage(write: Callable[[str], Path]) -> None:
    path = write(RECIPE)
    recipe = load_recipe(path)
    assert (recipe.name, recipe.seed, recipe.threads) == ("tiny", 3, 2)
    assert recipe.teacher.arch == "test_resnet"
    assert recipe.synthesis.count == 128
    assert recipe.synthesis.settings == CakeConfig(steps=8, images_per_shard=64)
    assert recipe.student.arguments == {"act_layer": "relu"}
    assert recipe.distill == DistillConfig()
    assert recipe.quantize == QuantizeConfig()
    assert recipe.bench == LatencyConfig(min_count=7)
    assert recipe.targets == ("ort-x86",)


def test_paths_are_read_from_the_folder_of_the_recipe(write: Callable[[str], Path]) -> None:
    path = write(RECIPE)
    recipe = load_recipe(path)
    assert Path(recipe.teacher.reference) == path.parent / "weights" / "teacher.safetensors"
    assert recipe.evaluation.data == str(path.parent / "real.npz")
    absolute = load_recipe(write(RECIPE.replace("weights/teacher", "/weights/teacher")))
    assert absolute.teacher.reference == "/weights/teacher.safetensors"


@pytest.mark.parametrize("reference", ["timm:resnet18", "embedded", "package:a_b/c.pth"])
def test_a_reference_that_is_no_path_stays_as_it_is(
    write: Callable[[str], Path], reference: str
) -> None:
    text = RECIPE.replace("weights/teacher.safetensors", reference)
    assert load_recipe(write(text)).teacher.reference == reference


def test_a_budget_lays_its_values_over_the_recipe(write: Callable[[str], Path]) -> None:
    recipe = load_recipe(write(RECIPE), budget="smoke")
    assert (recipe.seed, recipe.synthesis.count, recipe.bench.min_count) == (4, 16, 3)
    assert recipe.synthesis.settings == CakeConfig(steps=8, images_per_shard=64, snapshots=1)
    assert recipe.threads == 2


def test_settings_do_not_outlive_what_they_were_settings_of(write: Callable[[str], Path]) -> None:
    recipe = load_recipe(write(RECIPE), budget="paper")
    assert recipe.synthesis.settings == CakePaperConfig(steps=2)
    recipe = load_recipe(write(RECIPE), budget="other")
    assert recipe.student == StudentConfig(name="test_resnet")


@pytest.mark.parametrize(
    ("change", "budget", "words"),
    [
        (("", ""), "smok", ["no budget 'smok'", "did you mean smoke?", "smoke, paper, other"]),
        (("seed = 3", "sede = 3"), None, ["recipe.toml: sede is unknown", "did you mean seed"]),
        (("count = 128", "count = 'many'"), None, ["recipe.toml: synthesis.count is 'many'"]),
        (("count = 128", "count = 0"), None, ["recipe.toml: count is 0", "at least 1"]),
        (("steps = 8", "stepz = 8"), None, ["synthesis.settings.stepz is unknown", "steps"]),
        (("steps = 8", "steps = 0"), None, ["synthesis.settings: steps is 0"]),
        (("count = 128", "count = 1\nsampler = 'cakes'"), None, ["'cakes'", "did you mean cake"]),
        (("arch =", "archi ="), None, ["recipe.toml: teacher.archi is unknown", "arch"]),
        (("min_count = 7", "mincount = 7"), None, ["bench.mincount is unknown", "min_count"]),
        (("threads = 2", "threads = 0"), None, ["bench.threads is 0"]),
        (("threads = 2", "threads = true"), None, ["bench.threads is true", "whole number"]),
        (("[student]", "[students]"), None, ["students is unknown", "did you mean student"]),
        (('name = "tiny"', ""), None, ["recipe.toml: name is missing"]),
        (('"ort-x86"', '"ort-x68"'), None, ["'ort-x68'", "did you mean ort-x86"]),
        (('"ort-x86"', ""), None, ["quantize.targets is empty", "ort-x86"]),
        (('"ort-x86"', '"ort-x86", "ort-x86"'), None, ["name each target once"]),
        (('data = "real.npz"', "limit = 0"), None, ["recipe.toml: evaluate: limit is 0"]),
        (("[student]", "[asistant]\nname = 'x'\n[student]"), None, ["did you mean assistant"]),
        (
            ("[student]", "[assistant]\nnam = 'x'\n[student]"),
            None,
            ["assistant.nam is unknown", "did you mean name"],
        ),
        (("[student]", "[assistant]\n[student]"), None, ["assistant.name is missing"]),
        (
            ("[student]", "[assistant]\nname = 'x'\nsteps = 0\n[student]"),
            None,
            ["assistant: steps is 0"],
        ),
        (
            ("[student]", "[assistant]\nname = 'x'\n[distill]\npreset = 'cake-paper'\n[student]"),
            None,
            ["an assistant needs distill.augment", "leave out [assistant]"],
        ),
        (("arch =", "also = 'b.pth'\narch ="), None, ["teacher.also is 'b.pth'", "a list"]),
        (("arch =", "also = [3]\narch ="), None, ["teacher.also[0] is 3"]),
        (
            ("arch =", "also = [{ referenc = 'b.pth' }]\narch ="),
            None,
            ["teacher.also[0].referenc is unknown", "did you mean reference"],
        ),
        (("seed = 3", "seed = -3"), None, ["recipe.toml: seed is -3"]),
        (("seed = 3", "seed = = 3"), None, ["recipe.toml is not valid TOML", "line 3"]),
        (("[budget.smoke]", "[budget]\nx = 1\n[budget.smoke]"), "x", ["[budget.NAME"]),
    ],
)
def test_a_mistake_is_one_sentence_that_names_its_place(
    write: Callable[[str], Path], change: tuple[str, str], budget: str | None, words: list[str]
) -> None:
    assert change[0] in RECIPE
    path = write(RECIPE.replace(*change, 1) if change[0] else RECIPE)
    with pytest.raises(UsageMistake) as caught:
        load_recipe(path, budget=budget)
    message = str(caught.value)
    for word in words:
        assert word in message
    assert message.count(str(path)) == 1
    assert "\n" not in message


def test_a_recipe_without_budgets_says_so(write: Callable[[str], Path]) -> None:
    with pytest.raises(UsageMistake, match="it has none"):
        load_recipe(write(RECIPE.partition("[budget")[0]), budget="smoke")


def test_a_missing_or_unreadable_recipe_is_a_usage_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageMistake, match="there is no recipe"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(UsageMistake, match="cannot be read"):
        load_recipe(tmp_path)


def test_distill_takes_a_preset_with_changes(write: Callable[[str], Path]) -> None:
    paper = RECIPE + "[distill]\npreset = 'cake-paper'\nsteps = 9\n"
    assert load_recipe(write(paper)).distill == replace(DISTILL_PRESETS["cake-paper"], steps=9)
    with pytest.raises(UsageMistake, match=r"distill\.preset is 'paper'.*allowed: cake"):
        load_recipe(write(paper.replace("cake-paper'", "paper'")))


def test_resolved_has_every_default_and_is_a_recipe_again(write: Callable[[str], Path]) -> None:
    values = resolved(load_recipe(write(RECIPE)))
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["synthesis"]["settings"]["oversample"] == CakeConfig().oversample
    assert values["bench"]["threads"] == 2
    for config, table in (
        (TeacherConfig, "teacher"),
        (StudentConfig, "student"),
        (DistillConfig, "distill"),
        (EvaluationConfig, "evaluate"),
    ):
        settings_from_dict(config, values[table], table)


def test_placeless_values_follow_what_is_computed_and_not_where_files_lie(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write(RECIPE))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.toml").write_text(RECIPE, encoding="utf-8")
    assert placeless_values(load_recipe(elsewhere / "other.toml")) == placeless_values(recipe)
    assert placeless_values(replace(recipe, seed=9)) != placeless_values(recipe)
    assert placeless_values(load_recipe(write(RECIPE), budget="smoke")) != placeless_values(recipe)


def shipped(root: Path) -> list[tuple[Path, str | None]]:
    found: list[tuple[Path, str | None]] = []
    for path in sorted((root / "recipes").glob("*.toml")):
        budgets = parse_toml(path.read_text(encoding="utf-8"), path.name).get("budget", {})
        found += [(path, None), *((path, budget) for budget in budgets)]
    return found


def test_every_shipped_recipe_is_valid_with_every_budget(root: Path) -> None:
    pairs = shipped(root)
    assert (root / "recipes" / "efficientnet-lite0.toml", "smoke") in pairs
    for path, budget in pairs:
        recipe = load_recipe(path, budget=budget)
        assert recipe.name == path.stem
        assert recipe.evaluation.data is None, "real images are named on the command line"


def test_further_teachers_are_read_as_the_first_or_say_all_of_their_own(
    write: Callable[[str], Path],
) -> None:
    also = (
        'also = ["b.pth", "timm:resnet18", { reference = "c.onnx", preset = "imagenet" }]\narch ='
    )
    path = write(RECIPE.replace("arch =", also))
    recipe = load_recipe(path)
    first = replace(recipe.teacher, also=())
    assert first == load_recipe(write(RECIPE)).teacher
    assert recipe.teacher.also == (
        replace(first, reference=str(path.parent / "b.pth")),
        replace(first, reference="timm:resnet18"),
        TeacherConfig(reference=str(path.parent / "c.onnx"), preset="imagenet"),
    )
    values = resolved(recipe)
    assert settings_from_dict(TeacherConfig, values["teacher"], "teacher") == recipe.teacher


def test_placeless_values_have_the_further_teachers_and_not_where_they_lie(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    def values(*names: str) -> dict[str, Any]:
        also = ", ".join(f'"{name}"' for name in names)
        return placeless_values(
            load_recipe(write(RECIPE.replace("arch =", f"also = [{also}]\narch =")))
        )

    assert values() == placeless_values(load_recipe(write(RECIPE)))
    assert values("one/b.pth") == values("other/b.pth") != values("b.pth", "c.pth") != values()


def test_an_assistant_has_a_table_and_a_budget(write: Callable[[str], Path]) -> None:
    text = (
        RECIPE
        + """
[assistant]
name = "small-resnet"
arguments = { stem_width = 24 }
steps = 30

[budget.smoke.assistant]
steps = 2
"""
    )
    recipe = load_recipe(write(text))
    wanted = AssistantConfig(name="small-resnet", arguments={"stem_width": 24}, steps=30)
    assert recipe.assistant == wanted
    assert settings_from_dict(AssistantConfig, resolved(recipe)["assistant"], "x") == wanted
    assert load_recipe(write(text), budget="smoke").assistant == replace(wanted, steps=2)
    assert "assistant" not in resolved(load_recipe(write(RECIPE)))


def documented(text: str, table: str) -> dict[str, str]:
    """Keys in the table under a heading, each with what stands as its default."""
    section = text.split(f"## `[{table}]`")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {key.strip("| `"): row[1].strip("`") for row in rows for key in row[0].split(", ")}


def test_the_documentation_has_every_key_and_its_default(root: Path) -> None:
    text = (root / "docs" / "recipes.md").read_text(encoding="utf-8")
    tables: dict[str, tuple[set[str], Any]] = {
        "teacher": (set(), TeacherConfig),
        "synthesis": ({"sampler", "settings"}, SynthesisConfig),
        "synthesis.settings": (set(), CakeConfig),
        "student": (set(), StudentConfig),
        "assistant": (set(), AssistantConfig),
        "distill": ({"preset"}, DistillConfig),
        "quantize": ({"targets"}, QuantizeConfig),
        "evaluate": (set(), EvaluationConfig),
        "bench": ({"threads"}, LatencyConfig),
    }
    for table, (more, config) in tables.items():
        said = documented(text, table)
        assert set(said) == more | {field.name for field in fields(config)}, table
        for field in fields(config):
            if isinstance(field.default, bool):
                assert said[field.name] == str(field.default).lower(), field.name
            elif isinstance(field.default, (int, str)):
                assert said[field.name].strip('"') == str(field.default), field.name
            elif isinstance(field.default, float) and "/" not in said[field.name]:
                assert float(said[field.name]) == field.default, field.name
            elif isinstance(field.default, tuple):
                assert said[field.name] == str(list(field.default)), field.name
    for name in (*TARGETS, *SAMPLERS, *DISTILL_PRESETS, *PRIORS, *PRESETS, *STUDENTS):
        assert name in text


def test_images_of_the_user_s_own_lie_beside_the_recipe_and_move_with_it(tmp_path: Path) -> None:
    text = RECIPE.replace("steps = 8", 'steps = 8, prior = "folder:photos"')
    found = []
    for place in ("one", "other"):
        path = tmp_path / place / "recipe.toml"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        recipe = load_recipe(path)
        assert isinstance(recipe.synthesis.settings, CakeConfig)
        assert recipe.synthesis.settings.prior == f"folder:{path.parent / 'photos'}"
        found.append(placeless_values(recipe))
    assert found[0] == found[1]


def test_the_documented_recipe_is_valid(root: Path, write: Callable[[str], Path]) -> None:
    text = (root / "docs" / "recipes.md").read_text(encoding="utf-8")
    path = write(text.split("```toml\n")[1].split("```")[0])
    assert load_recipe(path, budget="smoke").distill.steps == 20


@pytest.mark.parametrize(
    ("size", "student"),
    [(28, "small-resnet"), (64, "small-resnet"), (65, "mobilenetv4_conv_small_050")],
)
@pytest.mark.parametrize("budget", [None, "smoke"])
def test_without_a_recipe_the_size_of_the_images_chooses_one(size, student, budget):
    teacher = TeacherConfig(reference="vendor.onnx", preset="imagenet", classes=("a", "b"))
    spec = ImageSpec(channels=3, height=size, width=16, mean=(0.0,) * 3, std=(1.0,) * 3, classes=4)
    recipe = standard_recipe(teacher, spec, budget=budget)
    assert recipe.teacher == teacher
    assert recipe.student.name == student
    assert (recipe.synthesis.count < 1000) == (budget == "smoke")


@pytest.mark.parametrize("reference", ["vendor.zoo:make", "hf-hub:timm/resnet18", "timm:resnet18"])
def test_a_reference_that_is_no_path_is_left_as_it_is(tmp_path, reference):
    path = tmp_path / "recipe.toml"
    path.write_text(
        f'name = "x"\n[teacher]\nreference = "{reference}"\n[synthesis]\ncount = 8\n[student]\n',
        encoding="utf-8",
    )
    assert load_recipe(path).teacher.reference == reference
