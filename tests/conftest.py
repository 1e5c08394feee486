"""What every test has at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """One thread a process: tests run beside each other, and sums keep their order."""
    import torch

    torch.set_num_threads(1)
