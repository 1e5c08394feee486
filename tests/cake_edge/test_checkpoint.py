from __future__ import annotations

import errno
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from cake_edge import checkpoint
from cake_edge.checkpoint import Checkpoint, load_checkpoint, read_header, save_checkpoint
from cake_edge.errors import ArtifactError, OutOfSpace
from cake_edge.networks import build_network, weights_digest
from cake_edge.spec import ImageSpec

SPEC = ImageSpec(channels=1, height=32, width=32, mean=(0.5,), std=(0.25,), classes=4)
ABOUT = Checkpoint(
    architecture="resnet10t",
    arguments={"channels": [8, 8, 8, 8], "stem_width": 8},
    spec=SPEC,
    manifest={"seed": 1, "parent": "ab" * 32},
)


@pytest.fixture(scope="module")
def network():
    return build_network("resnet10t", channels=1, classes=4, arguments=ABOUT.arguments, seed=1)


@pytest.fixture
def stored(tmp_path, network):
    path = tmp_path / "student.safetensors"
    save_checkpoint(path, network, ABOUT)
    return path


def change_header(path, change):
    """Rewrites the file with its header changed by a function of the parsed entry."""
    with checkpoint.safe_open(path, framework="pt") as stream:
        header = json.loads(stream.metadata()["cake_edge"])
    save_file(load_file(path), path, metadata={"cake_edge": json.dumps(change(header))})


def test_what_was_stored_is_loaded(stored, network):
    loaded, about = load_checkpoint(stored)
    assert about == ABOUT
    assert weights_digest(loaded) == weights_digest(network)
    assert not loaded.training


def test_the_header_is_read_without_the_weights(stored):
    assert read_header(stored) == ABOUT


def test_equal_inputs_give_equal_bytes(stored, network, tmp_path):
    save_checkpoint(tmp_path / "again.safetensors", network, ABOUT)
    assert stored.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_half_is_half_the_size_and_read_back_as_float32(tmp_path, stored, network):
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, network, ABOUT, half=True)
    assert path.stat().st_size < 0.7 * stored.stat().st_size
    loaded, _ = load_checkpoint(path)
    for name, tensor in loaded.state_dict().items():
        original = network.state_dict()[name]
        assert tensor.dtype == original.dtype
        if tensor.is_floating_point():
            assert torch.equal(tensor, original.half().float())


def test_a_network_in_channels_last_is_stored_like_any(tmp_path, stored, network):
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, network.to(memory_format=torch.channels_last), ABOUT)
    assert path.read_bytes() == stored.read_bytes()


def test_tied_weights_are_stored(tmp_path):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = torch.nn.Linear(3, 3)
            self.other = torch.nn.Linear(3, 3)
            self.other.weight = self.one.weight

    save_checkpoint(tmp_path / "tied.safetensors", Tied(), ABOUT)
    kept = load_file(tmp_path / "tied.safetensors")
    assert torch.equal(kept["one.weight"], kept["other.weight"])


def test_a_file_of_others_has_no_header(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    assert read_header(path) is None
    with pytest.raises(ArtifactError, match="carries no cake_edge header; name its architecture"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00not json", b"PK\x03\x04"]
)
def test_a_file_that_is_not_safetensors_is_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"x\.safetensors is not a readable safetensors file"):
        read_header(path)


def test_a_cut_file_is_refused(stored):
    stored.write_bytes(stored.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="is not a readable safetensors file"):
        load_checkpoint(stored)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"nothing\.safetensors does not exist"):
        load_checkpoint(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda header: [],
        lambda header: {},
        lambda header: {**header, "spec": None},
        lambda header: {**header, "spec": {**header["spec"], "std": [0.0]}},
        lambda header: {k: v for k, v in header.items() if k != "architecture"},
        lambda header: {**header, "arguments": 3},
    ],
)
def test_a_damaged_header_is_refused(stored, change):
    change_header(stored, change)
    with pytest.raises(ArtifactError, match=r"the header of .*student\.safetensors is damaged"):
        read_header(stored)


def test_a_header_of_a_later_format_is_refused(stored):
    change_header(stored, lambda header: {**header, "format": 99})
    with pytest.raises(ArtifactError, match="has checkpoint format 99; this version reads 1"):
        read_header(stored)


@pytest.mark.parametrize("architecture", ["resnet18", "no_such_network"])
def test_a_header_that_does_not_fit_the_weights_is_refused(stored, architecture):
    change_header(stored, lambda header: {**header, "architecture": architecture})
    with pytest.raises(ArtifactError, match=architecture) as caught:
        load_checkpoint(stored)
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_what_was_there(stored, network, monkeypatch):
    before = stored.read_bytes()

    def full_disk(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OutOfSpace):
        save_checkpoint(stored, network, ABOUT, half=True)
    assert stored.read_bytes() == before
    assert list(stored.parent.iterdir()) == [stored]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": [8, 8, 8, 1 << 40]}, "the arguments channels"),
        ({"channels": [8, 8, 8, 8], "stem_width": 8, "layers": [1, 1, 1, 5000]}, "layers"),
        ({"channels": [8, 8, 8, 8000], "stem_width": 8}, "a network of .* values, far more"),
        ({"checkpoint_path": "/etc/hostname"}, "the arguments checkpoint_path"),
        ({"pretrained_cfg_overlay": {"url": "http://127.0.0.1/x"}}, "pretrained_cfg_overlay"),
    ],
)
def test_a_header_that_asks_for_more_than_its_file_holds_is_refused(stored, arguments, message):
    change_header(stored, lambda header: {**header, "arguments": arguments})
    with pytest.raises(ArtifactError, match=message):
        load_checkpoint(stored)


def test_a_header_nested_deeply_is_refused(stored):
    save_file(load_file(stored), stored, metadata={"cake_edge": "[" * 100_000})
    with pytest.raises(ArtifactError, match="is damaged"):
        read_header(stored)
