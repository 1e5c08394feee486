from __future__ import annotations

from exporters.latency.clock import WallClock


def test_the_wall_clock_waits_at_least_as_long_as_asked():
    clock = WallClock()
    before = clock.now()
    clock.sleep(0.005)
    assert clock.now() - before >= 0.005
