"""Holds a network made from an ONNX file against ONNX Runtime before anything is learnt from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from onnx import ModelProto, TensorProto
from torch import nn

from cake_edge.errors import TeacherError
from cake_edge.priors.shapes import shapes
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from cake_edge.teachers.adapters import plain_answer
from cake_edge.teachers.network import Port

__all__ = ["HALF_TOLERANCE", "TOLERANCE", "check_against_runtime", "is_half"]

Array = npt.NDArray[np.float32]

TOLERANCE = 1e-4
"""Largest difference of a logit, as a share of the largest logit: sums in another order part by
1e-6 or 1e-5 of it, a wrong padding or a lost activation by a hundredth at least."""
HALF_TOLERANCE = 2e-2
"""Likewise of a float16 file, whose values a runtime rounds after every operator, and we do not."""
LEAST = 1e-6
"""Differences below it are none, however small the logits."""
BATCHES = (1, 3)
FATAL = 4  # log severity: what goes wrong comes back as an exception


def check_against_runtime(
    network: nn.Module,
    model: ModelProto,
    path: Path,
    *,
    answer: str,
    removed: str | None,
    spec: ImageSpec,
    port: Port,
) -> float:
    """Compares logits, and what was taken off behind them, with what ONNX Runtime gives.

    On seeded images of things and of noise, in batches of one and, where the batch is free, of
    three, no logit may differ by more than `TOLERANCE` (`HALF_TOLERANCE` in a float16 file) of the
    largest; and `removed` of the logits must be what the file itself answers.

    Args:
        network: takes images as `port` says.
        model: the graph that `network` was made from.
        path: the file; runs as it is.
        answer: the output of the file that holds the classes.
        removed: softmax, sigmoid, or None.
        spec: what the images are.
        port: how the network takes them.

    Returns:
        The largest difference, as a share of the largest logit.

    Raises:
        TeacherError: they differ, or ONNX Runtime cannot run the file.
    """
    tolerance = HALF_TOLERANCE if is_half(model) else TOLERANCE
    logits_of = _opened(model.SerializeToString(), path)
    whole = _opened(str(path), path) if removed else None
    worst = 0.0
    for count in (port.batch,) if port.batch else BATCHES:
        images = _images(count, spec, port.channels_last)
        with torch.no_grad():
            ours = _rows(network(torch.from_numpy(images)))
        theirs = _rows(_run(logits_of, images, None, path))
        worst = max(worst, _compared(ours, theirs, tolerance, f"{path}: logits"))
        if whole is not None:
            wanted = _rows(_run(whole, images, answer, path))
            _compared(_closed(theirs, removed), wanted, tolerance, f"{path}: {removed} of logits")
    return worst


def is_half(model: ModelProto) -> bool:
    """Whether a graph takes, holds or gives float16."""
    ports = [*model.graph.input, *model.graph.output]
    return any(
        kind == TensorProto.FLOAT16
        for kind in (
            *(port.type.tensor_type.elem_type for port in ports),
            *(tensor.data_type for tensor in model.graph.initializer),
        )
    )


def _images(count: int, spec: ImageSpec, channels_last: bool) -> Array:
    """Things at first, as a classifier expects them, and noise at last."""
    random = generator(count, "onnx-check")
    images = shapes(count, spec, random)
    if count > 1:
        noise = torch.rand(spec.input_size, generator=random).numpy()
        images[-1] = torch.from_numpy(spec.normalise(noise))
    array: Array = images.numpy()
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if channels_last else array


def _opened(model: str | bytes, path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # As it is written: a fusion of the runtime is not what is to be compared.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = FATAL
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base of their own
        raise _refused(path, error) from error


def _run(session: Any, images: Array, answer: str | None, path: Path) -> Array:
    port = session.get_inputs()[0]
    kinds = {"tensor(float16)": np.float16, "tensor(double)": np.float64}
    given = images.astype(kinds.get(port.type, np.float32))
    try:
        (found,) = session.run([answer or session.get_outputs()[0].name], {port.name: given})
    except Exception as error:  # its exceptions share no base of their own
        raise _refused(path, error) from error
    array: Array = np.asarray(found, dtype=np.float32)
    return array


def _refused(path: Path, error: Exception) -> TeacherError:
    reason = str(error).strip().partition("\n")[0][:300]
    return TeacherError(
        f"ONNX Runtime {onnxruntime.__version__} cannot run {path} ({reason}), so what it computes "
        "cannot be checked; export it again, or convert it with onnx.version_converter"
    )


def _rows(answer: torch.Tensor | Array) -> Array:
    tensor = answer if isinstance(answer, torch.Tensor) else torch.from_numpy(answer)
    rows: Array = plain_answer(tensor).float().numpy()
    return rows


def _closed(logits: Array, removed: str | None) -> Array:
    tensor = torch.from_numpy(logits)
    closed: Array = (tensor.softmax(1) if removed == "softmax" else tensor.sigmoid()).numpy()
    return closed


def _compared(ours: Array, theirs: Array, tolerance: float, what: str) -> float:
    """The largest difference as a share of the largest value; refuses one above `tolerance`."""
    if ours.shape != theirs.shape:
        raise TeacherError(
            f"{what} have the shape {list(ours.shape)} here and {list(theirs.shape)} in ONNX "
            "Runtime; the model cannot be a teacher. Export it again with an ordinary head"
        )
    if not np.isfinite(theirs).all():
        raise TeacherError(
            f"{what} are NaN or infinite in ONNX Runtime; check the model, and --mean and --std"
        )
    largest = float(np.abs(theirs).max())
    difference = np.abs(ours - theirs)
    if not difference.max() <= max(tolerance * largest, LEAST):
        row = int(np.unravel_index(np.argmax(difference), ours.shape)[0])
        raise TeacherError(
            f"{what} differ from ONNX Runtime's by {difference.max():.3g}, where {tolerance:g} of "
            f"the largest, {largest:.3g}, is allowed ({_first(ours[row])} here, "
            f"{_first(theirs[row])} there); the model cannot be a teacher. Export it with another "
            "opset, or give the torch network it was made from"
        )
    return float(difference.max()) / max(largest, LEAST)


def _first(values: Sequence[float] | Array) -> str:
    return ", ".join(f"{value:.5g}" for value in values[:4])
