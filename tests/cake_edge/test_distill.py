import itertools
import math
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from cake_edge import distill as distilling
from cake_edge import training
from cake_edge.checkpoint import load_checkpoint
from cake_edge.claims import claimed
from cake_edge.diagnostics import HeldOut
from cake_edge.distill import DISTILL_PRESETS, DistillConfig, distill
from cake_edge.errors import NumericsError, OutputExists, PoolError, UsageMistake
from cake_edge.matching import match_statistics
from cake_edge.pool import open_pool, synthesize
from cake_edge.priors import PRIORS
from cake_edge.samplers import CakeConfig
from cake_edge.seeding import derive_seed, generator
from cake_edge.students import StudentConfig, build_student
from cake_edge.teachers.frozen import FrozenTeacher

STUDENT = StudentConfig(name="resnet10t", arguments={"channels": [4, 4, 4, 8], "stem_width": 4})
SHALLOW = replace(STUDENT, arguments={**STUDENT.arguments, "output_stride": 8})
QUICK = DistillConfig(steps=20, batch=16)


@pytest.fixture(scope="module")
def teacher(make_teacher):
    return make_teacher("plain")


@pytest.fixture(scope="module")
def pool(teacher, tmp_path_factory):
    config = CakeConfig(steps=4, snapshots=2, oversample=2, images_per_shard=64, batch=64)
    return synthesize(teacher, config, tmp_path_factory.mktemp("pools") / "p", count=128, seed=0)


@pytest.fixture(scope="module")
def undisturbed(teacher, pool, tmp_path_factory):
    out = tmp_path_factory.mktemp("student") / "s.safetensors"
    return distill(teacher, STUDENT, pool, QUICK, out, seed=0)


def test_the_student_learns_what_the_teacher_says(teacher, pool, tmp_path):
    config = DistillConfig(steps=150, batch=32, average=0.95, mixed=0.0, motion=0.0)
    result = distill(teacher, STUDENT, pool, config, tmp_path / "s.safetensors", seed=0)
    fresh, _, _ = build_student(STUDENT, teacher.spec, seed=0)
    trained, about = load_checkpoint(result.path)
    images = torch.cat([shard.images for shard in pool.shards()])
    wanted = teacher(images).softmax(1)

    def error(network):
        with torch.no_grad():
            return float((network.eval()(images).softmax(1) - wanted).abs().mean())

    assert error(trained) < 0.5 * error(fresh)
    assert result.curve[-1][1] < result.curve[0][1]
    assert about.manifest["pool"] == pool.digest
    assert about.manifest["teacher"] == teacher.digest
    assert result.views == 150 * 32


def remembering(make_teacher):
    """A teacher whose batch norms remember other statistics than its pool has."""
    teacher = make_teacher("test_resnet")
    bright = 1 + torch.rand((64, *teacher.spec.input_size), generator=generator(0, "bright"))
    with torch.no_grad():
        for _ in range(50):
            teacher.network.train()(bright)
    teacher.network.eval()
    return teacher


def drawn_pool(teacher, folder):
    config = CakeConfig(pushed_share=0, oversample=1, images_per_shard=64, batch=64)
    return synthesize(teacher, config, folder / "pool", count=128, seed=0)


def test_views_have_the_statistics_that_the_teacher_remembers(make_teacher, tmp_path):
    teacher = remembering(make_teacher)
    pool = drawn_pool(teacher, tmp_path)
    found = {}
    for match in (True, False):
        out = tmp_path / f"{match}.safetensors"
        found[match] = distill(teacher, STUDENT, pool, replace(QUICK, match=match), out, seed=0)
        assert load_checkpoint(out)[1].manifest["matching"] == found[match].matching
    assert found[False].matching is None
    near = found[True].matching
    assert near["distance_matched"] < near["distance_even"]
    assert 0.25 <= near["effective"] < 1
    weights = match_statistics(teacher, pool.images(), pool.drawn(), seed=0)
    assert weights.to_dict() == near
    assert found[True].sha256 != found[False].sha256


def test_an_assistant_s_own_statistics_are_matched_by_nobody(make_teacher, tmp_path):
    teacher, assistant = make_teacher("plain"), remembering(make_teacher)
    config = CakeConfig(steps=2, snapshots=1, oversample=1, images_per_shard=32, batch=32)
    pool = synthesize(teacher, config, tmp_path / "pool", count=32, seed=0)
    out = tmp_path / "s.safetensors"
    result = distill(teacher, STUDENT, pool, QUICK, out, seed=0, assistant=assistant)
    assert result.matching == {}


