"""The server scenario: one rate of queries, or the highest whose p99 stays within a bound.

A queue that grows without end may keep a bound for as long as a run lasts: at a rate that is too
high by the share d, it is d times the duration late at the end. A run therefore lasts at least
twenty times the bound, and no rate passes that is more than about 5 % beyond what the model bears.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cake_edge.progress import Progress, silent
from exporters.latency.clock import Clock
from exporters.latency.early_stopping import allowed_over, percentile_bound
from exporters.latency.lane import Images
from exporters.latency.qps_search import highest_rate
from exporters.latency.scenario_config import BOUNDS, ScenarioConfig
from exporters.latency.server import Limits, Served, poisson_arrivals, serve
from exporters.latency.statistics import Samples

__all__ = ["Probe", "ServerRun", "run_server", "search_server"]

BEHIND = 0.05
"""Share of a run that its last answer may come after the last query was due."""
GRACE = 1.25
"""Share of the time for sending queries after which none is begun any more."""
CEILING = 1.25
"""Rates are looked for up to so many times what calls without pause reach."""
P99 = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One rate that a search tried."""

    qps: float
    """Queries a second."""
    held: bool
    """Whether p99 stayed within the bound."""
    queries: int
    """Queries answered; few where the answer was clear early."""
    confirms: bool
    """Whether it tried a rate again, with other arrivals."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "qps": self.qps,
            "held": self.held,
            "queries": self.queries,
            "confirms": self.confirms,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRun:
    """Queries that came at random, and what became of them."""

    qps: float
    """Queries a second that were due on average."""
    workers: int
    """Threads that served."""
    bound_ms: float | None
    """What p99 was held to, or None."""
    served: Served
    """Every query."""
    why_invalid: tuple[str, ...] = ()
    """Sentences; empty where the run says what the rate's latency is."""
    probes: tuple[Probe, ...] = ()
    """What a search tried, in order; empty where the rate was given."""

    @property
    def searched(self) -> bool:
        """Whether the rate was looked for."""
        return bool(self.probes)

    @property
    def held(self) -> bool | None:
        """Whether p99, as early stopping estimates it, is within the bound; None without either."""
        if self.bound_ms is None:
            return None
        if self.served.unserved:
            return False
        estimate = percentile_bound(self.samples_ms, P99)
        return None if estimate is None else estimate <= self.bound_ms

    @property
    def samples_ms(self) -> Samples:
        """[served] milliseconds from due to answered."""
        return 1e3 * self.served.latencies

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        served, busy = self.served, float(np.sum(self.served.latencies - self.served.waits))
        return {
            "qps": self.qps,
            "answered_per_second": served.latencies.size / max(served.elapsed, 1e-9),
            "workers": self.workers,
            "bound_ms": self.bound_ms,
            "held": self.held,
            "busy": busy / max(self.workers * served.elapsed, 1e-9),
            "wait_ms": _spread(served.waits),
            "wakeup_ms": _spread(served.wakeups),
            "unserved": served.unserved,
            "search": [probe.to_dict() for probe in self.probes],
        }


def run_server(
    infer: Callable[[Images], Any],
    queries: Sequence[Images],
    config: ScenarioConfig,
    clock: Clock,
    qps: float,
    *,
    seed: int,
    give_up: bool = False,
) -> ServerRun:
    """Serves queries at a rate.

    Args:
        give_up: stop as soon as p99 cannot stay within the bound any more.
    """
    arrivals = poisson_arrivals(qps, _count(config, qps), seed)
    bound = math.inf if config.bound_ms is None else config.bound_ms / 1e3
    limits = Limits(
        seconds=GRACE * config.max_seconds,
        bound=bound,
        over=(allowed_over(arrivals.size, P99) or None) if give_up else None,
    )
    served = serve(infer, queries, arrivals, clock, workers=config.workers, limits=limits)
    return ServerRun(
        qps=qps,
        workers=config.workers,
        bound_ms=config.bound_ms,
        served=served,
        why_invalid=tuple(_why_invalid(served, arrivals, qps)),
    )


