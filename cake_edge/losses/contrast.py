"""The contrastive term of CAKE: images of different classes pull each other's logits together.

L_contr of arXiv 2306.02090: [y_i != y_j] * ||f(x_i) - f(x_j)||^2. Against the classification term,
which drives two images apart, it holds both near the teacher's decision boundary between them.
"""

from __future__ import annotations

import torch

__all__ = ["pair_contrast", "pair_contrast_released", "soft_nearest_neighbour_released"]


def pair_contrast(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns for every image its mean logit distance to its tuple along their boundary, [T, G].

    For image i: the mean over the j of its tuple with y_j != y_i of
    ((z_i - z_j)[y_i]^2 + (z_i - z_j)[y_j]^2) / 2: the squared distance of the paper, taken in the
    two logits between which the pair's decision boundary runs. A mean over partners and a fixed
    number of logits, so that one weight means the same at every tuple size, class count and batch
    size: classes that are added beside the pair change nothing. Zero without such a partner.

    Args:
        logits: [T, G, K], T tuples of G images.
        targets: [T, G] int64.
    """
    # at[t, i, j] = z_i[y_j]: every image's logits at the targets of its tuple.
    at = logits.gather(2, targets.unsqueeze(1).expand(-1, targets.shape[1], -1))
    own = at.diagonal(dim1=1, dim2=2)
    in_own = own.unsqueeze(2) - at.transpose(1, 2)  # z_i[y_i] - z_j[y_i]
    in_other = at - own.unsqueeze(1)  # z_i[y_j] - z_j[y_j]
    distance = (in_own.square() + in_other.square()) / 2
    differ = (targets.unsqueeze(2) != targets.unsqueeze(1)).to(logits.dtype)
    return (distance * differ).sum(2) / differ.sum(2).clamp_min(1)


def pair_contrast_released(logits: torch.Tensor) -> torch.Tensor:
    """Returns the authors' released "mse" form, a scalar: 0.5 G^2 times the mean over [T, G, G, K].

    Equal to (1/K) mean over tuples of the sum over i < j of ||z_i - z_j||^2. Computed as
    G sum_i ||z_i||^2 - ||sum_i z_i||^2, which needs no [T, G, G, K] array.

    Args:
        logits: [T, G, K]; the classes of a tuple are distinct by construction.
    """
    size, classes = logits.shape[1:]
    centred = logits - logits.mean(1, keepdim=True)
    return size * centred.square().sum((1, 2)).mean() / classes


def soft_nearest_neighbour_released(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns the released "snn" form over the batch: the soft-nearest-neighbour loss at T = 1.

    -log of the share of exp(-||z_i - z_j||^2) that falls on images of the same class, mean over
    the images that have such a partner (Frosst, Papernot, Hinton, arXiv 1902.01889). The released
    code minimises 0.5 G^2 divided by it.

    Args:
        logits: [B, K].
        targets: [B] int64.
    """
    closeness = -torch.cdist(logits, logits).square()
    closeness = closeness.masked_fill(
        torch.eye(len(logits), dtype=torch.bool, device=logits.device), -torch.inf
    )
    same = targets.unsqueeze(1) == targets.unsqueeze(0)
    same.fill_diagonal_(fill_value=False)
    paired = same.any(1)
    inside = closeness.masked_fill(~same, -torch.inf)[paired].logsumexp(1)
    return (closeness[paired].logsumexp(1) - inside).mean()
