import pytest

from cake_edge.stopping import last_step, latest_turn, settled, settling_rate


def rising(*values):
    return [(100 * (number + 1), value) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "over"),
    [
        ((), False),
        ((50.0, 50.0, 50.0), False),  # not yet as many as are waited for, and one before them
        ((50.0, 50.0, 50.0, 50.0), True),
        ((50.0, 50.3, 50.4, 50.2), True),  # less than half a point is no rise
        ((50.0, 50.0, 50.0, 50.6), False),
        ((50.0, 60.0, 55.0, 52.0, 59.0), True),
        ((50.0, 60.0, 55.0, 52.0, 61.0), False),
    ],
)
def test_agreement_has_settled_when_patience_passes_without_a_rise(values, over):
    assert settled(rising(*values), patience=3) is over


def test_the_rate_stays_level_until_it_is_told_to_fall_and_ends_at_zero():
    level = [settling_rate(step, None, 0.1, warmup=4) for step in range(50)]
    assert level[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert set(level[4:]) == {0.1}
    end = last_step(30, 1000)
    assert end == 40
    falling = [settling_rate(step, 30, 0.1, warmup=4) for step in range(30, end + 1)]
    assert falling[0] == pytest.approx(0.1)
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == pytest.approx(0.0)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 100, 101, 102, 103])
def test_training_never_goes_beyond_the_steps_allowed(steps):
    assert last_step(None, steps) == steps
    turned = latest_turn(steps)
    assert 1 <= turned <= last_step(turned, steps) <= steps
    assert last_step(turned, steps) >= steps - 1
