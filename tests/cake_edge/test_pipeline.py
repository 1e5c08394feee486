import dataclasses
import json

import numpy as np
import pytest
import torch

from cake_edge.assistant import AssistantConfig
from cake_edge.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cake_edge.distill import DistillConfig
from cake_edge.errors import OutputExists, UsageMistake
from cake_edge.pipeline import demo_recipe, pool_images, run_recipe
from cake_edge.pool import synthesize
from cake_edge.recipe import EvaluationConfig, Recipe, SynthesisConfig
from cake_edge.samplers import CakeConfig, sampler_settings
from cake_edge.students import StudentConfig
from cake_edge.teachers.config import TeacherConfig
from exporters.artifact import ModelCard
from exporters.latency.harness import LatencyConfig
from exporters.onnx_export import export_onnx
from exporters.quantize import QuantizeConfig

FOREIGN = ("tensorrt", "tensorrt-fp16")


@pytest.fixture(scope="module")
def tiny(make_teacher, small_spec, tmp_path_factory):
    """A recipe of seconds: an untrained teacher, noise as its pool, files for three targets."""
    folder = tmp_path_factory.mktemp("tiny")
    teacher = make_teacher()
    about = Checkpoint(architecture="test_resnet", spec=small_spec)
    save_checkpoint(folder / "teacher.safetensors", teacher.network, about)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (8, 16, 16), dtype=np.uint8)
    np.savez(folder / "photos.npz", images=images, labels=np.arange(8) % 4)
    settings = CakeConfig(
        prior="gaussian", steps=2, snapshots=1, oversample=1, images_per_shard=32, batch=32
    )
    return Recipe(
        name="tiny",
        teacher=TeacherConfig(reference=str(folder / "teacher.safetensors")),
        synthesis=SynthesisConfig(sampler="cake", count=32, settings=settings),
        student=StudentConfig(
            name="resnet10t", arguments={"channels": [4, 4, 8, 8], "stem_width": 4}
        ),
        distill=DistillConfig(steps=2, batch=4),
        quantize=QuantizeConfig(images=32),
        targets=("ort-x86", *FOREIGN),
        evaluation=EvaluationConfig(data=str(folder / "photos.npz")),
        bench=LatencyConfig(min_seconds=0.05, min_count=5, warmup_seconds=0.0),
    )


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """That recipe's folder and report."""
    out = tmp_path_factory.mktemp("run") / "out"
    return out, run_recipe(tiny, out, device=torch.device("cpu"))


def test_files_for_other_machines_are_evaluated_and_not_timed(run):
    out, report = run
    teacher, student, here, *others = report["models"]
    assert [model["target"] for model in others] == list(FOREIGN)
    for model in (teacher, student, here):
        assert (model["emulated"], model["why_not_timed"]) == (False, None)
        assert model["latency_ms"]["p50"] > 0
    for model in others:
        assert model["n"] == 8
        assert model["emulated"] is True
        assert (model["latency_ms"], model["speedup"]) == (None, None)
        assert model["why_not_timed"].endswith("does not run on this machine")
        assert (out / model["path"]).name == f"student.int8.{model['target']}.onnx"


def test_the_report_says_of_each_target_what_it_is_worth(run):
    out, report = run
    assert list(report["quantize"]) == ["ort-x86", *FOREIGN]
    here = report["quantize"]["ort-x86"]
    assert here["speed"] == {k: here["over_student_fp32"][k] for k in ("estimate", "low", "high")}
    assert here["verdict"] == ("float" if here["speed"]["high"] < 1 else "quantized")
    assert here["coverage"]["profiled"] is True
    for target in FOREIGN:
        about = report["quantize"][target]
        assert about["speed"] is None
        assert about["verdict"] == "quantized"
        assert f"{target} does not run on this machine" in about["advice"][0]
    for page in ("report.md", "report.html"):
        assert "INT8 for each target" in (out / page).read_text(encoding="utf-8")


def test_a_pair_is_timed_once_and_by_the_bench(run):
    out, _ = run
    stage = json.loads((out / "stages" / "quantize-ort-x86.json").read_text(encoding="utf-8"))
    assert stage["result"]["speed"] is None


def test_another_target_leaves_everything_else_as_it_is(tiny, run):
    out, before = run
    fewer = dataclasses.replace(tiny, targets=("ort-x86",))
    report = run_recipe(fewer, out, device=torch.device("cpu"))
    made = {stage["name"] for stage in report["stages"] if not stage["skipped"]}
    assert made == {"evaluate"}, "what is timed is as it was"
    assert list(report["quantize"]) == ["ort-x86"]
    assert report["models"][2]["sha256"] == before["models"][2]["sha256"]


@pytest.fixture(scope="module")
def fixed(make_teacher, small_spec, tmp_path_factory):
    """An ONNX file of a classifier that takes four images, no more and no fewer."""
    path = tmp_path_factory.mktemp("fixed") / "vendor.onnx"
    card = ModelCard(architecture="plain", spec=small_spec, role="teacher", parent="0" * 64)
    export_onnx(make_teacher("plain").network, path, card, batch=4)
    return path


def test_a_teacher_with_one_batch_runs_through_to_the_report(tiny, fixed, tmp_path, caplog):
    recipe = dataclasses.replace(
        tiny, teacher=TeacherConfig(reference=str(fixed)), targets=("ort-x86",)
    )
    report = run_recipe(recipe, tmp_path / "out", device=torch.device("cpu"))
    teacher, student, quantized = report["models"]
    assert (teacher["architecture"], teacher["n"]) == ("onnx", 8)
    assert [model["latency_ms"]["batch"] for model in (teacher, student, quantized)] == [4] * 3
    assert "latency is measured for 4 images at a time instead of 1" in caplog.text
    assert "takes exactly 4 images a call" in caplog.text
    assert (tmp_path / "out" / "report.md").is_file()


