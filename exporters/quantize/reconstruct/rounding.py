"""Integers of least output error under a Gram matrix.

A row u of weights, in steps of its scale, is rounded to integers q. With e = q - u and H = E[x xT]
the mean squared error of the output is e H eT: least squares over integers. Two methods share the
work, both for all rows at once:

* Successive cancellation. With H = L LT, L lower triangular, e H eT = Σ_j (Σ_{i >= j} e_i L_ij)²,
  so from the last j to the first each q_j can be chosen to undo what the ones behind it did. It is
  Babai's nearest plane, and what GPTQ does (Frantar et al., arXiv 2210.17323, section 3), there
  written with the inverse of H and in the opposite order.
* Coordinate descent. Moving q_j by m changes the error by 2 m (e H)_j + m² H_jj, which is least at
  the integer nearest to -(e H)_j / H_jj. It is repeated until no move of a single integer helps.

Both work on blocks of columns, so that all but a small share is products of matrices.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["cancel_errors", "descend", "factor", "quadratic"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BLOCK = 64
MOST_SWEEPS = 100
# Of a diagonal element: a smaller gain is the noise of float64 sums, and would go on forever.
LEAST_GAIN = 1e-9


def quadratic(errors: Array, gram: Array) -> Array:
    """Returns e H eT of each row, [groups, rows].

    Args:
        errors: e, [groups, rows, inputs].
        gram: H, [groups, inputs, inputs].
    """
    form: Array = ((errors @ gram) * errors).sum(axis=2)
    return form


def factor(gram: Array) -> tuple[Array, npt.NDArray[np.intp]]:
    """Returns L of `cancel_errors` with the order of columns that it is of, by group.

    Columns of much power come last, and so are rounded first, while all others can still make up
    for them.
    """
    order = np.argsort(np.einsum("gii->gi", gram), axis=1, kind="stable")
    rows = np.take_along_axis(gram, order[:, :, None], axis=1)
    permuted = np.take_along_axis(rows, order[:, None, :], axis=2)
    return np.linalg.cholesky(permuted).astype(np.float64, copy=False), order


def cancel_errors(
    weights: Array,
    factored: tuple[Array, npt.NDArray[np.intp]],
    most: int,
    pinned: Mask,
) -> Array:
    """Rounds each row so that later integers undo the errors of earlier ones.

    Args:
        weights: u, [groups, rows, inputs].
        factored: from `factor`.
        most: largest absolute integer.
        pinned: rounded to nearest whatever the others did; the shape of `weights`.

    Returns:
        q, as floats.
    """
    lower, order = factored
    target = np.take_along_axis(weights, order[:, None, :], axis=2)
    fixed = np.take_along_axis(pinned, order[:, None, :], axis=2)
    integers = np.clip(np.round(target), -most, most)
    errors = integers - target
    for stop in range(target.shape[2], 0, -BLOCK):
        start = max(stop - BLOCK, 0)
        block = lower[:, start:stop, start:stop]
        behind = errors[:, :, stop:] @ lower[:, stop:, start:stop]
        for j in range(stop - 1, start - 1, -1):
            at = j - start
            inside = (errors[:, :, j + 1 : stop] @ block[:, at + 1 :, at, None])[..., 0]
            undone = (behind[:, :, at] + inside) / block[:, at, at, None]
            best = np.clip(np.round(target[:, :, j] - undone), -most, most)
            integers[:, :, j] = np.where(fixed[:, :, j], integers[:, :, j], best)
            errors[:, :, j] = integers[:, :, j] - target[:, :, j]
    found = np.empty_like(integers)
    np.put_along_axis(found, order[:, None, :], integers, axis=2)
    return found


def descend(weights: Array, integers: Array, gram: Array, most: int, pinned: Mask) -> Array:
    """Moves single integers while that lowers the error of their row; it never raises it.

    Args:
        weights: u, [groups, rows, inputs].
        integers: where to start, the same shape.
        gram: H, [groups, inputs, inputs].
        most: largest absolute integer.
        pinned: stay where they are; the same shape.

    Returns:
        q, as floats.
    """
    found: Array = integers.copy()
    gradient = (found - weights) @ gram
    for _ in range(MOST_SWEEPS):
        before = found.copy()
        for start in range(0, weights.shape[2], BLOCK):
            columns = slice(start, start + BLOCK)
            moved = _descend_block(
                found[:, :, columns],
                gradient[:, :, columns].copy(),
                gram[:, columns, columns],
                most,
                pinned[:, :, columns],
            )
            if moved.any():
                found[:, :, columns] += moved
                gradient += moved @ gram[:, columns, :]
        if np.array_equal(before, found):
            break
    return found


def _descend_block(integers: Array, gradient: Array, gram: Array, most: int, pinned: Mask) -> Array:
    """One move of each column in turn; returns the moves. `gradient` is used up."""
    moves: Array = np.zeros_like(integers)
    for j in range(integers.shape[2]):
        power = gram[:, j, j, None]
        best = np.clip(np.round(integers[:, :, j] - gradient[:, :, j] / power), -most, most)
        move = best - integers[:, :, j]
        gain = -move * (2 * gradient[:, :, j] + move * power)
        move[pinned[:, :, j] | (gain <= LEAST_GAIN * power)] = 0
        if move.any():
            moves[:, :, j] = move
            gradient += move[:, :, None] * gram[:, j, None, :]
    return moves
