"""OpenSSH's own client, with the settings that a person has made for it.

The user's configuration decides names, ports, keys and jumps. Nothing is asked: a host key that is
not known, or a password that would be typed, is an error that says what to do once by hand.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cake_edge.errors import CakeEdgeError, DeviceUnavailable, RuntimeUnavailable, UsageMistake

__all__ = ["Host", "explain_failure", "ssh_command"]

LOST = 255
"""ssh's exit code for a failure of its own, as against the command's."""
NOT_FOUND = 127
TAIL = 5
CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"
TARGET = re.compile(r"(ssh://)?[\w.@:%\[\]-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine to measure on."""

    target: str
    """As ssh takes it: user@board, a name from its configuration, or ssh://user@board:port."""
    python: str = "python3"
    """The Python to run there; a relative path is relative to the home folder."""
    config: Path | None = None
    """A configuration file for ssh in place of the user's."""
    connect_seconds: float = 15.0
    """How long to wait for the machine to answer."""

    def __post_init__(self) -> None:
        # A word that begins with a dash would be an option of ssh, and run what it says.
        if self.target.startswith("-") or not TARGET.fullmatch(self.target):
            raise UsageMistake(
                f"host is {self.target!r}; it must be user@board, a name from ssh's "
                "configuration, or ssh://user@board:port"
            )
        if not self.python or "\0" in self.python or "\n" in self.python:
            raise UsageMistake(f"python is {self.python!r}; it must name a program")
        if not 1 <= self.connect_seconds <= 3600:
            raise UsageMistake(
                f"connect_seconds is {self.connect_seconds}; it must lie in [1, 3600]"
            )


def ssh_command(host: Host, words: Sequence[str]) -> list[str]:
    """The command line that runs `words` on `host`.

    ssh joins what it is given with spaces and has the login shell there take it apart, so each
    word is quoted.

    Raises:
        RuntimeUnavailable: there is no ssh here.
    """
    ssh = shutil.which("ssh")
    if ssh is None:
        raise RuntimeUnavailable("ssh is not installed here: apt install openssh-client")
    # Neither StrictHostKeyChecking nor a known_hosts file is set: ssh refuses an unknown key
    # when it may not ask, unless the user's configuration says otherwise.
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": f"{host.connect_seconds:.0f}",
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "3",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "ControlMaster": "no",  # one that stays would hold our pipes open
        "ClearAllForwardings": "yes",
        "RequestTTY": "no",
        "LogLevel": "INFO",
    }
    configured = ["-F", str(host.config)] if host.config is not None else []
    settings = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    remote = " ".join(shlex.quote(word) for word in words)
    return [ssh, *configured, *settings, "--", host.target, remote]


def explain_failure(host: Host, code: int | None, errors: Sequence[str]) -> CakeEdgeError:
    """Words a connection that ended before the other side had answered.

    Args:
        code: ssh's exit code; None where it had to be stopped.
        errors: lines of its stderr.
    """
    text = "\n".join(errors)
    name = host.target
    if "SyntaxError" in text:
        return RuntimeUnavailable(
            f"{host.python} on {name} is too old; 3.10 or later is needed: install one there, "
            "and name it with --python"
        )
    if code == NOT_FOUND or (code == 126 and host.python in text):
        return RuntimeUnavailable(
            f"there is no {host.python} on {name}: install Python 3.10 or later there "
            "(sudo apt install python3), or name it with --python"
        )
    if code is not None and code != LOST:
        return DeviceUnavailable(f"{name} ended with exit code {code} ({_tail(errors)})")
    return DeviceUnavailable(_connection(name, text) or f"ssh to {name} failed ({_tail(errors)})")


def _connection(name: str, text: str) -> str | None:
    if CHANGED in text:
        return (
            f"the host key of {name} is not the one that is known: another machine, or one that "
            f"was installed anew. Make sure which, then ssh-keygen -R with its name, and connect "
            f"once with ssh {name}"
        )
    if "Host key verification failed" in text or "host key is known for" in text:
        return (
            f"the host key of {name} is not known: connect once with ssh {name}, compare the "
            "fingerprint with the board's (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub "
            "there), and answer yes"
        )
    if "Permission denied" in text or "Too many authentication failures" in text:
        return (
            f"{name} does not let you in without a password: run ssh-copy-id {name} once, or name "
            "the key in ssh's configuration"
        )
    if "Could not resolve hostname" in text:
        return f"{name} cannot be found: is the name right, and known on this network?"
    unreachable = (
        "Connection refused", "Connection timed out", "No route to host", "Network is unreachable",
        "Operation timed out", "Connection closed by", "Connection reset by",
        "banner exchange",
    )  # fmt: skip
    for reason in unreachable:
        if reason in text:
            return (
                f"{name} cannot be reached ({reason.lower()}): is it on, on this network, and "
                "does sshd run there?"
            )
    return None


def _tail(errors: Sequence[str]) -> str:
    lines = [line.strip() for line in errors if line.strip()]
    return "; ".join(lines[-TAIL:]) or "it said nothing"
