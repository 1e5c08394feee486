"""What runs first on the other machine, run here as its own process."""

from __future__ import annotations

import ast
import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from exporters.remote import guardian
from exporters.remote.guardian import MARK

SOURCE = Path(guardian.__file__)
FILE = b"some bytes\n" * 50_000
SLEEP = "import sys, time; print('up', file=sys.stderr, flush=True); time.sleep(60)"


@pytest.fixture
def start(tmp_path):
    """Starts a guardian whose folders lie below a test's own."""
    begun = []

    def start():
        process = subprocess.Popen(
            [sys.executable, str(SOURCE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        begun.append(process)
        return process, hear(process)

    yield start
    for process in begun:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            stream.close()
        with suppress(BrokenPipeError):
            process.stdin.close()


def hear(process):
    line = process.stdout.readline().decode()
    assert line.startswith(MARK)
    return json.loads(line.removeprefix(MARK))


def tell(process, words, files=(), seconds=30.0):
    request = {
        "files": [{"name": name, "bytes": len(content)} for name, content in files],
        "words": words,
        "seconds": seconds,
    }
    process.stdin.write(json.dumps(request).encode() + b"\n" + b"".join(c for _, c in files))
    process.stdin.flush()


def wait_until(true, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


def test_it_says_what_it_finds(start, tmp_path):
    _, found = start()
    assert found["python"] == list(sys.version_info[:3])
    assert found["packages"]["numpy"] is True
    assert Path(found["folder"]).parent == tmp_path
    assert found["free_bytes"] > 0


def test_files_arrive_whole_and_the_answer_comes_back(start, tmp_path):
    process, _ = start()
    code = (
        "import os; d = open('a.bin', 'rb').read(); print(len(d), d == open('b.bin', 'rb').read())"
    )
    tell(process, ["-c", code], [("a.bin", FILE), ("b.bin", FILE), ("empty", b"")])
    assert hear(process) == {"exit": 0, "stdout": f"{len(FILE)} True\n", "stopped": None}
    assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_name_with_folders_stays_in_the_folder(start, tmp_path):
    process, _ = start()
    tell(process, ["-c", "import os; print(sorted(os.listdir()))"], [("../../up.bin", b"x")])
    assert "'up.bin'" in hear(process)["stdout"]
    assert not (tmp_path.parent / "up.bin").exists()


def test_the_folder_is_private_and_holds_temporary_files(start):
    process, found = start()
    assert Path(found["folder"]).stat().st_mode & 0o077 == 0
    code = "import os, tempfile; print(tempfile.gettempdir(), os.environ['XDG_CACHE_HOME'])"
    tell(process, ["-c", code])
    assert hear(process)["stdout"].split() == [found["folder"]] * 2


def test_an_exit_code_and_a_signal_are_told(start):
    process, _ = start()
    tell(process, ["-c", "import sys; print('half'); sys.exit(3)"])
    assert hear(process) == {"exit": 3, "stdout": "half\n", "stopped": None}
    process, _ = start()
    tell(process, ["-c", "import os; os.kill(os.getpid(), 11)"])
    assert hear(process)["exit"] == -signal.SIGSEGV


def test_a_command_that_takes_too_long_is_ended(start, tmp_path):
    process, _ = start()
    tell(process, ["-c", SLEEP], seconds=0.5)
    answer = hear(process)
    assert (answer["stopped"], answer["exit"]) == ("time", -signal.SIGTERM)
    process.wait(10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["before", "while files come", "while it runs"])
def test_when_the_connection_ends_everything_is_gone(start, tmp_path, moment):
    process, _ = start()
    if moment == "while files come":
        process.stdin.write(
            b'{"files": [{"name": "a", "bytes": 100}], "words": [], "seconds": 9}\nx'
        )
        process.stdin.flush()
    if moment == "while it runs":
        tell(process, ["-c", SLEEP])
        assert process.stderr.readline() == b"up\n"
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == (moment == "while it runs")
    process.stdin.close()
    process.wait(15)
    assert list(tmp_path.iterdir()) == []
    assert not any(child.is_running() for child in children)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing(start, tmp_path, number):
    process, _ = start()
    tell(process, ["-c", SLEEP])
    assert process.stderr.readline() == b"up\n"
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    process.wait(15)
    assert list(tmp_path.iterdir()) == []
    assert not any(child.is_running() for child in children)


def test_what_the_command_started_ends_with_it(start):
    process, _ = start()
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    tell(process, ["-c", child, SLEEP])
    assert process.stderr.readline() == b"up\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 2
    process.stdin.close()
    process.wait(15)
    wait_until(lambda: not any(p.is_running() and p.status() != "zombie" for p in family))


@pytest.mark.parametrize(
    ("number", "problem"), [(errno.ENOSPC, "disk full"), (errno.EACCES, "Permission denied")]
)
def test_a_disk_that_takes_no_more_is_told(monkeypatch, capsys, tmp_path, number, problem):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(guardian, "take", refuse)
    guardian.answer({"files": []}, tmp_path)
    said = json.loads(capsys.readouterr().out.removeprefix(MARK))
    assert problem in said["problem"]


def test_its_text_can_be_read_by_old_versions_of_python():
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 6))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names - {"__future__"}
