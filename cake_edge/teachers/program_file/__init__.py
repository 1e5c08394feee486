"""Programs that torch saved, torch.export archives and TorchScript, read without running them.

No loader of torch is called on such a file: `archive` opens the zip, `exported` reads a graph from
JSON, `torchscript` parses sources as text, and `network` runs either one operator at a time, of
those that `operators` allows. What is left to trust is torch's kernels, Python's zip, JSON and
source parsers, and for weights that torch up to 2.8 kept in a file of torch.save, its unpickler
of plain tensors.
"""

from __future__ import annotations

from cake_edge.teachers.program_file.archive import kind_of_program
from cake_edge.teachers.program_file.exported import ExportedNetwork, read_exported
from cake_edge.teachers.program_file.torchscript import ScriptNetwork, read_torchscript

__all__ = [
    "ExportedNetwork",
    "ScriptNetwork",
    "kind_of_program",
    "read_exported",
    "read_torchscript",
]
