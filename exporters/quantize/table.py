"""The range table: what a file's card keeps of the ranges, so that its dialect can be changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cake_edge.errors import ArtifactError
from exporters.quantize.ranges import Range, TensorRanges

__all__ = ["table_from_dict", "table_to_dict"]


def table_to_dict(ranges: Mapping[str, TensorRanges]) -> dict[str, Any]:
    """Plain values for JSON: by tensor, both ranges as [low, high, method]."""
    return {
        name: {"asymmetric": _triple(one.asymmetric), "symmetric": _triple(one.symmetric)}
        for name, one in sorted(ranges.items())
    }


def table_from_dict(values: Mapping[str, Any]) -> dict[str, TensorRanges]:
    """Reads `table_to_dict`.

    Raises:
        ArtifactError: it is damaged, or a range is not finite.
    """
    try:
        return {
            str(name): TensorRanges(
                asymmetric=_range(one["asymmetric"]), symmetric=_range(one["symmetric"])
            )
            for name, one in values.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"the range table in the model's metadata is damaged ({error!r}); quantize the float "
            "model again"
        ) from error


def _triple(one: Range) -> list[Any]:
    return [one.low, one.high, one.method]


def _range(values: list[Any]) -> Range:
    low, high, method = values
    if not float("-inf") < float(low) <= float(high) < float("inf"):
        raise ValueError(f"a range from {low} to {high}")
    return Range(float(low), float(high), str(method))
