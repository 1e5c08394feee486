from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from exporters.onnx_export import export_onnx
from exporters.quantize import QuantizeConfig, quantize
from exporters.quantize.feed import Feed
from exporters.runtimes.ort import OrtSession

QUICK = QuantizeConfig(latency_seconds=0)


@pytest.mark.parametrize("target", ["ort-x86", "ort-w4"])
def test_a_file_with_several_labels_an_image_is_compared_label_by_label(
    network, card, images, tmp_path, target, monkeypatch
):
    monkeypatch.setattr("exporters.quantize.weight_only.run.LEAST_SHARE", 0.0)
    spec = replace(card.spec, head="sigmoid")
    before, after = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    # One label is always there and first, the others in half of the images.
    evened = deepcopy(network)
    with torch.no_grad():
        logits = network(torch.from_numpy(np.concatenate(list(images()))))
        evened.fc.bias -= logits.median(0).values
        evened.fc.bias[0] += 100
    export_onnx(evened, before, replace(card, spec=spec))
    report = quantize(before, after, images, target=target, config=QUICK)
    apart = np.concatenate(list(Feed(images, spec, QUICK.images).kept_apart()))
    with OrtSession(before) as one, OrtSession(after) as two:
        wanted, given = one.infer(apart), two.infer(apart)
        assert two.card.spec == spec
    assert report.parity.top1_agreement == pytest.approx(((wanted > 0) == (given > 0)).mean())
    assert report.parity.top1_agreement < (wanted.argmax(1) == given.argmax(1)).mean() == 1
