from __future__ import annotations

import copy

import numpy as np
import pytest
from onnx import numpy_helper

from exporters.quantize import TARGETS
from exporters.quantize.dialect import Dialect
from exporters.quantize.insert import rangeable_tensors, write_qdq
from exporters.quantize.ranges import Range, TensorRanges
from exporters.quantize.rescale import rescaled

DIALECTS = [one for one in TARGETS.values() if isinstance(one, Dialect)]


def random_ranges(model, seed):
    random = np.random.default_rng(seed)
    return {
        name: TensorRanges(
            asymmetric=Range(-random.uniform(0, 3), random.uniform(1, 5), "minmax"),
            symmetric=Range(-reach, reach, "minmax"),
        )
        for name in sorted(rangeable_tensors(model, DIALECTS))
        for reach in [random.uniform(1, 5)]
    }


def with_other_biases(model):
    changed = copy.deepcopy(model)
    for tensor in changed.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim == 1:
            tensor.CopyFrom(numpy_helper.from_array(values * 3 + np.float32(0.5), tensor.name))
    return changed


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_gives_the_bytes_of_a_graph_that_is_written_anew(ready, dialect):
    first, second = random_ranges(ready, 1), random_ranges(ready, 2)
    written = write_qdq(ready, dialect, first)
    before = written.SerializeToString(deterministic=True)
    for model in (ready, with_other_biases(ready)):
        wanted = write_qdq(model, dialect, second)
        given = rescaled(written, model, dialect, second)
        assert given.SerializeToString(deterministic=True) == wanted.SerializeToString(
            deterministic=True
        )
    assert written.SerializeToString(deterministic=True) == before


def test_nodes_left_in_float_stay_there(ready):
    dialect = DIALECTS[0]
    name = next(node.name for node in ready.graph.node if node.op_type == "Conv")
    written = write_qdq(ready, dialect, random_ranges(ready, 1), left_float=[name])
    wanted = write_qdq(ready, dialect, random_ranges(ready, 2), left_float=[name])
    given = rescaled(written, ready, dialect, random_ranges(ready, 2))
    assert given.SerializeToString(deterministic=True) == wanted.SerializeToString(
        deterministic=True
    )
