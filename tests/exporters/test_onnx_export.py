from __future__ import annotations

import copy
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from cake_edge.errors import ArtifactError, GateFailed
from cake_edge.networks import build_network
from cake_edge.provenance import sha256_file
from cake_edge.spec import ImageSpec
from exporters.artifact import ModelCard, card_from_metadata
from exporters.onnx_export import INPUT, OPSET, OUTPUT, export_onnx, export_teacher
from exporters.runtimes import open_session

ROOT = Path(__file__).resolve().parents[2]


class Linear(nn.Module):
    """One layer on the flattened image: quick to export."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.layer = nn.Linear(int(np.prod(spec.input_size)), spec.classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


def test_the_graph_has_the_promised_ports(float_file):
    graph = onnx.load(float_file).graph
    (given,), (got,) = graph.input, graph.output
    shapes = [
        [dim.dim_param or dim.dim_value for dim in port.type.tensor_type.shape.dim]
        for port in (given, got)
    ]
    assert (given.name, got.name) == (INPUT, OUTPUT) == ("input", "logits")
    assert shapes == [["batch", 1, 20, 20], ["batch", 4]]


def test_batchnorm_is_folded_away_and_the_opset_is_as_chosen(float_file):
    model = onnx.load(float_file)
    operators = {node.op_type for node in model.graph.node}
    assert "Conv" in operators
    assert "BatchNormalization" not in operators
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]


def test_any_batch_size_gives_torchs_logits(float_file, network, spec):
    with open_session(float_file) as session:
        for count in (1, 2, 5):
            random = torch.Generator().manual_seed(count)
            images = torch.randn(count, *spec.input_size, generator=random)
            with torch.no_grad():
                wanted = network(images).numpy()
            np.testing.assert_allclose(session.infer(images.numpy()), wanted, atol=1e-5)


def test_the_file_carries_its_card_and_no_trace_of_this_machine(float_file, card):
    model = onnx.load(float_file)
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert card_from_metadata(found) == card
    data = float_file.read_bytes()
    for trace in (str(ROOT), "site-packages", ".py", "forward"):
        assert trace.encode() not in data


def test_another_process_writes_the_same_bytes(float_file, network, card, tmp_path):
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "card.json").write_text(card.to_json())
    code = """
import sys, torch
from pathlib import Path
from cake_edge.networks import build_network
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx
folder = Path(sys.argv[1])
card = ModelCard.from_json((folder / "card.json").read_text())
network = build_network("resnet10t", channels=1, classes=4,
    arguments={"channels": [16, 16, 32, 32], "stem_width": 16})
network.load_state_dict(torch.load(folder / "weights.pt"))
export_onnx(network, folder / "again.onnx", card)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    assert sha256_file(tmp_path / "again.onnx") == sha256_file(float_file)


def test_the_given_network_is_left_as_it_was(spec, card, tmp_path):
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(), Linear(spec)).train()
    before = copy.deepcopy(network.state_dict())
    export_onnx(network, tmp_path / "a.onnx", card)
    assert all(module.training for module in network.modules())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    ("architecture", "size"),
    [("test_efficientnet", 32), ("test_vit", 160), ("test_convnext", 32)],
)
def test_every_family_of_networks_is_exported(architecture, size, tmp_path):
    spec = ImageSpec(
        channels=3, height=size, width=size, mean=(0.5,) * 3, std=(0.5,) * 3, classes=5
    )
    card = ModelCard(architecture=architecture, spec=spec, role="teacher", parent="0" * 64)
    network = build_network(architecture, channels=3, classes=5)
    assert export_onnx(network, tmp_path / "a.onnx", card) == card
    with open_session(tmp_path / "a.onnx") as session:
        assert session.infer(np.zeros((3, 3, size, size), np.float32)).shape == (3, 5)


class FixedBatch(Linear):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.reshape(2, -1))


class ForksOnData(Linear):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer((images if images.sum() > 0 else -images).flatten(1))


class ExportsSomethingElse(Linear):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scale = 2.0 if torch.compiler.is_compiling() else 1.0
        return self.layer(images.flatten(1)) * scale


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        (FixedBatch, ArtifactError, "batches of 2 only"),
        (ForksOnData, ArtifactError, "cannot export"),
        (ExportsSomethingElse, GateFailed, "ONNX Runtime against torch"),
    ],
)
def test_a_network_that_cannot_be_exported_leaves_no_file(kind, error, said, spec, card, tmp_path):
    with pytest.raises(error, match=said):
        export_onnx(kind(spec), tmp_path / "a.onnx", card)
    assert list(tmp_path.iterdir()) == []


def test_a_network_with_other_classes_than_its_spec_is_refused(spec, card, tmp_path):
    other = replace(card, spec=replace(spec, classes=7))
    with pytest.raises(ArtifactError, match="7 classes"):
        export_onnx(Linear(spec), tmp_path / "a.onnx", other)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_may_be_fixed(spec, card, tmp_path):
    network = FixedBatch(spec)
    export_onnx(network, tmp_path / "a.onnx", card, batch=2)
    with open_session(tmp_path / "a.onnx", fixed_batch=2) as session:
        assert session.input_shape == (2, *spec.input_size)
        images = torch.randn(2, *spec.input_size)
        with torch.no_grad():
            np.testing.assert_allclose(
                session.infer(images.numpy()), network(images).numpy(), atol=1e-5
            )


class OneByOne(Linear):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (
            self.layer(images.reshape(1, -1)) if len(images) == 1 else super().forward(images[:2])
        )


def test_a_teacher_that_torch_cannot_free_of_its_batch_is_written_for_one_image(
    spec, card, tmp_path, caplog
):
    export_teacher(OneByOne(spec), tmp_path / "a.onnx", card, batch=None)
    with open_session(tmp_path / "a.onnx") as session:
        assert session.input_shape[0] == 1
    assert "takes exactly 1 image a call" in caplog.text
    export_teacher(Linear(spec), tmp_path / "b.onnx", card, batch=None)
    with open_session(tmp_path / "b.onnx") as session:
        assert session.input_shape[0] == "batch"


def test_a_teacher_that_torch_cannot_export_at_all_leaves_no_file(spec, card, tmp_path):
    with pytest.raises(ArtifactError, match="cannot export"):
        export_teacher(ForksOnData(spec), tmp_path / "a.onnx", card, batch=None)
    assert list(tmp_path.iterdir()) == []
