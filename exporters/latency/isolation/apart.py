"""Models in processes of their own, timed in turns; one that fails leaves, and the others go on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cake_edge.errors import CakeEdgeError
from cake_edge.progress import Progress, silent
from exporters.artifact import ModelCard
from exporters.latency.harness import LatencyConfig, LatencyResult
from exporters.latency.inputs import Brought, brought_images
from exporters.latency.isolation.worker import Setting, Worker, WorkerFailed

__all__ = ["Apart", "Opening", "open_apart", "time_in_turns"]

SETTLE_SECONDS = 0.001
"""Of calls outside the clock after a process slept: without, a network of 0.08 ms took 3 % longer
than in a loop of its own, with it as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What is known of a model once it is open."""

    card: ModelCard | None
    """What the file says of itself."""
    runtime: dict[str, Any]
    """As `Session.describe`."""
    before_mib: float | None
    """Memory of its process with the runtime imported and no model."""
    after_mib: float | None
    """The same with the model open."""


class Apart:
    """One model in a process of its own; a context manager that ends it."""

    def __init__(self, path: Path, how: Mapping[str, Any], config: LatencyConfig) -> None:
        """Nothing is started yet; `how` is what `open_session` is given, batch aside."""
        self.path = path
        self.failure: WorkerFailed | None = None
        """Why it was given up, or None while it is well."""
        self.opening: Opening | None = None
        """What is known of it, once it was opened."""
        self.images_file: Path | None = None
        """Where the images are that `show` gave it; None where it makes its own."""
        self._how = {**how, "fixed_batch": config.batch}
        self._config = config
        self._worker: Worker | None = None
        self._warmup: list[int] = []
        self._turns: list[list[int]] = []
        self._wall = 0

    @property
    def open(self) -> bool:
        """Whether it can be asked for more."""
        return self._worker is not None and self.failure is None

    def start(self, setting: Setting) -> None:
        """Starts the process, imports the runtime and opens the model, or notes why not."""
        self._worker = Worker(setting)
        started = self._ask(
            "start", "while its runtime was loaded",
            runtime=self._how["runtime"], memory_limit_mib=setting.memory_limit_mib,
        )  # fmt: skip
        opened = self._ask("open", "while it was opened", path=str(self.path), **self._how)
        if started is None or opened is None:
            return
        card = opened["card"]
        self.opening = Opening(
            card=None if card is None else ModelCard.from_json(card),
            runtime=opened["runtime"],
            before_mib=started["resident_mib"],
            after_mib=opened["resident_mib"],
        )

    def show(self, brought: Brought, file: Path) -> None:
        """Lets it see images that somebody brought, which go to its process in `file`.

        They are float32 [batch, C, H, W], bytes and nothing else. Images that do not fit this model
        are its failure, as a file that the runtime does not take.
        """
        found = self._ask("size", "when its images were made")
        if found is None or self.opening is None:
            return
        card = self.opening.card
        try:
            images = brought_images(
                brought, found["input_size"], self._config.batch,
                spec=None if card is None else card.spec,
            )  # fmt: skip
        except CakeEdgeError as error:
            self.failure = WorkerFailed(str(error), error)
            self.close()
            return
        file.write_bytes(images.tobytes())
        self.images_file = file

    def warm_up(self) -> None:
        """Makes its images and calls it as often and as long as the configuration says."""
        config = self._config
        found = self._ask(
            "warm", "while it was warmed up", config.warmup_seconds, **self._input(),
            count=config.warmup_count, seconds=config.warmup_seconds,
        )  # fmt: skip
        if found is not None:
            self._warmup = found["warmup_ns"]

    def turn(self) -> None:
        """One turn, as `exporters.latency.lane.Lane.turn`."""
        found = self._ask(
            "turn", "while it was timed", burst=self._config.burst, settle_seconds=SETTLE_SECONDS
        )
        if found is not None:
            self._turns.append(found["ns"])
            self._wall += found["wall_ns"]

    def work(self, seconds: float) -> tuple[float, float, int] | None:
        """Calls it for so long; when that began and ended on the monotonic clock, and how often.

        Returns:
            None where it failed.
        """
        found = self._ask(
            "work", "while its energy was measured", seconds, **self._input(), seconds=seconds
        )
        return None if found is None else (found["start"], found["end"], found["calls"])

    def result(self) -> LatencyResult | None:
        """What was measured; None where it failed, or was not timed."""
        if self.failure is not None or not self._turns:
            return None
        return LatencyResult.from_times(
            turns_ns=self._turns, warmup_ns=self._warmup, wall_ns=self._wall,
            batch=self._config.batch,
        )  # fmt: skip

    def memory_mib(self) -> dict[str, float | None] | None:
        """MiB of its process before and after loading and at most since; None where it failed.

        `device` is what the runtime says that it takes on the accelerator for computing.
        """
        found, opening = self._ask("memory", "when it was done"), self.opening
        if found is None or opening is None:
            return None
        device = (opening.runtime.get("options") or {}).get("context_bytes")
        return {
            "before_load": opening.before_mib,
            "after_load": opening.after_mib,
            "peak": found["peak_mib"],
            "device": None if device is None else round(device / 2**20, 2),
        }

    def close(self) -> None:
        """Ends the process."""
        if self._worker is not None:
            self._worker.close()

    def _input(self) -> dict[str, Any]:
        given = {} if self.images_file is None else {"images_file": str(self.images_file)}
        return {"batch": self._config.batch, "seed": self._config.seed, **given}

    def _ask(self, command: str, doing: str, work_seconds: float = 0.0, **values: Any) -> Any:
        """Asks, or notes why there is no answer and returns None."""
        if self._worker is None or self.failure is not None:
            return None
        try:
            return self._worker.ask(command, doing, work_seconds, **values)
        except WorkerFailed as failed:
            self.failure = failed
            return None

    def __enter__(self) -> Apart:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def open_apart(
    paths: Sequence[Path],
    how: Mapping[str, Any],
    config: LatencyConfig,
    setting: Setting,
    progress: Progress = silent,
) -> Iterator[list[Apart]]:
    """Opens each model in a process of its own, one after the other, and ends them all.

    Args:
        how: what `exporters.runtimes.open_session` is given: `runtime`, `threads`, … as JSON.
    """
    with ExitStack() as stack:
        models = [stack.enter_context(Apart(path, how, config)) for path in paths]
        for number, model in enumerate(models):
            progress("opening", number, len(models), model.path.name)
            model.start(setting)
        progress("opening", len(models), len(models))
        yield models


def time_in_turns(
    models: Sequence[Apart], config: LatencyConfig, progress: Progress = silent
) -> None:
    """Warms up open models, then lets them take turns until time and count are met.

    A model that fails keeps why, and takes no more turns. Those that last have equally many rounds.
    The time counts that the models were at work, not that one of them was waited for in vain.
    """
    for model in models:
        model.warm_up()
    random = np.random.default_rng(config.seed)
    calls, elapsed = 0, 0.0
    while any(model.open for model in models):
        spent = []
        for index in random.permutation(len(models)):
            start = time.perf_counter()
            models[index].turn()
            if models[index].open:
                spent.append(time.perf_counter() - start)
        if not spent:
            return
        calls += config.burst
        elapsed += sum(spent) / len(spent)
        share = min(
            calls / config.min_count, elapsed / config.min_seconds if config.min_seconds else 1.0
        )
        progress("latency", min(int(100 * share), 100), 100, f"{calls} calls of each model")
        if share >= 1 or elapsed >= config.max_seconds:
            return
