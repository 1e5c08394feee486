"""Measures on another machine: sends the runner and the models, brings the result back."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cake_edge import errors, provenance
from cake_edge.errors import ArtifactError, CakeEdgeError, DeviceUnavailable, RuntimeUnavailable
from cake_edge.progress import Progress, silent
from exporters.remote.bundle import FIRST_PYTHON, bundle
from exporters.remote.options import BenchOptions
from exporters.remote.runner import PROGRESS
from exporters.remote.session import Answer, Session
from exporters.remote.ssh import Host
from exporters.tensorrt.manifest import manifest_path

__all__ = ["probe_remote", "run_remote"]

logger = logging.getLogger(__name__)

RUNNER = "runner.pyz"
PROBE_SECONDS = 600.0
LAST_LINES = 5
PACKAGES_FOR = {"ort": ("onnxruntime",), "tensorrt": ("tensorrt",)}
"""What a runtime needs, beside numpy."""
INSTALL = {
    "numpy": "pip install numpy (or sudo apt install python3-numpy)",
    "onnxruntime": "pip install onnxruntime",
    "tensorrt": "sudo apt install python3-libnvinfer on a Jetson, pip install tensorrt elsewhere",
}


def run_remote(
    host: Host,
    models: Sequence[Path],
    options: BenchOptions | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measures models on another machine; nothing of it stays there.

    Returns:
        What `exporters.remote.measure.measure_here` gives there, each model's `path` the one
        given here, with `host`: `target`, `python`, `executable`, `machine`.

    Raises:
        ArtifactError: a file is missing, is no model, or came over damaged.
        DeviceUnavailable: the machine cannot be reached, was lost, or the runner crashed there.
        RuntimeUnavailable: it lacks Python, numpy or the runtime; the message says how to get it.
        OutOfSpace: the models do not fit there.
        UsageMistake: an option is wrong.
    """
    chosen = options or BenchOptions()
    missing = [str(path) for path in models if not path.is_file()]
    if missing or not models:
        raise ArtifactError(f"{', '.join(missing) or 'no file'} is not there to be measured")
    names = [f"model-{number}{path.suffix}" for number, path in enumerate(models)]
    hashes = [provenance.sha256_file(path) for path in models]
    with Session(host, _listener(progress)) as session:
        _require(host, session.found, ("numpy", *PACKAGES_FOR.get(chosen.runtime, ())))
        answer = session.run(
            [RUNNER, "bench", "--json", "--options", chosen.to_json(), "--models", *names],
            [(RUNNER, bundle()), *zip(names, models, strict=True), *_manifests(names, models)],
            seconds=chosen.most_seconds(len(models)),
            sent=lambda done, total: progress("sending", done, total, "bytes"),
        )
        found = _result(host, answer, dict(zip(names, map(str, models), strict=True)))
        found["host"] = _about(host, session)
    here = {
        name: (str(path), digest) for name, path, digest in zip(names, models, hashes, strict=True)
    }
    for row in found["models"]:
        path, digest = here[row["path"]]
        if row["sha256"] != digest:
            raise ArtifactError(f"{path} was changed, or damaged, on its way; measure again")
        _rename(row, row["path"], path)
    return found


def probe_remote(host: Host, progress: Progress = silent) -> dict[str, Any]:
    """Asks another machine what it is; nothing stays there.

    Returns:
        What `exporters.remote.runner.probe` gives there, with `host` as in `run_remote`.

    Raises:
        DeviceUnavailable: the machine cannot be reached, or the runner crashed there.
        RuntimeUnavailable: it has no Python of 3.10 or later.
    """
    with Session(host, _listener(progress)) as session:
        _require(host, session.found, ())
        answer = session.run(
            [RUNNER, "probe", "--json"], [(RUNNER, bundle())], seconds=PROBE_SECONDS
        )
        return {**_result(host, answer, {}), "host": _about(host, session)}


def _rename(row: dict[str, Any], there: str, here: str) -> None:
    """Gives a row, and what it says of its file, the name that the file has here."""
    row["path"] = here
    for holder in (row, row["cold_start"] or {}):
        for name in ("failure", "sweep_end"):
            if holder.get(name) is not None:
                holder[name] = holder[name].replace(there, here)


def _manifests(names: Sequence[str], models: Sequence[Path]) -> list[tuple[str, Path]]:
    """What lies beside an engine and says what it was built from."""
    beside = [
        (manifest_path(Path(n)).name, manifest_path(m)) for n, m in zip(names, models, strict=True)
    ]
    return [(name, path) for name, path in beside if path.is_file()]


def _about(host: Host, session: Session) -> dict[str, Any]:
    return {
        "target": host.target,
        "python": ".".join(map(str, session.found["python"])),
        "executable": session.found["executable"],
        "machine": session.found["machine"],
    }


def _require(host: Host, found: dict[str, Any], packages: Sequence[str]) -> None:
    """Refuses a machine on which the runner cannot start, before anything is sent."""
    name, version = host.target, found["python"]
    if tuple(version[:2]) < FIRST_PYTHON:
        raise RuntimeUnavailable(
            f"{host.python} on {name} is Python {version[0]}.{version[1]}, and "
            f"{FIRST_PYTHON[0]}.{FIRST_PYTHON[1]} or later is needed: install one there, and "
            "name it with --python"
        )
    for package in packages:
        if not found["packages"][package]:
            raise RuntimeUnavailable(
                f"{package} is not installed for {found['executable']} on {name}; there: "
                f"{INSTALL[package]}"
            )


def _result(host: Host, answer: Answer, paths: dict[str, str]) -> dict[str, Any]:
    """The object on the runner's stdout; an error there is raised here, with our file names."""
    if answer.stopped is not None:
        raise DeviceUnavailable(
            f"the runner on {host.target} was stopped, as it took too long: measure fewer "
            f"models, or for a shorter time ({_last(answer)})"
        )
    try:
        found: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        found = {}
    if "error" in found:
        said = found["error"]
        for there, here in paths.items():
            said = said.replace(there, here)
        raise _kind(found["kind"])(f"on {host.target}: {said}")
    if answer.exit != 0 or not found:
        ending = f"signal {-answer.exit}" if answer.exit < 0 else f"exit code {answer.exit}"
        raise DeviceUnavailable(f"the runner on {host.target} ended with {ending}: {_last(answer)}")
    return found


def _kind(name: str) -> type[CakeEdgeError]:
    found = getattr(errors, name, None)
    if isinstance(found, type) and issubclass(found, CakeEdgeError):
        return found
    return DeviceUnavailable


def _last(answer: Answer) -> str:
    lines = [line for line in answer.stderr if line.strip() and not line.startswith(PROGRESS)]
    return "; ".join(lines[-LAST_LINES:]) or "it said nothing"


def _listener(progress: Progress) -> Any:
    """Takes lines of the other side's stderr: progress to `progress`, the rest to the log."""

    def hear(line: str) -> None:
        if not line.startswith(PROGRESS):
            logger.debug("there: %s", line)
            return
        try:
            progress(*json.loads(line.removeprefix(PROGRESS)))
        except (ValueError, TypeError):
            logger.debug("there: %s", line)

    return hear
