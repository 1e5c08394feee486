"""Fine-tuning: it helps, it is the same every time, and it goes on where it was cut short."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from cake_edge.errors import NumericsError, UsageMistake
from cake_edge.qat import finetune as module
from cake_edge.qat.config import QatConfig
from cake_edge.qat.finetune import converted, finetune, held_out_agreement
from cake_edge.teachers.frozen import FrozenTeacher

SHORT = QatConfig(
    weight_bits=3, activation_bits=3, edge_bits=3, steps=6, batch=16, calibration_batches=2,
    warmup=4, width=8, latent=8, start="min-max",
)  # fmt: skip


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_few_steps_bring_three_bits_nearer_to_float(tiny_teacher, tiny_pool):
    config = replace(SHORT, steps=150, batch=64)
    network, report = finetune(tiny_teacher, config, seed=0, pool=tiny_pool)
    assert report.agreement_after > report.agreement_before + 2
    assert report.agreement_after == held_out_agreement(network, tiny_teacher, 0)
    assert report.curve[-1][1] < 0.8 * report.curve[0][1]
    assert (report.layers, report.folded, dict(report.left_float)) == (4, 3, {})
    assert report.generator is None


def test_a_generator_serves_without_a_pool(tiny_teacher):
    config = replace(SHORT, source="generator", steps=60, batch=64, warmup=60, width=16)
    _, report = finetune(tiny_teacher, config, seed=0)
    assert report.agreement_after > report.agreement_before
    assert report.generator["batch_norms"] == 3
    assert report.generator["statistics"] > 0
    assert report.generator["hit_rate"] > 60  # chance: 25


def test_statistics_are_reported_absent_where_there_is_no_batch_norm(spec):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 4))
    teacher = FrozenTeacher(plain, spec, architecture="plain")
    _, report = finetune(teacher, replace(SHORT, source="generator"), seed=0)
    assert report.generator["statistics"] is None
    assert report.generator["batch_norms"] == 0


@pytest.mark.parametrize("source", ["pool", "generator", "both"])
@pytest.mark.parametrize("ranges", ["frozen", "learned"])
def test_equal_seeds_give_equal_weights_and_other_seeds_others(
    tiny_teacher, tiny_pool, source, ranges
):
    config = replace(SHORT, source=source, ranges=ranges, steps=3)
    runs = [finetune(tiny_teacher, config, seed=s, pool=tiny_pool)[0] for s in (1, 1, 2)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_frozen_ranges_stay_and_learned_ones_move(tiny_teacher, tiny_pool):
    found = {}
    for ranges in ("frozen", "learned"):
        config = replace(SHORT, ranges=ranges, steps=4)
        network, _ = finetune(tiny_teacher, config, seed=0, pool=tiny_pool)
        found[ranges] = {n: t for n, t in network.state_dict().items() if n.endswith(".step")}
        assert found[ranges]
    short = replace(SHORT, steps=4)
    start = converted(tiny_teacher, SHORT).network
    module.calibrate(start, module._Run(tiny_teacher, start, short, 0, tiny_pool)._calibration(),
                     "min-max")  # fmt: skip
    for name, step in found["frozen"].items():
        assert torch.equal(step, start.state_dict()[name])
        assert not torch.equal(step, found["learned"][name])


def test_the_float_network_is_left_as_it_is(tiny_teacher, tiny_pool):
    before = {name: t.clone() for name, t in tiny_teacher.state_dict().items()}
    finetune(tiny_teacher, replace(SHORT, source="both"), seed=0, pool=tiny_pool)
    assert all(torch.equal(before[n], t) for n, t in tiny_teacher.state_dict().items())
    assert not any(p.requires_grad for p in tiny_teacher.parameters())


@pytest.mark.parametrize("source", ["pool", "both"])
def test_an_interrupted_run_goes_on_to_the_same_weights(
    tiny_teacher, tiny_pool, tmp_path, monkeypatch, source
):
    config, path = replace(SHORT, source=source), tmp_path / "state"
    whole, told = finetune(tiny_teacher, config, seed=0, pool=tiny_pool)
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)
    step = module._Run._step

    def interrupted(self: object, number: int) -> float:
        if number == 4:
            raise KeyboardInterrupt
        return step(self, number)

    monkeypatch.setattr(module._Run, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_teacher, config, seed=0, pool=tiny_pool, state_path=path, key="k")
    later = []
    monkeypatch.setattr(module._Run, "_step", lambda s, n: later.append(n) or step(s, n))
    resumed, report = finetune(
        tiny_teacher, config, seed=0, pool=tiny_pool, state_path=path, key="k"
    )
    assert later == [4, 5]
    assert same(whole, resumed)
    assert replace(report, seconds=told.seconds) == told
    later.clear()
    finetune(tiny_teacher, config, seed=0, pool=tiny_pool, state_path=path, key="other")
    assert later == list(range(6))


def test_divergence_is_an_error_that_names_the_state_it_leaves(
    tiny_teacher, tiny_pool, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)
    config, path = replace(SHORT, learning_rate=1e30, clip=0.0), tmp_path / "state"
    with pytest.raises(NumericsError, match=f"last good state is kept in {path}"):
        finetune(tiny_teacher, config, seed=0, pool=tiny_pool, state_path=path, key="k")
    assert path.is_file()
    with pytest.raises(NumericsError, match=r"lower learning_rate, .* or give more bits\.$"):
        finetune(tiny_teacher, config, seed=0, pool=tiny_pool)


@pytest.fixture(scope="module")
def labels_teacher(tiny_teacher, spec):
    return FrozenTeacher(tiny_teacher.network, replace(spec, head="sigmoid"), architecture="tiny")


def test_labels_that_do_not_exclude_each_other_are_matched_one_by_one(labels_teacher, tiny_pool):
    config = replace(SHORT, steps=60, batch=64)
    _, report = finetune(labels_teacher, config, seed=0, pool=tiny_pool)
    assert report.agreement_after > report.agreement_before + 1
    assert report.curve[-1][1] < 0.8 * report.curve[0][1]


@pytest.mark.parametrize("given", [{"source": "generator"}, {"label_weight": 1.0}])
def test_what_needs_exclusive_classes_is_refused(labels_teacher, tiny_pool, given):
    with pytest.raises(UsageMistake, match=r"do not exclude each other .* give a pool"):
        finetune(labels_teacher, replace(SHORT, **given), seed=0, pool=tiny_pool)


def test_a_pool_is_asked_for_where_it_is_needed(tiny_teacher):
    with pytest.raises(UsageMistake, match="source both needs a pool"):
        finetune(tiny_teacher, replace(SHORT, source="both"), seed=0)
