"""The quantized file for each target: what a file costs, what it gains, and whether to ship it."""

from __future__ import annotations

from collections.abc import Mapping

from exporters.report import words
from exporters.report.schema import Quantize, Ratio, Report
from exporters.report.story import Table
from exporters.runtimes.reasons import FOR_ACCURACY

__all__ = ["int8_advice", "int8_facts", "int8_table"]

Rows = list[tuple[str, str]]

SAME = "Same decisions as FP32"
"""On the class of an image, or on each label where labels do not exclude each other."""
NAMED = 6
"""Up to so many layers are named; beyond, the rest is counted."""


def int8_table(report: Report) -> Table:
    """What decides about each INT8 file, one row a target."""
    found = report.get("quantize", {})
    sizes = {m["target"]: m["bytes"] for m in report["models"] if m["role"] == "student"}
    rows = tuple(
        (
            target,
            _agreement(about),
            words.size(about.get("bytes", sizes.get(target, 0))),
            _ratio(_speed(about)) or words.UNKNOWN,
            _covered(about),
            _verdict(about),
        )
        for target, about in found.items()
    )
    headers = ("Target", SAME, "Size", "Speed over FP32", "In INT8", "Ship")
    return Table(headers=headers, rows=rows)


def int8_facts(about: Quantize) -> Rows:
    """One INT8 file in names and values: how it was made, what runs, what speaks for it."""
    rows: Rows = []
    if "parity" in about:
        rows.append((SAME, _agreement(about, long=True)))
    rows.append(("Speed", _speed_said(about)))
    calibration = about.get("calibration_images")
    if about.get("ranges") == "none":
        rows.append(("Ranges", "none: activations stay float, only weights are rounded"))
    elif calibration is not None:
        by = f", {about['ranges']}" if "ranges" in about else ""
        rows.append(("Ranges from", f"{words.count(calibration)} synthetic images{by}"))
    coverage = about.get("coverage", {})
    if "int8" in coverage:
        asked = "" if coverage.get("profiled", True) else ", as the file asks of its target"
        rows.append(("Weighted operators in INT8", f"{_covered(about)}{asked}"))
        rows += [
            (f"In float ({reason})", _names(names)) for reason, names in _by_reason(about).items()
        ]
    if "steps" in about:
        rows.append(("Done to the model first", ", ".join(about["steps"]) or "nothing"))
    if about.get("four_bit"):
        rows.append(("Weights in 4 bits", _names(about["four_bit"])))
    if "verdict" in about:
        rows.append(("Ship", _verdict(about)))
    return rows


def int8_advice(about: Quantize) -> list[str]:
    """What a user of the file should know before shipping it, as sentences."""
    return [f"{words.capitalised(line)}." for line in about.get("advice", [])]


def _agreement(about: Quantize, *, long: bool = False) -> str:
    share = about.get("parity", {}).get("top1_agreement")
    if share is None:
        return words.UNKNOWN
    said = words.percent(100 * share)
    if not long or "checked_images" not in about:
        return said
    return f"{said}, on {words.count(about['checked_images'])} synthetic images kept apart"


def _speed(about: Quantize) -> Ratio | None:
    return about.get("speed") or about.get("over_student_fp32")


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio['estimate']:.2f}{words.TIMES} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _speed_said(about: Quantize) -> str:
    ratio = _speed(about)
    if ratio is not None:
        return f"{_ratio(ratio)} that of FP32, with its 95 % interval"
    if not about.get("coverage", {}).get("profiled", True):
        return f"{words.UNKNOWN}: the target does not run on this machine"
    return words.UNKNOWN


def _covered(about: Quantize) -> str:
    coverage = about.get("coverage", {})
    if "int8" not in coverage:
        return words.UNKNOWN
    integer, left = sum(coverage["int8"].values()), sum(coverage.get("float", {}).values())
    return f"{integer} of {integer + left}"


def _verdict(about: Quantize) -> str:
    verdict = about.get("verdict")
    if verdict is None:
        return words.UNKNOWN
    if verdict == "float":
        return "the FP32 file: this one is slower here"
    if _speed(about) is not None:
        return "this file"
    here = about.get("coverage", {}).get("profiled", True)
    return (
        "this file; its speed was not measured" if here else "this file, once timed on its target"
    )


def _by_reason(about: Quantize) -> Mapping[str, list[str]]:
    """Nodes in float by reason; those that a budget took back first, with what each saves."""
    coverage, kept = about.get("coverage", {}), about.get("left_float", [])
    reasons, saved = coverage.get("reasons", {}), about.get("sensitivity", {})
    found: dict[str, list[str]] = {}
    for name in kept:
        said = f"{name} (saves {saved[name]:.2g} nats)" if name in saved else name
        found.setdefault(FOR_ACCURACY, []).append(said)
    for name in coverage.get("left_float", []):
        if name not in kept:
            found.setdefault(reasons.get(name, "the reason is not known"), []).append(name)
    return found


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
