"""The command line of ssh, and the words for what goes wrong with it."""

import shlex
from pathlib import Path

import pytest

from cake_edge.errors import DeviceUnavailable, RuntimeUnavailable, UsageMistake
from exporters.remote.ssh import Host, explain_failure, ssh_command

BOARD = Host(target="user@board")


@pytest.mark.parametrize(
    "target",
    ["-oProxyCommand=touch x", "--", "", "a b", "user@board; rm", "$(id)", "board\n", "`x`"],
)
def test_a_target_that_ssh_or_a_shell_would_take_for_more_is_refused(target):
    with pytest.raises(UsageMistake, match="it must be user@board"):
        Host(target=target)


@pytest.mark.parametrize(
    "target", ["board", "me@10.0.0.7", "ssh://me@board.local:2222", "me@fe80::1%eth0"]
)
def test_what_ssh_takes_is_taken(target):
    assert Host(target=target).target == target


@pytest.mark.parametrize("python", ["", "a\nb", "a\0b"])
def test_a_python_that_is_no_program_is_refused(python):
    with pytest.raises(UsageMistake, match="must name a program"):
        Host(target="board", python=python)


@pytest.mark.parametrize("seconds", [0, float("nan"), 1e9])
def test_a_wait_that_makes_no_sense_is_refused(seconds):
    with pytest.raises(UsageMistake, match="connect_seconds"):
        Host(target="board", connect_seconds=seconds)


def test_every_word_survives_the_shell_on_the_other_side():
    words = ["python 3", "-c", "import sys; print('$HOME', \"x\")", "*", "a;b", ""]
    command = ssh_command(BOARD, words)
    assert shlex.split(command[-1]) == words
    assert command[-3:-1] == ["--", "user@board"]


def test_nothing_is_asked_and_host_keys_are_left_to_the_users_settings():
    command = ssh_command(BOARD, ["true"])
    assert "BatchMode=yes" in command
    assert "ConnectTimeout=15" in command
    assert not any("StrictHostKeyChecking" in word or "KnownHosts" in word for word in command)
    assert "-F" not in command


def test_another_configuration_file_is_named(tmp_path):
    command = ssh_command(Host(target="board", config=tmp_path / "config"), ["true"])
    assert command[1:3] == ["-F", str(tmp_path / "config")]


def test_a_machine_without_ssh_says_so(monkeypatch):
    monkeypatch.setenv("PATH", str(Path("/nowhere")))
    with pytest.raises(RuntimeUnavailable, match="apt install openssh-client"):
        ssh_command(BOARD, ["true"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ssh: connect to host board port 22: Connection refused", "does sshd run there"),
        ("ssh: connect to host board port 22: No route to host", "no route to host"),
        ("Connection timed out during banner exchange", "cannot be reached"),
        ("ssh: Could not resolve hostname board: Name or service not known", "cannot be found"),
        ("Host key verification failed.", "compare the fingerprint"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "ssh-keygen -R"),
        ("user@board: Permission denied (publickey,password).", "ssh-copy-id user@board"),
        ("something new", "failed (something new)"),
    ],
)
def test_each_failure_of_ssh_says_what_to_do(line, words):
    error = explain_failure(BOARD, 255, ["", line])
    assert type(error) is DeviceUnavailable
    assert words in str(error)


@pytest.mark.parametrize(
    ("code", "line", "words"),
    [
        (127, "bash: python3: command not found", "there is no python3"),
        (126, "bash: python3: cannot execute: required file not found", "there is no python3"),
        (1, "SyntaxError: invalid syntax", "too old"),
    ],
)
def test_a_python_that_does_not_start_says_what_to_install(code, line, words):
    error = explain_failure(BOARD, code, [line])
    assert type(error) is RuntimeUnavailable
    assert words in str(error)


@pytest.mark.parametrize(("code", "words"), [(3, "exit code 3 (odd)"), (None, "failed (odd)")])
def test_any_other_ending_quotes_what_was_said(code, words):
    assert words in str(explain_failure(BOARD, code, ["odd"]))
    assert "it said nothing" in str(explain_failure(BOARD, code, []))
