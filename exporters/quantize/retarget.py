"""Turns an INT8 file of one dialect into that of another, without images.

The ranges come from the file: those we write carry, in their card, both kinds of every tensor that
any dialect quantizes. Of other files what their scales cover is taken: a signed range without a
zero point then reaches as far as the farther end. Weights keep their integers wherever the new
dialect has room for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from cake_edge.errors import ArtifactError, UsageMistake, near_names
from cake_edge.onnx_file import read_model
from cake_edge.provenance import atomic_path, sha256_file
from exporters.artifact import ModelCard, attach_card, card_from_metadata
from exporters.operators import is_integer_operator
from exporters.quantize import TARGETS
from exporters.quantize.body import half_body
from exporters.quantize.dialect import Dialect
from exporters.quantize.graph import float_tensors
from exporters.quantize.insert import write_qdq
from exporters.quantize.ranges import TensorRanges
from exporters.quantize.removed import removed_activations
from exporters.quantize.stored import Weight, stored_weights
from exporters.quantize.table import table_from_dict
from exporters.quantize.unquantize import Unquantized, unquantize
from exporters.runtimes.coverage import written_coverage

__all__ = ["RetargetReport", "retarget"]

SCALE = "_scale"
# A grid counts as the same up to the rounding of its step.
SAME = 1 + 1e-6
LARGEST_BIAS = 2.0**30
MEASURED = ("parity", "coverage", "methods", "divergence", "sensitivity", "checked_images")
"""Of a file's account of its quantization, what holds for the dialect it was measured in."""
FOREIGN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetargetReport:
    """What was written."""

    path: Path
    """The new file."""
    source_target: str
    """The dialect of the file it was made from; "unknown" of a file that is not ours."""
    target: str
    """The dialect it is written in."""
    ranges: str
    """"table" where the file's card held them, "scales" where they were read off the file."""
    kept_weights: int
    """Weights whose integers are those of the source."""
    rounded_weights: tuple[str, ...]
    """Weights that had to be rounded again, for want of a bit or beside another bias."""
    restored: tuple[str, ...]
    """Activation functions that the source's zero points had stood for, put back."""
    coverage: Mapping[str, Any]
    """What the file asks for; see `exporters.runtimes.coverage.written_coverage`."""
    bytes: int
    """Size of the new file."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "path": str(self.path)}


def retarget(path: Path, out: Path, *, target: str) -> RetargetReport:
    """Writes the INT8 file `path` in the dialect of another target.

    Nothing is calibrated or measured: the ranges are the file's own. Equal files give equal bytes.

    Args:
        path: a file with QuantizeLinear and DequantizeLinear; best one that `quantize` wrote.
        target: a name in `TARGETS`.

    Raises:
        UsageMistake: no such target, the file's own, or one of weights alone.
        ArtifactError: the file is float, its operators compute in integers themselves, its weights
            alone are quantized, or it lacks the range of a tensor that the target quantizes.
    """
    dialect = _dialect(target)
    model = read_model(path)
    try:
        card = card_from_metadata({entry.key: entry.value for entry in model.metadata_props})
        _check_form(model, card, target)
        account = card.manifest.get("quantization", {}) if card is not None else {}
        plain = unquantize(model, account.get("activations"))
        table = table_from_dict(account["table"]) if "table" in account else None
        written, record = _write(plain, dialect, table, account)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    if card is not None:
        source = {"target": card.target, "sha256": sha256_file(path)}
        attach_card(written, _new_card(card, dialect, account | record, source))
    with atomic_path(out) as temporary:
        temporary.write_bytes(written.SerializeToString(deterministic=True))
        found = written_coverage(temporary, left_float=account.get("left_float", ()))
        kept, rounded = _compared(written, plain)
        return RetargetReport(
            path=out,
            source_target=card.target if card is not None else FOREIGN,
            target=target,
            ranges="scales" if table is None else "table",
            kept_weights=kept,
            rounded_weights=rounded,
            restored=plain.restored,
            coverage=found,
            bytes=temporary.stat().st_size,
        )


def _dialect(target: str) -> Dialect:
    if target not in TARGETS:
        raise UsageMistake(
            f"no quantization target {target!r}{near_names(target, TARGETS)}; "
            f"allowed: {', '.join(sorted(TARGETS))}"
        )
    dialect = TARGETS[target]
    if not isinstance(dialect, Dialect):
        raise UsageMistake(
            f"{target} rounds the weights of a float model and needs no ranges; give the float "
            f"model to `cake-edge quantize --target {target}`"
        )
    return dialect


def _check_form(model: onnx.ModelProto, card: ModelCard | None, target: str) -> None:
    """Refuses what holds no pairs of Q and DQ, or has the target's already."""
    if card is not None and card.target == target:
        raise UsageMistake(f"the file is for {target} already; name another target")
    counts = Counter(node.op_type for node in model.graph.node)
    integer = {name: number for name, number in sorted(counts.items()) if is_integer_operator(name)}
    if integer:
        said = ", ".join(f"{number} {name}" for name, number in integer.items())
        raise ArtifactError(
            f"it computes in operators of integers ({said}), whose float form is lost; give a "
            "file with QuantizeLinear and DequantizeLinear (quantize_static with "
            "quant_format=QDQ), or quantize the float model"
        )
    if counts["MatMulNBits"] or (counts["DequantizeLinear"] and not counts["QuantizeLinear"]):
        raise ArtifactError(
            "only its weights are quantized, and it holds no range of any activation; "
            f"quantize the float model: cake-edge quantize MODEL.onnx --target {target}"
        )
    if not counts["QuantizeLinear"]:
        raise ArtifactError(
            f"it is a float model; quantize it: cake-edge quantize MODEL.onnx --target {target}"
        )


