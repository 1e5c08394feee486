"""Small networks and the files they are kept in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cake_edge.networks import build_network


@pytest.fixture(scope="session")
def small() -> nn.Module:
    """A test_resnet of timm for ten classes of grey images."""
    return build_network("test_resnet", channels=1, classes=10, seed=3).eval()


@pytest.fixture
def weights(tmp_path: Path, small: nn.Module) -> Path:
    """The plain state of `small`, in a PyTorch file."""
    path = tmp_path / "small.pth"
    torch.save(small.state_dict(), path)
    return path
