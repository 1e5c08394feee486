from dataclasses import replace
from types import SimpleNamespace

from benchmarks.paper import pools
from cake_edge.samplers import GdfqConfig


def test_a_generator_is_trained_in_one_process_whatever_the_workers(small, tmp_path, monkeypatch):
    asked = []
    synthesize = pools.synthesize

    def watched(*given, workers, **named):
        asked.append(workers)
        return synthesize(*given, workers=1, **named)

    monkeypatch.setattr(pools, "synthesize", watched)
    row = replace(small.row, sampler=GdfqConfig(train_steps=1, train_batch=4, width=4))
    pools.pool_of(row, small.teacher, tmp_path, 0, 2)
    pools.pool_of(small.row, small.teacher, tmp_path, 0, 2)
    assert asked == [1, 2]


def test_a_pool_that_is_opened_again_has_the_seconds_of_its_making(small, tmp_path, monkeypatch):
    clock = iter([10.0, 17.0, 100.0, 300.0])
    monkeypatch.setattr(pools, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    for _ in range(2):
        assert pools.pool_of(small.row, small.teacher, tmp_path, 0, 1)[1] == 7.0
