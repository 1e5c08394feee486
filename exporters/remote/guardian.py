"""What runs on the other machine first: makes a folder, runs a command in it, removes it.

Its text is sent over the connection and executed; nothing is installed. It lives as long as its
stdin is open: when the connection ends, for whatever reason, it ends the command and removes the
folder. Being the first to run there, it must be readable to any Python 3.6 and say what it found,
as the machine may have nothing of what is needed.

    it says    {"python": ..., "folder": ..., "free_bytes": ..., "packages": ..., ...}
    it is told {"files": [{"name": ..., "bytes": ...}], "words": [...], "seconds": ...}, then bytes
    it says    {"exit": ..., "stdout": ..., "stopped": ...} or {"problem": ...}
"""

import errno
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

MARK = "cake-edge-says "
"""Begins each line of the conversation: a login script may write others to stdout."""
PACKAGES = ("numpy", "onnxruntime", "tensorrt")
SCRATCH = ("TMPDIR", "XDG_CACHE_HOME", "CUDA_CACHE_PATH")
"""Where programs keep what they may lose: all of it goes with the folder."""
GRACE = 5.0
"""Seconds between asking a command to end and ending it."""


def say(value: object) -> None:
    """Writes one line of the conversation."""
    sys.stdout.write(MARK + json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Holds the conversation; the folder is gone when it returns."""
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        signal.signal(getattr(signal, name), lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="cake-edge-"))
    try:
        say(
            {
                "python": list(sys.version_info[:3]),
                "executable": sys.executable,
                "machine": platform.machine(),
                "folder": str(folder),
                "free_bytes": shutil.disk_usage(str(folder)).free,
                "packages": {name: has(name) for name in PACKAGES},
            }
        )
        line = sys.stdin.buffer.readline()
        if line:
            answer(json.loads(line.decode("ascii")), folder)
    finally:
        for name in ("SIGTERM", "SIGHUP", "SIGINT"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        shutil.rmtree(str(folder), ignore_errors=True)


def has(name: str) -> bool:
    """Whether a package is installed; loading it is for later."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def answer(request: Any, folder: Path) -> None:
    """Takes the files, runs the command and says how it ended."""
    try:
        complete = take(request["files"], folder)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        # The rest of the files is still on its way; whoever sends reads this when told to stop.
        say({"problem": "disk full" if full else str(error)})
        return
    if complete:
        run(request["words"], float(request["seconds"]), folder)


def take(files: Any, folder: Path) -> bool:
    """Writes the files that follow on stdin; False where the connection ended before they did."""
    for file in files:
        left = file["bytes"]
        with (folder / Path(file["name"]).name).open("wb") as out:
            while left:
                block = sys.stdin.buffer.read(min(left, 1 << 20))
                if not block:
                    return False
                out.write(block)
                left -= len(block)
    return True


def run(words: Any, seconds: float, folder: Path) -> None:
    """Runs a command in the folder until it ends, its time is up, or the connection is gone."""
    stopped: Any = []
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    for name in SCRATCH:
        environment[name] = str(folder)
    with (folder / "stdout").open("w+b") as out:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=str(folder),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            start_new_session=True,
        )
        try:
            threading.Thread(target=watch, args=(process, stopped), daemon=True).start()
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                stopped.append("time")
        finally:
            end(process)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    say({"exit": process.returncode, "stdout": text, "stopped": stopped[0] if stopped else None})


def watch(process: Any, stopped: Any) -> None:
    """Ends the command when the other side closes the connection."""
    while os.read(0, 4096):
        pass
    stopped.append("connection")
    end(process)


def end(process: Any) -> None:
    """Ends a command and what it started: asked first, made to after a while."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except OSError:
            return
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue


if __name__ == "__main__":
    main()
