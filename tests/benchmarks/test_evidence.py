"""README, results and code say the same."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.corrupted_files import MAY_NOT
from benchmarks.demo import markdown_table, promises
from benchmarks.quantization_tables import TABLES
from cake_edge.pipeline import demo_recipe
from cake_edge.provenance import sha256_file
from cake_edge.recipe import resolved

FOLDER = Path(__file__).parents[2] / "benchmarks" / "results"
RESULTS = sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.fixture(scope="module")
def demo(root):
    return json.loads((root / "benchmarks/results/demo.json").read_text())


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text()


def test_readme_quotes_the_demo_s_results_to_the_letter(demo, readme):
    assert markdown_table(demo) in readme
    assert f"{demo['wall_seconds']:.0f} seconds" in readme
    assert f"{demo['peak_memory_bytes'] / 2**30:.1f} GiB" in readme


def test_readme_quotes_seeds_and_variants(root, readme):
    result = json.loads((root / "benchmarks/results/demo_variants.json").read_text())
    summary, found = result["summary"], result["variants"]
    assert summary["seeds"] == 3
    mean, spread = summary["int8_top1_mean"], summary["int8_top1_standard_deviation"]
    assert f"{mean:.1f} ± {spread:.1f} %" in readme
    for name in ("student from random weights", "nothing pushed: the balanced prior alone"):
        assert f"{found[name]['student int8']['top1']:.1f} %" in readme


def test_the_results_are_of_the_recipe_that_is_shipped(demo):
    wanted = json.loads(json.dumps(resolved(demo_recipe())))
    wanted["evaluate"].pop("data")
    wanted["teacher"]["reference"] = demo["recipe"]["teacher"]["reference"]
    assert demo["recipe"] == wanted


def test_every_promise_of_the_demo_is_recorded_as_the_figures_have_it(demo):
    assert demo["promises"] == promises(demo)


def test_a_promise_that_is_not_kept_is_seen(demo):
    worse = json.loads(json.dumps(demo))
    worse["wall_seconds"] = 361
    for model in worse["models"]:
        if model["precision"] == "int8":
            model["top1"] = 70.0
    kept = promises(worse)
    assert not kept["at most 6 minutes"]
    assert not kept["INT8 top-1 at least 78 %"]
    assert not kept["INT8 within 0.5 points of FP32"]


def test_the_embedded_teacher_is_the_one_that_was_measured(root):
    result = json.loads((root / "benchmarks/results/fashion_mnist_teacher.json").read_text())
    assets = root / "cake_edge/assets/fashion_mnist"
    assert sha256_file(assets / "teacher.safetensors") == result["sha256"]
    card = (assets / "MODEL_CARD.md").read_text()
    assert f"{result['measured']['top1_all_10000']:.2f} %" in card
    assert f"{result['measured']['top1_subset_2000']:.2f} %" in card
    assert f"{result['parameters']:,}" in card


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_tables_of_int8_are_those_of_the_results(root, name):
    results = json.loads((root / f"benchmarks/results/{name}.json").read_text())
    assert TABLES[name](results) in (root / "docs/quantization.md").read_text()


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_says_what_made_it(root, name):
    result = json.loads((root / f"benchmarks/results/{name}.json").read_text())
    assert result["command"].startswith("python -m benchmarks.")
    assert {"versions", "processor", "cpu_flags", "machine"} <= result["environment"].keys()
    text = json.dumps(result)
    assert not re.search(r'"/(home|root|tmp|work)\b', text)
    assert f"`{name}.json`" in (root / "benchmarks/README.md").read_text(encoding="utf-8")


def test_killed_runs_ended_with_the_same_bytes(root):
    result = json.loads((root / "benchmarks/results/kill_resume.json").read_text())
    assert result["same_bytes"] is True
    assert result["kills"] >= 10
    assert result["kills_that_met_a_running_process"] >= 8
    assert any(step > 0 for step in result["training_went_on_from_steps"])


def test_no_damaged_file_did_more_than_being_refused_or_read(root):
    result = json.loads((root / "benchmarks/results/corrupted_files.json").read_text())
    assert len(result["readers"]) == 13
    for found in (*result["readers"].values(), result["total"]):
        assert {kind: found[kind] for kind in MAY_NOT} == dict.fromkeys(MAY_NOT, 0)
        assert found["refused"] + found["read"] == found["files"]
    assert all(found["files"] == 500 for found in result["readers"].values())


def test_help_starts_at_once(root):
    result = json.loads((root / "benchmarks/results/startup.json").read_text())
    assert result["ratio"] <= 1.5


def test_the_same_network_through_every_door_gives_the_same_logits(root):
    result = json.loads((root / "benchmarks/results/teacher_doors.json").read_text())
    same = result["same_network"]
    assert len(same) == 15
    assert max(row["logits"] for row in same.values()) <= 1e-4
    # ONNX is another graph (folded, fused), and an optimiser magnifies the last bits of a gradient.
    alike = [row for name, row in same.items() if not name.endswith(", ONNX")]
    assert max(row["pool_images"] for row in alike) <= 1e-4
    assert all(len(run["files"]) == 3 and run["inspect"]["macs"] for run in result["runs"].values())
    assert len(result["runs"]) == 20


def test_every_paper_row_says_how_it_was_made_and_keeps_the_student_it_is_about(root):
    rows = sorted((root / "benchmarks/results/paper").glob("*.json"))
    assert rows
    for path in rows:
        result = json.loads(path.read_text())
        assert path.stem == result["row"]
        assert result["command"].startswith(f"python -m benchmarks.paper.run {path.stem} --seeds ")
        assert {"versions", "processor", "machine"} <= result["environment"].keys()
        assert result["summary"]["seeds"] == len(result["measured"])
        if result["kept"] is None:  # too large to be kept
            continue
        kept = path.parent / result["kept"]["file"]
        assert sha256_file(kept) == result["kept"]["sha256"]
        assert kept.stat().st_size <= 2**20


def test_what_matching_brings_is_what_rows_with_and_without_it_say(root):
    folder = root / "benchmarks/results/paper"
    said = (root / "benchmarks/README.md").read_text(encoding="utf-8")
    said = " ".join(said.partition("* Matching what batch norms")[2].partition("\n* ")[0].split())
    for matched, unmatched in (
        ("fashion-mnist-resnet-mlp", "fashion-mnist-resnet-mlp-unmatched"),
        ("fashion-mnist-resnet-cnn", "fashion-mnist-resnet-cnn-unmatched"),
        ("cifar10-resnet20-matched", "cifar10-resnet20"),
    ):
        with_it, without = (
            json.loads((folder / f"{name}.json").read_text()) for name in (matched, unmatched)
        )
        one, other = with_it["measured"]["0"], without["measured"]["0"]
        assert one["teacher_top1"] == other["teacher_top1"]
        assert f"from {other['top1']:.1f} to {one['top1']:.1f} % top-1" in said
        now, before = with_it["training"], without["training"]
        assert {k for k, v in now.items() if v != before.get(k, False)} == {"match"}
    assert f"from {other['agreement']:.1f} to {one['agreement']:.1f} % agreement" in said


def test_what_class_balance_of_views_brings_is_what_its_row_says(root):
    folder = root / "benchmarks/results/paper"
    said = (root / "benchmarks/README.md").read_text(encoding="utf-8")
    said = said.partition("* Class balance of the views earns nothing")[2].partition("\n* ")[0]
    with_it, without = (
        json.loads((folder / f"fashion-mnist-lenet5{end}.json").read_text())
        for end in ("", "-unbalanced")
    )
    for seed, one in with_it["measured"].items():
        assert one["teacher_top1"] == without["measured"][seed]["teacher_top1"]
    for key, words in (("top1", "top-1"), ("agreement", "agreement")):
        found = without["summary"]
        assert f"{found[f'{key}_mean']:.1f} ± {found[f'{key}_deviation']:.1f} % {words}" in said
        differs = abs(found[f"{key}_mean"] - with_it["summary"][f"{key}_mean"])
        assert differs < with_it["summary"][f"{key}_deviation"]


def test_what_gradients_brought_is_set_beside_the_rows_that_are_without_them(root):
    folder = root / "benchmarks/results/paper"
    said = (root / "benchmarks/README.md").read_text(encoding="utf-8")
    said = said.partition("* For teachers without batch norms")[2].partition("\n* ")[0]
    for name in ("fashion-mnist-lenet5", "fashion-mnist-mlp-cnn"):
        without, with_them = (
            json.loads((folder / path).read_text())["measured"]
            for path in (f"{name}.json", f"earlier/{name}-gradients.json")
        )
        for seed, one in with_them.items():
            assert one["teacher_top1"] == without[seed]["teacher_top1"]
            before, after = without[seed]["agreement"], one["agreement"]
            assert f"from {before:.1f} to {after:.1f} %" in " ".join(said.split())


def test_what_was_taken_out_is_set_beside_the_rows_that_are_without_it(root):
    folder = root / "benchmarks/results/paper"
    said = (root / "benchmarks/README.md").read_text(encoding="utf-8")
    said = " ".join(said.partition("* LeNet-5 to its half:")[2].partition("\n* What is")[0].split())

    def rows(name, without=""):
        found = [
            json.loads((folder / path).read_text())
            for path in (f"{without}{name}.json", f"earlier/{name}-weighed.json")
        ]
        assert all({"command", "commit", "environment"} <= one.keys() for one in found)
        return [one["measured"] for one in found]

    without, both = rows("fashion-mnist-lenet5")
    assert without.keys() == both.keys()
    for seed, one in without.items():
        assert one["teacher_top1"] == both[seed]["teacher_top1"]
        assert f"from {one['agreement']:.1f} to {both[seed]['agreement']:.1f} %" in said
    for name in ("fashion-mnist-mlp-cnn", "fashion-mnist-resnet-mlp"):
        without, both = rows(name, "earlier/")
        assert f"{both['0']['top1']:.1f}" in said
        assert f"where it had {without['0']['top1']:.1f}" in said or (
            f"where the row has {without['0']['top1']:.1f}" in said
        )
    without, both = rows("cifar10-resnet20")
    assert f"{both['0']['agreement']:.1f} % agreement where the row" in said
    assert f"has {without['0']['agreement']:.1f}, one seed each" in said
    summary = json.loads((folder / "earlier/fashion-mnist-lenet5.json").read_text())["summary"]
    assert f"{summary['top1_mean']:.1f} ± {summary['top1_deviation']:.1f} % top-1" in said


def test_the_documentation_says_what_the_latency_harness_costs(root):
    result = json.loads((root / "benchmarks/results/latency_harness.json").read_text())
    said = (root / "docs/benchmarking.md").read_text(encoding="utf-8")
    said = said.partition("## What the harness itself costs")[2]
    for model in result["models"].values():
        loop, profile = model["bare loop"]["ratio"], model["profile"]["ratio"]
        assert f"| {loop['estimate']:.3f} | {profile['estimate']:.3f} |" in said
        bare = model["profile"]["bare_loop_over_its_profile"]["ratio"]["estimate"]
        assert f"{bare:.3f}" in said
    assert all(added["added_us"] < 0.1 for added in result["model that does nothing"].values())


@pytest.mark.parametrize("name", ["distillation_speed", "distillation_speed-epyc"])
def test_the_documentation_says_what_mixed_precision_gains(root, name):
    result = json.loads((root / f"benchmarks/results/{name}.json").read_text())
    said = (root / "docs/recipes.md").read_text(encoding="utf-8")
    for what in ("synthesis", "distillation"):
        full, low = (result[what][f"ResNet-20, {name}"] for name in ("float32", "bfloat16"))
        assert f"{full['our_seconds'] / low['our_seconds']:.1f} times as fast" in said
