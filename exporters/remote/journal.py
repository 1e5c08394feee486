"""Finished rows of a benchmark, kept beside its result until that is written.

A benchmark of many rows takes hours on a board, and the last of them may be what kills it. Each row
is a line of JSON; the first line says what was measured how, and where. Only the very same is taken
up again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from cake_edge import provenance
from cake_edge.errors import ArtifactError, OutputExists
from exporters.remote.options import BenchOptions

__all__ = ["Journal", "journal_path"]

Row = dict[str, Any]
VERSION = 1
RUNTIMES = ("onnxruntime", "tensorrt")
"""How the names of packages begin that run models."""


def journal_path(out: Path) -> Path:
    """Returns where the rows of an unfinished `out` are."""
    return out.with_name(f"{out.name}.rows.jsonl")


class Journal:
    """The rows of one benchmark that are finished."""

    def __init__(
        self, out: Path, models: Sequence[Path], options: BenchOptions, *, resume: bool
    ) -> None:
        """Takes up what is there, where that is asked for; writes nothing before a row is done.

        Raises:
            OutputExists: there are rows of an earlier run, and `resume` is False.
            ArtifactError: they are not of the same models, options, runtime and machine.
        """
        self.path = journal_path(out)
        self._about = _about(models, options)
        self._rows: dict[tuple[int, int, int], Row] = {}
        if not self.path.exists():
            return
        if not resume:
            raise OutputExists(
                f"{self.path} holds finished rows of a run that was ended: take them up with "
                "--resume, or remove the file"
            )
        self._read()

    @property
    def rows(self) -> int:
        """How many rows are finished."""
        return len(self._rows)

    def kept(self, model: int, threads: int, batch: int) -> Row | None:
        """A finished row, or None; `model` is its place among the models."""
        return self._rows.get((model, threads, batch))

    def add(self, models: Sequence[int], rows: Sequence[Row]) -> None:
        """Writes finished rows; they are on the disk when this returns."""
        new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="ascii") as stream:
            if new:
                stream.write(json.dumps({"version": VERSION, "about": self._about}) + "\n")
            for model, row in zip(models, rows, strict=True):
                self._rows[model, row["threads"], row["batch"]] = row
                stream.write(json.dumps({"model": model, "row": row}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def remove(self) -> None:
        """Removes the file: the result is written."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        lines = self.path.read_text(encoding="ascii", errors="replace").split("\n")
        whole = lines[:-1]  # what is behind the last newline was being written at the end
        try:
            head = json.loads(whole[0])
            version, about = head["version"], head["about"]
            for line in whole[1:]:
                entry = json.loads(line)
                row = entry["row"]
                self._rows[entry["model"], row["threads"], row["batch"]] = row
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{self.path} is damaged ({error!r}); remove it, and measure anew"
            ) from error
        differing = [name for name in self._about if about.get(name) != self._about[name]]
        if version != VERSION or differing:
            raise ArtifactError(
                f"{self.path} cannot be taken up, as what it holds was measured with other "
                f"{', '.join(differing) or 'versions of cake-edge'}: give the same command on the "
                "same machine, or remove the file and measure anew"
            )
        if len(lines) > 1 and lines[-1]:
            with self.path.open("w", encoding="ascii") as stream:
                stream.write("\n".join(whole) + "\n")


def _about(models: Sequence[Path], options: BenchOptions) -> Mapping[str, Any]:
    """What must be equal; by what a message calls it."""
    environment = provenance.environment()
    versions = environment.pop("versions")
    runtimes = {
        f"{dist.name}": dist.version
        for dist in metadata.distributions()
        if str(dist.name).startswith(RUNTIMES)
    }
    found = {
        "models": [[str(path), provenance.sha256_file(path)] for path in models],
        "options": options.to_dict(),
        "versions": {**{n: versions.get(n) for n in ("python", "cake-edge", "numpy")}, **runtimes},
        "machine": environment,
    }
    as_read: Mapping[str, Any] = json.loads(json.dumps(found))
    return as_read
