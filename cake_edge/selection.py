"""A selection of another classifier's classes: what is said in the whole's numbering, in its own.

`ImageSpec.source_classes` holds the index of each class in the whole, or `OTHER` for the one that
stands for all the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cake_edge.spec import OTHER

__all__ = ["own_labels", "own_logits"]

Labels = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]


def own_labels(labels: Labels, source_classes: Sequence[int]) -> Labels:
    """Returns labels [N] of the whole as labels of the selection; -1 for what is not in it."""
    own = {source: place for place, source in enumerate(source_classes)}
    rest = own.pop(OTHER, -1)
    found, inverse = np.unique(labels, return_inverse=True)
    named = [own.get(int(label), rest) for label in found]
    return np.asarray(named, dtype=np.int64)[inverse]


def own_logits(logits: Logits, source_classes: Sequence[int]) -> Logits:
    """Returns logits [N, K] of the whole as logits of the selection.

    The logit of `OTHER`, which comes last, is log sum exp of all that are left out: it has their
    probability.
    """
    kept = [source for source in source_classes if source != OTHER]
    columns = [logits[:, kept]]
    if OTHER in source_classes:
        rest = np.logaddexp.reduce(np.delete(logits, kept, axis=1), axis=1)
        columns.append(rest[:, None].astype(logits.dtype))
    return np.concatenate(columns, axis=1)