def search_server(
    infer: Callable[[Images], Any],
    queries: Sequence[Images],
    config: ScenarioConfig,
    clock: Clock,
    mean: float,
    progress: Progress = silent,
) -> ServerRun:
    """Looks for the highest rate whose p99 stays within `config.bound_ms`.

    Args:
        mean: seconds a call takes, roughly.

    Returns:
        A run at the rate found, with other arrivals than the search's; where none was
        found, a run without arrivals and with `qps` 0, which says why.
    """
    alone = _without_pause(infer, queries, config, clock, mean)
    if not alone.held:
        return replace(alone, why_invalid=(_too_slow(alone),))
    confirmed, probes = list[ServerRun](), list[Probe]()

    def holds(qps: float, confirms: bool) -> bool:
        if _count(config, qps) < config.queries:
            return False  # it would take long, and say nothing
        progress("server", len(probes), len(probes) + 1, f"{qps:.4g} queries a second")
        seed = config.seed + (len(probes) if confirms else 0)
        run = run_server(infer, queries, config, clock, qps, seed=seed, give_up=True)
        count = run.served.latencies.size
        probes.append(Probe(qps=qps, held=run.held is True, queries=count, confirms=confirms))
        if confirms and run.held:
            confirmed[:] = [run]
        return run.held is True

    ceiling = CEILING * config.workers / float(np.mean(alone.served.latencies))
    found = highest_rate(holds, ceiling, resolution=config.resolution)
    progress("server", len(probes), len(probes), "")
    if found is None:
        return replace(alone, why_invalid=(_none_held(config, probes),), probes=tuple(probes))
    return replace(confirmed[0], probes=tuple(probes))


def _none_held(config: ScenarioConfig, probes: Sequence[Probe]) -> str:
    tried = f", {min(probe.qps for probe in probes):.4g} and more a second," if probes else ""
    return (
        f"none of {len(probes)} rates tried{tried} held the bound twice; p99 takes "
        f"{config.queries} queries, for which rates below "
        f"{config.queries / config.max_seconds:.4g} a second need longer than "
        f"{config.max_seconds:g} s"
    )


def _without_pause(
    infer: Callable[[Images], Any],
    queries: Sequence[Images],
    config: ScenarioConfig,
    clock: Clock,
    mean: float,
) -> ServerRun:
    """One call after another, by one worker: what no queue can be faster than."""
    count = max(config.queries, math.ceil(config.min_seconds / max(mean, 1e-6)))
    limits = Limits(seconds=config.max_seconds)
    served = serve(infer, queries, np.zeros(count), clock, limits=limits)
    return ServerRun(
        qps=0.0,
        workers=config.workers,
        bound_ms=config.bound_ms,
        served=replace(
            served,
            latencies=served.latencies - served.waits,
            waits=np.zeros_like(served.waits),
            unserved=0,
        ),
    )


def _too_slow(alone: ServerRun) -> str:
    estimate = percentile_bound(alone.samples_ms, P99)
    if estimate is None:
        return f"{alone.samples_ms.size} calls are too few to tell p99: measure longer"
    return (
        f"even without a queue p99 is {estimate:.4g} ms, over the bound of {alone.bound_ms:g}: "
        "no rate holds it"
    )


def _count(config: ScenarioConfig, qps: float) -> int:
    """Queries of a run: enough for the percentile and for the time, if they come soon enough."""
    seconds = max(config.min_seconds, BOUNDS * (config.bound_ms or 0) / 1e3)
    return max(1, min(max(config.queries, math.ceil(qps * seconds)), int(qps * config.max_seconds)))


def _why_invalid(served: Served, arrivals: Samples, qps: float) -> Iterator[str]:
    if served.unserved:
        yield f"{served.unserved} of {arrivals.size} queries were given up when time had run out"
    elif served.elapsed - arrivals[-1] > BEHIND * arrivals[-1]:
        yield (
            f"it fell {served.elapsed - arrivals[-1]:.3g} s behind in {arrivals[-1]:.3g} s: at "
            f"{qps:.4g} queries a second latencies grow for as long as it lasts"
        )


def _spread(seconds: Samples) -> dict[str, float]:
    """p50 and p99 in milliseconds, nearest-rank."""
    p50, p99 = np.percentile(1e3 * seconds, (50, 99), method="inverted_cdf")
    return {"p50": float(p50), "p99": float(p99)}
