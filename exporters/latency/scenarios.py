"""Four ways in which a model is used, and the latency or throughput that its user then sees.

Names and definitions are those of MLPerf Inference (Reddi et al., "MLPerf Inference Benchmark",
ISCA 2020, section 3.4; MLCommons inference rules). Results are no MLPerf results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cake_edge.errors import UsageMistake
from cake_edge.progress import Progress, silent
from exporters.latency import statistics
from exporters.latency.clock import Clock, WallClock
from exporters.latency.early_stopping import percentile_bound
from exporters.latency.lane import Images, Inference, no_garbage_collection
from exporters.latency.scenario_config import NOT_A_SUBMISSION, SCENARIOS, ScenarioConfig
from exporters.latency.server import Limits, serve
from exporters.latency.server_run import ServerRun, run_server, search_server
from exporters.latency.statistics import Samples

__all__ = ["SCENARIOS", "ScenarioConfig", "ScenarioResult", "run_scenario"]

OFFLINE_MARGIN = 3.0
"""So many times more calls are at hand than warm-up says the time will do."""
MOST_CALLS = 2_000_000
"""Of one run."""
Infer = Callable[[Images], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """What a scenario showed."""

    config: ScenarioConfig
    """What was asked."""
    samples_ms: Samples
    """[queries] latencies in the order of time; of offline the calls one by one."""
    seconds: float
    """Wall time from the first query to the last answer."""
    server: ServerRun | None = None
    """server: arrivals and the queue, or None."""

    @property
    def images(self) -> int:
        """Images answered."""
        return self.samples_ms.size * self.config.images_per_query

    @property
    def estimate_ms(self) -> float | None:
        """The percentile that counts, as early stopping estimates it; None after too few."""
        if self.config.share is None:
            return None
        return percentile_bound(self.samples_ms, self.config.share)

    @property
    def why_invalid(self) -> tuple[str, ...]:
        """Sentences; empty where the figure that counts is there."""
        said = [] if self.server is None else list(self.server.why_invalid)
        share, count = self.config.share, self.samples_ms.size
        if not said and share is not None and self.estimate_ms is None:
            said.append(
                f"{count} queries say too little of p{100 * share:.0f}, which needs "
                f"{self.config.queries}: measure longer"
            )
        if self.server is None and self.seconds < self.config.min_seconds:
            said.append(
                f"it lasted {self.seconds:.1f} s of the {self.config.min_seconds:g} asked for"
            )
        return tuple(said)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: everything but the raw samples."""
        config, summary = self.config, statistics.summarise(self.samples_ms)
        why = self.why_invalid
        return {
            "scenario": config.scenario,
            "definition": SCENARIOS[config.scenario],
            "note": NOT_A_SUBMISSION,
            "metric": _metric(config),
            "value": None if why else self._value(),
            "valid": not why,
            "why_invalid": list(why),
            "early_stopping_ms": self.estimate_ms,
            "latency_ms": {
                "p50": summary.p50,
                "p90": summary.p90,
                "p95": summary.p95,
                "p99": summary.p99,
                "mean": summary.mean,
                "min": summary.minimum,
                "max": summary.maximum,
                "n_samples": summary.count,
            },
            "images_per_query": config.images_per_query,
            "images_per_second": self._throughput(),
            "seconds": self.seconds,
            "server": None if self.server is None else self.server.to_dict(),
            "config": asdict(config),
        }

    def _throughput(self) -> float:
        return self.images / max(self.seconds, 1e-9)

    def _value(self) -> float | None:
        if self.config.scenario == "offline":
            return self._throughput()
        if self.server is not None and self.server.searched:
            return self.server.qps
        return self.estimate_ms


