"""A teacher from a program that torch saved: a torch.export archive, or TorchScript."""

from __future__ import annotations

from pathlib import Path

from cake_edge.errors import TeacherError, UsageMistake
from cake_edge.memory import check_memory
from cake_edge.provenance import sha256_file
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.network import Port, port_of, teacher_from_network
from cake_edge.teachers.program_file import kind_of_program, read_exported, read_torchscript
from cake_edge.teachers.stated import Stated
from cake_edge.teachers.weights_file import refuse_non_finite

__all__ = ["load_program_teacher"]


def load_program_teacher(path: Path, config: TeacherConfig) -> FrozenTeacher:
    """Returns the teacher in a torch.export archive or a TorchScript file, on the CPU.

    Nothing but the shape of its input is in such a file: mean and std must be said.

    Raises:
        UsageMistake: an option is for files of another kind.
        TeacherError: the file is damaged, asks for more than a classifier needs, or is none.
        NumericsError: it answers with NaN or infinity.
    """
    kind = kind_of_program(path)
    if kind is None:
        raise TeacherError(
            f"{path} is no archive that torch.export.save wrote: it is damaged, cut short, or of "
            "another kind; get it again"
        )
    if config.arch is not None or config.arguments or config.match != "name":
        raise UsageMistake(
            f"--arch, --arguments and --match are for files of weights; {path} holds its network"
        )
    # The reader sees to it that no archive holds more than its own size.
    check_memory(path, path.stat().st_size, TeacherError)
    network = read_exported(path) if kind == "torch.export" else read_torchscript(path)
    refuse_non_finite(network.state_dict(), str(path))
    port = port_of(network.input_shape, str(path)) if network.input_shape else Port()
    return teacher_from_network(
        network,
        config,
        Stated(origin="the archive"),
        port,
        architecture=kind,
        arguments={"sha256": sha256_file(path)},
        source=path.name,
    )
