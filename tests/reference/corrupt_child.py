"""Reads the damaged files of some readers, watched; says how each ended, as lines of JSON.

    PYTHONPATH=tests python -m reference.corrupt_child FOLDER [READER ...] [--case N]

All of them, unless some are named. A reader gets 2 GiB more than it has, and 60 seconds a file;
what opens files elsewhere to write, starts a program, speaks to the network or unpickles a name is
noted by an audit hook.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import click
import psutil
import torch
from reference.corrupt import damage_bytes
from reference.corrupt_readers import READERS, UNSAFE, Reader
from reference.hostile import MARKER

from cake_edge.cli import main as cake_edge
from cake_edge.errors import CakeEdgeError, UsageMistake

SECONDS = 60
MISSING = ("name it with --arch", "leave --", "give --", "--input-size")
"""In a refusal for want of an option, where the file may be sound."""
ROOM = 2 << 30
LONGEST = 1000
COMMANDS = 10
"""Cases, spread over all, that are also sent through the command."""

STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
          "socket.connect", "socket.getaddrinfo", "socket.bind", "webbrowser.open",
          "pickle.find_class", "ctypes.dlopen", "urllib.Request")  # fmt: skip
CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.chmod",
           "os.truncate", "shutil.rmtree", "shutil.move", "shutil.copyfile")  # fmt: skip


class Watch:
    """What a reader does beyond reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder.resolve())
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in STARTS:
            self.seen.append(f"{event} {arguments!r}"[:300])
        elif event == "open" and self._writes(arguments) and self._elsewhere(arguments[0]):
            self.seen.append(f"writes {arguments[0]!r}")
        elif event in CHANGES and self._elsewhere(arguments[0]):
            self.seen.append(f"{event} {arguments[0]!r}")
        elif event == "exec" and not Path(arguments[0].co_filename).exists():
            self._note_code(arguments[0])

    def _note_code(self, code: Any) -> None:
        # dataclasses and namedtuples are made of text, by modules that are imported late.
        caller = sys._getframe(2).f_globals.get("__name__", "?")
        if caller not in ("dataclasses", "collections", "typing"):
            self.seen.append(f"runs code {code.co_filename} for {caller}")

    @staticmethod
    def _writes(arguments: tuple[Any, ...]) -> bool:
        mode, flags = arguments[1], arguments[2]
        if isinstance(mode, str):
            return any(letter in mode for letter in "wax+")
        return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    def _elsewhere(self, path: Any) -> bool:
        if isinstance(path, int):
            return False
        place = os.path.realpath(os.fsdecode(path))
        return not place.startswith(self.folder) and place != "/dev/null"


