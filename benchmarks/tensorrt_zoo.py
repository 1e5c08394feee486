"""What NVIDIA's compiler makes of timm's families: benchmarks/results/tensorrt_zoo.json.

    python -m benchmarks.tensorrt_zoo

Each architecture, with random weights and at its own input size, is exported, quantized for
TensorRT on a few synthetic images, linted, then parsed and built with TensorRT-RTX, which needs no
GPU. Nothing is said of accuracy: random weights have none. Each row is written as it is done, so
that a run which was stopped goes on where it was; each is made in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from benchmarks.results_files import RESULTS, ROOT, write_results
from cake_edge.provenance import read_json, write_json

__all__ = ["FAMILIES", "measure"]

FAMILIES = {
    "ResNet": ("test_resnet", "resnet18", "resnet26d"),
    "ResNeXt": ("resnext26ts",),
    "SE-ResNet": ("legacy_seresnet18",),
    "ResNeSt": ("resnest14d",),
    "Res2Net": ("res2net50_48w_2s",),
    "SKNet": ("skresnet18",),
    "pre-activation ResNet": ("resnetv2_18d",),
    "TResNet": ("tresnet_m",),
    "DenseNet": ("densenet121",),
    "DLA": ("dla46x_c",),
    "DPN": ("dpn48b",),
    "Inception": ("inception_v3",),
    "InceptionNeXt": ("inception_next_atto",),
    "Xception": ("legacy_xception",),
    "HRNet": ("hrnet_w18_small",),
    "HGNet": ("hgnetv2_b0",),
    "CSPNet": ("cs3darknet_focus_s",),
    "VoVNet": ("ese_vovnet19b_dw",),
    "SelecSLS": ("selecsls42b",),
    "RegNet": ("regnetx_002", "regnety_002"),
    "normalizer-free": ("test_nfnet", "nf_regnet_b0", "eca_nfnet_l0"),
    "MobileNet v1 to v4": (
        *("mobilenetv1_100", "mobilenetv2_035", "mobilenetv3_small_050"),
        *("mobilenetv4_conv_small", "mobilenetv4_hybrid_medium"),
    ),
    "LCNet": ("lcnet_035",),
    "TinyNet": ("tinynet_e",),
    "EfficientNet": ("test_efficientnet", "efficientnet_b0", "tf_efficientnet_lite0"),
    "MNASNet": ("mnasnet_small", "semnasnet_050"),
    "searched": ("spnasnet_100", "fbnetc_100", "hardcorenas_a"),
    "MixNet": ("mixnet_s",),
    "GhostNet": ("ghostnet_050", "ghostnetv2_100"),
    "ReXNet": ("rexnet_100",),
    "re-parameterised": ("test_byobnet", "repvgg_a0", "repghostnet_050", "mobileone_s0"),
    "GENet": ("gernet_s",),
    "FasterNet": ("fasternet_t0",),
    "StarNet": ("starnet_s1",),
    "ConvNeXt": ("test_convnext", "convnext_atto", "convnextv2_atto"),
    "ConvMixer": ("convmixer_768_32",),
    "MambaOut": ("mambaout_femto",),
    "EdgeNeXt": ("edgenext_xx_small",),
    "MobileViT": ("mobilevit_xxs", "mobilevitv2_050"),
    "EfficientFormer": ("efficientformer_l1", "efficientformerv2_s0"),
    "EfficientViT": ("efficientvit_b0", "efficientvit_m0"),
    "FastViT": ("fastvit_t8",),
    "RepViT": ("repvit_m0_9",),
    "SwiftFormer": ("swiftformer_xs",),
    "SHViT": ("shvit_s1",),
    "LeViT": ("levit_128s",),
    "BoTNet, HaloNet, LambdaNet": ("botnet26t_256", "halonet26t", "lambda_resnet26t"),
    "ViT": ("test_vit", "vit_tiny_patch16_224", "deit_tiny_patch16_224"),
    "EVA": ("eva02_tiny_patch14_224",),
    "CaiT": ("cait_xxs24_224",),
    "ConViT": ("convit_tiny",),
    "CrossViT": ("crossvit_tiny_240",),
    "XCiT": ("xcit_nano_12_p16_224",),
    "PiT": ("pit_ti_224",),
    "TNT": ("tnt_s_patch16_224",),
    "Swin": ("swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224"),
    "Twins": ("twins_svt_small",),
    "PVT": ("pvt_v2_b0",),
    "CoaT": ("coat_lite_tiny",),
    "CoAtNet, MaxViT": ("test_coatnet", "coatnet_pico_rw_224", "maxvit_rmlp_pico_rw_256"),
    "GCViT": ("gcvit_xxtiny",),
    "TinyViT": ("tiny_vit_5m_224",),
    "NesT": ("nest_tiny",),
    "FocalNet": ("focalnet_tiny_srf",),
    "DaViT": ("davit_tiny",),
    "Hiera": ("hiera_tiny_224",),
    "MViT": ("mvitv2_tiny",),
    "VOLO": ("volo_d1_224",),
    "Visformer": ("visformer_tiny",),
    "NextViT": ("nextvit_small",),
    "PoolFormer": ("poolformer_s12", "caformer_s18"),
    "MLP-Mixer": ("mixer_s32_224", "resmlp_12_224", "gmlp_ti16_224"),
    "Sequencer": ("sequencer2d_s",),
}
"""timm's architectures by family, the smallest of each that has an input size of its own."""
NAMES = {name: family for family, names in FAMILIES.items() for name in names}

