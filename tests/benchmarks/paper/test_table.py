import json

import pytest
from click.testing import CliRunner

from benchmarks.paper.rows import ROWS
from benchmarks.paper.run import KEPT, about
from benchmarks.paper.table import main, table

NAME = "fashion-mnist-lenet5"


@pytest.fixture
def result():
    """What a row's file says, as JSON gives it back."""
    return json.loads(json.dumps({
        **about(ROWS[NAME], NAME),
        "summary": {
            "seeds": 3,
            "top1_mean": 87.26, "top1_deviation": 0.42,
            "agreement_mean": 90.0, "agreement_deviation": 0.31,
            "synthesis_seconds_mean": 300.4, "distillation_seconds_mean": 1200.6,
        },
        "measured": {"0": {"teacher_top1": 90.62, "image_steps": 120000, "views": 3584000}},
    }))  # fmt: skip


def line(folder, name):
    return next(one for one in table(folder).splitlines() if one.startswith(f"| `{name}` "))


def write(folder, result):
    (folder / f"{NAME}.json").write_text(json.dumps(result))


def test_the_readme_holds_what_is_printed(root):
    said = (root / "benchmarks/README.md").read_text(encoding="utf-8")
    printed = CliRunner().invoke(main).output
    assert printed.strip() == table(KEPT)
    assert printed in said.partition("## Published rows")[2], "python -m benchmarks.paper.table"


def test_every_row_has_a_line_and_what_was_published(tmp_path):
    lines = table(tmp_path).splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert {one.count("|") for one in lines} == {7}
    assert "CAKE 76.5 ± 1.0 of 91.0" in line(tmp_path, NAME)


def test_a_row_without_results_is_unmeasured_and_a_wanted_device_is_named(tmp_path, monkeypatch):
    for there in (True, False):
        monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
        assert "| unmeasured |" in line(tmp_path, NAME)
        for name in ("cifar10-resnet34", "imagenet-lite0"):
            assert "| unmeasured: needs a CUDA device |" in line(tmp_path, name)


def test_figures_are_mean_deviation_seeds_and_cost(tmp_path, result):
    write(tmp_path, result)
    assert line(tmp_path, NAME).endswith(
        "| 87.3 ± 0.4 of 90.6 | 90.0 ± 0.3 | 3 | "
        "300 + 1201 s, 0.12 M image-steps, 3.58 M views |"
    )  # fmt: skip


def test_one_seed_has_no_deviation(tmp_path, result):
    result["summary"] |= {"seeds": 1, "top1_deviation": None, "agreement_deviation": None}
    write(tmp_path, result)
    assert "| 87.3 of 90.6 | 90.0 | 1 |" in line(tmp_path, NAME)


@pytest.mark.parametrize(("part", "key"), [("training", "steps"), ("sampler", "prior")])
def test_results_of_other_settings_are_said_to_be(tmp_path, result, part, key):
    result[part][key] = "other"
    write(tmp_path, result)
    assert "of 90.6, with earlier settings |" in line(tmp_path, NAME)


@pytest.mark.parametrize(
    ("name", "earlier"),
    [
        ("fashion-mnist-resnet-mlp", True),
        ("fashion-mnist-lenet5", False),  # no batch norms
        ("cifar10-resnet20", False),  # does not match
    ],
)
def test_matching_came_later_and_says_something_of_teachers_with_batch_norms(
    tmp_path, result, name, earlier
):
    result |= json.loads(json.dumps(about(ROWS[name], name)))
    del result["training"]["match"]
    (tmp_path / f"{name}.json").write_text(json.dumps(result))
    assert ("with earlier settings" in line(tmp_path, name)) is earlier


def test_a_setting_that_came_later_says_nothing_of_a_result(tmp_path, result):
    del result["training"]["patience"]
    write(tmp_path, result)
    assert "earlier" not in line(tmp_path, NAME)


def test_the_teacher_is_the_mean_of_those_of_the_seeds(tmp_path, result):
    result["measured"]["1"] = {**result["measured"]["0"], "teacher_top1": 90.22}
    write(tmp_path, result)
    assert "| 87.3 ± 0.4 of 90.4 |" in line(tmp_path, NAME)
