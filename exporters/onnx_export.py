"""A torch network as an ONNX file: dynamic batch, folded, checked, the same bytes every time."""

from __future__ import annotations

import copy
import logging
from pathlib import Path

import onnx
import torch
from torch import nn

from cake_edge.errors import ArtifactError
from cake_edge.provenance import atomic_path
from exporters.artifact import ModelCard, attach_card
from exporters.parity import compare, require
from exporters.runtimes.ort import OrtSession

__all__ = ["INPUT", "OPSET", "OUTPUT", "export_onnx", "export_teacher", "onnx_from_torch"]

logger = logging.getLogger(__name__)

INPUT = "input"
OUTPUT = "logits"
# The first opset in which GELU is one operator. Below it a GELU is spelled out in eight, which
# ONNX Runtime no longer recognises once it is quantized (a ConvNeXt then takes a third longer).
# Every ONNX Runtime since 1.17 and every TensorRT since 10 reads it; higher gains nothing.
OPSET = 20
# Two rounding orders of float32 part by about 1e-6 of the largest logit a layer; a wrong weight,
# a wrong mode or a lost activation by a thousand times that.
TOLERANCE = 1e-3


def export_onnx(
    network: nn.Module, path: Path, card: ModelCard, *, batch: int | None = None
) -> ModelCard:
    """Writes `network` to `path`; the network itself is left as it is, on its device.

    The graph takes `input` [batch, C, H, W] float32 and gives `logits` [batch, classes]. Before
    the file gets its name it is checked, and run through ONNX Runtime against torch on batches of
    one and three images, or of the only size it takes.

    Args:
        batch: the only number of images that the file is to take; None for any.

    Returns:
        The card, as the file carries it.

    Raises:
        ArtifactError: torch cannot export the network, or the file lost its dynamic batch.
        GateFailed: ONNX Runtime's logits are not torch's.
    """
    twin = copy.deepcopy(network).cpu().float().eval()
    model = onnx_from_torch(twin, card, batch=batch)
    attach_card(model, card)
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        _check_written(temporary, twin, card, batch)
    return card


def export_teacher(
    network: nn.Module, path: Path, card: ModelCard, *, batch: int | None
) -> ModelCard:
    """Writes a vendor's network as `export_onnx` does, for one image at a time if need be.

    A network that came out of a file may have the size of its batch written into it, where nobody
    can change it any more.

    Args:
        batch: the only number of images that the network takes; None where it takes any, which
            the file does not if torch cannot express it.

    Raises:
        ArtifactError: torch cannot export the network at all.
        GateFailed: ONNX Runtime's logits are not torch's.
    """
    if batch is None:
        try:
            return export_onnx(network, path, card)
        except ArtifactError as error:
            logger.warning("%s; trying again for one image at a time", error)
            batch = 1
    export_onnx(network, path, card, batch=batch)
    logger.warning("%s takes exactly %d image%s a call", path, batch, "s" if batch > 1 else "")
    return card


def onnx_from_torch(
    network: nn.Module, card: ModelCard, *, batch: int | None = None
) -> onnx.ModelProto:
    """Returns a network as ONNX, with nothing in it that names the machine; not checked.

    Raises:
        ArtifactError: torch cannot export it.
    """
    # Two images: an example batch of one would be taken for a constant.
    example = _images(batch or 2, card)
    dynamic = ({0: torch.export.Dim("batch")},) if batch is None else None
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=dynamic,
                opset_version=OPSET,
                optimize=True,
                verbose=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ArtifactError(
            f"torch cannot export {card.architecture} to ONNX for input {list(example.shape)}: "
            f"{reason}"
        ) from error
    if program is None:
        raise ArtifactError(f"torch's exporter gave nothing for {card.architecture}")
    model = program.model_proto
    if not isinstance(model, onnx.ModelProto):
        raise ArtifactError(f"torch's exporter gave a {type(model).__name__}, not an ONNX model")
    _strip(model)
    return model


def _images(count: int, card: ModelCard) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, *card.spec.input_size, generator=generator)


def _strip(model: onnx.ModelProto) -> None:
    """Takes out stack traces, module paths and doc strings: they name the machine of the export."""
    graph = model.graph
    parts = [model, graph, *graph.node, *graph.input, *graph.output]
    for part in [*parts, *graph.value_info, *graph.initializer]:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _check_written(path: Path, network: nn.Module, card: ModelCard, batch: int | None) -> None:
    with OrtSession(path) as session:
        if isinstance(session.input_shape[0], int) and batch is None:
            raise ArtifactError(
                f"the exported {card.architecture} takes batches of {session.input_shape[0]} only: "
                "the network fixes its batch size while it is traced"
            )
        for count in (1, 3) if batch is None else (batch,):
            images = _images(count, card)
            with torch.no_grad():
                wanted = network(images).numpy()
            if wanted.shape != (count, card.spec.classes):
                raise ArtifactError(
                    f"{card.architecture} gives {list(wanted.shape)} for {count} images; its spec "
                    f"says {card.spec.classes} classes"
                )
            given = session.infer(images.numpy())
            require(
                compare(wanted, given),
                what=f"{card.architecture} in ONNX Runtime against torch",
                max_abs=TOLERANCE * max(float(abs(wanted).max()), TOLERANCE),
            )
