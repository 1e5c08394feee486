"""What a target will refuse of an ONNX file, leave in float, or run slowly; and what mends it."""

from __future__ import annotations

import shlex
from pathlib import Path

import onnx

from cake_edge.errors import UsageMistake, near_names
from cake_edge.onnx_file import read_model
from exporters.lint import rules_common, rules_ort, rules_tensorrt
from exporters.lint.finding import SEVERITIES, SHOWN, Finding, Rule
from exporters.lint.graph import Graph
from exporters.quantize import TARGETS

__all__ = ["RULES", "SEVERITIES", "Finding", "lint"]

RULES: tuple[Rule, ...] = (*rules_common.RULES, *rules_tensorrt.RULES, *rules_ort.RULES)
"""Every rule there is; each names the targets it holds for."""


def lint(path_or_model: Path | onnx.ModelProto, target: str) -> tuple[Finding, ...]:
    """Returns what `target` will not take of a model as it is meant, the worst first.

    Nothing is run or compiled, but for ONNX Runtime's own targets, which open the file.

    Args:
        path_or_model: an ONNX file, or what was read from one.
        target: a name in `exporters.quantize.TARGETS`.

    Raises:
        UsageMistake: no such target.
        ArtifactError: the file is missing or damaged; see `read_model`.
    """
    if target not in TARGETS:
        raise UsageMistake(
            f"no target {target!r}{near_names(target, TARGETS)}; "
            f"allowed: {', '.join(sorted(TARGETS))}"
        )
    if isinstance(path_or_model, onnx.ModelProto):
        model, name = path_or_model, "MODEL.onnx"
    else:
        model, name = read_model(path_or_model), shlex.quote(str(path_or_model))
    words = {"model": name, "target": target}
    graph = Graph(model, target)
    found = []
    for rule in RULES:
        nodes = rule.find(graph) if rule.holds_for(target) else []
        if nodes:
            found.append(_finding(rule, nodes, words))
    order = list(SEVERITIES)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def _finding(rule: Rule, nodes: list[str], words: dict[str, str]) -> Finding:
    return Finding(
        rule=rule.name,
        severity=rule.severity,
        nodes=tuple(nodes[:SHOWN]),
        count=len(nodes),
        reason=rule.reason,
        remedy=rule.remedy.format(**words),
    )
