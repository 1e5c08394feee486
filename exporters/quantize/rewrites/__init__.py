"""Rewrites of a float model that change how well it quantizes and nothing of what it computes."""

from __future__ import annotations

from exporters.quantize.rewrites.channels import ChannelRange
from exporters.quantize.rewrites.driver import rewrite
from exporters.quantize.rewrites.interface import Rewrite, RewriteRecord
from exporters.quantize.rewrites.registry import REWRITES

__all__ = ["REWRITES", "ChannelRange", "Rewrite", "RewriteRecord", "rewrite"]
