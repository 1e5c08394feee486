"""Mixed precision: matrix products in bfloat16, everything that sums in float32.

bfloat16 has the range of float32, so no loss is scaled and a run needs nothing else to stay finite.
Processors with AVX512-BF16 or AMX compute convolutions faster in it; others may be slower.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, get_args

import torch
from torch import nn

from cake_edge.errors import UsageMistake

__all__ = ["Precision", "check_precision", "mixed", "refuse_unsound"]

Precision = Literal["float32", "bfloat16"]


def check_precision(name: str) -> None:
    """Raises UsageMistake where `name` is no precision."""
    if name not in get_args(Precision):
        allowed = ", ".join(get_args(Precision))
        raise UsageMistake(f"precision is {name!r}; allowed: {allowed}")


def mixed(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Returns the context in which networks on `device` compute in `precision`.

    Without torch's cache of converted weights and images: what is changed in place inside the
    context, as by an optimiser, would be seen as it was at first until the outermost context ends.
    """
    return torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False
    )


@torch.no_grad()
def refuse_unsound(network: nn.Module, images: torch.Tensor, what: str = "student") -> None:
    """Refuses a network whose gradients in bfloat16 would be wrong on this device.

    On a CPU torch (2.15 at least) computes the weight gradient of a convolution that strides over a
    map of one pixel from memory that nobody wrote. float32 is not affected.

    Raises:
        UsageMistake: the network has such a convolution at the size of `images` [N, C, H, W].
    """
    if images.device.type != "cpu":
        return
    found: list[str] = []

    def note(name: str, module: nn.Conv2d, shown: torch.Tensor) -> None:
        if shown.shape[2:] == (1, 1) and max(module.stride) > 1 and max(module.kernel_size) > 1:
            found.append(name)

    hooks = [
        module.register_forward_pre_hook(lambda m, given, n=name: note(n, m, given[0]))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    training = network.training
    try:
        network.eval()(images)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    if found:
        raise UsageMistake(
            f"precision bfloat16: the {what}'s {found[0]} strides over a map of one pixel, whose "
            "gradient torch computes wrongly on a CPU in bfloat16; set precision to float32, or "
            f"take a {what} with fewer strides"
        )
