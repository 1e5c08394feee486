from __future__ import annotations

import numpy as np
import pytest
from reference import distill

from exporters.quantize.judge import score_of

RANDOM = np.random.default_rng(3)
WANTED = RANDOM.normal(size=(6, 5)) * 3
GIVEN = WANTED + RANDOM.normal(size=(6, 5))


def test_exclusive_classes_are_scored_as_one_answer():
    found = score_of(WANTED, GIVEN, "softmax")
    assert found.divergence == pytest.approx(
        distill.temperature_kl(GIVEN.tolist(), WANTED.tolist(), 1.0)
    )
    assert found.agreement == (WANTED.argmax(1) == GIVEN.argmax(1)).mean()
    shifted = score_of(WANTED, WANTED + 3, "softmax")
    assert shifted.divergence == pytest.approx(0, abs=1e-12)


def test_labels_are_scored_each_for_itself():
    found = score_of(WANTED, GIVEN, "sigmoid")
    assert found.divergence == pytest.approx(
        distill.binary_temperature_kl(GIVEN.tolist(), WANTED.tolist(), 1.0)
    )
    assert found.agreement == ((WANTED > 0) == (GIVEN > 0)).mean()
    assert score_of(WANTED, WANTED + 3, "sigmoid").divergence > 0.1


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_a_model_is_no_distance_from_itself_however_sure_it_is(head):
    sure = WANTED * 1000
    found = score_of(sure, sure, head)
    assert (found.divergence, found.agreement) == (0, 1)
