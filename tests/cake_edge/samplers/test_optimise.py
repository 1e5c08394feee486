import pytest
import torch
from reference import cake, selection

from cake_edge.errors import NumericsError
from cake_edge.samplers.optimise import (
    balanced_selection,
    descend,
    draw_tuples,
    near_classes,
    surest_selection,
)
from cake_edge.seeding import generator


@pytest.mark.parametrize("seed", range(6))
def test_selection_is_the_flattest_there_is_and_takes_earlier_images_first(seed):
    random = generator(seed, "labels")
    labels = (torch.rand(40, generator=random) ** 2 * 6).long()
    kept = balanced_selection(labels, 17)
    reference = selection.balanced(labels.tolist(), 17)
    assert len(set(kept.tolist())) == 17
    assert kept.tolist() == sorted(kept.tolist())
    assert selection.flatness(labels.tolist(), kept.tolist()) == selection.flatness(
        labels.tolist(), reference
    )


def test_the_surest_of_every_class_are_kept_before_the_second_of_any():
    logits = torch.zeros(7, 3)
    for image, (label, height) in enumerate(
        [(0, 1.0), (0, 5.0), (0, 3.0), (1, 0.1), (1, 0.3), (1, 0.2), (2, 9.0)]
    ):
        logits[image, label] = height
    random = generator(0, "chance")
    assert surest_selection(logits, 3, random, exclusive=True).tolist() == [1, 4, 6]
    assert surest_selection(logits, 5, random, exclusive=True).tolist() == [1, 2, 4, 5, 6]
    shifted = logits + torch.arange(7.0)[:, None]
    assert torch.equal(
        surest_selection(shifted, 5, generator(0, "c"), exclusive=True),
        surest_selection(logits, 5, generator(0, "c"), exclusive=True),
    )
    of_part = {
        tuple(surest_selection(logits, 4, generator(k, "c"), exclusive=True).tolist())
        for k in range(20)
    }
    assert of_part == {(1, 2, 4, 6), (1, 4, 5, 6)}
    assert surest_selection(logits, 7, random, exclusive=True).tolist() == list(range(7))


def test_independent_labels_are_as_sure_as_they_are_whatever_the_others():
    logits = torch.tensor([[9.0, 9.0, 9.0], [1.0, -1.0, -1.0], [0.5, -3.0, -3.0]])
    random = generator(0, "chance")
    assert surest_selection(logits, 1, random, exclusive=False).tolist() == [0]
    assert surest_selection(logits, 1, random, exclusive=True).tolist() == [2]
    single = torch.tensor([[-3.0], [4.0], [0.0]])
    assert surest_selection(single, 1, random, exclusive=False).tolist() == [1]


def test_a_near_class_is_never_the_first_and_is_drawn_by_its_odds():
    logits = torch.tensor([[9.0, 2.0, 0.0]]).expand(20_000, 3)
    drawn = near_classes(logits, 2.0, generator(0, "near"), exclusive=True)
    counts = torch.bincount(drawn, minlength=3)
    assert counts[0] == 0
    share = float(torch.sigmoid(torch.tensor(1.0)))  # a logit 2 above, at temperature 2
    assert float(counts[1]) / 20_000 == pytest.approx(share, abs=0.02)
    even = near_classes(logits, 1000.0, generator(0, "near"), exclusive=True)
    assert float((even == 1).double().mean()) == pytest.approx(0.5, abs=0.02)


def test_of_labels_that_stand_for_themselves_those_not_seen_yet_are_near():
    logits = torch.tensor([[3.0, 2.0, -1.0, -3.0]]).expand(20_000, 4)
    drawn = near_classes(logits, 2.0, generator(0, "near"), exclusive=False)
    counts = torch.bincount(drawn, minlength=4)
    assert counts[:2].tolist() == [0, 0]
    odds = torch.sigmoid(torch.tensor([-1.0, -3.0])).sqrt()
    assert float(counts[2]) / 20_000 == pytest.approx(float(odds[0] / odds.sum()), abs=0.02)


@pytest.mark.parametrize(
    ("logits", "near"), [([5.0, 1.0, 2.0], {1, 2}), ([-9.0, -4.0, -5.0], {0, 1, 2})]
)
def test_where_all_labels_are_seen_or_none_some_are_near_all_the_same(logits, near):
    """The boundary that is nearest is the surest label's where none is seen."""
    rows = torch.tensor([logits]).expand(2_000, 3)
    drawn = near_classes(rows, 2.0, generator(0, "near"), exclusive=False)
    assert set(drawn.tolist()) == near


def test_tuples_name_distinct_classes_and_every_class_about_as_often():
    targets = draw_tuples(600, 4, 10, generator(0, "y"))
    assert cake.are_tuple_labels(targets.tolist(), 4, 10)
    counts = torch.bincount(targets.flatten(), minlength=10)
    assert counts.min() > 180
    assert counts.max() < 300


def test_images_go_downhill_inside_the_box_and_are_left_as_they_were():
    start = torch.full((3, 1, 2, 2), 0.5)
    goal = torch.tensor([2.0, 0.6, -3.0]).view(3, 1, 1, 1)
    bounds = (torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))

    def loss(images):
        return (images - goal).square().mean((1, 2, 3))

    early, late = descend(start, loss, torch.full((3, 1, 1, 1), 0.05), bounds, (3, 60))
    assert torch.equal(start, torch.full((3, 1, 2, 2), 0.5))
    assert (loss(late) < loss(early)).all()
    assert (loss(early) < loss(start)).all()
    assert late[0].unique().item() == 1.0
    assert late[2].unique().item() == 0.0
    assert late[1].mean().item() == pytest.approx(0.6, abs=0.05)


def test_each_image_moves_by_its_own_step_size():
    start = torch.full((2, 1, 1, 1), 0.5)
    reach = torch.tensor([0.01, 0.1]).view(2, 1, 1, 1)
    bounds = (torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    (moved,) = descend(start, lambda x: x.sum((1, 2, 3)), reach, bounds, (1,))
    # The first step of Adam is the step size itself, against the sign of the gradient.
    assert (start - moved).flatten().tolist() == pytest.approx([0.01, 0.1], rel=1e-4)


def test_a_loss_that_is_not_finite_is_refused():
    bounds = (torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    with pytest.raises(NumericsError, match="NaN or infinite"):
        descend(
            torch.zeros(1, 1, 1, 1),
            lambda x: x.sum((1, 2, 3)) / 0.0,
            torch.full((1, 1, 1, 1), 0.1),
            bounds,
            (1,),
        )


def test_one_logit_beside_zero_is_as_sure_of_no_as_of_yes():
    logits = torch.tensor([[0.0, z] for z in (-1.0, -9.0, 2.0, 8.0, -3.0)])
    assert surest_selection(logits, 2, generator(0, "c"), exclusive=True).tolist() == [1, 3]


def test_of_more_classes_than_are_kept_the_surer_come_more_often():
    logits = torch.diag(torch.linspace(1, 20, 40))
    kept = [surest_selection(logits, 10, generator(k, "c"), exclusive=True) for k in range(20)]
    counts = torch.bincount(torch.cat(kept), minlength=40)
    assert counts[20:].sum() > 1.5 * counts[:20].sum()
    assert (counts[10:] > 0).sum() > 20
