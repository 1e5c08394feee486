from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from cake_edge.errors import UsageMistake
from cake_edge.seeding import generator
from cake_edge.spec import OTHER, ImageSpec
from cake_edge.teachers.adapters import FixedBatch, innermost
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.subset import keep_classes, subset_of

NAMES = ("ant", "bee", "cat", "dog", "eel")
SPEC = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.2,), classes=5, labels=NAMES)


@pytest.fixture
def teacher(make_teacher: Any) -> FrozenTeacher:
    found: FrozenTeacher = make_teacher("plain", spec=SPEC)
    # Untrained logits are all alike; these differ, so that what is left out matters.
    found.network.head.weight.mul_(20)
    return found


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn((6, 1, 8, 8), generator=generator(0, "images"))


def test_the_kept_logits_are_the_teacher_s_in_the_order_asked_for(teacher, images):
    found = keep_classes(teacher, ["dog", "ant"], other=False)
    assert torch.equal(found(images), teacher(images)[:, [3, 0]])
    given = teacher(images).softmax(1)[:, [3, 0]]
    torch.testing.assert_close(found(images).softmax(1), given / given.sum(1, keepdim=True))


def test_with_other_the_probabilities_are_the_teacher_s_own(teacher, images):
    found = keep_classes(teacher, ["dog", "ant"], other=True)
    whole, shares = teacher(images).softmax(1), found(images).softmax(1)
    torch.testing.assert_close(shares[:, :2], whole[:, [3, 0]])
    torch.testing.assert_close(shares[:, 2], whole[:, [1, 2, 4]].sum(1))


def test_other_has_the_gradient_of_all_that_it_stands_for(teacher, images):
    shown = images.clone().requires_grad_()
    found = keep_classes(teacher, ["dog", "ant"], other=True)
    (one,) = torch.autograd.grad(found(shown).log_softmax(1)[:, 2].sum(), shown)
    rest = teacher(shown).log_softmax(1)[:, [1, 2, 4]].logsumexp(1)
    (same,) = torch.autograd.grad(rest.sum(), shown)
    torch.testing.assert_close(one, same, rtol=1e-4, atol=1e-5)


def test_the_spec_says_what_was_kept_and_of_what(teacher):
    found = keep_classes(teacher, ["dog", "ant"], other=True)
    assert (found.spec.classes, found.spec.labels) == (3, ("dog", "ant", "other"))
    assert found.spec.source_classes == (3, 0, OTHER)
    assert found.source.endswith("2 of 5 classes and other")
    assert found.origins["classes"] == "a selection, as asked for"
    assert found.architecture == teacher.architecture
    assert ImageSpec.from_dict(found.spec.to_dict()) == found.spec


def test_an_index_is_as_good_as_a_name_and_names_the_class_where_there_is_none(teacher, images):
    by_name = keep_classes(teacher, ["dog", "ant"], other=False)
    by_index = keep_classes(teacher, ["3", "0"], other=False)
    assert by_name.digest == by_index.digest
    assert by_index.spec.labels == ("dog", "ant")
    nameless = FrozenTeacher(teacher.network, replace(SPEC, labels=None), architecture="plain")
    assert keep_classes(nameless, ["3", "0"], other=True).spec.labels == ("3", "0", "other")


def test_each_selection_is_a_teacher_of_its_own(teacher):
    selections = [(["ant", "bee"], False), (["bee", "ant"], False), (["ant", "bee"], True)]
    digests = {keep_classes(teacher, names, other=other).digest for names, other in selections}
    assert len(digests | {teacher.digest}) == 4


def test_a_selection_of_a_selection_counts_from_the_first(teacher, images):
    once = keep_classes(teacher, ["eel", "dog", "cat"], other=False)
    twice = keep_classes(once, ["cat", "eel"], other=True)
    assert twice.spec.source_classes == (2, 4, OTHER)
    assert torch.equal(twice(images)[:, :2], teacher(images)[:, [2, 4]])
    torch.testing.assert_close(twice(images)[:, 2], teacher(images)[:, 3])


def test_labels_that_do_not_exclude_each_other_are_kept_alone(make_teacher, images):
    several = make_teacher("plain", spec=replace(SPEC, head="sigmoid"))
    found = keep_classes(several, ["cat", "bee"], other=False)
    assert found.spec.head == "sigmoid"
    assert torch.equal(found(images), several(images)[:, [2, 1]])
    with pytest.raises(UsageMistake, match=r"--other has no meaning .* do not exclude each other"):
        keep_classes(several, ["cat", "bee"], other=True)


@pytest.mark.parametrize(
    ("names", "other", "said"),
    [
        (["cat", "2"], False, "names a class twice"),
        (["cow", "bee"], False, r"no class 'cow'.*its classes have names; give names or indices"),
        (["beee", "cat"], False, r"no class 'beee' \(did you mean bee"),
        (["cat", "5"], False, "no class '5'.*indices from 0 to 4"),
        (["cat", "-1"], False, "no class '-1'"),
        (list(NAMES), True, "--other has no meaning where --classes keeps all"),
    ],
)
def test_what_names_no_selection_is_refused(teacher, names, other, said):
    with pytest.raises(UsageMistake, match=said):
        keep_classes(teacher, names, other=other)


def test_names_need_labels(teacher):
    nameless = FrozenTeacher(teacher.network, replace(SPEC, labels=None), architecture="plain")
    with pytest.raises(UsageMistake, match=r"give names \(with --labels FILE.*or indices"):
        keep_classes(nameless, ["cat", "dog"], other=False)


def test_a_name_that_several_classes_have_is_refused_with_their_indices(teacher):
    labels = ("crane", "bee", "crane", "dog", "eel")
    twice = FrozenTeacher(teacher.network, replace(SPEC, labels=labels), architecture="plain")
    with pytest.raises(UsageMistake, match=r"2 classes named 'crane'; give the index .* 0 or 2"):
        keep_classes(twice, ["crane", "bee"], other=False)
    found = keep_classes(twice, ["2", "bee"], other=False)
    assert found.spec.source_classes == (2, 1)


def test_the_selection_is_found_among_adapters(teacher):
    assert subset_of(teacher.network) is None
    found = keep_classes(teacher, ["dog", "ant"], other=True)
    around = FixedBatch(found.network, 2)
    assert subset_of(around) is found.network
    assert subset_of(around).kept.tolist() == [3, 0]
    assert subset_of(around).classes == 5
    assert innermost(around) is teacher.network
