"""The child asks of a library only what its version has, and needs nothing of a training host."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from exporters.tensorrt import compile_onnx

OLD_LIBRARY = '''
"""TensorRT as version 8.6 was: weakly typed, batches explicit, a flag for INT8."""
import enum

__version__ = "8.6.1"

class NetworkDefinitionCreationFlag(enum.Enum):
    EXPLICIT_BATCH = 0
    def __int__(self):
        return self.value

class BuilderFlag(enum.Enum):
    INT8 = 3

class ProfilingVerbosity(enum.Enum):
    DETAILED = 2

class ILogger:
    class Severity(enum.Enum):
        WARNING = 2
        ERROR = 1

class Port:
    name, shape = "x", (-1, 3, 8, 8)

class Network:
    num_inputs, num_layers = 1, 0
    def get_input(self, index):
        return Port()
    def get_layer(self, index):
        raise IndexError(index)

class Profile:
    def set_shape(self, name, least, usual, most):
        self.shapes = least, usual, most

class Config:
    def __init__(self):
        self.flags, self.profiles = [], []
    def set_flag(self, flag):
        self.flags.append(flag)
    def add_optimization_profile(self, profile):
        self.profiles.append(profile.shapes)

class Builder:
    def __init__(self, log):
        self.log = log
    def create_network(self, flags):
        assert flags == 1
        return Network()
    def create_builder_config(self):
        return Config()
    def create_optimization_profile(self):
        return Profile()
    def build_serialized_network(self, network, config):
        assert config.flags == [BuilderFlag.INT8]
        self.log.log(ILogger.Severity.WARNING, "one")
        self.log.log(ILogger.Severity.ERROR, f"no GPU; profile {config.profiles[0]}")

class OnnxParser:
    num_errors = 0
    def __init__(self, network, log):
        pass
    def parse_from_file(self, path):
        return True
'''


def test_an_older_library_gets_the_flags_it_needs(
    stand_in: Callable[[str], None], quantized: Path
) -> None:
    stand_in(OLD_LIBRARY)
    result = compile_onnx(quantized, module="tensorrt", batches=(1, 2, 4), timeout_seconds=60)
    assert (result.ok, result.stage, result.version) == (False, "build", "8.6.1")
    assert result.compute_capability == "present"
    assert result.messages == ("no GPU; profile ([1, 3, 8, 8], [2, 3, 8, 8], [4, 3, 8, 8])",)
    assert result.warnings == ("one",)
    assert result.coverage is None


def test_neither_side_loads_a_training_stack(root: Path) -> None:
    code = (
        "import sys, exporters.tensorrt, exporters.tensorrt.compile_process\n"
        "print(*sys.modules.keys() & {'torch', 'onnx', 'timm', 'tensorrt_rtx'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
