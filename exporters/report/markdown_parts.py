"""The pieces that Markdown reports are made of; every text is escaped here."""

from __future__ import annotations

import re

from exporters.report.story import Table

__all__ = ["bullets", "cells", "text"]

SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def cells(table: Table) -> str:
    """A table; columns of numbers are set flush right."""
    rule = ["---:" if numeric else "---" for numeric in table.numbers()]
    rows = [table.headers, tuple(rule), *table.rows]
    return "\n".join(
        "| " + " | ".join(cell if row is rows[1] else text(cell) for cell in row) + " |"
        for row in rows
    )


def bullets(rows: list[tuple[str, str]]) -> list[str]:
    """Names and values as one list, or nothing where there are none."""
    if not rows:
        return []
    return ["\n".join(f"- {text(name)}: {text(value)}" for name, value in rows)]


def text(value: str) -> str:
    """Escapes what Markdown would read as markup; a line break becomes a space."""
    return SPECIAL.sub(r"\\\1", " ".join(value.split()))