def _write(
    plain: Unquantized,
    dialect: Dialect,
    table: Mapping[str, TensorRanges] | None,
    account: Mapping[str, Any],
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The file in the new dialect, and what its card is to hold beside what it held."""
    ranges = plain.ranges if table is None else table
    written = write_qdq(
        plain.model,
        dialect,
        ranges,
        left_float=account.get("left_float", ()),
        four_bit=account.get("four_bit", ()),
    )
    _require_ranges(plain.model, written, ranges, dialect)
    _keep_integers(written, plain.weights, plain.model)
    record = {"activations": removed_activations(plain.model, written), "target": dialect.name}
    if dialect.body == "float16":
        written = half_body(written)
    return written, record


def _require_ranges(
    plain: onnx.ModelProto,
    written: onnx.ModelProto,
    ranges: Mapping[str, TensorRanges],
    dialect: Dialect,
) -> None:
    """Refuses a file one of whose scales was made of no range."""
    activations = set(float_tensors(plain))
    # A tensor that keeps the scale of another names that one's scale.
    asked = {
        node.input[1].removesuffix(SCALE)
        for node in written.graph.node
        if node.op_type == "QuantizeLinear"
    }
    missing = sorted((asked & activations) - set(ranges))
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
        raise ArtifactError(
            f"{dialect.name} quantizes {len(missing)} tensors whose range the file does not hold "
            f"({shown}); quantize the float model: "
            f"cake-edge quantize MODEL.onnx --target {dialect.name}"
        )


def _keep_integers(
    written: onnx.ModelProto, before: Mapping[str, Weight], plain: onnx.ModelProto
) -> None:
    """Gives weights the integers and scales of the source, channel by channel, in place.

    Where the new grid is as coarse as the old one or finer, the old integers fit, and rounding
    again could only lose. Where it is coarser (a bit less, or a bias that asks for it) it stays.
    Channels of zeros get a step of 1 from the quantizer, which is too coarse for their bias.
    """
    constants = {tensor.name: tensor for tensor in written.graph.initializer}
    now = stored_weights(written)
    for weight in now.values():
        old = before.get(weight.name)
        if old is None or not _comparable(weight, old):
            continue
        fits = (weight.scales <= old.scales * SAME) | _idle(old)
        integers = np.where(weight.along(fits), old.integers, weight.integers)
        scales = np.where(fits, old.scales, weight.scales)
        for name, values in ((weight.stored, integers), (weight.scale, scales)):
            kind = weight.integers.dtype if name == weight.stored else np.float32
            tensor = numpy_helper.from_array(values.astype(kind), name)
            constants[name].CopyFrom(tensor)
    _round_biases(written, plain)


def _comparable(weight: Weight, old: Weight) -> bool:
    """Whether both are weights, not biases, of one type, with zero points of 0."""
    return (
        weight.integers.dtype == old.integers.dtype != np.int32
        and weight.integers.shape == old.integers.shape
        # One scale for all channels is each channel's.
        and (old.scales.size == 1 or weight.scales.shape == old.scales.shape)
        and (old.scales.size == 1 or weight.axis == old.axis)
        and not weight.zero_point.any()
        and not old.zero_point.any()
    )


def _idle(weight: Weight) -> npt.NDArray[np.bool_]:
    """Whether all integers of a channel are 0; of the shape of the scales."""
    others = tuple(axis for axis in range(weight.integers.ndim) if axis != weight.axis)
    used = weight.integers.any(axis=others if weight.scales.size > 1 else None)
    return np.asarray(~used).reshape(weight.scales.shape)


def _round_biases(written: onnx.ModelProto, plain: onnx.ModelProto) -> None:
    """Rounds int32 biases for the scales that their weights have by now, in place."""
    constants = {tensor.name: tensor for tensor in written.graph.initializer}
    sources = {
        node.output[0]: node for node in written.graph.node if node.op_type == "DequantizeLinear"
    }
    floats = {tensor.name: tensor for tensor in plain.graph.initializer}
    stored = stored_weights(written)
    for node in written.graph.node:
        if len(node.input) != 3 or not {*node.input[1:]} <= stored.keys():
            continue
        weight, bias = (stored[name] for name in node.input[1:])
        if node.input[0] not in sources or bias.integers.dtype != np.int32:
            continue
        step = numpy_helper.to_array(constants[sources[node.input[0]].input[1]])
        values = numpy_helper.to_array(floats[bias.name]).astype(np.float64)
        least = (np.abs(values) / (step * LARGEST_BIAS)).astype(np.float32)
        grown = _idle(weight) & (weight.scales < least.reshape(-1))
        steps = np.where(grown, least.reshape(-1), weight.scales)
        scales = (step * steps).astype(np.float32).reshape(bias.scales.shape)
        ends = np.iinfo(np.int32)
        whole = np.clip(np.round(values / scales), ends.min, ends.max).astype(np.int32)
        for name, array in ((weight.scale, steps), (bias.stored, whole), (bias.scale, scales)):
            constants[name].CopyFrom(numpy_helper.from_array(array, name))


def _new_card(
    card: ModelCard, dialect: Dialect, account: Mapping[str, Any], source: Mapping[str, str]
) -> ModelCard:
    kept = {name: value for name, value in account.items() if name not in MEASURED}
    return replace(
        card,
        precision="int8",
        target=dialect.name,
        parent=source["sha256"],
        manifest={**card.manifest, "quantization": kept, "retargeted_from": dict(source)},
    )


def _compared(written: onnx.ModelProto, plain: Unquantized) -> tuple[int, tuple[str, ...]]:
    """The number of weights whose integers are the source's, and the names of the others."""
    now = {one.name: one for one in stored_weights(written).values()}
    weights = {name: one for name, one in now.items() if one.integers.dtype != np.int32}
    rounded = sorted(
        name
        for name, one in weights.items()
        if name in plain.weights and not np.array_equal(one.integers, plain.weights[name].integers)
    )
    return len(weights.keys() & plain.weights.keys()) - len(rounded), tuple(rounded)