@pytest.fixture(scope="module")
def shallow(teacher, pool, tmp_path_factory):
    out = tmp_path_factory.mktemp("shallow") / "s.safetensors"
    return distill(teacher, SHALLOW, pool, QUICK, out, seed=0)


@pytest.mark.parametrize("change", [{"precision": "bfloat16"}, {"compile": True}])
def test_a_faster_way_of_computing_trains_the_same_student(
    change, teacher, pool, shallow, tmp_path, monkeypatch
):
    # The compiler itself takes a minute; what is under test is that the weights trained are ours.
    monkeypatch.setattr(torch, "compile", lambda network: nn.Sequential(network))
    config = replace(QUICK, **change)
    fast = distill(teacher, SHALLOW, pool, config, tmp_path / "s.safetensors", seed=0)
    assert fast.curve[-1][1] == pytest.approx(shallow.curve[-1][1], rel=0.05)
    trained, _ = load_checkpoint(fast.path)
    assert {p.dtype for p in trained.parameters()} == {torch.float32}


def test_bfloat16_is_not_float32(teacher, pool, shallow, tmp_path):
    config = replace(QUICK, precision="bfloat16")
    fast = distill(teacher, SHALLOW, pool, config, tmp_path / "s.safetensors", seed=0)
    assert fast.curve != shallow.curve


class Corners(nn.Module):
    """Says of each corner of an image, for itself, whether it is bright."""

    def forward(self, images):
        return 6 * nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


def test_a_student_learns_labels_that_do_not_exclude_each_other(small_spec, tmp_path):
    spec = replace(small_spec, head="sigmoid")
    teacher = FrozenTeacher(Corners(), spec, architecture="corners")
    sampler = CakeConfig(steps=4, snapshots=2, oversample=2, images_per_shard=64, batch=64)
    pool = synthesize(teacher, sampler, tmp_path / "pool", count=256, seed=0)
    config = DistillConfig(steps=200, batch=64, average=0.95)
    result = distill(teacher, STUDENT, pool, config, tmp_path / "s.safetensors", seed=0)
    student, about = load_checkpoint(result.path)
    assert about.spec.head == "sigmoid"
    images = PRIORS["structured"](500, spec, generator(1, "fresh"))
    with torch.no_grad():
        given, wanted = student.eval()(images) > 0, teacher(images) > 0
    # Chance is a half: each corner is bright in about every other image.
    assert ((wanted.double().mean(0) - 0.5).abs() < 0.2).all()
    assert (given == wanted).double().mean() > 0.85
    assert result.agreement_synthetic > 85
    several = wanted.sum(1) > 1
    assert several.double().mean() > 0.4
    assert (given == wanted)[several].double().mean() > 0.85


def test_the_same_seed_gives_the_same_bytes_with_workers_too(undisturbed, teacher, pool, tmp_path):
    again = distill(teacher, STUDENT, pool, QUICK, tmp_path / "s.safetensors", seed=0, workers=1)
    assert again.path.read_bytes() == undisturbed.path.read_bytes()
    other = distill(teacher, STUDENT, pool, QUICK, tmp_path / "t.safetensors", seed=1)
    assert other.path.read_bytes() != undisturbed.path.read_bytes()


