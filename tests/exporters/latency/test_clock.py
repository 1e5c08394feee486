from __future__ import annotations

import gc

import pytest

from exporters.latency.clock import WallClock, no_garbage_collection


def test_the_wall_clock_waits_at_least_as_long_as_asked():
    clock = WallClock()
    before = clock.now()
    clock.sleep(0.005)
    assert clock.now() - before >= 0.005


def test_the_collector_rests_and_is_put_back_whatever_happens():
    assert gc.isenabled()

    def fail():
        with no_garbage_collection():
            assert not gc.isenabled()
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert gc.isenabled()
    gc.disable()
    try:
        with no_garbage_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
