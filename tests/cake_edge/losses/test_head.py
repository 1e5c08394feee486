from dataclasses import replace

import pytest
import torch

from cake_edge.losses import classification, distill
from cake_edge.losses.head import head_of
from cake_edge.spec import HEADS, ImageSpec

SPEC = ImageSpec(channels=1, height=4, width=4, mean=(0.5,), std=(0.5,), classes=3)
LOGITS = torch.tensor([[2.0, 1.0, -1.0], [-3.0, -2.0, -1.0], [4.0, -1.0, 5.0]])
TARGETS = torch.tensor([1, 2, 0])


def head(word):
    return head_of(replace(SPEC, head=word))


def test_a_softmax_keeps_the_losses_it_has_always_had():
    found = head("softmax")
    assert found.match is distill.temperature_kl
    assert found.soft_cross_entropy is distill.soft_cross_entropy
    assert found.towards is classification.target_cross_entropy
    assert torch.equal(found.probabilities(LOGITS), LOGITS.softmax(1))


@pytest.mark.parametrize("word", HEADS)
def test_matching_is_best_where_both_answer_alike(word):
    found = head(word)
    other = LOGITS.flip(0)
    assert found.match(LOGITS, LOGITS, 2.0) < found.match(other, LOGITS, 2.0)
    assert found.soft_cross_entropy(LOGITS, LOGITS) < found.soft_cross_entropy(other, LOGITS)


@pytest.mark.parametrize("word", HEADS)
def test_going_towards_a_target_makes_it_more_probable(word):
    found, logits = head(word), LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(found.towards(logits, TARGETS).sum(), logits)
    rows = torch.arange(len(LOGITS))
    before, after = found.probabilities(LOGITS), found.probabilities(LOGITS - 0.1 * gradient)
    assert (after[rows, TARGETS] > before[rows, TARGETS]).all()


def test_a_class_is_hit_where_it_is_first_and_a_label_where_it_is_there():
    assert head("softmax").hits(LOGITS, TARGETS).tolist() == [False, True, False]
    assert head("sigmoid").hits(LOGITS, TARGETS).tolist() == [True, False, True]


@pytest.mark.parametrize("word", HEADS)
def test_no_target_is_never_hit(word):
    assert head(word).hits(LOGITS, torch.full((3,), -1)).tolist() == [False] * 3


def test_labels_are_probable_each_for_itself():
    shares = head("sigmoid").probabilities(LOGITS)
    assert shares.sum(1).tolist() != pytest.approx([1.0] * 3)
    assert shares[0, 0].item() == pytest.approx(0.8808, abs=1e-4)
