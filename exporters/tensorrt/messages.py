"""NVIDIA's messages in words for a person: what is wrong and where, without its source files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["clean_errors", "clean_log"]

# A machine without a GPU has no driver either; the library says so at every turn.
NOISE = ("catchCudaError", "CUDA driver version is insufficient", "cudaError")
USAGE = re.compile(r"API Usage Error \((.*)\)\s*$")
SOURCE = re.compile(r"\s*In \w+ at \S+?:\d+\b|^[\w/.]+\.(?:cpp|h):\d+:\s*")
ASSERTION = re.compile(r"^Assertion failed:\s*(.*)$", re.DOTALL)
HINT = re.compile(r"\s*(?:Please set|To import as UINT8, set the) k[A-Z].*$")
"""Flags for the deep learning accelerator (DLA), which do not help on a GPU."""
CODE = re.compile(r"^\[\d+\]\s*|^(?:[\w:]+: )?Error Code \d+: ")
LONGEST = 400


def clean_errors(errors: Sequence[Any]) -> list[str]:
    """Returns the errors of an ONNX parser, each as "Operator 'node': what is wrong"."""
    return _distinct(_told(error) for error in errors)


def _told(error: Any) -> str:
    words = _first_sense(error.desc())
    operator = getattr(error, "node_operator", lambda: "")()
    name = getattr(error, "node_name", lambda: "")()
    if not operator:
        return words
    where = f"{operator} {name!r}"
    if words in ("", "false"):
        return f"{where}: this operator is not supported"
    return f"{where}: {words.removeprefix(f'{name}: ')}"


def clean_log(lines: Iterable[str]) -> list[str]:
    """Returns what a log holds at one level, each message once."""
    return _distinct(map(_first_sense, lines))


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))


def _first_sense(text: str) -> str:
    """The first line that says something of the model, without codes, conditions and places."""
    for line in text.splitlines():
        if any(word in line for word in NOISE) or line.startswith("Invalid Node - "):
            continue
        usage = USAGE.search(line)
        words = usage[1] if usage else line
        for part in (SOURCE, CODE, SOURCE, HINT):
            words = part.sub("", words)
        words = _without_condition(words).strip(" .[]")
        if words:
            return words[:LONGEST]
    return ""


def _without_condition(text: str) -> str:
    """Takes the C++ condition off "Assertion failed: (a > b): what that means"."""
    found = ASSERTION.match(text)
    if not found:
        return text
    condition, separator, meaning = found[1].partition(": ")
    return meaning if separator else condition
