"""An sshd of our own on loopback, with keys and a port of its own, below a test folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporters.remote import Host

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


@dataclass(frozen=True)
class Server:
    """A running sshd."""

    folder: Path
    """Where everything of it lies; `temporary` below it is where sessions keep their files."""
    port: int
    process: subprocess.Popen[bytes]

    @property
    def temporary(self) -> Path:
        return self.folder / "temporary"

    def left_behind(self) -> list[str]:
        """What sessions have left in their temporary folder."""
        return sorted(path.name for path in self.temporary.iterdir())


def make_key(path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)],
        check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An sshd that lets one new key in; the test is skipped where that cannot be had."""
    if not Path(SSHD).is_file() or shutil.which("ssh-keygen") is None:
        pytest.skip("sshd is not installed: apt install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    (folder / "temporary").mkdir()
    make_key(folder / "host_key")
    make_key(folder / "user_key")
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, run by root, jails its listener
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host_key",
        "AuthorizedKeysFile": folder / "authorized_keys", "PidFile": folder / "pid",
        "PermitRootLogin": "yes", "PasswordAuthentication": "no", "StrictModes": "no",
        "UsePAM": "no", "KbdInteractiveAuthentication": "no", "MaxStartups": "100",
        "SetEnv": f"TMPDIR={folder / 'temporary'}",
    }  # fmt: skip
    words = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", "/dev/null", *words], stderr=log)
    try:
        _wait_for(port, process, folder / "log")
        yield Server(folder, port, process)
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.skip(f"sshd does not start here: {log.read_text(errors='replace')[-500:]}")


@pytest.fixture
def configure(server: Server, tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration for ssh that knows the server as `board`; words change it."""

    def configure(**changes: object) -> Path:
        known = tmp_path / "known_hosts"
        key = (server.folder / "host_key.pub").read_text(encoding="ascii")
        known.write_text(f"[127.0.0.1]:{server.port} {key}", encoding="ascii")
        settings = {
            "HostName": "127.0.0.1",
            "Port": server.port,
            "User": getpass.getuser(),
            "IdentityFile": server.folder / "user_key",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": known,
            "GlobalKnownHostsFile": "/dev/null",
            **changes,
        }
        path = tmp_path / "ssh_config"
        lines = [f"  {name} {value}" for name, value in settings.items()]
        path.write_text("\n".join(["Host board", *lines, ""]), encoding="utf-8")
        return path

    return configure


@pytest.fixture
def board(configure: Callable[..., Path]) -> Host:
    """The server, as a host whose key is known and where Python is this one."""
    import sys

    return Host(target="board", config=configure(), python=sys.executable)