def run_scenario(
    session: Inference,
    images: Images,
    config: ScenarioConfig,
    *,
    clock: Clock | None = None,
    progress: Progress = silent,
) -> ScenarioResult:
    """Runs one scenario on an open model.

    Args:
        session: opened for `config.images_per_query` images a call; with workers it is called by
            several threads at once, which ONNX Runtime allows.
        images: [n, C, H, W] of the model's input space; queries take them in turn, from the start
            again where they run out.
        clock: the wall's, unless a test brings its own.

    Raises:
        UsageMistake: images is empty or has another number of dimensions.
    """
    queries = _queries(images, config.images_per_query)
    clock = clock or WallClock()
    with no_garbage_collection():
        mean = _warm_up(session.infer, queries, config, clock)
        if config.scenario == "offline":
            return _offline(session.infer, queries, config, clock, mean)
        if config.scenario == "server":
            return _server(session.infer, queries, config, clock, mean, progress)
        return _streamed(session.infer, queries, config, clock, progress)


def _metric(config: ScenarioConfig) -> str:
    if config.scenario == "offline":
        return "images a second"
    if config.scenario == "server" and config.qps is None:
        return f"queries a second with p99 within {config.bound_ms:g} ms"
    return f"p{100 * (config.share or 0):.0f} ms, early-stopping estimate"


def _queries(images: Images, size: int) -> list[Images]:
    """All images, `size` a query; the last query begins again at the first image."""
    if images.ndim != 4 or not len(images):
        raise UsageMistake(
            f"images have shape {list(images.shape)}; they must be [n, C, H, W], at least one"
        )
    count = -(-len(images) // size)
    if count * size == len(images):
        return np.split(images, count)
    return np.split(np.take(images, range(count * size), axis=0, mode="wrap"), count)


def _warm_up(
    infer: Infer,
    queries: Sequence[Images],
    config: ScenarioConfig,
    clock: Clock,
) -> float:
    """Calls for the time asked for, at least three times; returns mean seconds a call."""
    start, calls = clock.now(), 0
    infer(queries[0])  # pays for allocation, and is no measure of the others
    first = clock.now()
    while calls < 2 or clock.now() - start < config.warmup_seconds:
        infer(queries[calls % len(queries)])
        calls += 1
    return max((clock.now() - first) / calls, 1e-9)


def _streamed(
    infer: Infer,
    queries: Sequence[Images],
    config: ScenarioConfig,
    clock: Clock,
    progress: Progress,
) -> ScenarioResult:
    """Each query follows the answer to the one before."""
    found, wanted = list[float](), config.queries
    start = end = shown = clock.now()
    while True:
        images = queries[len(found) % len(queries)]
        before = clock.now()
        infer(images)
        end = clock.now()
        found.append(end - before)
        elapsed = end - start
        share = min(len(found) / wanted, elapsed / (config.min_seconds or 1e-9))
        over = share >= 1 or elapsed >= config.max_seconds
        if over or end - shown > 0.2:
            shown = end
            progress(config.scenario, min(int(100 * share), 100), 100, f"{len(found)} queries")
        if over:
            return ScenarioResult(
                config=config, samples_ms=1e3 * np.asarray(found), seconds=elapsed
            )


def _offline(
    infer: Infer, queries: Sequence[Images], config: ScenarioConfig, clock: Clock, mean: float
) -> ScenarioResult:
    """All calls are due at once, more than fit the time; what is over then is left."""
    seconds = max(config.min_seconds, config.queries * mean / config.workers)
    planned = max(config.queries, math.ceil(OFFLINE_MARGIN * seconds * config.workers / mean))
    limits = Limits(seconds=min(seconds, config.max_seconds))
    arrivals = np.zeros(min(planned, MOST_CALLS))
    served = serve(infer, queries, arrivals, clock, workers=config.workers, limits=limits)
    return ScenarioResult(
        config=config,
        samples_ms=1e3 * (served.latencies - served.waits),
        seconds=served.elapsed,
    )


def _server(
    infer: Infer,
    queries: Sequence[Images],
    config: ScenarioConfig,
    clock: Clock,
    mean: float,
    progress: Progress,
) -> ScenarioResult:
    if config.qps is None:
        run = search_server(infer, queries, config, clock, mean, progress)
    else:
        run = run_server(infer, queries, config, clock, config.qps, seed=config.seed)
    return ScenarioResult(
        config=config, samples_ms=run.samples_ms, seconds=run.served.elapsed, server=run
    )
