import json
from dataclasses import asdict

import pytest
from click.testing import CliRunner

from benchmarks.paper.ablation import VARIANTS, WHOLE, changed, main, markdown_table, summary
from benchmarks.paper.rows import ROWS
from cake_edge.pool import open_pool

ROW = ROWS["cifar10-resnet20"]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_from_the_whole_by_what_it_leaves_out_alone(name):
    variant, at = VARIANTS[name], changed(ROW, VARIANTS[name])
    assert {**asdict(ROW.sampler), **variant.sampler} == asdict(at.sampler)
    assert {**asdict(ROW.training), **variant.training} == asdict(at.training)
    assert (at.sampler, at.training) != (ROW.sampler, ROW.training) or name == WHOLE
    # Another optimiser has a rate of its own.
    changes = {*variant.sampler, *variant.training} - {"learning_rate"}
    assert len(changes) == (name != WHOLE)
    assert (at.images, at.student, at.teacher) == (ROW.images, ROW.student, ROW.teacher)


def test_the_whole_is_the_first_row():
    assert next(iter(VARIANTS)) == WHOLE


def found(whole, less):
    def seeds(values):
        return {
            seed: {"top1": value, "agreement": value + 5, "image_steps": 400}
            for seed, value in enumerate(values)
        }

    return {WHOLE: seeds(whole), "mixup": seeds(less)}


def test_differences_are_taken_seed_by_seed():
    rows = summary(found([80.0, 70.0, 60.0], [79.0, 69.0, 59.0]))
    assert rows[WHOLE]["top1"] == {"mean": 70.0, "deviation": 10.0}
    assert rows["mixup"]["top1"] == {"mean": 69.0, "deviation": 10.0}
    # Seeds differ by ten points, but without mixup every one of them loses one.
    assert rows["mixup"]["top1_difference"] == {"mean": -1.0, "deviation": 0.0}
    assert rows["mixup"]["agreement_difference"]["mean"] == -1.0


def test_the_table_shows_signs_and_deviations():
    table = markdown_table({"summary": summary(found([80.0, 70.0], [82.0, 71.0]))})
    assert table.splitlines()[2:] == [
        "| nothing: the whole | 75.00 ± 7.07 |  | 80.00 ± 7.07 |  | 400 |",
        "| mixup | 76.50 ± 7.78 | +1.50 ± 0.71 | 81.50 ± 7.78 | +1.50 ± 0.71 | 400 |",
    ]
    one = markdown_table({"summary": summary(found([80.0], [78.0]))})
    assert "| mixup | 78.00 | -2.00 | 83.00 | -2.00 | 400 |" in one


def test_every_variant_is_measured_and_those_of_one_synthesis_share_the_pool(small, tmp_path):
    chosen = (WHOLE, "no-contrast", "mixup", "pushing")
    path = tmp_path / "ablation.json"
    command = [
        "--dataset", "fashion-mnist", "--images", "20", "--steps", "1", "--seeds", "0,3",
        "--without", ",".join(chosen[1:]), "--out", str(tmp_path / "out"), "--workers", "1",
        "--results", str(path),
    ]  # fmt: skip
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    said = json.loads(path.read_text())
    assert markdown_table(said) in done.stdout
    assert said["measured"].keys() == said["summary"].keys() == set(chosen)
    assert said["measured"]["mixup"].keys() == {"0", "3"}
    assert len(small.trained) == 4 * 2
    pools = sorted((tmp_path / "out" / "pools").glob("*-seed?"))
    assert len(pools) == 3 * 2
    assert all(len(open_pool(pool)) == 20 for pool in pools)
    assert said["summary"]["pushing"]["image_steps"] == 0
    CliRunner().invoke(main, command, catch_exceptions=False)
    assert len(small.trained) == 4 * 2


def test_what_cannot_be_left_out_is_refused(tmp_path):
    command = ["--dataset", "fashion-mnist", "--without", "mixup,salt", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "no 'salt'; there are: whole, prior" in done.output
