"""Opens the zip that torch writes, and trusts nothing in its directory."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Literal

from cake_edge.errors import TeacherError

__all__ = ["OLD_PROGRAM", "Archive", "kind_of_program"]

MOST_MEMBERS = 100_000
"""Members of an archive: the largest classifiers have some thousands."""

MOST_TEXT = 64 << 20
"""Bytes of a member that is parsed as text, JSON or pickle."""

MOST_SOURCE = 6 << 20
"""Bytes of all sources together, which may be compressed."""

SOURCE = (".py", ".debug_pkl")

OLD_PROGRAM = "serialized_exported_program.json"
"""How torch.export.save named the program up to torch 2.7."""

Kind = Literal["torch.export", "torchscript"]


def kind_of_program(path: Path) -> Kind | None:
    """Tells by the names in an archive which kind of program it holds.

    Returns None for files that are no readable zip, and for archives of weights alone. Nothing but
    the directory of the zip is read, and nothing is checked: the readers do that.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # noqa: BLE001 -- a damaged directory raises anything; then it is none
        return None
    for name in names:
        inside = name.rpartition("/")[2]
        if inside in ("archive_format", OLD_PROGRAM):
            return "torch.export"
    return "torchscript" if any(name.endswith("/constants.pkl") for name in names) else None


class Archive:
    """The members of a checked zip, without the folder that torch puts around them.

    torch stores what it writes, and compresses the sources of TorchScript alone: that is required,
    and so no archive can unpack to more memory than it takes on the disk, up to `MOST_SOURCE`.
    Nothing is ever unpacked to the disk.
    """

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        """Opens and checks the directory.

        Args:
            path: of the file; names it in errors.
            data: the archive, where it is a member of another in `path`.

        Raises:
            TeacherError: the file is no zip, is cut short, or has a directory unlike torch's.
        """
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path if data is None else io.BytesIO(data))
        except Exception as error:  # damaged bytes make zipfile raise anything
            raise TeacherError(
                f"{path} cannot be opened as an archive of torch ({_reason(error)}); it is damaged "
                "or cut short, or of another kind, so get it again"
            ) from error
        try:
            self.size = path.stat().st_size if data is None else len(data)
            self._members = self._checked()
        except BaseException:
            self._zip.close()
            raise

    def close(self) -> None:
        """Lets go of the file."""
        self._zip.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all members, in the order of the file."""
        return tuple(self._members)

    def text(self, name: str) -> bytes:
        """Returns a member that is to be parsed; `read` with a bound on its size."""
        info = self._members.get(name)
        if info is not None and info.file_size > MOST_TEXT:
            raise TeacherError(
                f"{self.path}: its member {name} has {info.file_size:,} bytes, and at most "
                f"{MOST_TEXT:,} are parsed; a program whose weights are tensors is far smaller, so "
                "save it again"
            )
        return self.read(name)

    def read(self, name: str) -> bytes:
        """Returns the bytes of a member.

        Raises:
            TeacherError: there is none of that name, or its checksum is wrong.
        """
        info = self._members.get(name)
        if info is None:
            raise TeacherError(
                f"{self.path} has no member {name}; it is damaged or incomplete, so get it again"
            )
        try:
            return self._zip.read(info)
        except (
            zipfile.BadZipFile,
            zlib.error,
            OSError,
            ValueError,
            EOFError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise TeacherError(
                f"{self.path}: its member {name} cannot be read ({_reason(error)}); the file is "
                "damaged, so get it again"
            ) from error

    def _checked(self) -> dict[str, zipfile.ZipInfo]:
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        if len(infos) > MOST_MEMBERS:
            self._refuse(f"has {len(infos):,} members, of at most {MOST_MEMBERS:,}")
        for info in infos:
            self._check_member(info)
        sources = [info for info in infos if info.filename.endswith(SOURCE[0])]
        if sum(info.file_size for info in sources) > MOST_SOURCE:
            self._refuse(f"has sources of more than {MOST_SOURCE:,} bytes")
        if sum(i.file_size for i in infos if not i.filename.endswith(SOURCE)) > self.size:
            self._refuse(f"says that it holds more than its own {self.size:,} bytes")
        names = [info.filename for info in infos]
        roots = {name.partition("/")[0] for name in names}
        if len(roots) == 1 and all("/" in name for name in names):
            names = [name.partition("/")[2] for name in names]
        members = dict(zip(names, infos, strict=True))
        if len(members) != len(infos):
            twice = Counter(names).most_common(1)[0][0]
            self._refuse(f"holds {twice!r} more than once")
        return members

    def _check_member(self, info: zipfile.ZipInfo) -> None:
        name = info.filename
        if info.flag_bits & 0x1:
            self._refuse(f"has the encrypted member {name!r}")
        stored = info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size
        if not stored and not name.endswith(SOURCE):
            self._refuse(f"has the compressed member {name!r}")
        if "\\" in name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
            self._refuse(f"has a member with the name {name!r}")
        if stat.S_ISLNK(info.external_attr >> 16):
            self._refuse(f"has the link {name!r}")

    def _refuse(self, what: str) -> None:
        raise TeacherError(
            f"{self.path} {what}; torch writes no such archive, so it was not read. Save the "
            "program again with torch.export.save or torch.jit.save"
        )


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