@pytest.mark.parametrize("optimiser", ["muon", "adamw", "sgd"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    teacher, pool, tmp_path, monkeypatch, optimiser
):
    config = DistillConfig(steps=20, batch=16, optimiser=optimiser)
    whole = distill(teacher, STUDENT, pool, config, tmp_path / "whole.safetensors", seed=0)
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)

    def stop_at(step):
        def progress(task, done, total, note=""):
            if done == step:
                raise KeyboardInterrupt

        return progress

    out = tmp_path / "s.safetensors"
    for step in (5, 6, 17):
        with pytest.raises(KeyboardInterrupt):
            distill(teacher, STUDENT, pool, config, out, seed=0, progress=stop_at(step))
        assert not out.exists()
    seen = []
    distill(
        teacher, STUDENT, pool, config, out, seed=0,
        progress=lambda task, done, total, note="": seen.append(done),
    )  # fmt: skip
    assert seen[0] == 17  # the state of step 16 was taken up
    assert out.read_bytes() == whole.path.read_bytes()
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_a_student_that_another_process_trains_is_left_to_it(teacher, pool, tmp_path):
    out = tmp_path / "s.safetensors"
    with claimed(out), pytest.raises(OutputExists, match="another process is writing"):
        distill(teacher, STUDENT, pool, QUICK, out, seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("optimiser", ["muon", "adamw", "sgd"])
def test_one_cycle_moves_the_momentum_of_sgd_alone(optimiser):
    config = DistillConfig(steps=100, optimiser=optimiser, schedule="one-cycle")
    made = training._optimiser(torch.nn.Linear(3, 2), config)
    before = [group.get("momentum") for group in made.param_groups]
    training._set_rate(made, config, 25, None)
    after = [group.get("momentum") for group in made.param_groups]
    assert (before == after) == (optimiser != "sgd")
    assert all(group["lr"] > 0 for group in made.param_groups)


def test_dropout_draws_what_depends_on_the_step_alone(teacher, pool, tmp_path):
    arguments = {**STUDENT.arguments, "drop_rate": 0.5}
    student = StudentConfig(name=STUDENT.name, arguments=arguments)
    state = torch.get_rng_state()
    one = distill(teacher, student, pool, QUICK, tmp_path / "a.safetensors", seed=0)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(3)
    other = distill(teacher, student, pool, QUICK, tmp_path / "b.safetensors", seed=0)
    assert one.path.read_bytes() == other.path.read_bytes()


def test_an_interruption_between_two_points_of_the_curve_loses_nothing(
    teacher, pool, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "CURVE_POINTS", 2)
    whole = distill(teacher, STUDENT, pool, QUICK, tmp_path / "a.safetensors", seed=0)
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)

    def stop(task, done, total, note=""):
        if done == 8:
            raise KeyboardInterrupt

    out = tmp_path / "b.safetensors"
    with pytest.raises(KeyboardInterrupt):
        distill(teacher, STUDENT, pool, QUICK, out, seed=0, progress=stop)
    distill(teacher, STUDENT, pool, QUICK, out, seed=0)
    assert out.read_bytes() == whole.path.read_bytes()
    assert [step for step, _ in whole.curve] == [10, 20]


def test_a_run_that_goes_on_keeps_the_weights_of_its_images(make_teacher, tmp_path, monkeypatch):
    teacher = remembering(make_teacher)
    pool = drawn_pool(teacher, tmp_path)
    whole = distill(teacher, STUDENT, pool, QUICK, tmp_path / "a.safetensors", seed=0)
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)

    def stop(task, done, total, note=""):
        if task == "distill" and done == 8:
            raise KeyboardInterrupt

    out = tmp_path / "b.safetensors"
    with pytest.raises(KeyboardInterrupt):
        distill(teacher, STUDENT, pool, QUICK, out, seed=0, progress=stop)
    # On a CUDA device they would not be the same to the last bit.
    monkeypatch.setattr(training, "match_statistics", None)
    again = distill(teacher, STUDENT, pool, QUICK, out, seed=0)
    assert again.matching == whole.matching != {}
    assert out.read_bytes() == whole.path.read_bytes()


