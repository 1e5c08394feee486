from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from cake_edge.errors import NumericsError
from exporters.quantize.graph import prepare
from exporters.quantize.observe import observe


def test_it_sees_the_input_and_what_the_layers_give(float_file, network, images):
    model = prepare(onnx.load(float_file))
    first = next(node for node in model.graph.node if node.op_type == "Relu").output[0]
    batches = list(images())
    observed = observe(model, ["input", "logits", first], ["input", first], lambda: batches)

    seen = []
    hook = next(m for m in network.modules() if isinstance(m, nn.ReLU)).register_forward_hook(
        lambda _module, _given, got: seen.append(got)
    )
    with torch.no_grad():
        logits = torch.cat([network(torch.from_numpy(batch)) for batch in batches]).numpy()
    hook.remove()
    relu = torch.cat(seen).numpy()

    histograms = observed.histograms
    assert histograms["input"].low == min(batch.min() for batch in batches)
    assert histograms["logits"].high == pytest.approx(logits.max(), rel=1e-5)
    assert histograms["logits"].counts.sum() == logits.size
    assert histograms[first].high == pytest.approx(relu.max(), rel=1e-5)
    np.testing.assert_allclose(observed.means[first], relu.mean(axis=(0, 2, 3)), rtol=1e-4)
    assert set(observed.means) == {"input", first}


def test_batches_of_one_size_and_of_many_give_the_same(float_file, images):
    model = prepare(onnx.load(float_file))
    names = [node.output[0] for node in model.graph.node if node.op_type == "Relu"]
    every = np.concatenate(list(images()))
    one = observe(model, names, names[:1], lambda: [every])
    parts = np.split(every, [8, 16, 24, 32, 37])
    many = observe(model, names, names[:1], lambda: parts)
    for name in names:
        assert one.histograms[name].low == many.histograms[name].low
        assert one.histograms[name].high == pytest.approx(many.histograms[name].high, rel=1e-6)
    np.testing.assert_allclose(one.means[names[0]], many.means[names[0]], rtol=1e-5)
    np.testing.assert_allclose(one.logits, many.logits, atol=1e-5)


def test_logits_are_kept_of_every_so_many_th_image(float_file, network, images):
    model = prepare(onnx.load(float_file))
    every = np.concatenate(list(images()))
    batches = np.split(every, [8, 16, 24, 31])
    observed = observe(model, ["input"], [], lambda: batches, logits_every=3)
    with torch.no_grad():
        wanted = network(torch.from_numpy(every[::3])).numpy()
    np.testing.assert_allclose(observed.logits, wanted, atol=1e-4)


def test_a_nan_is_named_by_the_tensor_it_is_first_seen_in(float_file, spec):
    model = prepare(onnx.load(float_file))
    bad = np.full((1, *spec.input_size), np.nan, np.float32)
    with pytest.raises(NumericsError, match="'input'"):
        observe(model, ["input", "logits"], [], lambda: [bad])
