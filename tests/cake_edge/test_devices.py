"""Everything that takes a teacher, on a pretended card: what stays on the processor fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from reference.pretend_device import WrongDevice, pretend_cuda
from torch import nn

from cake_edge import diagnostics, storage, training
from cake_edge.assistant import load_assistant
from cake_edge.distill import DistillConfig, distill
from cake_edge.pool import synthesize
from cake_edge.priors import PRIORS
from cake_edge.priors.base import _constants
from cake_edge.qat import finetune
from cake_edge.qat.config import QatConfig
from cake_edge.qat.stage import write_low_bit
from cake_edge.samplers import SAMPLERS
from cake_edge.seeding import generator
from cake_edge.students import StudentConfig
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.inspection import inspect_teacher
from cake_edge.teachers.several import average_of
from cake_edge.teachers.subset import keep_classes

# Without strides over a map of one pixel: those a processor computes wrongly in bfloat16.
STUDENT = StudentConfig(
    name="resnet10t", arguments={"channels": [4, 4, 4, 8], "stem_width": 4, "output_stride": 8}
)
QUICK = DistillConfig(steps=6, batch=8)
SETTINGS = {
    "cake": {"steps": 2, "oversample": 2, "contrast": (0.1, 0.2), "statistics": 1.0},
    "cake-paper": {"steps": 2, "batch": 12, "tuple_size": 4, "entropy": 1.0, "langevin": True},
    "cmi": {"steps": 2, "batch": 12, "width": 8},
    "data-impressions": {"steps": 2},
    "deep-inversion": {"steps": 2},
    "forward-only": {"oversample": 2, "stored": "uint8"},
    "gdfq": {"train_steps": 2, "train_batch": 8, "width": 8},
    "lake": {"steps": 2, "tuple_size": 4},
}


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch):
    monkeypatch.setattr(diagnostics, "MANY", 24)


@pytest.fixture(autouse=True)
def nothing_kept():
    """What was kept on an earlier card would be on none: each one is pretended afresh."""
    for kept in (_constants, storage._line):
        kept.cache_clear()


@pytest.fixture
def card():
    with pretend_cuda() as device:
        yield device


@pytest.fixture
def teacher(make_teacher, card):
    return make_teacher().to(card)


def pool_of(teacher, folder, name="cake", **settings):
    part = {} if name == "cake-paper" else {"images_per_shard": 12}
    config = SAMPLERS[name](**{**part, **SETTINGS[name], **settings})
    return synthesize(teacher, config, folder / "pool", count=20, seed=1)


def stop_at(step):
    def progress(stage, done, total, text=""):
        if stage in ("distill", "qat") and done == step:
            raise KeyboardInterrupt

    return progress


def test_it_refuses_what_torch_refuses(card):
    on_it, beside = torch.ones(3, device=card), torch.ones(3)
    place, here = torch.zeros(1, dtype=torch.int64), torch.Generator()
    for wrong in (
        lambda: on_it + beside,
        lambda: beside[place.to(card)],
        lambda: nn.Linear(3, 3)(on_it),
        lambda: torch.cat([on_it[:1], beside]),
        lambda: on_it.numpy(),
        lambda: torch.rand(3, generator=torch.Generator(card)),
        lambda: torch.rand(3, generator=here, device=card),
    ):
        with pytest.raises(WrongDevice):
            wrong()
    for right in (on_it[place], on_it * torch.tensor(2.0), on_it.clone().copy_(beside)):
        assert right.device == card
    assert (on_it.cpu() + beside).device == beside.device


@pytest.mark.parametrize("name", sorted(PRIORS))
def test_images_of_a_prior_are_where_its_generator_is(name, card, small_spec):
    assert PRIORS[name](6, small_spec, generator(0, "prior", device=card)).device == card


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_makes_a_pool(name, teacher, tmp_path):
    pool = pool_of(teacher, tmp_path, name)
    assert len(pool) == 20
    assert pool.about["device"] == "cuda"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimiser": "adamw", "precision": "bfloat16", "mixed": 0.0, "loss": "kl"},
        {"optimiser": "sgd", "schedule": "one-cycle", "augment": False, "mixed": 0.0},
        {"schedule": "until-settled", "steps": 30, "balance": False},
    ],
    ids=["default", "adamw", "sgd", "until-settled"],
)
def test_a_student_is_trained(change, teacher, tmp_path):
    pool = pool_of(teacher, tmp_path)
    done = distill(
        teacher, STUDENT, pool, replace(QUICK, **change), tmp_path / "s.safetensors", seed=0
    )
    assert done.steps > 0


def test_a_pool_that_the_card_has_no_room_for_is_read_where_it_lies(make_teacher, tmp_path):
    with pretend_cuda(free=0) as card:
        teacher = make_teacher().to(card)
        pool = pool_of(teacher, tmp_path)
        assert training._source(pool, card).gather(torch.tensor([3], device=card)).device == card
        distill(teacher, STUDENT, pool, QUICK, tmp_path / "s.safetensors", seed=0)


@pytest.mark.parametrize("optimiser", ["adamw", "muon", "sgd"])
def test_a_killed_training_goes_on_to_the_same_student(optimiser, teacher, tmp_path, monkeypatch):
    pool, config = pool_of(teacher, tmp_path), replace(QUICK, optimiser=optimiser)
    whole = distill(teacher, STUDENT, pool, config, tmp_path / "whole.safetensors", seed=0)
    monkeypatch.setattr(training, "SAVE_SECONDS", 0)
    out = tmp_path / "s.safetensors"
    with pytest.raises(KeyboardInterrupt):
        distill(teacher, STUDENT, pool, config, out, seed=0, progress=stop_at(4))
    assert distill(teacher, STUDENT, pool, config, out, seed=0).sha256 == whole.sha256


def test_a_student_learns_from_an_assistant(teacher, tmp_path):
    pool = pool_of(teacher, tmp_path)
    first = distill(teacher, STUDENT, pool, QUICK, tmp_path / "a.safetensors", seed=0)
    assistant = load_assistant(first.path, teacher)
    assert assistant.device == teacher.device
    out = tmp_path / "s.safetensors"
    distill(teacher, STUDENT, pool, QUICK, out, seed=0, assistant=assistant)


def test_teachers_on_a_card_are_averaged_and_cut_to_some_classes(make_teacher, card, small_spec):
    other = replace(small_spec, mean=(0.1,), height=20, width=20)
    members = [make_teacher().to(card), make_teacher("plain", spec=other).to(card)]
    teacher = keep_classes(average_of(members), ["0", "2"], other=True)
    assert teacher(torch.zeros(2, *small_spec.input_size, device=card)).device == card


def test_a_teacher_whose_weights_are_constants_is_where_they_are(card, small_spec):
    network = nn.Linear(small_spec.channels, small_spec.classes)
    frozen = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), network)
    for name, weight in list(network.named_parameters()):
        delattr(network, name)
        network.register_buffer(name, weight.data)
    teacher = FrozenTeacher(frozen, small_spec, architecture="torchscript").to(card)
    assert teacher.device == card


def test_a_teacher_is_inspected(teacher):
    inspect_teacher(teacher, TeacherConfig(reference="timm:test_resnet"))


@pytest.mark.parametrize(
    "change",
    [{"label_weight": 1.0}, {"source": "both", "ranges": "learned"}],
    ids=["pool", "generator"],
)
def test_few_bits_are_tuned_and_a_killed_tuning_goes_on(change, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "SAVE_SECONDS", 0)
    pool, out = pool_of(teacher, tmp_path), tmp_path / "q.safetensors"
    config = QatConfig(steps=4, batch=8, calibration_batches=2, warmup=2, width=8, **change)
    with pytest.raises(KeyboardInterrupt):
        write_low_bit(teacher, config, out, seed=0, pool=pool, progress=stop_at(3))
    assert write_low_bit(teacher, config, out, seed=0, pool=pool)["steps"] == 4
