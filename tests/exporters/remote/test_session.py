"""Conversations over a real ssh with a real sshd, and the ways in which they end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cake_edge.errors import DeviceUnavailable, OutOfSpace, RuntimeUnavailable
from exporters.remote import Host
from exporters.remote.guardian import MARK
from exporters.remote.session import Session

READ_BOTH = """
import sys
print(len(open("a", "rb").read()), open("b").read())
print("log", file=sys.stderr)
sys.exit(4)
"""
SLEEP = "import sys, time; print('up', file=sys.stderr, flush=True); time.sleep(60)"
SLEEP += f"  # {os.getpid()}"  # known from what tests beside this one run


def wait_until(true, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


def test_a_command_runs_beside_its_files(board, server, tmp_path):
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(3 << 20))
    told = []
    with Session(board) as session:
        assert session.found["python"][:2] == list(sys.version_info[:2])
        assert Path(session.found["folder"]).parent == server.temporary
        answer = session.run(
            ["-c", READ_BOTH],
            [("a", large), ("b", b"two")],
            seconds=30,
            sent=lambda done, total: told.append((done, total)),
        )  # fmt: skip
    assert answer.stdout == f"{3 << 20} two\n"
    assert (answer.exit, answer.stopped) == (4, None)
    assert "log" in answer.stderr
    assert told[-1] == ((3 << 20) + 3,) * 2
    assert server.left_behind() == []


def test_what_a_login_script_prints_is_overheard(configure, server, tmp_path):
    noisy = tmp_path / "noisy"
    noisy.write_text(f'#!/bin/sh\necho welcome\necho {{}}\nexec {sys.executable} "$@"\n')
    noisy.chmod(0o755)
    with Session(Host(target="board", config=configure(), python=str(noisy))) as session:
        assert session.run(["-c", "print(1)"], [], seconds=30).stdout == "1\n"


def test_a_python_with_a_space_in_its_path(configure, tmp_path):
    folder = tmp_path / "a 'quoted' $folder"
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    host = Host(target="board", config=configure(), python=str(folder / "python"))
    with Session(host) as session:
        assert session.run(["-c", "print(2)"], [], seconds=30).stdout == "2\n"


def test_a_host_key_that_is_not_known(configure, server, tmp_path):
    config = configure(UserKnownHostsFile=tmp_path / "empty")
    with pytest.raises(DeviceUnavailable, match=r"host key of board is not known.*ssh board"):
        Session(Host(target="board", config=config)).__enter__()
    assert server.left_behind() == []


def test_the_users_settings_may_take_new_host_keys(configure, tmp_path):
    known = tmp_path / "fresh"
    config = configure(UserKnownHostsFile=known, StrictHostKeyChecking="accept-new")
    with Session(Host(target="board", config=config, python=sys.executable)):
        pass
    assert "ed25519" in known.read_text()


def test_a_host_key_that_has_changed(configure, server, tmp_path):
    other = tmp_path / "other_known"
    key = (server.folder / "user_key.pub").read_text(encoding="ascii")
    other.write_text(f"[127.0.0.1]:{server.port} {key}", encoding="ascii")
    config = configure(UserKnownHostsFile=other)
    with pytest.raises(DeviceUnavailable, match="not the one that is known"):
        Session(Host(target="board", config=config)).__enter__()


def test_a_key_that_does_not_fit(configure, server, tmp_path):
    shutil.copy(server.folder / "host_key", tmp_path / "stranger")
    (tmp_path / "stranger").chmod(stat.S_IRUSR)
    config = configure(IdentityFile=tmp_path / "stranger", IdentityAgent="none")
    with pytest.raises(DeviceUnavailable, match="ssh-copy-id board"):
        Session(Host(target="board", config=config)).__enter__()


def test_a_port_where_nobody_listens(configure):
    config = configure(Port=1)
    with pytest.raises(DeviceUnavailable, match=r"cannot be reached \(connection refused\)"):
        Session(Host(target="board", config=config)).__enter__()


def test_a_name_that_is_nobodys(configure):
    config = configure(HostName="board.invalid")
    with pytest.raises(DeviceUnavailable, match="cannot be found"):
        Session(Host(target="board", config=config)).__enter__()


def test_a_python_that_is_not_there(board):
    with pytest.raises(RuntimeUnavailable, match="there is no no-python on board"):
        Session(replace(board, python="no-python")).__enter__()


def pretend(tmp_path, configure, *lines):
    """A host whose Python is a script that says these lines and takes what comes."""
    script = tmp_path / "pretender"
    said = "\n".join(f"printf '%s\\n' '{line}'" for line in lines)
    script.write_text(f"#!/bin/sh\n{said}\ncat > /dev/null\n")
    script.chmod(0o755)
    return Host(target="board", config=configure(), python=str(script))


HELLO = {"python": [3, 10, 0], "executable": "x", "machine": "m", "folder": "/tmp/x",
         "free_bytes": 1 << 30, "packages": {"numpy": True}}  # fmt: skip


def test_a_disk_that_fills_up_on_the_way(configure, tmp_path):
    host = pretend(tmp_path, configure, MARK + json.dumps(HELLO), MARK + '{"problem": "disk full"}')
    with Session(host) as session, pytest.raises(OutOfSpace, match=r"1024\.0 MiB free"):
        session.run(["-c", ""], [("a", b"x")], seconds=10)


def test_a_disk_that_is_too_small_is_known_before(board, server):
    with Session(board) as session:
        session.found["free_bytes"] = 2 << 20
        with pytest.raises(OutOfSpace, match=r"3\.0 MiB do not fit on board"):
            session.run(["-c", ""], [("a", bytes(3 << 20))], seconds=10)
    assert server.left_behind() == []


def test_another_problem_over_there_is_quoted(configure, tmp_path):
    host = pretend(tmp_path, configure, MARK + json.dumps(HELLO), MARK + '{"problem": "odd"}')
    with Session(host) as session, pytest.raises(DeviceUnavailable, match="could not start: odd"):
        session.run(["-c", ""], [], seconds=10)


def test_a_host_that_stays_silent(configure, tmp_path, monkeypatch):
    monkeypatch.setattr("exporters.remote.session.START_SECONDS", 0.5)
    host = replace(pretend(tmp_path, configure), connect_seconds=1)
    with pytest.raises(DeviceUnavailable, match="has not answered for 2 s"):
        Session(host).__enter__()


@pytest.mark.parametrize("end", ["ssh", "sshd"])
def test_a_connection_that_is_cut_leaves_nothing_there(board, server, end):
    up = threading.Event()
    before = set(psutil.Process(server.process.pid).children(recursive=True))

    def cut():
        up.wait(20)
        theirs = set(psutil.Process(server.process.pid).children(recursive=True)) - before
        if end == "ssh":
            session._process.kill()
            return
        for process in theirs:
            if process.name().startswith("sshd"):
                process.kill()

    session = Session(board, lambda line: up.set() if line == "up" else None)
    threading.Thread(target=cut, daemon=True).start()
    with session, pytest.raises(DeviceUnavailable, match="connection to board was lost"):
        session.run(["-c", SLEEP], [("model.onnx", b"x")], seconds=60)
    wait_until(lambda: server.left_behind() == [])
    wait_until(lambda: not running(SLEEP))


def running(word):
    every = psutil.process_iter(["cmdline"])
    return [process for process in every if word in (process.info["cmdline"] or [])]


@pytest.fixture
def heeds_ctrl_c():
    # A shell that starts the tests in the background has them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_ends_the_command_and_removes_its_files(board, server):
    session = Session(
        board, lambda line: os.kill(os.getpid(), signal.SIGINT) if line == "up" else None
    )
    with pytest.raises(KeyboardInterrupt), session:
        session.run(["-c", SLEEP], [("model.onnx", b"x")], seconds=60)
    assert server.left_behind() == []
    assert not running(SLEEP)


def test_a_command_that_takes_too_long_is_ended_over_there(board, server):
    with Session(board) as session:
        answer = session.run(["-c", SLEEP], [], seconds=0.5)
    assert answer.stopped == "time"
    assert server.left_behind() == []
    assert not running(SLEEP)


def test_a_file_that_shrinks_while_it_is_sent(board, server, tmp_path, monkeypatch):
    shrinking = tmp_path / "model.onnx"
    shrinking.write_bytes(bytes(100))
    real = Path.stat

    def larger(self, **words):
        found = real(self, **words)
        if self != shrinking:
            return found
        return os.stat_result([*found[:6], 200, *found[7:10]])

    with Session(board) as session:
        monkeypatch.setattr(Path, "stat", larger)
        with pytest.raises(DeviceUnavailable, match="became shorter"):
            session.run(["-c", ""], [("model.onnx", shrinking)], seconds=10)
        monkeypatch.undo()
    assert server.left_behind() == []