def test_a_timm_without_muon_is_named(teacher, pool, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.optim.muon", None)
    with pytest.raises(
        UsageMistake, match=r"from 1\.0\.22 on: update timm, or set optimiser to adamw"
    ):
        distill(teacher, STUDENT, pool, QUICK, tmp_path / "s.safetensors", seed=0)


def test_a_damaged_or_foreign_state_is_left_aside(undisturbed, teacher, pool, tmp_path):
    state = tmp_path / ".s.safetensors.state"
    state.write_bytes(b"not a state")
    out = tmp_path / "s.safetensors"
    distill(teacher, STUDENT, pool, QUICK, out, seed=0)
    assert out.read_bytes() == undisturbed.path.read_bytes()


def test_a_finished_student_is_found_and_another_plan_is_refused(undisturbed, teacher, pool):
    before = undisturbed.path.read_bytes()
    again = distill(teacher, STUDENT, pool, QUICK, undisturbed.path, seed=0)
    assert again.sha256 == undisturbed.sha256
    with pytest.raises(OutputExists, match="different: config"):
        distill(teacher, STUDENT, pool, DistillConfig(steps=3), undisturbed.path, seed=0)
    assert undisturbed.path.read_bytes() == before


SETTLING = DistillConfig(steps=120, batch=16, schedule="until-settled", patience=2)


def test_training_stops_where_agreement_without_data_no_longer_rises(
    teacher, pool, tmp_path, monkeypatch
):
    """Checks come every third step; the twelfth is the second without a rise."""
    said = [*range(10, 60, 5), 55.1, 55.2]
    answers = iter(said)
    monkeypatch.setattr(HeldOut, "agreement", lambda *_: next(answers))
    result = distill(teacher, STUDENT, pool, SETTLING, tmp_path / "s.safetensors", seed=0)
    assert result.checks == [(3 * (number + 1), value) for number, value in enumerate(said)]
    assert (result.steps, result.views) == (48, 48 * 16)  # falling takes a third of the 36
    manifest = load_checkpoint(result.path)[1].manifest
    assert (manifest["turned"], manifest["step"]) == (36, 48)


def test_the_images_that_decide_are_none_that_the_report_speaks_of(teacher):
    held = HeldOut(teacher, "structured", 0)
    images = torch.cat([shown.flatten(1) for shown, _ in held._sets])
    shown = PRIORS["structured"](64, teacher.spec, generator(derive_seed(0, "held out"), "prior"))
    assert not (torch.cdist(shown.flatten(1), images) == 0).any()
    assert held.agreement(teacher.network) == 100.0


def test_a_run_that_was_cut_short_stops_where_the_other_does(teacher, pool, tmp_path, monkeypatch):
    monkeypatch.setattr(HeldOut, "agreement", lambda *_: 50.0)
    whole = distill(teacher, STUDENT, pool, SETTLING, tmp_path / "a.safetensors", seed=0)
    assert whole.steps == 44  # eleven checks, and a third
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    out = tmp_path / "b.safetensors"
    for last in (7, 40):  # before the turn, and while the rate falls

        def interrupt(stage, done, total, note, last=last):
            if done == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            distill(teacher, STUDENT, pool, SETTLING, out, seed=0, progress=interrupt)
    again = distill(teacher, STUDENT, pool, SETTLING, out, seed=0, workers=1)
    assert (again.checks, again.steps) == (whole.checks, whole.steps)
    assert again.sha256 == whole.sha256


def test_another_teacher_s_pool_is_refused(make_teacher, pool, tmp_path):
    with pytest.raises(PoolError, match="made by another teacher"):
        distill(
            make_teacher("plain", seed=4), STUDENT, pool, QUICK, tmp_path / "s.safetensors", seed=0
        )
    assert list(tmp_path.iterdir()) == []


def test_an_assistant_is_learned_from_and_the_teacher_stays_the_measure(
    teacher, pool, make_teacher, undisturbed, tmp_path, monkeypatch
):
    assistant, measures = make_teacher("test_resnet"), []
    monkeypatch.setattr(distilling, "agreement_on_fresh_images", lambda *of: measures.append(of[1]))
    monkeypatch.setattr(distilling, "agreement_by_family", lambda *_: {})
    config = replace(QUICK, steps=3)
    out = tmp_path / "s.safetensors"
    asked = []
    assistant.register_forward_hook(lambda *_: asked.append("assistant"))
    teacher_hook = teacher.register_forward_hook(lambda *_: asked.append("teacher"))
    student = StudentConfig(name="test_resnet")
    result = distill(teacher, student, pool, config, out, seed=0, assistant=assistant)
    teacher_hook.remove()
    assert asked == ["assistant"] * 3
    assert measures == [teacher]
    assert result.inherited > 0, "from the assistant: the teacher is of another family"
    manifest = load_checkpoint(out)[1].manifest
    assert (manifest["teacher"], manifest["assistant"]) == (teacher.digest, assistant.digest)
    with pytest.raises(OutputExists, match="different: assistant, inherited"):
        distill(teacher, student, pool, config, out, seed=0)


def test_an_assistant_is_refused_where_nobody_would_ask_it(teacher, pool, make_teacher, tmp_path):
    with pytest.raises(UsageMistake, match=r"augment is off.*leave the assistant out"):
        distill(
            teacher, STUDENT, pool, replace(QUICK, augment=False, mixed=0.0),
            tmp_path / "s.safetensors", seed=0, assistant=make_teacher("test_resnet"),
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_stops_the_run(teacher, pool, tmp_path):
    config = DistillConfig(
        steps=20, batch=16, optimiser="sgd", learning_rate=1e20, clip=0.0, schedule="one-cycle"
    )
    with pytest.raises(NumericsError, match="lower learning_rate"):
        distill(teacher, STUDENT, pool, config, tmp_path / "s.safetensors", seed=0)
    assert not (tmp_path / "s.safetensors").exists()


@pytest.fixture
def diverging(monkeypatch):
    """Every step is saved, and the loss of the seventh is no number."""
    losses, real = itertools.count(), training._loss
    monkeypatch.setattr(training, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(
        training, "_loss", lambda *given: real(*given) * (1 if next(losses) < 6 else math.nan)
    )


def test_a_run_that_diverges_keeps_its_last_good_weights_as_a_student(
    teacher, pool, tmp_path, diverging
):
    with pytest.raises(NumericsError, match=r"lower learning_rate.* step 6, are kept as .*step-6"):
        distill(teacher, STUDENT, pool, QUICK, tmp_path / "s.safetensors", seed=0)
    assert not (tmp_path / "s.safetensors").exists()
    kept, about = load_checkpoint(tmp_path / "s-step-6.safetensors")
    assert all(torch.isfinite(t).all() for t in kept.state_dict().values())
    assert about.manifest["step"] == 6


def test_weights_that_a_step_made_infinite_are_neither_saved_nor_written(
    teacher, pool, tmp_path, monkeypatch
):
    """The loss of that step was of the weights before, and finite."""
    updates, real = itertools.count(), training.Average.update

    def update(average, network, step):
        if next(updates) == 6:
            next(network.parameters()).data.fill_(math.inf)
        real(average, network, step)

    monkeypatch.setattr(training, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(training.Average, "update", update)
    with pytest.raises(NumericsError, match=r"or a weight, is NaN or infinite after step 7"):
        distill(teacher, STUDENT, pool, QUICK, tmp_path / "s.safetensors", seed=0)
    kept, _ = load_checkpoint(tmp_path / "s-step-6.safetensors")
    assert all(torch.isfinite(t).all() for t in kept.state_dict().values())
    assert not (tmp_path / "s.safetensors").exists()


def test_what_a_diverged_run_kept_is_no_finished_run_and_is_not_written_over(
    teacher, pool, tmp_path, diverging
):
    place = tmp_path / "s-step-6.safetensors"
    place.write_bytes(b"mine")
    with pytest.raises(NumericsError, match=r"could not be kept: .* is a file already"):
        distill(teacher, STUDENT, pool, QUICK, tmp_path / "s.safetensors", seed=0)
    assert place.read_bytes() == b"mine"
    place.unlink()
    with pytest.raises(NumericsError, match="are kept as the student"):
        distill(teacher, STUDENT, pool, QUICK, tmp_path / "s.safetensors", seed=0)
    with pytest.raises(OutputExists, match="different: diverged"):
        distill(teacher, STUDENT, pool, QUICK, place, seed=0)


def test_a_damaged_pool_teaches_nobody(teacher, pool, tmp_path):
    shutil.copytree(pool.path, tmp_path / "p")
    shard = tmp_path / "p" / "shard-00001.safetensors"
    shard.write_bytes(bytes(x ^ 1 for x in shard.read_bytes()))
    with pytest.raises(PoolError, match="is not as it was made"):
        distill(
            teacher, STUDENT, open_pool(tmp_path / "p"), QUICK, tmp_path / "s.safetensors", seed=0
        )
    assert [file.name for file in tmp_path.iterdir()] == ["p"]


def test_the_authors_preset_trains_without_augmentation_on_the_pool_s_own_labels():
    paper = DISTILL_PRESETS["cake-paper"]
    assert (paper.loss, paper.optimiser, paper.schedule) == (
        "soft-cross-entropy",
        "sgd",
        "one-cycle",
    )
    assert not paper.augment
    assert paper.average == 0.0
    assert not paper.inherit
    assert paper.steps == 30 * 256_000 // paper.batch


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"schedule": "until_settled"}, "did you mean until-settled"),
        ({"optimiser": "Muon"}, "allowed: muon, adamw, sgd"),
        ({"patience": 30}, "1 to 20"),
    ],
)
def test_names_and_patience_are_checked_in_python_too(settings, words):
    with pytest.raises(UsageMistake, match=words):
        DistillConfig(**settings)


def test_settings_out_of_range_are_refused():
    with pytest.raises(UsageMistake, match="steps is 0"):
        DistillConfig(steps=0)
    with pytest.raises(UsageMistake, match="clip is -1"):
        DistillConfig(clip=-1)
    with pytest.raises(UsageMistake, match="weight_decay is -1"):
        DistillConfig(weight_decay=-1)
    with pytest.raises(UsageMistake, match="mixed needs augment"):
        DistillConfig(augment=False)
    with pytest.raises(UsageMistake, match="at least 2"):
        DistillConfig(batch=1)
