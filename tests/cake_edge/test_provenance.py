from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from cake_edge import provenance
from cake_edge.errors import ArtifactError, OutOfSpace, OutputExists


def full_disk(*_arguments, **_keywords):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_s_digest_is_that_of_its_bytes(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(b"ab" * 1_500_000)
    assert provenance.sha256_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_equal_values_have_equal_json_and_digest():
    assert provenance.canonical_json({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    assert provenance.sha256_json({"b": 1, "a": 2}) == provenance.sha256_json({"a": 2, "b": 1})
    assert provenance.sha256_json({"a": 1}) != provenance.sha256_json({"a": 2})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_holds_no_value_that_json_has_not(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        provenance.canonical_json({"a": value})
    with pytest.raises(ValueError, match="not JSON compliant"):
        provenance.write_json(tmp_path / "x.json", {"a": value})
    assert list(tmp_path.iterdir()) == []


def test_versions_name_what_shapes_a_result():
    found = provenance.versions()
    assert {"python", "torch", "timm", "numpy", "onnxruntime", "cake-edge"} <= set(found)


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "no-such-package"))
    assert set(provenance.versions()) == {"python", "numpy"}


def test_the_environment_is_plain_and_names_the_processor():
    found = provenance.environment()
    assert provenance.sha256_json(found)
    assert found["cores"] >= 1
    assert set(found["cpu_flags"]) <= set(provenance.CPU_FLAGS)


CPUINFO_X86 = (
    "processor : 0\nmodel name : Fast One\nflags : fpu avx2 avx512_vnni\n\nprocessor : 1\n"
)
CPUINFO_ARM = "processor : 0\nBogoMIPS : 50.00\nFeatures : fp asimd asimddp i8mm\n"


@pytest.mark.parametrize(
    ("text", "flags"),
    [(CPUINFO_X86, ["avx2", "avx512_vnni"]), (CPUINFO_ARM, ["asimd", "asimddp", "i8mm"])],
)
def test_processor_flags_are_read_on_both_families(monkeypatch, text, flags):
    monkeypatch.setattr(Path, "read_text", lambda *_a, **_k: text)
    found = provenance.environment()
    assert found["cpu_flags"] == flags
    assert found["processor"] == "Fast One" or text is CPUINFO_ARM


def test_a_block_that_succeeds_leaves_one_whole_file(tmp_path):
    path = tmp_path / "deep" / "er" / "x.txt"
    with provenance.atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_renamed_as_a_whole(tmp_path):
    path = tmp_path / "pool"
    with provenance.atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("a")
    assert (path / "a").read_text() == "a"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "x.txt"
    path.write_text("before")

    def write_half() -> None:
        with provenance.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_is_overwritten(tmp_path):
    path = tmp_path / "x.txt"
    with provenance.atomic_path(path) as temporary:
        left_over = temporary.name
        temporary.write_text("1")
    (tmp_path / left_over).mkdir()
    (tmp_path / left_over / "rest").write_text("rest")
    with provenance.atomic_path(path) as temporary:
        temporary.write_text("2")
    assert path.read_text() == "2"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_full_disk_is_said_and_nothing_half_written(tmp_path, monkeypatch, name):
    path = tmp_path / "x.json"
    path.write_text("before")
    monkeypatch.setattr(os, name, full_disk)
    monkeypatch.setattr(Path, "replace", full_disk if name == "replace" else Path.replace)
    with pytest.raises(OutOfSpace, match=r"no space left while writing .*x\.json: free some"):
        provenance.write_json(path, {"a": 1})
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_inside_the_block_is_said(tmp_path):
    path = tmp_path / "x.bin"

    def write_half() -> None:
        with provenance.atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            full_disk()

    with pytest.raises(OutOfSpace):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_understood_from_safetensors_words(tmp_path):
    def write_half() -> None:
        with provenance.atomic_path(tmp_path / "x.safetensors") as temporary:
            temporary.write_bytes(b"half")
            raise SafetensorError("I/O error: No space left on device (os error 28)")

    with pytest.raises(OutOfSpace, match="no space left"):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_another_error_of_the_system_is_handed_on(tmp_path):
    with pytest.raises(FileNotFoundError), provenance.atomic_path(tmp_path / "x"):
        pass  # Nothing was written, so there is nothing to rename.
    assert list(tmp_path.iterdir()) == []


def test_json_written_is_json_read(tmp_path):
    path = tmp_path / "x.json"
    provenance.write_json(path, {"b": [1, 2.5], "a": "ä"})
    assert provenance.read_json(path) == {"b": [1, 2.5], "a": "ä"}
    assert path.read_text(encoding="utf-8").endswith("}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"{", "is not readable as JSON"),
        (b"\xff\xfe\x00", "is not readable as JSON"),
        (b"[1]", "holds a JSON list, not an object"),
    ],
)
def test_json_that_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"x\.json {message}"):
        provenance.read_json(path)


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path):
    mask = os.umask(0o027)
    try:
        with provenance.atomic_path(tmp_path / "x") as temporary:
            temporary.write_bytes(b"x")
            temporary.chmod(0o600)
    finally:
        os.umask(mask)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_an_error_names_the_file_that_was_asked_for_and_not_the_temporary_one(tmp_path):
    with (
        pytest.raises(FileNotFoundError) as caught,
        provenance.atomic_path(tmp_path / "x") as temporary,
    ):
        temporary.read_bytes()
    assert caught.value.filename == str(tmp_path / "x")


def test_a_place_that_is_free_is_accepted(tmp_path):
    provenance.refuse_existing(tmp_path / "deep" / "new")
    provenance.refuse_existing(tmp_path, folder=True)  # An empty folder.


def test_a_place_where_nothing_can_be_made_is_refused(tmp_path, monkeypatch):
    (tmp_path / "x").write_text("x")
    with pytest.raises(OutputExists, match="x is not a folder; choose another --out"):
        provenance.refuse_existing(tmp_path / "x" / "deep" / "y")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OutputExists, match="empty is a folder; give the name of a file"):
        provenance.refuse_existing(tmp_path / "empty")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # For root everything may be.
    with pytest.raises(PermissionError):
        provenance.refuse_existing(tmp_path / "y")


def test_a_place_that_is_taken_is_refused(tmp_path):
    file = tmp_path / "x"
    file.write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExists, match="x is a file already; nothing was changed"):
        provenance.refuse_existing(file)
    with pytest.raises(OutputExists, match="is a folder that is not empty already"):
        provenance.refuse_existing(tmp_path, folder=True)
    with pytest.raises(OutputExists):
        provenance.refuse_existing(tmp_path / "dangling")
