import pytest
import torch

from cake_edge.diagnostics import FAMILIES, agreement_by_family, agreement_on_fresh_images
from cake_edge.priors import PRIORS


class Shifted(torch.nn.Module):
    """Answers as another network does, but calls every class by the next one's name."""

    def __init__(self, network: torch.nn.Module, by: int) -> None:
        super().__init__()
        self.network, self.by = network, by

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images).roll(self.by, 1)


@pytest.fixture(scope="module")
def teacher(make_teacher):
    return make_teacher("plain")


def test_a_student_that_is_the_teacher_agrees_everywhere(teacher):
    same = Shifted(teacher.network, 0)
    assert agreement_on_fresh_images(same, teacher, 0) == 100
    assert agreement_by_family(same, teacher, "structured", 0) == dict.fromkeys(FAMILIES, 100.0)


def test_a_student_that_names_every_class_wrongly_agrees_nowhere(teacher):
    wrong = Shifted(teacher.network, 1)
    assert agreement_on_fresh_images(wrong, teacher, 0) == 0
    assert set(agreement_by_family(wrong, teacher, None, 0).values()) == {0.0}


def test_a_family_that_was_trained_on_is_left_out(teacher):
    same = Shifted(teacher.network, 0)
    assert set(agreement_by_family(same, teacher, "gratings", 0)) == {"spectrum", "random-network"}
    assert agreement_by_family(same, teacher, "broad", 0) == {}


def test_one_answer_for_everything_agrees_on_the_share_of_one_class(teacher):
    class Always(torch.nn.Module):
        def forward(self, images):
            return torch.nn.functional.one_hot(torch.zeros(len(images)).long(), 4).float()

    # Balanced by class, so that a constant answer is not rewarded for the commonest one.
    found = agreement_by_family(Always(), teacher, "structured", 0)
    with torch.no_grad():
        for name, value in found.items():
            drawn = PRIORS[name](4096, teacher.spec, torch.Generator().manual_seed(1))
            plain = 100 * float((teacher(drawn).argmax(1) == 0).double().mean())
            assert min(plain, 25) - 6 <= value <= max(plain, 25) + 6


def test_it_depends_on_the_seed_alone(teacher):
    class Moody(torch.nn.Module):
        def forward(self, images):
            wrong = images.mean((1, 2, 3)) > 0
            logits = teacher(images)
            return torch.where(wrong[:, None], logits.roll(1, 1), logits)

    first = agreement_by_family(Moody(), teacher, "structured", 0)
    assert agreement_by_family(Moody(), teacher, "structured", 0) == first
    assert agreement_by_family(Moody(), teacher, "structured", 1) != first
