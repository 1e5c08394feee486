from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from cake_edge import memory
from cake_edge.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cake_edge.errors import ArtifactError, TeacherError
from cake_edge.memory import available_memory, check_memory
from cake_edge.networks import build_network
from cake_edge.onnx_file import read_model
from cake_edge.spec import ImageSpec
from cake_edge.teachers.weights_file import read_state

GIB = 2**30


@pytest.fixture
def free(monkeypatch):
    """Makes the system have so many bytes left."""

    def free(available):
        monkeypatch.setattr(memory, "available_memory", lambda: available)

    return free


def test_what_is_needed_and_what_is_there_are_named():
    with pytest.raises(TeacherError, match=r"w\.pth declares tensors of 3\.0 GiB, and 2\.0 GiB"):
        check_memory(Path("w.pth"), 3 * GIB, TeacherError, available=2 * GIB)


def test_what_fits_passes():
    check_memory(Path("w.pth"), 2 * GIB, TeacherError, available=2 * GIB)
    assert available_memory() > 0


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_refused_before_they_are_read(tmp_path, free, monkeypatch, zipped):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(9)}, path, _use_new_zipfile_serialization=zipped)
    assert "a" in read_state(path)
    free(20)
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(TeacherError, match="declares tensors"):
        read_state(path)


def test_a_checkpoint_is_refused_before_its_network_is_built(tmp_path, free):
    path = tmp_path / "own.safetensors"
    spec = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,), classes=4)
    network = build_network("test_resnet", channels=1, classes=4)
    save_checkpoint(path, network, Checkpoint(architecture="test_resnet", spec=spec))
    free(1000)
    with pytest.raises(ArtifactError, match="declares tensors"):
        load_checkpoint(path)


def test_an_onnx_file_is_refused_for_what_its_sizes_say(tmp_path):
    port = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    weight = TensorProto(name="w", dims=[1 << 44], data_type=TensorProto.FLOAT, raw_data=bytes(8))
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", port[:1], port[1:], [weight])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset]), tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match=r"m\.onnx declares tensors of 65,536\.0 GiB"):
        read_model(tmp_path / "m.onnx")
