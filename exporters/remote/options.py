"""What a benchmark on another machine is asked to do; it crosses the connection as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cake_edge.errors import UsageMistake

__all__ = ["BenchOptions"]

OPENING_SECONDS = {"tensorrt": 3600}
"""What opening a model may take where that is more than reading it: engines are built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """How to measure latency and energy."""

    runtime: str = "ort"
    """A name in `exporters.runtimes.RUNTIMES`."""
    threads: int = 1
    """Processor threads an inference may use."""
    batch: int = 1
    """Images a call."""
    seconds: float = 3.0
    """Least time spent on each model's latency, warm-up aside."""
    energy_seconds: float = 10.0
    """Time spent on each model's energy, where the device has rails; 0 leaves it out."""
    idle_seconds: float = 5.0
    """Time spent on idle power before each model's energy; 0 leaves it out."""
    power_hz: float = 50.0
    """Readings of the power sensor a second."""
    seed: int = 0
    """Decides random images, the order of turns and bootstrap intervals."""
    force: bool = False
    """Times files made for another machine too."""

    def __post_init__(self) -> None:
        for name in ("threads", "batch"):
            if getattr(self, name) < 1:
                raise UsageMistake(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("energy_seconds", "idle_seconds"):
            if not 0 <= getattr(self, name) <= 3600:
                raise UsageMistake(f"{name} is {getattr(self, name)}; it must lie in [0, 3600]")
        if not 0 < self.seconds <= 3600:
            raise UsageMistake(f"seconds is {self.seconds}; it must lie in (0, 3600]")
        if not 10 <= self.power_hz <= 1000:
            raise UsageMistake(f"power_hz is {self.power_hz}; it must lie in [10, 1000]")
        if self.seed < 0:
            raise UsageMistake(f"seed is {self.seed}; it must be 0 or more")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def to_json(self) -> str:
        """All values as JSON; `from_json` is the inverse."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> BenchOptions:
        """Reads `to_json`; a value that is not there has its default.

        Raises:
            UsageMistake: it is not that.
        """
        try:
            values: Mapping[str, Any] = json.loads(text)
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise UsageMistake(f"not the options of a benchmark ({error}): {text[:200]}") from error

    def most_seconds(self, models: int) -> float:
        """How long measuring so many models may take before something must be wrong."""
        opening = OPENING_SECONDS.get(self.runtime, 60)
        latency = max(60.0, 4 * self.seconds) + 30
        each = opening + latency + self.energy_seconds + self.idle_seconds
        return math.ceil(120 + models * each)
