"""How far each channel of a tensor is scaled; the rewrites differ in where this may be done.

Channel c of a tensor x is divided by s_c and the weights that read it are multiplied by s_c. The
tensor has one step for all its channels, (H - L) / 255 of its range [L, H]; a weight has a step
for each of its output channels.

Room. A step e in the divided channel is a step s_c e of the channel as it was, so the smallest s_c
is the best for c. What bounds it is the tensor: as long as the divided channel stays inside
[L, H], nobody pays for it, that is down to

    room_c = max(high_c / H, low_c / L)  <= 1.

One side of a tensor may be much shorter than the other (SiLU's never reaches below -0.28) and then
bars every channel. So the shorter side is drawn out where that pays: among a few lengths up to
that of the longer side, the one of least mean_c log(sqrt(room_c) (H - L)): with the s below, the
logarithm of a channel's step as it was.

Weights. In row o of a reader, the step grows from max_c |w_oc| to max_c |w_oc| s_c: at most by
max_c m_c s_c, with m_c = max_o |w_oc| / max_d |w_od| the largest share that c has in a row. The
tensor grows by max_c room_c / s_c. For any s

    max_c (m_c s_c) * max_c (room_c / s_c)  >=  max_c m_c room_c,

and s_c = k sqrt(room_c / m_c) reaches that bound for every k, making both factors of every c
equal: SmoothQuant's compromise at strength 0.5 (Xiao et al., ICML 2023, equation 4), and, with
steps in place of ranges, the optimum of Nagel et al. (ICCV 2019, section 4.1 and appendix A). k is
chosen such that the tensor keeps its range.

A depthwise kernel has one c in each row, m = 1 and s = sqrt(room). Its steps follow s by
themselves, so it would bear s = room; but the ranges are those of synthetic images, others reach
further, and what leaves the tensor's range is cut off. With the root a channel gets half of the
bits it lacks, and room to grow as far as it was scaled.

Worth. What lies beyond the ranges observed is cut off the sooner the more a channel is lifted, so
a tensor whose channels would move by less than half a bit in the mean is better left: s = 1.

m does not change when a row is scaled, so places that follow each other do not depend on the order
they are treated in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import onnx

from exporters.quantize.rewrites.channels import ChannelRange
from exporters.quantize.rewrites.walk import Walk

__all__ = ["FURTHEST", "channel_scales", "room", "weight_shares"]

Array = npt.NDArray[np.float64]

# No channel is moved further than this either way: one that shows next to nothing on synthetic
# images is the likeliest to show more on others.
FURTHEST = 8.0
WORTH = 0.5
LENGTHS = 9


def channel_scales(
    walk: Walk, tensors: Sequence[ChannelRange], readers: Iterable[onnx.NodeProto]
) -> Array:
    """Returns s [C]: what the channels of `tensors` are divided by.

    It is 1 for a channel that is always 0, or whose weights are; and for all where little is to be
    gained.

    Args:
        tensors: all that are divided and quantized; none of them grows.
        readers: Conv, Gemm or MatMul whose inputs are multiplied.
    """
    rooms = np.max([room(each) for each in tensors], axis=0)
    shares = np.max([weight_shares(walk.blocks(node)) for node in readers], axis=0)
    alive = (rooms > 0) & (shares > 0)
    scale: Array = np.ones_like(rooms)
    if not alive.any():
        return scale
    highest = np.sqrt(rooms * shares).max()
    chosen = np.clip(np.sqrt(rooms[alive] / shares[alive]) * highest, 1 / FURTHEST, FURTHEST)
    if np.abs(np.log2(chosen)).mean() >= WORTH:
        scale[alive] = chosen
    return scale


def room(observed: ChannelRange) -> Array:
    """Returns the smallest divisor [C] that keeps each channel in the tensor's range."""
    low, high = np.minimum(observed.low, 0.0), np.maximum(observed.high, 0.0)
    floor, ceiling = -float(low.min()), float(high.max())
    longest = max(floor, ceiling)
    if longest == 0:
        return np.ones_like(low)
    best, least = np.ones_like(low), np.inf
    for share in np.linspace(0.0, 1.0, LENGTHS):
        bottom, top = (side + share * (longest - side) for side in (floor, ceiling))
        candidate = np.maximum(_ratio(high, top), _ratio(-low, bottom))
        lowered = np.sqrt(candidate[candidate > 0]).clip(1 / FURTHEST)
        cost = float(np.log(lowered).mean()) + np.log(bottom + top)
        if cost < least:
            best, least = candidate, cost
    return best


def weight_shares(blocks: Array) -> Array:
    """Returns m [inputs]: the largest share that each input channel has in a row.

    Args:
        blocks: a weight [groups, outputs of a group, inputs of a group, positions].
    """
    largest = np.abs(blocks).max(axis=3)
    rows = largest.max(axis=2, keepdims=True)
    shares: Array = _ratio(largest, rows).max(axis=1).reshape(-1)
    return shares


def _ratio(part: Array, whole: Array | float) -> Array:
    """What `part` is of `whole`, and 0 where the whole is 0."""
    safe = np.where(np.equal(whole, 0), np.inf, whole)
    ratio: Array = part / safe
    return ratio
