"""A teacher from Python code that the user has installed: MODULE:FACTORY."""

from __future__ import annotations

import re

__all__ = ["is_factory"]

FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_factory(reference: str) -> bool:
    """Whether the word has the form MODULE:FACTORY."""
    return FORM.fullmatch(reference) is not None
