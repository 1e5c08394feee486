"""Networks made ready for rewriting, and images for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import nn

from cake_edge.networks import build_network
from cake_edge.spec import ImageSpec
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx
from exporters.quantize.graph import prepare, read_float_model
from exporters.quantize.insert import rangeable_tensors, write_qdq
from exporters.quantize.observe import observe
from exporters.quantize.ort_x86 import ORT_X86
from exporters.quantize.ranges import tensor_ranges
from exporters.runtimes.ort import open_inference_session, session_options

Images = npt.NDArray[np.float32]
SIZE = 32


@pytest.fixture(scope="session")
def made_ready(tmp_path_factory: pytest.TempPathFactory) -> Callable[[nn.Module], onnx.ModelProto]:
    """Exports a network of [N, 3, 32, 32] and prepares it as quantization does."""

    def make(network: nn.Module) -> onnx.ModelProto:
        path: Path = tmp_path_factory.mktemp("ready") / "float.onnx"
        network = network.eval()
        classes = network(torch.zeros(1, 3, SIZE, SIZE)).shape[1]
        third = (0.5, 0.5, 0.5)
        spec = ImageSpec(
            channels=3, height=SIZE, width=SIZE, mean=third, std=third, classes=classes
        )
        card = ModelCard(
            architecture="it",
            spec=spec,
            role="student",
            parent="ab" * 32,
            parameters=1,
            manifest={},
        )
        export_onnx(network, path, card)
        return prepare(read_float_model(path))

    return make


@pytest.fixture(scope="session")
def timm_ready(made_ready) -> Callable[..., onnx.ModelProto]:
    """A timm network with random weights, its BatchNorms' channels far from equal."""

    def make(name: str, **arguments: object) -> onnx.ModelProto:
        network = build_network(name, channels=3, classes=10, arguments=arguments, seed=0)
        random = torch.Generator().manual_seed(1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                nn.init.trunc_normal_(module.weight, 0, 1.0, generator=random)
                module.weight.data.exp_()
                nn.init.normal_(module.bias, 0, 0.3, generator=random)
        return made_ready(network)

    return make


@pytest.fixture(scope="session")
def batches() -> Callable[[], list[Images]]:
    """The same 24 images of random tiles each time, in two arrays."""
    random = np.random.default_rng(0)
    arrays = [
        random.standard_normal((count, 3, 8, 8)).repeat(4, axis=2).repeat(4, axis=3)
        for count in (16, 8)
    ]
    arrays = [array.astype(np.float32) for array in arrays]
    return lambda: arrays


@pytest.fixture(scope="session")
def values_of() -> Callable[..., Images]:
    """Runs a model as it is written and gives one of its float tensors, or the logits."""

    def run(model: onnx.ModelProto, images: Images, name: str | None = None) -> Images:
        widened = onnx.ModelProto()
        widened.CopyFrom(model)
        if name is not None:
            info = next(info for info in model.graph.value_info if info.name == name)
            del widened.graph.output[:]
            widened.graph.output.append(info)
        options = session_options(optimise=False)
        session = open_inference_session(widened.SerializeToString(), options, what="it")
        return session.run(None, {model.graph.input[0].name: images})[0]

    return run


@pytest.fixture(scope="session")
def spread() -> Callable[[Images, int], float]:
    """How unequal the channels of a tensor are: the deviation of their widths, in bits."""

    def deviation(values: Images, axis: int) -> float:
        others = tuple(other for other in range(values.ndim) if other != axis % values.ndim)
        reach = np.abs(values).max(axis=others)
        return float(np.log2(reach[reach > 0]).std())

    return deviation


@pytest.fixture(scope="session")
def same_logits(values_of) -> Callable[..., None]:
    """Fails where two models differ by more than rounding."""

    def check(before: onnx.ModelProto, after: onnx.ModelProto, images: Images) -> None:
        wanted, given = values_of(before, images), values_of(after, images)
        assert np.abs(given - wanted).max() <= 1e-4 * np.abs(wanted).max()

    return check


@pytest.fixture(scope="session")
def decibels(values_of) -> Callable[..., float]:
    """Signal to noise of a float model's logits once it is INT8, min-max ranges of `images`.

    The signal is what differs from image to image.
    """

    def measure(model: onnx.ModelProto, images: Images) -> float:
        names = rangeable_tensors(model, [ORT_X86])
        seen = observe(model, names, [], lambda: [images]).histograms
        ranges = {name: tensor_ranges(each, least_error=False) for name, each in seen.items()}
        wanted = values_of(model, images)
        noise = values_of(write_qdq(model, ORT_X86, ranges), images) - wanted
        return float(10 * np.log10(wanted.var(axis=0).sum() / (noise**2).mean(axis=0).sum()))

    return measure
