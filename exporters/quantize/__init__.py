"""Post-training quantization to INT8, its ranges found on synthetic images; or of weights alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cake_edge.errors import UsageMistake, near_names
from exporters.quantize.config import QuantizeConfig, QuantizeReport
from exporters.quantize.dialect import Dialect
from exporters.quantize.ort_arm import ORT_ARM
from exporters.quantize.ort_x86 import ORT_X86
from exporters.quantize.ort_x86_novnni import ORT_X86_NOVNNI
from exporters.quantize.tensorrt import TENSORRT, TENSORRT_FP16
from exporters.quantize.weight_only import ORT_W4, ORT_W8, WeightOnly

__all__ = ["TARGETS", "Dialect", "QuantizeConfig", "QuantizeReport", "WeightOnly", "quantize"]

DIALECTS = (ORT_X86, ORT_X86_NOVNNI, ORT_ARM, TENSORRT, TENSORRT_FP16)
TARGETS: dict[str, Dialect | WeightOnly] = {
    target.name: target for target in (*DIALECTS, ORT_W8, ORT_W4)
}


def quantize(
    model: Path,
    out: Path,
    images: Callable[[], Iterator[npt.NDArray[np.float32]]],
    *,
    target: str = "ort-x86",
    config: QuantizeConfig | None = None,
) -> QuantizeReport:
    """Quantizes the float ONNX file `model` for a target and writes it to `out`.

    Ranges are chosen on three quarters of the images; the last quarter judges the file as it
    runs. Equal inputs give equal bytes.

    Args:
        images: called several times; each time gives the same images, in arrays [N, C, H, W]
            float32 of the model's input space, N of its own choosing.
        target: a name in `TARGETS`.

    Raises:
        UsageMistake: no such target.
        ArtifactError: `model` is not a float ONNX file of ours.
        PoolError: the images do not fit the model, or are fewer than eight.
        NumericsError: a tensor holds a NaN or an infinity on these images.
        GateFailed: INT8 disagrees with float more often, or is slower, than `config` allows;
            nothing is written.
    """
    if target not in TARGETS:
        raise UsageMistake(
            f"no quantization target {target!r}{near_names(target, TARGETS)}; "
            f"allowed: {', '.join(sorted(TARGETS))}"
        )
    chosen, config = TARGETS[target], config or QuantizeConfig()
    # Here, as onnx takes half a second to import, and a `--help` lists the targets.
    if isinstance(chosen, WeightOnly):
        from exporters.quantize.weight_only import run as weights

        return weights.run(model, out, images, target=chosen, config=config)
    from exporters.quantize.run import run

    return run(model, out, images, dialect=chosen, dialects=DIALECTS, config=config)