TARGET = "tensorrt"
CLASSES = 100
COUNT = 12
BATCH = 4
LONGEST = 1800.0
"""Seconds that one architecture may take in all."""


def measure(architecture: str, folder: Path, *, count: int = COUNT) -> dict[str, Any]:
    """Exports, quantizes, lints and compiles one architecture; files go into `folder`.

    Returns:
        A row of the table. What cake-edge refuses on purpose is told in `failed` with its stage.
    """
    import torch

    from cake_edge.errors import CakeEdgeError
    from exporters.lint import lint
    from exporters.onnx_export import export_onnx
    from exporters.quantize import QuantizeConfig, quantize
    from exporters.tensorrt import compile_onnx

    torch.set_num_threads(1)
    network, card = _network(architecture)
    row: dict[str, Any] = {
        "architecture": architecture,
        "family": NAMES[architecture],
        "parameters": card.parameters,
        "input": list(card.spec.input_size),
        "failed": None,
    }
    plain, quantized = folder / "float.onnx", folder / "int8.onnx"
    stage = "export"
    started = time.monotonic()
    try:
        export_onnx(network, plain, card)
        stage = "quantize"
        config = QuantizeConfig(images=count, latency_seconds=0)
        quantize(plain, quantized, _images(card.spec, count), target=TARGET, config=config)
    except CakeEdgeError as error:
        return {**row, "failed": {"stage": stage, "error": str(error)}}
    row["seconds_to_file"] = round(time.monotonic() - started, 1)
    row["bytes"] = {"float": plain.stat().st_size, "int8": quantized.stat().st_size}
    row["weighted"] = _weighted(quantized)
    row["lint"] = [
        {"rule": each.rule, "severity": each.severity, "count": each.count}
        for each in lint(quantized, TARGET)
    ]
    result = compile_onnx(quantized, timeout_seconds=LONGEST)
    row["compile"] = {**result.to_dict(), "seconds": round(result.seconds, 1)}
    return row


def _network(architecture: str) -> tuple[Any, Any]:
    """A network of random weights at its own input size, and its card."""
    from timm.models import get_pretrained_cfg

    from cake_edge.networks import build_network, parameter_count, weights_digest
    from cake_edge.spec import ImageSpec
    from exporters.artifact import ModelCard

    settings = get_pretrained_cfg(architecture)
    assert settings is not None  # every name in the table has one
    channels, height, width = settings.input_size
    spec = ImageSpec(
        channels=channels, height=height, width=width,
        mean=tuple(settings.mean), std=tuple(settings.std), classes=CLASSES,
    )  # fmt: skip
    network = build_network(architecture, channels=channels, classes=CLASSES, seed=0).eval()
    card = ModelCard(
        architecture=architecture,
        spec=spec,
        role="student",
        parent=weights_digest(network),
        parameters=parameter_count(network),
    )
    return network, card


def _images(spec: Any, count: int) -> Any:
    from cake_edge.priors import structured
    from cake_edge.seeding import generator

    drawn = structured(count, spec, generator(0, "tensorrt_zoo")).numpy()

    def source() -> Iterator[npt.NDArray[np.float32]]:
        return (drawn[start : start + BATCH] for start in range(0, count, BATCH))

    return source


