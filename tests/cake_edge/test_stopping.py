import pytest

from cake_edge.stopping import (
    CHECKS,
    LEAST,
    last_step,
    latest_turn,
    looks_every,
    settled,
    settling_rate,
)


def rising(*values):
    return [(100 * (number + 1), value) for number, value in enumerate(values)]


SLOW = [10.0 + 4 * number for number in range(CHECKS // LEAST - 3)]
"""As many checks as there are before training may end but for three; 50 at the highest or less."""


@pytest.mark.parametrize(
    ("last", "over"),
    [
        ((50.0, 50.0, 50.0), False),  # a quarter of the most steps has not passed
        ((50.0, 50.0, 50.0, 50.0), True),
        ((50.0, 50.5, 50.9, 50.2), True),  # less than a fiftieth of what is wrong is no rise
        ((50.0, 50.5, 51.1, 50.2), False),
        ((50.0, 60.0, 55.0, 52.0, 59.0), True),
        ((50.0, 60.0, 55.0, 52.0, 61.0), False),
    ],
)
def test_agreement_has_settled_when_patience_passes_without_a_rise(last, over):
    assert max(SLOW) < 50.0
    assert settled(rising(*SLOW, *last), patience=3) is over


def test_a_slow_start_is_no_end():
    """Of a thousand classes: less than a point of agreement for a fifth of the steps."""
    assert not settled(rising(0.1, 0.15, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8), patience=4)


def test_where_little_is_wrong_a_small_rise_is_one():
    labels = [97.0 + 0.2 * number for number in range(11)]
    assert not settled(rising(*labels), patience=4)
    assert settled(rising(*labels, 99.0, 99.0, 99.01, 99.0), patience=4)


def test_agreement_on_everything_cannot_rise_and_has_settled():
    assert settled(rising(*[100.0] * (CHECKS // LEAST + 1)), patience=4)


@pytest.mark.parametrize("steps", [*range(1, 200), 399, 4000])
def test_a_quarter_of_the_steps_is_the_least_before_the_rate_falls(steps):
    checks, turned = [], None
    for step in range(1, latest_turn(steps)):
        if step % looks_every(steps) == 0:
            checks.append((step, 50.0))
            if settled(checks, patience=1):
                turned = step
                break
    assert len(checks) <= CHECKS
    assert turned is None or turned >= steps / LEAST


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