def test_several_teachers_and_an_assistant_run_through_and_a_killed_run_goes_on(tiny, tmp_path):
    other = TeacherConfig(
        reference="timm:test_resnet", random_weights=True, num_classes=4,
        input_size=(1, 12, 12), mean=(0.2,), std=(0.5,),
    )  # fmt: skip
    recipe = dataclasses.replace(
        tiny,
        teacher=dataclasses.replace(tiny.teacher, also=(other,)),
        assistant=AssistantConfig(name="test_resnet", steps=3),
        targets=("ort-x86",),
    )
    out = tmp_path / "out"

    def killed(task, done, total, note=""):
        if task == "distill" and total == 2:  # the student's: the assistant takes three steps
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, out, device=torch.device("cpu"), progress=killed)
    report = run_recipe(recipe, out, device=torch.device("cpu"))
    found = {stage["name"]: stage for stage in report["stages"]}
    assert found["distill-assistant"]["skipped"]
    assert (found["distill"]["skipped"], found["distill"]["attempts"]) == (False, 2)

    teacher, student, _ = report["models"]
    assert teacher["architecture"] == "test_resnet + test_resnet"
    assert teacher["agreement"] == 100.0
    _, assistant = load_checkpoint(out / "assistant" / "assistant.safetensors")
    _, about = load_checkpoint(out / "student" / "student.safetensors")
    assert report["manifest"]["teacher"] == assistant.manifest["teacher"]
    assert report["manifest"]["teacher"] == about.manifest["teacher"]
    assert len(about.manifest["assistant"]) == 64
    assert "assistant" not in assistant.manifest
    said = report["distill"]["assistant"]
    assert (said["student"], said["steps"]) == ("test_resnet", 3)
    assert said["parameters"] * 2 == teacher["parameters"] > 2 * student["parameters"]
    assert 0 <= said["agreement_synthetic"] <= 100
    for page in ("report.md", "report.html"):
        assert "Learned from the assistant" in (out / page).read_text(encoding="utf-8")

    with pytest.raises(OutputExists, match=r"different: assistant\.steps"):
        run_recipe(
            dataclasses.replace(recipe, assistant=AssistantConfig(name="test_resnet", steps=4)),
            out, device=torch.device("cpu"),
        )  # fmt: skip


def test_an_assistant_that_cannot_be_built_shows_before_the_work(tiny, tmp_path):
    recipe = dataclasses.replace(tiny, assistant=AssistantConfig(name="small-resnt"))
    with pytest.raises(UsageMistake, match="did you mean small-resnet"):
        run_recipe(recipe, tmp_path / "out", device=torch.device("cpu"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sampler", "count", "words"),
    [
        ("cake-paper", 32, r"tuple_size is 10.*4"),
        ("cake", 7, r"synthesis\.count is 7; to quantize for ort-x86.* at least 8 images"),
    ],
)
def test_synthesis_that_cannot_be_shows_before_the_work(tiny, tmp_path, sampler, count, words):
    settings = sampler_settings(sampler, {})
    synthesis = SynthesisConfig(sampler=sampler, count=count, settings=settings)
    recipe = dataclasses.replace(tiny, synthesis=synthesis)
    with pytest.raises(UsageMistake, match=words):
        run_recipe(recipe, tmp_path / "out", device=torch.device("cpu"))
    assert list(tmp_path.iterdir()) == []


def test_a_precision_that_a_network_cannot_be_trained_in_shows_before_the_work(tiny, tmp_path):
    recipe = dataclasses.replace(
        tiny, distill=dataclasses.replace(tiny.distill, precision="bfloat16"),
        student=StudentConfig(name="test_vit", arguments={"img_size": 16}),
        assistant=AssistantConfig(name=tiny.student.name, arguments=tiny.student.arguments),
    )  # fmt: skip
    with pytest.raises(UsageMistake, match=r"the assistant's .* strides over a map of one pixel"):
        run_recipe(recipe, tmp_path / "out", device=torch.device("cpu"))
    assert list(tmp_path.iterdir()) == []


def test_calibration_takes_as_many_images_from_every_shard_and_of_every_kind(
    make_teacher, tmp_path
):
    config = CakeConfig(steps=2, snapshots=2, oversample=1, images_per_shard=24, batch=24)
    pool = synthesize(make_teacher("plain"), config, tmp_path / "p", count=96, seed=0)
    arrays = list(pool_images(pool, 5, 40))
    assert max(len(array) for array in arrays) <= 5
    taken = np.concatenate(arrays)
    assert len(taken) == 40
    shards = list(pool.shards())
    origin = [
        (number, place)
        for image in taken
        for number, shard in enumerate(shards)
        for place, stored in enumerate(shard.images.numpy())
        if np.array_equal(image, stored)
    ]
    assert [sum(number == n for number, _ in origin) for n in range(4)] == [10] * 4
    pushed = [bool(shards[number].steps[place] > 0) for number, place in origin]
    assert 5 < sum(pushed) < 25


def test_the_demo_is_the_embedded_teacher_and_its_test_images():
    recipe = demo_recipe()
    assert recipe.teacher.reference.startswith("embedded")
    assert recipe.evaluation.data is not None
    assert recipe.evaluation.data.endswith("eval.npz")
