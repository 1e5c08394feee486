"""Latency: measured in turns, summarised with intervals, told with the machine it came from."""

from exporters.latency.environment import (
    INSIDE_THE_CLOCK,
    int8_outlook,
    latency_environment,
    load_average,
)
from exporters.latency.harness import (
    LatencyConfig,
    LatencyResult,
    measure,
    paired_ratio,
    random_images,
)
from exporters.latency.statistics import Interval

__all__ = [
    "INSIDE_THE_CLOCK",
    "Interval",
    "LatencyConfig",
    "LatencyResult",
    "int8_outlook",
    "latency_environment",
    "load_average",
    "measure",
    "paired_ratio",
    "random_images",
]