def _weighted(path: Path) -> dict[str, Any]:
    """Operators with constant weights in the file: how many, and how many between Q and DQ."""
    from cake_edge.onnx_file import read_model
    from exporters.lint.graph import Graph

    graph = Graph(read_model(path), TARGET)
    every, quantized = Counter[str](), Counter[str]()
    for node in graph.weighted():
        every[node.op_type] += 1
        sides = (graph.dequantized(node, 0), graph.dequantized(node, 1))
        quantized[node.op_type] += None not in sides
    return {"all": dict(sorted(every.items())), "quantized": dict(sorted(quantized.items()))}


def _row(architecture: str, rows: Path) -> dict[str, Any]:
    """The row of an architecture: kept from before, or made in a process of its own."""
    place = rows / f"{architecture}.json"
    if place.is_file() and not (kept := read_json(place))["failed"]:
        return kept
    started = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.tensorrt_zoo", "--one", architecture],
            cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=False,
        )  # fmt: skip
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        failed = done.returncode != 0
        row = {} if failed else json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        failed, reason, row = True, f"took longer than {LONGEST:g} s", {}
    if failed:
        row = {
            "architecture": architecture,
            "family": NAMES[architecture],
            "failed": {"stage": "process", "error": reason},
        }
    row["wall_seconds"] = round(time.monotonic() - started, 1)
    write_json(place, row)
    click.echo(_line(row))
    return row


def _line(row: dict[str, Any]) -> str:
    if row["failed"]:
        told = f"failed at {row['failed']['stage']}: {row['failed']['error']}"
    else:
        compiled = row["compile"]
        found = ", ".join(f"{each['rule']} {each['count']}" for each in row["lint"])
        verdict = "built" if compiled["ok"] else f"refused at {compiled['stage']}"
        told = f"{verdict} in {compiled['seconds']} s; lint: {found or 'nothing'}"
    return f"{row['architecture']:<30} {row['wall_seconds']:>6} s  {told}"


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the table comes to."""
    compiled = [row for row in rows if not row["failed"]]
    built = [row for row in compiled if row["compile"]["ok"]]
    rejected = [
        row["architecture"]
        for row in compiled
        if any(each["severity"] == "rejected" for each in row["lint"])
    ]
    return {
        "architectures": len(rows),
        "families": len({row["family"] for row in rows}),
        "built": len(built),
        "families_built": len({row["family"] for row in built}),
        "not_built": {
            row["architecture"]: row["failed"]["error"]
            if row["failed"]
            else "; ".join(row["compile"]["messages"])
            for row in rows
            if row not in built
        },
        "lint_rejected": rejected,
        "int8_operators": sum(sum(row["compile"]["coverage"]["int8"].values()) for row in built),
        "float_operators": sum(sum(row["compile"]["coverage"]["float"].values()) for row in built),
    }


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(NAMES)), help="These alone.")
@click.option("--jobs", default=1, show_default=True, help="Architectures at a time.")
@click.option("--rows", type=click.Path(path_type=Path), default=Path("runs/tensorrt_zoo"))
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS / "tensorrt_zoo.json")
@click.option("--kept", is_flag=True, help="Write the table of the rows that are there, no more.")
@click.option("--one", type=click.Choice(list(NAMES)), hidden=True)
def main(
    only: tuple[str, ...], jobs: int, rows: Path, results: Path, kept: bool, one: str | None
) -> None:
    """Fills the table; rows that are there are kept, failures tried again. --only writes none.

    Rows may have been measured at several commits; the results name the one that wrote them.
    """
    if one is not None:
        with tempfile.TemporaryDirectory(prefix="cake-edge-") as folder:
            click.echo(json.dumps(measure(one, Path(folder))))
        return
    rows.mkdir(parents=True, exist_ok=True)
    if kept:
        only = tuple(name for name in NAMES if (rows / f"{name}.json").exists())
    with ThreadPoolExecutor(jobs) as workers:
        table = list(workers.map(lambda name: _row(name, rows), only or NAMES))
    if only and not kept:
        return
    measured = {"target": TARGET, "images": COUNT, "summary": summary(table), "rows": table}
    command = ["python", "-m", "benchmarks.tensorrt_zoo", *(["--kept"] if kept else [])]
    write_results(results, command, measured)
    click.echo(json.dumps(measured["summary"], indent=2))


if __name__ == "__main__":
    main()
