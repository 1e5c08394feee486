"""Weights under which a pool has the statistics that a teacher's batch norms remember."""

from dataclasses import replace

import pytest
import torch
from timm.layers.evo_norm import EvoNorm2dB0
from torch import nn

from cake_edge import matching, moments
from cake_edge.matching import match_statistics
from cake_edge.seeding import generator
from cake_edge.stored_images import HeldImages
from cake_edge.teachers.frozen import FrozenTeacher

ALL = torch.ones(1000, dtype=torch.bool)
SHARE = 0.3
"""Of the pool's images, those that are like the teacher's data."""


class Net(nn.Module):
    """One convolution, what normalises it (once or twice), and a head."""

    def __init__(self, norm: nn.Module, *, twice: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm, self.twice = norm, twice
        self.head = nn.Linear(6, 4)

    def forward(self, images):
        maps = self.norm(self.conv(images))
        if self.twice:
            maps = self.norm(maps)
        return self.head(maps.relu().mean((2, 3)))


@pytest.fixture(scope="module")
def images():
    """[N, 1, 16, 16]: some bright and smooth as the data, the rest dark or noisy."""
    random = generator(0, "matching", "images")
    like = _data(random, 300)
    other = torch.randn((700, 1, 16, 16), generator=random) * 0.7 - 1.2
    return torch.cat([like, other])


def _data(random, count):
    level = torch.rand((count, 1, 1, 1), generator=random)
    return level + 0.3 * torch.randn((count, 1, 16, 16), generator=random)


def taught(net, spec):
    """A teacher whose norm has seen data."""
    random = generator(0, "matching", "data")
    with torch.no_grad():
        for module in (net.conv, net.head):
            module.weight.copy_(torch.randn(module.weight.shape, generator=random) / 3)
        for _ in range(200):
            net.train()(_data(random, 64))
    return frozen(net, spec)


def frozen(net, spec):
    return FrozenTeacher(net.eval(), spec, architecture="a net of the test")


@pytest.fixture(scope="module")
def spec(make_teacher):
    return make_teacher("plain").spec


@pytest.fixture(scope="module")
def teacher(spec):
    return taught(Net(nn.BatchNorm2d(6)), spec)


def matched(teacher, images, seed=0):
    source, drawn = HeldImages(images, teacher.spec), torch.ones(len(images), dtype=torch.bool)
    found = match_statistics(teacher, source, drawn, seed=seed)
    assert found is not None
    return found


def distance(teacher, images, weights):
    """By the definition: how far what enters the norm is, weighed, from what it remembers."""
    norm = teacher.network.norm
    with torch.no_grad():
        maps = teacher.network.conv(images).double()
    variance = norm.running_var + norm.eps
    scaled = (maps - norm.running_mean[:, None, None]) / variance.sqrt()[:, None, None]
    shift = weights @ scaled.mean((2, 3))
    second = weights @ scaled.square().mean((2, 3)) - norm.running_var / variance
    return float(shift.square().mean() + second.square().mean())


def test_images_like_the_data_are_shown_more_often(teacher, images):
    found = matched(teacher, images)
    assert float(found.weights.sum()) == pytest.approx(1)
    assert float(found.weights[:300].sum()) > 2 * SHARE
    even = torch.full((1000,), 1e-3, dtype=torch.float64)
    assert found.distance_even == pytest.approx(distance(teacher, images, even), rel=1e-3)
    assert found.distance_matched == pytest.approx(
        distance(teacher, images, found.weights), rel=1e-3
    )
    assert found.distance_matched < found.distance_even / 5


def test_a_quarter_of_the_pool_stays_in_effect(teacher, images):
    few = torch.cat([images[:60], images[300:]])
    found = matched(teacher, few)
    assert 0.25 <= found.effective < 0.9
    assert found.effective == pytest.approx(1 / float(found.weights.square().sum() * len(few)))
    assert found.distance_matched < found.distance_even


def test_a_pool_that_has_the_moments_is_left_as_it_is(teacher):
    data = _data(generator(1, "matching", "more"), 1000)
    assert matched(teacher, data).effective > 0.9


@pytest.mark.parametrize(
    "norm",
    [
        nn.Identity(), nn.GroupNorm(2, 6), EvoNorm2dB0(6), nn.BatchNorm2d(6),
        nn.InstanceNorm2d(6, track_running_stats=True, momentum=1),
    ],
)  # fmt: skip
def test_a_teacher_that_remembers_nothing_of_its_data_has_nothing_to_match(norm, spec, images):
    teacher = frozen(Net(norm), spec)
    assert match_statistics(teacher, HeldImages(images, spec), ALL, seed=0) is None


def test_a_norm_that_is_never_called_has_nothing_to_match(spec, images):
    net = Net(nn.Identity())
    net.unused = nn.BatchNorm2d(6)
    teacher = frozen(net, spec)
    assert match_statistics(teacher, HeldImages(images, spec), ALL, seed=0) is None


def test_what_is_found_on_some_images_weighs_all(teacher, images, monkeypatch):
    whole = matched(teacher, images)
    monkeypatch.setattr(matching, "FITTED_ON", 400)
    some = matched(teacher, images)
    assert len(some.weights) == 1000
    assert some.distance_even == pytest.approx(whole.distance_even, rel=1e-4)
    assert some.distance_matched == pytest.approx(distance(teacher, images, some.weights), rel=1e-3)
    assert float(some.weights[:300].sum()) == pytest.approx(
        float(whole.weights[:300].sum()), abs=0.1
    )


def test_more_moments_than_are_held_are_matched_in_sums(teacher, images, monkeypatch):
    monkeypatch.setattr(moments, "FEATURES", 5)
    found = matched(teacher, images)
    even = torch.full((1000,), 1e-3, dtype=torch.float64)
    assert distance(teacher, images, found.weights) < distance(teacher, images, even) / 2


def test_a_channel_without_variance_does_not_decide(spec, images):
    net = Net(nn.BatchNorm2d(6))
    teacher = taught(net, spec)
    alive = matched(teacher, images)
    with torch.no_grad():
        net.conv.weight[0] = 0
        net.conv.bias[0] = 1e-4
        net.norm.running_mean[0] = 0
        net.norm.running_var[0] = 1e-14
    assert float(matched(teacher, images).weights[:300].sum()) > 0.8 * float(
        alive.weights[:300].sum()
    )


def test_a_norm_that_is_called_twice_is_matched_over_both_calls(spec, images):
    teacher = taught(Net(nn.BatchNorm2d(6, momentum=0.01), twice=True), spec)
    found = matched(teacher, images)
    assert found.distance_matched < found.distance_even


def test_pushed_images_keep_their_share(teacher, images):
    drawn = torch.arange(1000) % 4 > 0
    found = match_statistics(teacher, HeldImages(images, teacher.spec), drawn, seed=0)
    assert found.weights[~drawn].tolist() == [1e-3] * 250
    alone = matched(teacher, images[drawn])
    torch.testing.assert_close(found.weights[drawn], alone.weights * 0.75)
    assert found.effective == pytest.approx(alone.effective)


def test_a_pool_of_pushed_images_has_nothing_to_match(teacher, images):
    assert match_statistics(teacher, HeldImages(images, teacher.spec), ~ALL, seed=0) is None


@pytest.mark.parametrize("value", [300.0, 1e3, 1e10, 3e38])
@pytest.mark.parametrize("features", [2048, 5])
def test_an_image_far_out_does_not_undo_the_rest(value, features, teacher, images, monkeypatch):
    monkeypatch.setattr(moments, "FEATURES", features)
    alone = float(matched(teacher, images).weights[:300].sum())
    found = matched(teacher, torch.cat([images, torch.full((1, 1, 16, 16), value)]))
    assert bool(found.weights.isfinite().all())
    assert float(found.weights[:300].sum()) > 0.9 * alone


def test_a_layer_that_its_eps_drowns_says_nothing(spec, images):
    net = Net(nn.BatchNorm2d(6))
    teacher = taught(net, spec)
    alive = float(matched(teacher, images).weights[:300].sum())
    faint = nn.BatchNorm2d(1, eps=1e-3).eval()
    faint.running_mean.fill_(1e-7)
    faint.running_var.fill_(1e-14)

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.faint = net, faint

        def forward(self, images):
            return self.net(images) + 0 * self.faint(1e-6 * images).mean((1, 2, 3))[:, None]

    both = matched(frozen(Both(), spec), images)
    assert float(both.weights[:300].sum()) == pytest.approx(alive, abs=0.02)


class Places(nn.Module):
    """Normalises every place of a map as if it were an image."""

    def __init__(self, norm):
        super().__init__()
        self.norm, self.head = norm, nn.Linear(1, 4)

    def forward(self, images):
        rows = self.norm(images.flatten()[:, None])
        return self.head(rows.reshape(len(images), -1).mean(1, keepdim=True))


def test_a_norm_that_sees_more_rows_than_images_is_left_out(spec, images):
    norm = nn.BatchNorm1d(1)
    norm.running_mean.fill_(0.5)
    teacher = frozen(Places(norm), spec)
    assert match_statistics(teacher, HeldImages(images, spec), ALL, seed=0) is None


def test_what_brings_next_to_nothing_is_not_worth_uneven_weights(teacher, images):
    # All alike: no weights change what is seen.
    same = images[-1:].expand(1000, -1, -1, -1).contiguous()
    assert match_statistics(teacher, HeldImages(same, teacher.spec), ALL, seed=0) is None


def test_of_few_images_none_is_chosen(teacher, images):
    drawn = torch.arange(1000) < matching.LEAST
    assert match_statistics(teacher, HeldImages(images, teacher.spec), drawn, seed=0) is not None
    drawn[0] = False
    assert match_statistics(teacher, HeldImages(images, teacher.spec), drawn, seed=0) is None


def test_large_images_pass_in_fewer_at_a_time(teacher, images):
    wide = frozen(teacher.network, replace(teacher.spec, height=640, width=640))
    source = HeldImages(images, teacher.spec)
    found = list(moments.NormMoments(wide, 0).of(source, torch.arange(11)))
    assert [len(part) for part in found] == [5, 5, 1]


def test_it_tells_how_far_it_is(teacher, images):
    told = []

    def progress(task, done, total, note=""):
        told.append((task, done, total))

    match_statistics(teacher, HeldImages(images, teacher.spec), ALL, seed=0, progress=progress)
    assert told == [("match", 500, 1000), ("match", 1000, 1000)]


def test_a_second_pass_is_told_of_under_its_own_name(teacher, images, monkeypatch):
    monkeypatch.setattr(matching, "FITTED_ON", 400)
    told = []

    def progress(task, done, total, note=""):
        told.append((task, done, total))

    match_statistics(teacher, HeldImages(images, teacher.spec), ALL, seed=0, progress=progress)
    assert told == [("match", 400, 400), ("weigh", 500, 1000), ("weigh", 1000, 1000)]


def test_the_seed_chooses_what_the_tilt_is_found_on(teacher, images, monkeypatch):
    monkeypatch.setattr(matching, "FITTED_ON", 400)
    first = matched(teacher, images).weights
    assert torch.equal(first, matched(teacher, images).weights)
    assert not torch.equal(first, matched(teacher, images, seed=1).weights)
