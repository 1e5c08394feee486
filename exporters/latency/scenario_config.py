"""What a scenario asks: who sends queries when, and which figure counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cake_edge.errors import UsageMistake, near_names
from exporters.latency.early_stopping import queries_needed

__all__ = ["BOUNDS", "NOT_A_SUBMISSION", "SCENARIOS", "ScenarioConfig"]

SCENARIOS: dict[str, str] = {
    "single-stream": "one image a query, the next when the one before is answered; p90",
    "multi-stream": "several images a query, the next when the one before is answered; p99",
    "offline": "everything is there at the start; images a second",
    "server": "one image a query, which come at random (Poisson); p99 from when each was due",
}
"""MLPerf Inference's scenarios by its names, and what counts in each."""
NOT_A_SUBMISSION = (
    "the scenario as MLPerf Inference names and defines it, but shorter, with inputs and software "
    "of our own and unreviewed: not an MLPerf result and not a submission"
)
"""What must be said wherever a result is shown."""
BOUNDS = 20
"""A run lasts so many times the bound at least; `exporters.latency.server_run` says why."""
SHARES = {"single-stream": 0.90, "multi-stream": 0.99, "server": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioConfig:
    """One scenario and how long it lasts; both a time and a count must be met."""

    scenario: str = "single-stream"
    """One of `SCENARIOS`."""
    streams: int = 8
    """multi-stream: images a query, answered as one batch; 8 is MLPerf's."""
    batch: int = 1
    """offline: images a call."""
    workers: int = 1
    """offline and server: threads that call the model at the same time."""
    qps: float | None = None
    """server: queries a second on average; None looks for the highest that hold `bound_ms`."""
    bound_ms: float | None = None
    """server: what p99 may be."""
    min_seconds: float = 10.0
    """Least duration; MLPerf's is 600."""
    min_queries: int = 100
    """Least number of queries; more are made where the percentile needs them."""
    max_seconds: float = 120.0
    """When a run (of a search: each) stops with fewer queries than that."""
    warmup_seconds: float = 0.5
    """Calls before the first query last at least this long."""
    resolution: float = 0.02
    """A search ends where the next rate that fails is at most this share higher."""
    seed: int = 0
    """Decides when queries come."""

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise UsageMistake(
                f"no scenario {self.scenario!r}{near_names(self.scenario, SCENARIOS)}; "
                f"allowed: {', '.join(SCENARIOS)}"
            )
        for name in ("streams", "batch", "workers", "min_queries"):
            if getattr(self, name) < 1:
                raise UsageMistake(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("qps", "bound_ms", "resolution"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageMistake(f"{name} is {value}; it must be positive")
        self._check_durations()
        self._check_server()

    def _check_durations(self) -> None:
        for name in ("min_seconds", "warmup_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageMistake(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not self.min_seconds <= self.max_seconds < math.inf:
            raise UsageMistake(
                f"max_seconds is {self.max_seconds}; it must be at least min_seconds "
                f"({self.min_seconds}), and finite"
            )

    def _check_server(self) -> None:
        if self.scenario != "server" and (self.qps, self.bound_ms) != (None, None):
            raise UsageMistake(
                f"qps and bound_ms belong to the scenario server, not {self.scenario}"
            )
        if self.scenario == "server" and self.qps is None and self.bound_ms is None:
            raise UsageMistake(
                "server needs qps (queries a second), or bound_ms to look for the highest qps"
            )
        if self.qps is not None and self.qps * self.max_seconds < self.min_queries:
            raise UsageMistake(
                f"qps is {self.qps:g}, which sends {self.qps * self.max_seconds:.0f} of "
                f"{self.min_queries} queries (min_queries) in {self.max_seconds:g} s (max_seconds)"
            )
        if BOUNDS * (self.bound_ms or 0) / 1e3 > self.max_seconds:
            raise UsageMistake(
                f"bound_ms is {self.bound_ms:g}, which wants runs of {BOUNDS} times that; "
                f"max_seconds is {self.max_seconds:g}: raise it, or lower the bound"
            )
        if self.workers > 1 and self.scenario not in ("offline", "server"):
            raise UsageMistake(
                f"workers is {self.workers}; {self.scenario} sends one query after another"
            )

    @property
    def images_per_query(self) -> int:
        """Images in each call: the batch to open a session for."""
        return {"multi-stream": self.streams, "offline": self.batch}.get(self.scenario, 1)

    @property
    def share(self) -> float | None:
        """The percentile that counts, as a share; None for offline."""
        return SHARES.get(self.scenario)

    @property
    def queries(self) -> int:
        """Least number of queries that the percentile that counts can be told from."""
        return max(self.min_queries, queries_needed(self.share) if self.share else 1)
