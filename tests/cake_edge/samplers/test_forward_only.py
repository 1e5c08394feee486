from collections import Counter

import pytest
import torch
from reference import synthesis
from torch import nn

from cake_edge.errors import UsageMistake
from cake_edge.priors import PRIORS
from cake_edge.samplers import ForwardOnlyConfig
from cake_edge.samplers.forward_only import selection
from cake_edge.seeding import generator
from cake_edge.teachers.frozen import FrozenTeacher

QUICK = {"oversample": 3, "images_per_shard": 12, "batch": 8}


class Deaf(nn.Module):
    """Answers, and passes no gradient."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        with torch.no_grad():
            return self.network(images)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_kept_is_as_even_as_the_literal_choice(seed):
    random = generator(seed, "labels")
    labels = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), 40, True, generator=random)
    confidence = torch.rand(40, generator=random) * 0.7 + 0.3
    kept = selection(labels, confidence, 18, bins=3, lowest=0.3)
    literal = synthesis.spread_over_bins(labels.tolist(), confidence.tolist(), 18, 3, 0.3)
    assert kept.tolist() == sorted(set(kept.tolist()))

    def spread(index):
        cells = [
            (int(labels[i]), min(2, int((float(confidence[i]) - 0.3) / (0.7 / 3)))) for i in index
        ]
        return {k: sorted(Counter(b for c, b in cells if c == k).values()) for k in range(3)}

    found, wanted = spread(kept.tolist()), spread(literal)
    assert sorted(map(sum, found.values())) == sorted(map(sum, wanted.values()))
    same = [k for k in range(3) if sum(found[k]) == sum(wanted[k])]
    assert same
    assert [found[k] for k in same] == [wanted[k] for k in same]


def test_confidence_is_spread_within_a_class():
    labels = torch.zeros(100, dtype=torch.int64)
    confidence = torch.cat([torch.full((90,), 0.99), torch.linspace(0.25, 0.9, 10)])
    kept = selection(labels, confidence, 16, bins=4, lowest=0.25)
    # The three lower bins hold eight images: all of them stay, and the sure ones fill up.
    assert set(range(90, 98)) <= set(kept.tolist())


def test_shards_are_independent_and_as_stored(make_teacher, small_spec, colour_spec, check_shards):
    for spec in (small_spec, colour_spec):
        made = check_shards(ForwardOnlyConfig(**QUICK), make_teacher("plain", spec=spec))
        assert made[0].targets.tolist() == [-1] * 12
        assert made[0].steps.tolist() == [0] * 12


def test_it_works_with_a_teacher_that_passes_no_gradient(make_teacher, small_spec):
    deaf = FrozenTeacher(Deaf(make_teacher("plain").network), small_spec, architecture="deaf")
    assert len(ForwardOnlyConfig(**QUICK).build(deaf, count=12, seed=0).shard(0)) == 12


def test_drawing_more_makes_classes_more_even(make_teacher):
    teacher = make_teacher("plain")
    images = PRIORS["structured"](400, teacher.spec, generator(0, "centre"))
    teacher.network.head.bias -= teacher(images).median(0).values

    def unevenness(oversample):
        config = ForwardOnlyConfig(oversample=oversample, images_per_shard=100)
        shard = config.build(teacher, count=100, seed=0).shard(0)
        return torch.bincount(shard.logits.argmax(1), minlength=4).double().std()

    assert unevenness(20) < 0.8 * unevenness(1)


def test_labels_that_do_not_exclude_each_other_are_spread_from_nothing(sigmoid_teacher):
    shard = ForwardOnlyConfig(**QUICK).build(sigmoid_teacher, count=12, seed=0).shard(0)
    assert len(shard) == 12


@pytest.mark.parametrize(
    ("settings", "words"), [({"bins": 0}, "bins is 0"), ({"prior": "shape"}, "did you mean shapes")]
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(UsageMistake, match=words):
        ForwardOnlyConfig(**settings)
