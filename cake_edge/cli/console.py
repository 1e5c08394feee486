"""Results on stdout; progress and the log on stderr."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cake_edge.progress import Progress, silent

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["command_line", "configure_logging", "duration", "emit", "progress_sink", "table"]

logger = logging.getLogger(__name__)

OURS = ("cake_edge", "exporters", "benchmarks")
SHOWN_AFTER = 1.0
"""Seconds of work below which no progress is shown."""
LINE_EVERY = 10.0
"""Seconds between two progress lines where stderr is not a terminal."""


def emit(value: Mapping[str, Any], as_json: bool, text: Callable[[], None] | None = None) -> None:
    """Prints a command's result on stdout: one JSON object, or what `text` prints.

    Without `text` the values are printed one a line, as `name: value`.
    """
    if as_json:
        click.echo(json.dumps(value, indent=2, allow_nan=False))
    elif text is not None:
        text()
    else:
        width = max((len(name) for name in value), default=0) + 1
        for name, item in value.items():
            click.echo(f"{name + ':':<{width}} {item}")


def command_line() -> str:
    """The words this process was started with, as a report names them."""
    return shlex.join(["cake-edge", *sys.argv[1:]])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns text in columns as wide as what is in them."""
    everything = [header, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(header))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in everything]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the moment, so that a progress bar can hold it."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def configure_logging(level: int) -> None:
    """Shows this project's log from `level` up, and of other packages warnings and worse."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _StderrHandler)]:
        root.removeHandler(handler)
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    root.addHandler(handler)
    for name in OURS:
        logging.getLogger(name).setLevel(level)


@contextmanager
def progress_sink() -> Iterator[Progress]:
    """Yields where a command's work tells of its progress.

    A terminal gets bars; another stderr gets a log line about every ten seconds; both with rate
    and time left, for work over a second. --quiet gets nothing.
    """
    if not logger.isEnabledFor(logging.INFO):
        yield silent
    elif sys.stderr.isatty():
        with _rich_progress() as bars:
            yield _Bars(bars)
    else:
        yield _Lines()


@dataclass(slots=True)
class _Task:
    """Since when, and from where, a task is watched: a resumed one does not begin at zero."""

    started: float
    first: int
    told: float
    bar: TaskID | None = None

    def rate(self, now: float, done: int) -> float:
        return (done - self.first) / max(now - self.started, 1e-9)


class _Lines:
    """Progress as log lines."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tasks: dict[str, _Task] = {}

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        now = self._clock()
        seen = self._tasks.setdefault(task, _Task(now, done, now))
        finished = done >= total
        if finished:
            del self._tasks[task]
        quiet_for = now - (seen.started if finished else seen.told)
        if quiet_for < (SHOWN_AFTER if finished else LINE_EVERY):
            return
        seen.told = now
        rate = seen.rate(now, done)
        end = f"took {duration(now - seen.started)}"
        if not finished:
            end = f"{duration((total - done) / rate)} left" if rate > 0 else "time left unknown"
        more = f", {note}" if note else ""
        logger.info("%s: %d of %d, %s, %s%s", task, done, total, _speed(rate), end, more)


class _Bars:
    """Progress as bars, each shown once its task has lasted a second."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, _Task] = {}

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        seen = self._tasks.setdefault(task, _Task(now, done, now))
        if seen.bar is None and now - seen.started >= SHOWN_AFTER:
            seen.bar = self._bars.add_task(task, total=total, speed="", note="")
        if seen.bar is not None:
            speed = _speed(seen.rate(now, done))
            self._bars.update(seen.bar, completed=done, total=total, speed=speed, note=note)


def _rich_progress() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", style="dim"),
        console=Console(stderr=True),
    )


def _speed(rate: float) -> str:
    return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"


def duration(seconds: float) -> str:
    """Returns seconds as a person says them: 8 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