def main() -> None:
    """Runs the cases of some readers, or one case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("readers", nargs="*", default=list(READERS))
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--case", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    faulthandler.enable()
    for title in given.readers:
        cases = range(given.count) if given.case is None else [given.case]
        # Each in a process of its own, which a damaged file may end; imports are paid for once.
        child = os.fork()
        if child == 0:
            _run(
                title,
                given.folder / title.replace(" ", "-"),
                cases,
                max(1, given.count // COMMANDS),
            )
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        _say(reader=title, ended=ended)


def _run(title: str, folder: Path, cases: Iterable[int], every: int) -> None:
    reader, valid = {**READERS, **UNSAFE}[title], folder / "valid"
    valid.mkdir(parents=True)
    os.chdir(valid)
    reader.make(valid)
    hostile = list(reader.hostile(valid).items())
    reader.read(valid)  # It must be readable, and what is imported late is imported.
    shutil.copytree(valid, folder / "case")
    if reader.command:
        _command(reader, folder / "case", refused=False)
    watch = Watch(folder)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + ROOM,) * 2)
    for case in cases:
        name, files = _case(title, reader, valid, hostile, case)
        _say(reader=title, case=case, name=name)
        found = _outcome(reader, watch, folder, valid, files, by_command=case % every == 0)
        _say(reader=title, case=case, name=name, **found)


def _case(
    title: str, reader: Reader, valid: Path, hostile: list[Any], case: int
) -> tuple[str, Mapping[str, bytes | Path]]:
    """What is damaged in case number `case`: first all hostile files, then seeded damage."""
    if case < len(hostile):
        name, files = hostile[case]
        return name, files
    random = Random(f"{title}/{case}")
    file = random.choice(reader.damaged)
    data = (valid / file).read_bytes()
    damage = random.choice((damage_bytes, reader.within))
    changed = data
    while changed == data:
        changed = damage(data, random)
    return f"{damage.__name__} {file}", {file: changed}


def _outcome(
    reader: Reader,
    watch: Watch,
    folder: Path,
    valid: Path,
    files: Mapping[str, bytes | Path],
    *,
    by_command: bool,
) -> dict[str, Any]:
    """Lays the files out, reads them, and judges what happened."""
    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(valid, place)
    for name, content in files.items():
        (place / name).unlink(missing_ok=True)
        if isinstance(content, Path):
            (place / name).symlink_to(content)
        else:
            (place / name).write_bytes(content)
    before, watch.seen, start = _listing(folder), [], time.perf_counter()
    with _watched(watch):
        found = _read(reader, place, list(files) or list(reader.damaged))
        if by_command and reader.command and found["outcome"] != "forbidden":
            found |= _command(reader, place, refused=found["outcome"] == "refused")
    found["seconds"] = round(time.perf_counter() - start, 3)
    extra = sorted(_listing(folder) - before) if not by_command else []
    marker = [str(p) for p in (folder / MARKER, Path("/tmp") / MARKER) if p.exists()]
    faults = [*watch.seen, *(f"wrote {name}" for name in extra), *(f"made {m}" for m in marker)]
    acted = {"outcome": "forbidden", "acted": True, "said": "; ".join(faults)}
    return found | acted if faults else found


@contextlib.contextmanager
def _watched(watch: Watch) -> Iterator[None]:
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    watch.on = True
    try:
        yield
    finally:
        watch.on = False
        faulthandler.cancel_dump_traceback_later()


def _read(reader: Reader, place: Path, names: list[str]) -> dict[str, Any]:
    try:
        reader.read(place)
    except (CakeEdgeError, click.UsageError) as error:
        said = error.format_message() if isinstance(error, click.UsageError) else str(error)
        fault = _fault(error, said, reader, place, names)
        return {"outcome": "forbidden" if fault else "refused", "said": f"{fault}{said}"[:1500]}
    except BaseException as error:  # noqa: BLE001  # to be told of, whatever it is
        return {"outcome": "forbidden", "said": f"{type(error).__name__}: {error}"[:600]}
    return {"outcome": "read", "said": ""}


def _fault(error: BaseException, said: str, reader: Reader, place: Path, names: list[str]) -> str:
    """What is wrong with a refusal; nothing if it is a good one."""
    if len(said.splitlines()) != 1:
        return "not one line: "
    if len(said) > LONGEST:
        return f"{len(said)} characters: "
    known = (*names, *reader.damaged, str(place), *(("labels",) if reader.usage else ()))
    if not any(word in said for word in known):
        return "names no file: "
    usage = isinstance(error, (UsageMistake, click.UsageError))
    if usage and not (reader.usage or any(option in said for option in MISSING)):
        return "exit 2: "
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (MemoryError, torch.OutOfMemoryError)) or "allocate" in str(cause):
            return f"ran out of memory ({cause}): "
        cause = cause.__cause__
    return ""


def _command(reader: Reader, place: Path, *, refused: bool) -> dict[str, Any]:
    """Sends the same file through the command, in this process."""
    words = [word.replace("FOLDER", str(place)) for word in reader.command]
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cake_edge.main(words)
        except SystemExit as leaving:
            code = leaving.code
    said = [line for line in err.getvalue().splitlines() if line.lower().startswith("error: ")]
    wrong = refused and (code not in (1, 2) or len(said) != 1 or "Traceback" in err.getvalue())
    if wrong or (code == 2 and not reader.usage) or any("internal error:" in line for line in said):
        about = err.getvalue()[-400:]
        return {"outcome": "forbidden", "said": f"the command ends with {code}: {about}"}
    return {"command": code}


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _say(**values: Any) -> None:
    sys.__stdout__.write(json.dumps(values) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
