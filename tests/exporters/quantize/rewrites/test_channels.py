from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cake_edge.errors import NumericsError
from exporters.quantize.rewrites.channels import observe_channels


@pytest.fixture(scope="module")
def model(made_ready):
    torch_network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5400, 4))
    return made_ready(torch_network)


def test_the_ranges_are_those_of_all_images(model, batches, values_of):
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    name = relu.input[0]
    seen = observe_channels(model, {name: 1, relu.output[0]: 1}, batches)
    values = np.concatenate([values_of(model, images, name) for images in batches()])
    np.testing.assert_allclose(seen[name].low, values.min(axis=(0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(seen[name].high, values.max(axis=(0, 2, 3)), atol=1e-5)
    assert (seen[relu.output[0]].low >= 0).all()


def test_the_channel_axis_may_be_the_last(model, batches):
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    assert observe_channels(model, {relu.output[0]: -1}, batches)[relu.output[0]].low.shape == (30,)


def test_no_images_and_images_of_nan_are_refused(model):
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    with pytest.raises(NumericsError, match="no images"):
        observe_channels(model, {relu.output[0]: 1}, list)
    bad = torch.full((1, 3, 32, 32), torch.nan).numpy()
    with pytest.raises(NumericsError, match=relu.input[0]):
        observe_channels(model, {relu.input[0]: 1}, lambda: [bad])
