"""`cake-edge build`: a TensorRT engine from an ONNX file, or the trtexec command for one."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.console import emit, table
from cake_edge.cli.options import examples, json_option, verbosity_options
from cake_edge.errors import UsageMistake
from exporters.tensorrt.compiler import MODULES
from exporters.tensorrt.config import COMPATIBILITY, PRECISIONS

if TYPE_CHECKING:
    from exporters.tensorrt import EngineConfig, EngineReport

__all__ = ["command"]

MIB = 2**20
SLOWEST = 10


@click.command(
    "build",
    epilog=examples(
        "cake-edge build student.int8.tensorrt.onnx --out student.engine",
        "cake-edge build student.fp32.onnx --out student.engine --module tensorrt_rtx "
        "--compute-capability 8.9",
        "cake-edge build student.int8.tensorrt.onnx --trtexec 10.3",
    ),
)
@click.argument("model", metavar="MODEL.onnx", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The engine, a new file; what it was made from and for goes into OUT.json beside it.",
)
@click.option(
    "--trtexec",
    "trtexec_version",
    metavar="VERSION",
    help="Print the command for a board with that version of TensorRT, such as 10.3, instead.",
)
@click.option(
    "--module",
    type=click.Choice(MODULES),
    show_default="tensorrt where it is installed",
    help="tensorrt builds for the GPU of this machine; tensorrt_rtx needs none.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="as-written",
    show_default=True,
    help="The types in the file; or FP16 where the builder finds it faster (before TensorRT 11).",
)
@click.option(
    "--batches",
    default="1,1,8",
    show_default=True,
    metavar="MIN,USUAL,MAX",
    help="Batches, where the file leaves them open.",
)
@click.option(
    "--sizes",
    metavar="HxW,HxW,HxW",
    help="Smallest, usual and largest image, where the file leaves its size open.",
)
@click.option("--workspace-mib", type=click.IntRange(min=1), help="Most memory for one layer.")
@click.option(
    "--optimisation-level",
    type=click.IntRange(0, 5),
    show_default="TensorRT's own, 3",
    help="How long to look for faster kernels.",
)
@click.option("--no-tf32", is_flag=True, help="Compute FP32 products in FP32, not in TF32.")
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path),
    help="A file that keeps measured kernel times for the next build.",
)
@click.option(
    "--dla-core",
    type=click.IntRange(min=0),
    help="Run on that deep learning accelerator, and on the GPU what it does not take.",
)
@click.option(
    "--hardware-compatibility",
    type=click.Choice(COMPATIBILITY),
    help="Let the engine run on other GPUs too, more slowly.",
)
@click.option(
    "--version-compatible", is_flag=True, help="Let later versions of TensorRT run the engine."
)
@click.option(
    "--compute-capability",
    metavar="MAJOR.MINOR",
    help="The GPU to build for, with tensorrt_rtx alone.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    show_default="~/.cache/cake-edge/engines",
    help="The folder with engines that were built before.",
)
@click.option("--no-cache", is_flag=True, help="Build anew, and keep nothing.")
@click.option("--profile", is_flag=True, help="Then run the engine here, and time its layers.")
@json_option
@verbosity_options
def command(model: Path, out: Path | None, trtexec_version: str | None, **given: Any) -> None:
    """Builds MODEL.onnx into an engine, in a process of its own, and says what is in it.

    An engine runs on the kind of GPU and with the version of TensorRT that it was built for. One
    that was built before from the same file, with the same TensorRT, GPU and settings, is copied.
    """
    config = _config(given)
    if trtexec_version is not None:
        _refuse_beside_trtexec(out, given)
        _print_command(model, trtexec_version, config, given["as_json"])
        return
    if out is None:
        raise click.UsageError(
            "say where the engine is to go, with --out; or print a command for the board, with "
            "--trtexec VERSION"
        )
    if given["cache"] is not None and given["no_cache"]:
        raise click.UsageError("--cache and --no-cache ask for opposite things; leave one out")
    report = _build(model, out, config, given)
    value: dict[str, Any] = {**report.to_dict(), "profile_ms": None}
    if given["profile"]:
        from exporters.tensorrt.layer_profile import profile_layers

        value["profile_ms"] = profile_layers(out)
    emit(value, given["as_json"], lambda: _show(value))


def _config(given: dict[str, Any]) -> EngineConfig:
    from exporters.tensorrt import EngineConfig

    mib = given["workspace_mib"]
    return EngineConfig(
        precision=given["precision"],
        batches=_batches(given["batches"]),
        sizes=None if given["sizes"] is None else _sizes(given["sizes"]),
        workspace_bytes=None if mib is None else mib * MIB,
        optimisation_level=given["optimisation_level"],
        tf32=not given["no_tf32"],
        timing_cache=given["timing_cache"],
        dla_core=given["dla_core"],
        hardware_compatibility=given["hardware_compatibility"],
        version_compatible=given["version_compatible"],
        compute_capability=given["compute_capability"],
    )


def _batches(text: str) -> tuple[int, int, int]:
    words = text.split(",")
    if len(words) != 3 or not all(word.strip().isdecimal() for word in words):
        raise UsageMistake(f"--batches is {text!r}; it is three numbers, such as 1,1,8")
    smallest, usual, largest = map(int, words)
    return smallest, usual, largest


def _sizes(text: str) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    pairs = [word.strip().split("x") for word in text.split(",")]
    if len(pairs) != 3 or not all(len(p) == 2 and all(map(str.isdecimal, p)) for p in pairs):
        raise UsageMistake(
            f"--sizes is {text!r}; it is height x width three times, such as "
            "160x160,224x224,320x320"
        )
    smallest, usual, largest = ((int(height), int(width)) for height, width in pairs)
    return smallest, usual, largest


def _refuse_beside_trtexec(out: Path | None, given: dict[str, Any]) -> None:
    beside = {
        "--out": out,
        "--module": given["module"],
        "--cache": given["cache"],
        "--no-cache": given["no_cache"],
        "--profile": given["profile"],
    }
    wrong = [name for name, value in beside.items() if value]
    if wrong:
        raise click.UsageError(
            f"--trtexec prints a command and builds nothing here: leave {', '.join(wrong)} out"
        )


def _print_command(model: Path, version: str, config: EngineConfig, as_json: bool) -> None:
    from exporters.trtexec import TrtexecConfig, trtexec_command
    from exporters.trtexec.command import LOG

    # Timed with the usual batch: the smallest and the largest are what it is to cope with.
    settings = TrtexecConfig(
        engine=config,
        batch=config.batches[1],
        folder=PurePosixPath(f"{model.stem}.trtexec"),
    )
    words = trtexec_command(model, version, settings)
    folder = str(settings.folder)
    log = str(settings.folder / LOG)

    def text() -> None:
        click.echo(f"mkdir -p {shlex.quote(folder)}")
        click.echo(f"{shlex.join(words)} 2>&1 | tee {shlex.quote(log)}")

    emit({"command": words, "folder": folder, "log": log}, as_json, text)


def _build(model: Path, out: Path, config: EngineConfig, given: dict[str, Any]) -> EngineReport:
    from exporters.tensorrt import default_cache, engine_from_onnx

    cache = None if given["no_cache"] else given["cache"] or default_cache()
    return engine_from_onnx(model, out, config, module=given["module"], cache=cache)


def _show(value: dict[str, Any]) -> None:
    from exporters.report.words import size

    how = (
        "was built before, and copied" if value["cached"] else f"built in {value['seconds']:.1f} s"
    )
    gpu = value["gpu"]
    place = (
        f"{gpu['name']}, compute capability {gpu['compute_capability']}"
        if value["compute_capability"] == "present" and gpu
        else f"compute capability {value['compute_capability']}"
    )
    click.echo(f"{value['path']}  {size(value['engine']['bytes'])}  {how}")
    click.echo(f"for     {place}")
    click.echo(f"with    {value['module']} {value['version']}, {value['typing']} typing")
    for name, shapes in value["profile"].items():
        click.echo(f"input   {name}: {', '.join('x'.join(map(str, s)) for s in shapes)}")
    if value["layers"] is not None:
        click.echo(f"layers  {_layers(value['layers'])}")
    if value["coverage"] is not None:
        kinds = (sum(value["coverage"][kind].values()) for kind in ("int8", "float"))
        integer, floating = kinds
        click.echo(f"int8    {integer} of {integer + floating} convolutions and matrix products")
    for warning in value["warnings"]:
        click.echo(f"Note: {warning}")
    if value["profile_ms"] is not None:
        _show_profile(value["profile_ms"])


def _layers(told: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in told["precisions"].items())
    return f"{told['layers']}: {kinds}; {told['reformats']} only move data; {told['dla']} on a DLA"


def _show_profile(found: dict[str, Any]) -> None:
    shape = "x".join(map(str, found["shape"]))
    moved = found["summary"]["reformat_share"]
    click.echo(f"\nLayers by time, mean of {found['runs']} inferences of {shape}")
    rows = sorted(found["layers"], key=lambda row: -row["ms"])[:SLOWEST]
    header = ("ms", "share", "type", "layer")
    cells = [
        (f"{row['ms']:.4f}", f"{row['share']:.1%}", row["precision"] or "", row["name"][:60])
        for row in rows
    ]
    click.echo(table(header, cells))
    click.echo(
        f"{moved:.1%} of the time only moves data. The sum is more than the network takes: timed "
        "alone, layers do not overlap."
    )
