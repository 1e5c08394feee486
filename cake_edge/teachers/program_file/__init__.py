"""Programs that torch saved, torch.export archives and TorchScript, read without running them."""

from __future__ import annotations

from cake_edge.teachers.program_file.archive import kind_of_program
from cake_edge.teachers.program_file.exported import ExportedNetwork, read_exported

__all__ = ["ExportedNetwork", "kind_of_program", "read_exported"]
