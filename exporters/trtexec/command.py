"""The trtexec command line that builds and times a file, for each version of trtexec.

What is inside its clock changed with 11: up to 10 the copies of input and output are in, no CUDA
graph is used and the processor sleeps while it waits; from 11 on it is the other way round. So all
three are stated here, in the words of the version, and a figure means the same on every board.

Flags by version as `trtexec --help` of the releases 8.6 to 11.1 lists them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cake_edge.errors import UsageMistake
from exporters.tensorrt.config import EngineConfig
from exporters.tensorrt.onnx_header import OnnxHeader, read_header

__all__ = ["EXPORTS", "LOG", "TrtexecConfig", "trtexec_command"]

Version = tuple[int, int]

OLDEST: Version = (8, 6)
TYPED_BY_FLAG: Version = (10, 0)
"""The first that knows --stronglyTyped."""
SAME_COMPUTE: Version = (10, 10)
"""The first that knows that level of hardware compatibility."""
TURNED: Version = (11, 0)
"""Strongly typed only; CUDA graph and spinning by default, copies not."""

EXPORTS = {
    "--exportTimes": "times.json",
    "--exportProfile": "profile.json",
    "--exportLayerInfo": "layers.json",
}
"""What a run leaves in its folder, and under which name, for `rows_from_trtexec`."""
LOG = "trtexec.log"
"""Where what it prints is to be kept, in the same folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrtexecConfig:
    """What trtexec is to build and to time."""

    engine: EngineConfig = field(default_factory=EngineConfig)
    """How to build; as for `engine_from_onnx`."""
    batch: int = 1
    """Images a call, while it is timed; at most the largest of the engine."""
    transfers: bool = False
    """Whether copies to the GPU and back are inside the clock."""
    cuda_graph: bool = True
    """Whether the whole network is launched as one CUDA graph."""
    spin_wait: bool = True
    """Whether the processor spins while it waits: steadier figures, one core busy."""
    warmup_ms: int = 500
    """Milliseconds before the clock counts."""
    seconds: int = 10
    """Least time of the measurement."""
    iterations: int = 1000
    """Least number of calls; a thousand carry a 99th percentile."""
    folder: PurePosixPath = field(default_factory=lambda: PurePosixPath("trtexec"))
    """Where on the board the engine and the exports go; it must be there."""

    def __post_init__(self) -> None:
        for name in ("batch", "seconds", "iterations"):
            if getattr(self, name) < 1:
                raise UsageMistake(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.warmup_ms < 0:
            raise UsageMistake(f"warmup_ms is {self.warmup_ms}; it must be 0 or more")
        smallest, _, largest = self.engine.batches
        if not smallest <= self.batch <= largest:
            raise UsageMistake(
                f"batch is {self.batch}, and the engine is for {smallest} to {largest} images"
            )
        if self.engine.compute_capability is not None:
            raise UsageMistake(
                f"compute_capability is {self.engine.compute_capability}, and trtexec builds for "
                "the GPU that it runs on; leave it out"
            )


def trtexec_command(onnx: Path, version: str, config: TrtexecConfig | None = None) -> list[str]:
    """Returns the words of a command that builds `onnx`, times it, and exports what it found.

    Args:
        onnx: the file, here; on the board it is given by the same path.
        version: of TensorRT on the board, such as "10.3"; newer ones than 11.1 count as 11.1.
        config: None is `TrtexecConfig()`.

    Raises:
        UsageMistake: no such version, it does not have what is asked for, or an axis that the file
            leaves open has no size.
        ArtifactError: the file is missing or is no ONNX.
    """
    config = config if config is not None else TrtexecConfig()
    known = _parsed(version)
    header = read_header(onnx)
    return [
        "trtexec",
        f"--onnx={onnx}",
        f"--saveEngine={config.folder / (onnx.stem + '.engine')}",
        *_types(header, known, config.engine),
        *_shapes(onnx, header, config),
        *_building(known, config.engine),
        *_clock(known, config),
        f"--warmUp={config.warmup_ms}",
        f"--duration={config.seconds}",
        f"--iterations={config.iterations}",
        "--infStreams=1",
        "--percentile=50,90,95,99",
        "--profilingVerbosity=detailed",
        *(f"{flag}={config.folder / name}" for flag, name in EXPORTS.items()),
    ]


def _parsed(version: str) -> Version:
    found = re.fullmatch(r"(\d+)\.(\d+)(\.\d+)*", version)
    known = (int(found[1]), int(found[2])) if found else (0, 0)
    if known < OLDEST or known[0] == OLDEST[0] + 1:
        raise UsageMistake(
            f"no trtexec of version {version!r} is known; it is TensorRT's, 8.6 or newer, such as "
            "10.3 (JetPack 6.1 and 6.2)"
        )
    return known


def _types(header: OnnxHeader, version: Version, config: EngineConfig) -> list[str]:
    free = config.precision == "fp16"
    if version >= TURNED:
        if free:
            raise UsageMistake(
                "precision is 'fp16', and trtexec 11 computes in the types that the file says and "
                "no other; give it a file in FP16 and leave --precision out"
            )
        flags = []
    elif version >= TYPED_BY_FLAG and not free:
        flags = ["--stronglyTyped"]
    else:
        flags = ["--fp16"] if free or header.half else []
        flags += ["--int8"] if header.quantized else []
    return [*flags, *([] if config.tf32 else ["--noTF32"])]


def _shapes(onnx: Path, header: OnnxHeader, config: TrtexecConfig) -> list[str]:
    """The profile, and the shape to time, where the file leaves some of it open."""
    ports = [port for port in header.inputs if any(isinstance(size, str) for size in port.shape)]
    if not ports:
        return []
    sizes = config.engine.sizes
    known = (0,) if sizes is None else (0, 2, 3)
    words = dict.fromkeys(("--minShapes", "--optShapes", "--maxShapes", "--shapes"), "")
    batches = (*config.engine.batches, config.batch)
    images = ((0, 0),) * 4 if sizes is None else (*sizes, sizes[1])
    for port in ports:
        unknown = [a for a, s in enumerate(port.shape) if isinstance(s, str) and a not in known]
        if unknown:
            raise UsageMistake(
                f"{onnx}: input {port.name!r} leaves axes {unknown} of {list(port.shape)} open; "
                "state the image's height and width, or export the file with fixed ones"
            )
        for flag, batch, (height, width) in zip(words, batches, images, strict=True):
            wanted = {0: batch, 2: height, 3: width}
            shape = [wanted[a] if isinstance(s, str) else s for a, s in enumerate(port.shape)]
            words[flag] += ("," if words[flag] else "") + f"{port.name}:{'x'.join(map(str, shape))}"
    return [f"{flag}={spec}" for flag, spec in words.items()]


def _building(version: Version, config: EngineConfig) -> list[str]:
    words = []
    if config.workspace_bytes is not None:
        words.append(f"--memPoolSize=workspace:{config.workspace_bytes / 2**20:g}M")
    if config.optimisation_level is not None:
        words.append(f"--builderOptimizationLevel={config.optimisation_level}")
    if config.timing_cache is not None:
        words.append(f"--timingCacheFile={config.timing_cache}")
    if config.dla_core is not None:
        words += [f"--useDLACore={config.dla_core}", "--allowGPUFallback"]
    if config.hardware_compatibility == "ampere+":
        words.append("--hardwareCompatibilityLevel=ampere+")
    elif config.hardware_compatibility is not None:
        if version < SAME_COMPUTE:
            raise UsageMistake(
                "hardware_compatibility is 'same-compute-capability', which trtexec knows from "
                "10.10 on; allowed: ampere+"
            )
        words.append("--hardwareCompatibilityLevel=sameComputeCapability")
    if config.version_compatible:
        words.append("--versionCompatible")
    return words


def _clock(version: Version, config: TrtexecConfig) -> list[str]:
    """What is inside the clock; each version has flags for what it does not do by itself."""
    if version >= TURNED:
        wanted = {
            "--includeDataTransfers": config.transfers,
            "--noCudaGraph": not config.cuda_graph,
            "--noSpinWait": not config.spin_wait,
        }
    else:
        wanted = {
            "--noDataTransfers": not config.transfers,
            "--useCudaGraph": config.cuda_graph,
            "--useSpinWait": config.spin_wait,
            "--separateProfileRun": True,
        }
    return [flag for flag, wants in wanted.items() if wants]
