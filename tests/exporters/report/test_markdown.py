"""Golden files are rewritten with UPDATE_GOLDEN=1 in the environment; read the difference."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from exporters.report.markdown import to_markdown

GOLDEN = Path(__file__).parent / "golden"


def bare(report: dict[str, Any]) -> dict[str, Any]:
    for model in report["models"]:
        model.update(top1=None, agreement=None, latency_ms=None, n=None, interval95=None)
    for name in ("pool", "distill", "quantize"):
        del report[name]
    report.update(images=[], stages=[])
    report["data_free"] = {"statement": "No real image was read.", "reads": []}
    return report


@pytest.mark.parametrize("name", ["full", "bare"])
def test_markdown_is_as_agreed(report: dict[str, Any], name: str) -> None:
    text = to_markdown(report if name == "full" else bare(report))  # type: ignore[arg-type]
    path = GOLDEN / f"{name}.md"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_what_a_user_wrote_is_not_markup(report: Any) -> None:
    report["models"][0]["architecture"] = "a|b <img src=x> *c* [d](e)\n# f"
    report["images"][0].update(title="x](y)", file="pool/a b).png")
    text = to_markdown(report)
    assert "a\\|b \\<img src=x\\> \\*c\\* \\[d\\](e) \\# f" in text
    assert "![x\\](y)](pool/a%20b%29.png)" in text
    rows = [line for line in text.splitlines() if line.startswith("| Teacher FP32")]
    assert len({line.replace("\\|", "").count("|") for line in rows[:1]}) == 1
