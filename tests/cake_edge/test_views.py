import pytest
import torch
from torch.utils.data import DataLoader

from cake_edge.ranks import ALONE, Rank
from cake_edge.seeding import generator
from cake_edge.stored_images import HeldImages
from cake_edge.views import ViewConfig, Views, _motions, _places, class_index


@pytest.fixture
def teacher(make_teacher):
    return make_teacher("plain")


def pool_of(labels):
    count = len(labels)
    images = torch.rand((count, 1, 16, 16), generator=generator(0, "images")).half()
    logits = torch.nn.functional.one_hot(torch.tensor(labels), 4) * 9.0
    return images, logits


def views_of(
    teacher, labels=(0, 0, 0, 0, 0, 1, 1, 3), last=4, rank=ALONE, weights=None, **settings
):
    config = {"batch": 64, "augment": True, "motion": 1.0, "mixed": 0.5, "balance": True}
    images, logits = pool_of(list(labels))
    settings = ViewConfig(**{**config, **settings})
    source = HeldImages(images, teacher.spec)
    return Views(
        source, logits, teacher, settings,
        seed=0, first=0, last=last, rank=rank, weights=weights,
    )  # fmt: skip


def test_teacher_s_logits_are_of_the_very_view(teacher):
    for shown, wanted in views_of(teacher):
        torch.testing.assert_close(teacher(shown), wanted)


def test_a_step_is_the_same_whenever_it_is_asked_for_and_every_step_differs(teacher):
    views = views_of(teacher)
    later = views.step(3)
    assert torch.equal(later[0], list(views)[3][0])
    assert not torch.equal(later[0], views.step(2)[0])


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_give_the_same_steps_in_order(teacher, workers):
    views = views_of(teacher, last=5)
    loader = DataLoader(
        views, batch_size=None, num_workers=workers, multiprocessing_context="spawn"
    )
    here, there = list(views), list(loader)
    assert len(there) == 5
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


@pytest.mark.parametrize(
    "settings",
    [{}, {"mixed": 0.0}, {"mixed": 1.0}, {"balance": False}, {"augment": False, "mixed": 0.0}],
)
@pytest.mark.parametrize("world", [2, 3])
def test_the_views_of_all_ranks_are_those_of_one_process(teacher, settings, world):
    whole = views_of(teacher, batch=12, **settings).step(1)
    for index in range(world):
        rank = Rank(index=index, world=world)
        part = views_of(teacher, batch=12, rank=rank, **settings).step(1)
        assert len(part[0]) == 12 // world
        assert torch.equal(part[0], whole[0][index::world])
        torch.testing.assert_close(part[1], whole[1][index::world])


def test_balance_draws_the_classes_that_occur_evenly(teacher):
    def shares(balance):
        views = views_of(teacher, augment=False, mixed=0.0, balance=balance, batch=3000)
        seen = views.step(0)[1].argmax(1)
        return (torch.bincount(seen, minlength=4) / 3000).tolist()

    assert shares(True) == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], abs=0.04)
    assert shares(False) == pytest.approx([5 / 8, 2 / 8, 0, 1 / 8])


def test_weights_say_how_often_an_image_is_drawn(teacher):
    weights = torch.tensor([0.0, 0.5, 0, 0, 0.1, 0.3, 0.1, 0])
    views = views_of(teacher, weights=weights, batch=20000)
    drawn = views._draw(0, generator(0, "drawn"))
    shares = torch.bincount(drawn, minlength=8) / 20000
    assert (shares == 0).equal(weights == 0)
    torch.testing.assert_close(shares, weights, atol=0.02, rtol=0)


def test_ranks_draw_by_weights_as_one_process_does(teacher):
    weights = torch.arange(8.0)
    whole = views_of(teacher, batch=12, weights=weights).step(1)
    part = views_of(teacher, batch=12, weights=weights, rank=Rank(index=1, world=2)).step(1)
    assert torch.equal(part[0], whole[0][1::2])


def test_without_balance_every_image_comes_once_an_epoch_in_an_order_of_its_own(teacher):
    views = views_of(teacher, augment=False, mixed=0.0, balance=False, batch=3)
    order = [views._draw(step, generator(0, "unused")).tolist() for step in range(16)]
    flat = [place for part in order for place in part]
    epochs = [flat[start : start + 8] for start in range(0, 48, 8)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert (
        views_of(teacher, balance=False, batch=3)._draw(9, generator(0, "unused")).tolist()
        == order[9]
    )


def test_without_augmentation_images_and_logits_are_the_pool_s_own(teacher):
    views = views_of(teacher, augment=False, mixed=0.0)
    shown, wanted = views.step(0)
    pool = {tuple(i.flatten().tolist()): z for i, z in zip(
        views.images.images.float(), views.logits, strict=True
    )}  # fmt: skip
    for image, logits in zip(shown, wanted, strict=True):
        assert torch.equal(pool[tuple(image.flatten().tolist())], logits)


def test_no_motion_leaves_an_image_or_its_mirror_image(teacher):
    views = views_of(teacher, motion=0.0, mixed=0.0)
    shown, _ = views.step(0)
    stored = views.images.images.float()
    nearest = [
        min(float((image - known).abs().max()) for s in stored for known in (s, s.flip(-1)))
        for image in shown
    ]
    assert max(nearest) < 1e-5


def test_mixed_views_lie_between_two_images(teacher):
    still = views_of(teacher, motion=0.0, mixed=0.0).step(0)[0]
    mixed = views_of(teacher, motion=0.0, mixed=0.5).step(0)[0]
    assert torch.equal(still[32:], mixed[32:])
    assert not torch.equal(still[:32], mixed[:32])
    assert mixed.min() >= still.min()
    assert mixed.max() <= still.max()


def test_class_index_groups_images_by_class():
    order, starts, sizes = class_index(torch.tensor([2, 0, 2, 5, 0]))
    assert order.tolist() == [1, 4, 0, 2, 3]
    assert starts.tolist() == [0, 2, 4]
    assert sizes.tolist() == [2, 2, 1]


def test_places_are_those_of_torch_s_affine_grid():
    motions = _motions(7, 1.0, (32, 32), generator(0, "motions"))
    wanted = torch.nn.functional.affine_grid(motions, [7, 1, 5, 9], align_corners=False)
    torch.testing.assert_close(_places(motions, 5, 9), wanted)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 64), (48, 20)])
def test_views_of_any_shape_turn_without_shear(height, width):
    """In pixels both axes turn by one angle: a step down stays square to a step to the right."""
    motions = _motions(200, 1.0, (height, width), generator(0, "motions")).double()
    scale = torch.tensor([width, height], dtype=torch.float64)
    pixels = motions[:, :, :2] * scale.view(1, 2, 1) / scale.view(1, 1, 2)
    right, down = pixels[:, :, 0], pixels[:, :, 1]
    cosine = torch.nn.functional.cosine_similarity(right, down, dim=1)
    assert cosine.abs().max() < 1e-6
    turn = torch.atan2(pixels[:, 0, 1].abs(), pixels[:, 1, 1])
    assert 0.15 < float(turn.max()) < 0.21
