from __future__ import annotations

import zipfile

import pytest
import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.archive import Archive, kind_of_program


def zipped(path, members, **options):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, **options)
    return path


def test_each_kind_of_program_is_told_by_its_content(saved, tmp_path):
    given = saved("tiny")
    assert kind_of_program(given.paths["static"]) == "torch.export"
    assert kind_of_program(given.paths["traced"]) == "torchscript"
    torch.save(given.network.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "text.pt").write_text("no zip")
    whole = given.paths["traced"].read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    old = zipped(tmp_path / "old.pt2", [("serialized_exported_program.json", b"{}")])
    assert kind_of_program(old) == "torch.export"
    for name in ("weights.pt", "text.pt", "cut.pt", "missing.pt"):
        assert kind_of_program(tmp_path / name) is None


def test_members_are_read_without_the_folder_around_them(tmp_path):
    path = zipped(tmp_path / "a.pt", [("a/version", b"3"), ("a/data/0", b"xy")])
    with Archive(path) as archive:
        assert archive.names == ("version", "data/0")
        assert archive.read("data/0") == b"xy"
        with pytest.raises(TeacherError, match="no member nothing"):
            archive.read("nothing")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("a/x", "a/x"), "more than once"),
        (("/x",), "with the name"),
        (("a/../../x",), "with the name"),
        (("a\\..\\x",), "with the name"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_torch_does_not_write_are_refused(tmp_path, names, reason):
    path = zipped(tmp_path / "a.pt", [(name, b"") for name in names])
    with pytest.raises(TeacherError, match=reason):
        Archive(path)


def test_compressed_members_are_refused(tmp_path):
    path = zipped(tmp_path / "a.pt", [("a/x", bytes(1 << 20))], compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(TeacherError, match="the compressed member"):
        Archive(path)


def test_sources_that_unpack_to_very_much_are_refused(tmp_path):
    path = zipped(
        tmp_path / "a.pt", [("a/x.py", bytes(10 << 20))], compress_type=zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < 1 << 16
    with pytest.raises(TeacherError, match="has sources of more than"):
        Archive(path)


def test_encrypted_members_and_links_are_refused(tmp_path):
    path = zipped(tmp_path / "a.pt", [("a/x", b"xy")])
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(TeacherError, match="encrypted"):
        Archive(path)
    link = zipfile.ZipInfo("a/x")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, b"/etc/passwd")
    with pytest.raises(TeacherError, match="has the link"):
        Archive(path)


def test_members_that_say_to_be_larger_than_the_file_are_refused(tmp_path):
    path = zipped(tmp_path / "a.pt", [("a/x", b"xy")])
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    for field in (20, 24):  # both sizes, in the directory
        data[at + field : at + field + 4] = (1 << 31).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(TeacherError, match="holds more than its own"):
        Archive(path)


def test_a_wrong_checksum_is_told(tmp_path):
    path = zipped(tmp_path / "a.pt", [("a/x", b"abcdefgh")])
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgi"))
    with Archive(path) as archive, pytest.raises(TeacherError, match="member x cannot be read"):
        archive.read("x")
