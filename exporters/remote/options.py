"""What a benchmark on another machine is asked to do; it crosses the connection as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cake_edge.errors import UsageMistake
from exporters.latency.isolation.worker import Setting
from exporters.latency.sweep import doublings

if TYPE_CHECKING:
    from exporters.latency.harness import LatencyConfig

__all__ = ["BenchOptions"]

OPENING_SECONDS = {"tensorrt": 3600}
"""What opening a model may take where that is more than reading it: engines are built."""
READING_SECONDS = 60
UNSET = ("cpu", False, False, None)
"""What is ONNX Runtime's alone, where it was not asked for."""
START_SECONDS = 2.0
"""What a process of its own costs each row, roughly: starting, opening, warming up."""
LARGEST_BATCH = 64
ENOUGH_SECONDS = 60.0
"""Time after which even a slow model has been called often enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """How to measure latency and energy."""

    runtime: str = "ort"
    """A name in `exporters.runtimes.RUNTIMES`."""
    provider: str = "cpu"
    """What ONNX Runtime computes with, as `exporters.runtimes.parse_provider` reads it."""
    allow_fallback: bool = False
    """Lets another compute what the provider does not take; without it that fails the row."""
    device_input: bool = False
    """Keeps the images in the memory of the GPU, so that the clock holds no copy."""
    input: str = "random"
    """What the models are shown: a name in `exporters.latency.inputs.INPUTS`, or what images are
    called that somebody brought."""
    spinning: bool = False
    """Lets ONNX Runtime's waiting threads burn their core."""
    affinity: str | None = None
    """Processors of ONNX Runtime's threads but the first, as `OrtTuning` reads it."""
    threads: tuple[int, ...] = (1,)
    """Processor threads an inference may use; each number is measured."""
    batch: tuple[int, ...] = (1,)
    """Images a call; each number is measured."""
    sweep_batch: bool = False
    """Doubles the batch from 1 until throughput stops growing, instead of `batch`."""
    max_batch: int = LARGEST_BATCH
    """The largest batch of a sweep."""
    seconds: float = 3.0
    """Least time spent on each row's latency, warm-up aside."""
    interleave: bool = True
    """Models of equal threads and batch take turns; else each has the machine for itself."""
    timeout_seconds: float | None = None
    """How long a model may be silent before it is given up; None is what `timeout` says."""
    memory_limit_mib: int | None = None
    """Address space of each model's process, or None for all there is."""
    cold_runs: int = 0
    """Fresh processes in which each row's start is timed; 0 leaves it out."""
    energy_seconds: float = 10.0
    """Time spent on each row's energy, where the device has rails; 0 leaves it out."""
    idle_seconds: float = 5.0
    """Time spent on idle power before each row's energy; 0 leaves it out."""
    power_hz: float = 50.0
    """Readings of the power sensor a second."""
    seed: int = 0
    """Decides random images, the order of turns and bootstrap intervals."""
    force: bool = False
    """Times files made for another machine too."""

    def __post_init__(self) -> None:
        for name in ("threads", "batch"):
            _check_numbers(name, getattr(self, name))
        if self.max_batch < 1:
            raise UsageMistake(f"max_batch is {self.max_batch}; it must be at least 1")
        if self.sweep_batch and self.batch != (1,):
            raise UsageMistake(
                f"batch is {list(self.batch)} and sweep_batch finds the batches itself: "
                "give one of the two"
            )
        if not 0 <= self.cold_runs <= 1000:
            raise UsageMistake(f"cold_runs is {self.cold_runs}; it must lie in [0, 1000]")
        for name in ("energy_seconds", "idle_seconds"):
            if not 0 <= getattr(self, name) <= 3600:
                raise UsageMistake(f"{name} is {getattr(self, name)}; it must lie in [0, 3600]")
        if not 0 < self.seconds <= 3600:
            raise UsageMistake(f"seconds is {self.seconds}; it must lie in (0, 3600]")
        if not 10 <= self.power_hz <= 1000:
            raise UsageMistake(f"power_hz is {self.power_hz}; it must lie in [10, 1000]")
        if self.seed < 0:
            raise UsageMistake(f"seed is {self.seed}; it must be 0 or more")
        self.setting()

    @property
    def batches(self) -> tuple[int, ...]:
        """Images a call, of a sweep up to its largest."""
        return tuple(doublings(self.max_batch)) if self.sweep_batch else self.batch

    @property
    def timeout(self) -> float:
        """Seconds a model may be silent: to open it, engines built, and to call it a few times."""
        if self.timeout_seconds is not None:
            return self.timeout_seconds
        builds = max(
            OPENING_SECONDS.get(name, READING_SECONDS)
            for name in (self.runtime, self.provider.partition(",")[0])
        )
        return float(builds + READING_SECONDS)

    def setting(self) -> Setting:
        """What each process may take."""
        return Setting(timeout_seconds=self.timeout, memory_limit_mib=self.memory_limit_mib)

    def how(self, threads: int) -> dict[str, Any]:
        """What `exporters.runtimes.open_session` is given, batch aside, as JSON."""
        how: dict[str, Any] = {"runtime": self.runtime, "threads": threads}
        if self.runtime == "ort":
            how |= {
                "provider": self.provider,
                "allow_fallback": self.allow_fallback,
                "spinning": self.spinning,
                "affinity": self.affinity,
            }
        elif (self.provider, self.allow_fallback, self.spinning, self.affinity) != UNSET:
            raise UsageMistake(
                "providers, spinning and affinity are ONNX Runtime's, and the runtime is "
                f"{self.runtime}; leave them out, or take the runtime ort"
            )
        return {**how, "device_input": self.device_input, "input_kind": self.input}

    def latency(self, batch: int) -> LatencyConfig:
        """How one row is timed."""
        # Needs numpy, which the runner must not before it can say what is missing.
        from exporters.latency.harness import LatencyConfig

        return LatencyConfig(
            batch=batch,
            min_seconds=self.seconds,
            max_seconds=max(ENOUGH_SECONDS, 4 * self.seconds),
            seed=self.seed,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "threads": list(self.threads), "batch": list(self.batch)}

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
            values: dict[str, Any] = json.loads(text)
            for name in {"threads", "batch"}.intersection(values):
                given = values[name]
                values[name] = tuple(given) if isinstance(given, list) else (given,)
            return cls(**values)
        except (TypeError, ValueError, AttributeError) as error:
            raise UsageMistake(f"not the options of a benchmark ({error}): {text[:200]}") from error

    def rows(self, models: int) -> int:
        """How many rows so many models give; of a sweep, at most."""
        return models * len(self.threads) * len(self.batches)

    def usual_seconds(self, models: int, *, powered: bool) -> float:
        """Roughly how long it takes, building engines aside; of a sweep, at most.

        Args:
            powered: the device has rails.
        """
        power = self.energy_seconds + self.idle_seconds if powered and self.energy_seconds else 0.0
        each = START_SECONDS + self.seconds + power + self.cold_runs * START_SECONDS
        return self.rows(models) * each

    def most_seconds(self, models: int) -> float:
        """How long measuring so many models may take before something must be wrong."""
        latency = self.latency(1).max_seconds + READING_SECONDS
        each = self.timeout + latency + self.energy_seconds + self.idle_seconds
        each += self.cold_runs * READING_SECONDS
        return math.ceil(2 * READING_SECONDS + self.rows(models) * each)


def _check_numbers(name: str, given: tuple[int, ...]) -> None:
    if not given or any(number < 1 for number in given):
        raise UsageMistake(f"{name} is {list(given)}; it must be numbers of at least 1")
    if len(set(given)) < len(given):
        raise UsageMistake(f"{name} is {list(given)}; give each number once")
