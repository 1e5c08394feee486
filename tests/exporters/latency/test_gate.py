from __future__ import annotations

import numpy as np
import pytest
from reference.bench_results import calls

from exporters.latency.gate import compare_samples, judge, resample, worsening
from exporters.latency.limits import Limit, parse_limits

P50 = parse_limits("p50:+5%")
BUSY = "load 3 on 2 cores"


def verdict(base: np.ndarray, new: np.ndarray, *, disturbed: str | None = None) -> str:
    (change,) = compare_samples(base, new, P50, disturbed=disturbed)
    return change.verdict


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(1.0, "ok"), (1.03, "ok"), (1.1, "worse"), (0.97, "ok"), (0.8, "better")],
)
@pytest.mark.parametrize("disturbed", [None, BUSY])
def test_a_model_that_is_slower_in_every_call_is_found(
    factor: float, expected: str, disturbed: str | None
) -> None:
    found = verdict(calls(2.0), calls(2.0 * factor, seed=1), disturbed=disturbed)
    assert found == expected


def test_a_change_beyond_its_limit_within_noise_is_called_noisy() -> None:
    random = np.random.default_rng(0)
    base, new = (random.choice([1.0, 2.0], size=(20, 5)) for _ in range(2))
    base[:9], base[9:] = 1.0, 2.0
    new[:8], new[8:] = 1.0, 2.0
    (change,) = compare_samples(base, new * 1.06, P50)
    assert change.interval is not None
    assert change.interval.low < 0 < change.interval.high
    assert change.verdict == "noisy"
    assert "holds zero" in change.why


def test_other_work_that_spares_the_fastest_calls_is_no_regression() -> None:
    base, new = calls(1.0), calls(1.0, seed=1)
    new[30:] *= 1.08
    assert verdict(base, new) == "worse"
    (change,) = compare_samples(base, new, P50, disturbed=BUSY)
    assert change.verdict == "noisy"
    assert BUSY in change.why
    assert "fastest tenth" in change.why


def test_where_no_call_was_alone_nothing_is_proven() -> None:
    random = np.random.default_rng(0)
    base = 1 + random.random((200, 5))
    new = 1.5 * base
    assert verdict(base, new) == "worse"
    (change,) = compare_samples(base, new, P50, disturbed=BUSY)
    assert (change.verdict, "left alone" in change.why) == ("noisy", True)
    (same,) = compare_samples(base, base, P50, disturbed=BUSY)
    assert same.verdict == "noisy"


def test_other_work_in_the_base_does_not_hide_a_slower_model() -> None:
    base, new = calls(1.0), calls(1.1, seed=1)
    base[30:] *= 1.09
    assert verdict(base, new) == "ok"
    assert verdict(base, new, disturbed=BUSY) == "worse"


def test_every_percentile_has_its_own_verdict() -> None:
    base, new = calls(1.0), calls(1.0, seed=1)
    new[:, 0] *= 3
    limits = parse_limits("p50:+5%,p90:+5%,p99:+10%,mean:+5%")
    found = [change.verdict for change in compare_samples(base, new, limits)]
    assert found == ["ok", "worse", "worse", "worse"]


def test_a_limit_in_milliseconds_is_held() -> None:
    before, after = resample(calls(10.0), seed=0), resample(calls(10.6), seed=1)
    found = [judge(before, after, parse_limits(t)[0]).verdict for t in ("p50:+0.5", "p50:+0.7")]
    assert found == ["worse", "ok"]


def test_the_interval_holds_the_true_change_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        base, new = (
            np.random.default_rng(2 * seed + side).gamma(20, 0.05 * (1 + 0.1 * side), (120, 5))
            for side in (0, 1)
        )
        (change,) = compare_samples(base, new, P50, seed=seed)
        assert change.interval is not None
        held += change.interval.low <= 0.1 <= change.interval.high
    assert 88 <= held <= 100


@pytest.mark.parametrize(
    ("text", "base", "new", "expected"),
    [
        ("bytes:+0%", 100, 100, "ok"),
        ("bytes:+0%", 100, 101, "worse"),
        ("bytes:+10%", 100, 110, "ok"),
        ("bytes:+0%", 100, 90, "better"),
        ("bytes:+0%", 0, 1, "worse"),
        ("top1:-0.5", 90.0, 89.5, "ok"),
        ("top1:-0.5", 90.0, 89.4, "worse"),
        ("top1:-0.5", 90.0, 91.0, "better"),
        ("top1:-1%", 50.0, 49.4, "worse"),
    ],
)
def test_single_values_are_held_to_their_limit(
    text: str, base: float, new: float, expected: str
) -> None:
    change = worsening(base, new, parse_limits(text)[0])
    assert (change.verdict, change.interval) == (expected, None)


def test_an_energy_within_its_sensor_s_uncertainty_is_noisy() -> None:
    limit = Limit(name="energy", amount=5, relative=True)
    assert worsening(10.0, 11.0, limit, 2.0).verdict == "noisy"
    sure = worsening(10.0, 11.0, limit, 0.5)
    assert sure.verdict == "worse"
    assert sure.interval is not None
    assert (sure.interval.low, sure.interval.high) == pytest.approx((0.05, 0.15))
