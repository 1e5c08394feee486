"""Trains the embedded teacher on Fashion-MNIST and writes what the package ships.

    apt-get install dataset-fashion-mnist
    python -m benchmarks.train_fashion_mnist_teacher --out cake_edge/assets/fashion_mnist

Writes teacher.safetensors (float16), eval.npz (2 000 of the 10 000 test images, 200 a class) and
benchmarks/results/fashion_mnist_teacher.json with the accuracy of the stored weights on all 10 000
test images. The weights are those of the last step; no test image takes part in a choice.
"""

from __future__ import annotations

import gzip
import math
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from cake_edge.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cake_edge.networks import build_network, parameter_count
from cake_edge.provenance import atomic_path, environment, sha256_file, write_json
from cake_edge.seeding import derive_seed, generator
from cake_edge.spec import ImageSpec

DATA = Path("/usr/share/datasets/fashion-mnist")
LABELS = (
    "t-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
SPEC = ImageSpec(
    channels=1, height=28, width=28, mean=(0.286,), std=(0.353,), classes=10, labels=LABELS,
    interpolation="bilinear",
)  # fmt: skip
ARCHITECTURE = "resnet10t"
ARGUMENTS: dict[str, Any] = {"channels": [32, 64, 128, 256], "stem_width": 16}

Bytes = npt.NDArray[np.uint8]


def read_split(folder: Path, name: str) -> tuple[Bytes, Bytes]:
    """Returns images [N, 28, 28] and labels [N] of "train" or "t10k" from the IDX files."""
    with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as stream:
        images = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz") as stream:
        labels = np.frombuffer(stream.read(), np.uint8, offset=8)
    return images, labels


def as_input(images: Bytes) -> torch.Tensor:
    """Takes bytes [N, 28, 28] to the normalised space, [N, 1, 28, 28]."""
    return torch.from_numpy(SPEC.normalise(images[:, None].astype(np.float32) / 255))


def augment(images: torch.Tensor, random: torch.Generator, padding: int = 2) -> torch.Tensor:
    """Flips half of the images and moves each by up to `padding` pixels."""
    count, _, height, width = images.shape
    flip = torch.rand(count, generator=random) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(-1), images)
    padded = functional.pad(images, [padding] * 4, value=float(-SPEC.mean[0] / SPEC.std[0]))
    down, right = torch.randint(0, 2 * padding + 1, (2, count), generator=random)
    rows = (down[:, None] + torch.arange(height))[:, None, :, None]
    columns = (right[:, None] + torch.arange(width))[:, None, None, :]
    return padded[torch.arange(count)[:, None, None, None], 0, rows, columns]


def train(images: torch.Tensor, labels: torch.Tensor, *, epochs: int, seed: int) -> torch.nn.Module:
    """Trains with AdamW under a one-cycle schedule; returns the last weights."""
    batch, peak = 256, 4e-3
    network = build_network(
        ARCHITECTURE, channels=1, classes=10, arguments=ARGUMENTS, seed=seed
    ).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=0.05)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps)
    network.train()
    for epoch in range(epochs):
        started = time.perf_counter()
        random = generator(seed, "epoch", epoch)
        order = torch.randperm(len(images), generator=random)
        total = 0.0
        for chunk in order[: len(images) // batch * batch].split(batch):
            logits = network(augment(images[chunk], random))
            loss = functional.cross_entropy(logits, labels[chunk])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        mean = total / (len(images) // batch)
        click.echo(f"epoch {epoch} loss {mean:.4f} {time.perf_counter() - started:.0f} s", err=True)
        if not math.isfinite(mean):
            raise click.ClickException(f"the loss is {mean} after epoch {epoch}")
    return network.eval()


def accuracy(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Returns top-1 in percent."""
    with torch.inference_mode():
        guesses = torch.cat([network(chunk).argmax(1) for chunk in images.split(1000)])
    return 100 * float((guesses == labels).double().mean())


def evaluation_subset(images: Bytes, labels: Bytes, per_class: int, seed: int) -> dict[str, Bytes]:
    """Draws `per_class` test images of every class, in the order of the test set."""
    random = np.random.default_rng(derive_seed(seed, "evaluation subset"))
    chosen = [
        random.choice(np.flatnonzero(labels == k), per_class, replace=False) for k in range(10)
    ]
    index = np.sort(np.concatenate(chosen))
    return {"images": images[index], "labels": labels[index]}


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=DATA)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--epochs", default=24, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--results", type=click.Path(path_type=Path),
              default=Path("benchmarks/results/fashion_mnist_teacher.json"))  # fmt: skip
def main(data: Path, out: Path, epochs: int, seed: int, results: Path) -> None:
    """Trains, stores, and measures what was stored."""
    torch.set_num_threads(1)
    images, labels = read_split(data, "train")
    started = time.perf_counter()
    network = train(
        as_input(images), torch.from_numpy(labels.astype(np.int64)), epochs=epochs, seed=seed
    )
    seconds = time.perf_counter() - started
    config = {"data": "Fashion-MNIST, 60 000 training images", "epochs": epochs, "seed": seed}
    about = Checkpoint(
        architecture=ARCHITECTURE, arguments=ARGUMENTS, spec=SPEC, manifest={"config": config}
    )
    save_checkpoint(out / "teacher.safetensors", network, about, half=True)
    test_images, test_labels = read_split(data, "t10k")
    subset = evaluation_subset(test_images, test_labels, per_class=200, seed=seed)
    with atomic_path(out / "eval.npz") as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, images=subset["images"], labels=subset["labels"])

    stored, _ = load_checkpoint(out / "teacher.safetensors")
    stored = stored.to(memory_format=torch.channels_last)
    measured = {
        "top1_all_10000": accuracy(
            stored, as_input(test_images), torch.from_numpy(test_labels.astype(np.int64))
        ),
        "top1_subset_2000": accuracy(
            stored, as_input(subset["images"]), torch.from_numpy(subset["labels"].astype(np.int64))
        ),
    }
    write_json(results, {
        "command": "python -m benchmarks.train_fashion_mnist_teacher "
        f"--out {out} --epochs {epochs} --seed {seed}",
        "config": config,
        "architecture": ARCHITECTURE,
        "arguments": ARGUMENTS,
        "parameters": parameter_count(stored),
        "seconds": round(seconds, 1),
        "measured": measured,
        "sha256": sha256_file(out / "teacher.safetensors"),
        "environment": environment(),
    })  # fmt: skip
    click.echo(measured)


if __name__ == "__main__":
    main()
