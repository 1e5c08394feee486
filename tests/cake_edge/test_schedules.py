import pytest
from reference import cake, schedules

from cake_edge.schedules import cosine, log_cosine, log_linear, one_cycle


@pytest.mark.parametrize("step", [0, 1, 17, 99])
def test_every_schedule_is_the_literal_one(step):
    assert log_linear(step, 100, 0.1, 4) == pytest.approx(cake.step_size_linear(step, 100, 0.1, 4))
    assert log_cosine(step, 100, 0.1, 4) == pytest.approx(cake.step_size_cosine(step, 100, 0.1, 4))
    assert cosine(step, 100, 0.3, 10) == pytest.approx(schedules.warm_cosine(step, 100, 0.3, 10))
    assert one_cycle(step, 100, 0.5) == pytest.approx(schedules.one_cycle(step, 100, 0.5))


def test_the_released_range_runs_from_a_tenth_to_almost_a_hundred_thousandth():
    assert log_linear(0, 512, 0.1, 4) == pytest.approx(0.1)
    assert log_linear(511, 512, 0.1, 4) == pytest.approx(1e-5, rel=0.02)
