"""One process at a time writes to a place: a second one is told so, and does not spoil the first's.

Names of temporary files hang on what they become, so that a killed run leaves nothing that is not
overwritten; two runs would take each other's away. The claim is a lock of the operating system,
which a killed process loses as well. Where there are none (Windows, some network folders) nothing
is claimed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cake_edge.errors import OutputExists

if sys.platform == "win32":
    LOCKS = False
else:
    import fcntl

    LOCKS = True

__all__ = ["claimed"]


@contextmanager
def claimed(path: Path, *, part: int = 0) -> Iterator[None]:
    """Keeps other processes from writing to `path`, a file or a folder, inside the block.

    Args:
        part: what several processes of one job make of the same folder, told apart by number.

    Raises:
        OutputExists: another process is at it.
    """
    place = path.absolute()  # of "." the name is that of the folder
    lock = place.parent / f".{place.name}.{part}.lock"
    descriptor = _taken(lock, path) if LOCKS else None
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                lock.unlink()
            os.close(descriptor)


def _taken(lock: Path, path: Path) -> int | None:
    """Opens the file and locks it; None where that cannot be done here."""
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None  # what cannot be written is said by whoever tries
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one before may have taken the file away between the two calls.
            if lock.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise OutputExists(
                f"another process is writing to {path}; wait for it to end, or choose another --out"
            ) from error
        except FileNotFoundError:
            pass
        except OSError:
            os.close(descriptor)
            return None
        os.close(descriptor)
