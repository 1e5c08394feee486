from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from cake_edge.errors import UsageMistake
from exporters.quantize.rewrites import REWRITES, driver, rewrite
from exporters.quantize.rewrites.walk import Walk

ALL = list(REWRITES)


class Mixed(nn.Module):
    """A place for each of the rewrites, with channels that need them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.gated = nn.Conv2d(8, 8, 3, groups=8)
        self.plain = nn.Conv2d(8, 8, 3, stride=2)
        self.norm = nn.LayerNorm(8)
        self.linear = nn.Linear(8, 4)
        with torch.no_grad():
            for weight in (self.stem.weight, self.gated.weight, self.norm.weight):
                weight.mul_(torch.logspace(-1, 1, 8).view(-1, *[1] * (weight.ndim - 1)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        middle = self.gated(nn.functional.silu(self.stem(images))).relu()
        return self.linear(self.norm(self.plain(middle).mean((2, 3))))


@pytest.fixture(scope="module")
def mixed(made_ready):
    return made_ready(Mixed())


def test_all_rewrites_apply_one_after_another(mixed, batches, same_logits):
    before = mixed.SerializeToString(deterministic=True)
    after, records = rewrite(mixed, ALL, batches)
    assert [record.name for record in records] == ALL
    assert all(record.kept and record.places == 1 for record in records)
    assert all(0 < record.difference < 1e-5 for record in records)
    assert mixed.SerializeToString(deterministic=True) == before
    same_logits(mixed, after, batches()[0])
    onnx.checker.check_model(after, full_check=True)
    assert after.metadata_props == mixed.metadata_props


def test_equal_inputs_give_equal_bytes(mixed, batches):
    first, second = (
        rewrite(mixed, ALL, batches)[0].SerializeToString(deterministic=True) for _ in range(2)
    )
    assert first == second


def test_a_model_without_a_place_comes_back_equal(made_ready, batches):
    model = made_ready(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    after, records = rewrite(model, ALL, batches)
    assert after == model
    assert after is not model
    assert [(each.places, each.difference, each.kept) for each in records] == [(0, 0.0, False)] * 3


def test_a_rewrite_that_changes_the_logits_is_dropped_and_told(mixed, batches, monkeypatch):
    def one_sided(model, ranges):
        after, places = REWRITES["gated"].apply(model, ranges)
        walk = Walk(after)
        walk.divide_outputs(walk.nodes[0], np.full(8, 1.01))
        return walk.finished(), places

    broken = replace(REWRITES["gated"], apply=one_sided)
    monkeypatch.setattr(driver, "REWRITES", {**REWRITES, "gated": broken})
    after, (dropped, kept) = rewrite(mixed, ["gated", "cross-layer"], batches)
    assert not dropped.kept
    assert dropped.difference > driver.TOLERANCE
    assert asdict(dropped) == {
        "name": "gated",
        "places": 1,
        "difference": dropped.difference,
        "kept": False,
    }
    assert kept.kept
    alone, _ = rewrite(mixed, ["cross-layer"], batches)
    assert after == alone


def test_a_name_nobody_has_is_refused(mixed, batches):
    with pytest.raises(UsageMistake, match=r"did you mean gated\?.*cross-layer, gated, layer-norm"):
        rewrite(mixed, ["gate"], batches)


def test_no_name_is_applied_twice(mixed, batches):
    once, _ = rewrite(mixed, ["gated"], batches)
    twice, records = rewrite(mixed, ["gated", "gated"], batches)
    assert len(records) == 1
    assert once == twice
