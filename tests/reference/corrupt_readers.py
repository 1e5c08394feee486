"""Every reader of files from outside: a small valid file, how it is read, and how it is damaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from reference.corrupt import (
    Damage,
    damage_bytes,
    damage_json,
    damage_onnx,
    damage_safetensors,
    damage_zip,
)
from reference.corrupt_graphs import (
    damage_card,
    damage_external,
    hostile_cards,
    hostile_external,
    hostile_program,
    make_card,
    make_external,
    make_onnx,
    make_program,
    read_with_card,
)
from reference.corrupt_weights import (
    CPU,
    FACTORY,
    SPEC,
    check_answers,
    hostile_legacy,
    hostile_zip,
    make_legacy,
    make_own,
    make_qat,
    make_safetensors,
    make_zip,
    read_and_die,
    read_naively,
    read_own,
    read_qat,
    teacher_reader,
    tiny,
)
from reference.hostile import (
    hostile_onnx,
    hostile_pickles,
    hostile_safetensors,
    hostile_toml,
)

from cake_edge.cli.teacher_options import teacher_options
from cake_edge.pool import open_pool, synthesize
from cake_edge.recipe import load_recipe
from cake_edge.samplers import CakeConfig
from cake_edge.teachers import TeacherConfig, load_teacher

__all__ = ["READERS", "UNSAFE", "Reader"]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A way in, and what is sent through it."""

    make: Callable[[Path], None]
    """Writes the valid files into a folder."""
    read: Callable[[Path], None]
    """Reads those of a folder, or raises."""
    damaged: tuple[str, ...]
    """Names of the files that are damaged, one of them in a case."""
    within: Damage
    """Damage to values inside the file."""
    hostile: Callable[[Path], Mapping[str, Mapping[str, bytes | Path]]] = lambda folder: {}
    """By what they do: files, or links as paths, in place of the valid ones of that folder."""
    usage: bool = False
    """Whether the file is the user's own words, so that a mistake in it is one of usage."""
    command: tuple[str, ...] = field(default=())
    """Words of `cake-edge` that read the main file; FOLDER stands for the folder."""


def _make_pool(folder: Path) -> None:
    from cake_edge.teachers.frozen import FrozenTeacher

    quick = CakeConfig(steps=1, snapshots=1, oversample=1, images_per_shard=4, batch=4)
    teacher = FrozenTeacher(tiny(), SPEC, architecture="tiny")
    synthesize(teacher, quick, folder, count=8, seed=0)


def _read_pool(folder: Path) -> None:
    pool = open_pool(folder)
    pool.summary()
    images = pool.images()
    images.gather(torch.arange(len(images)))
    images.copy_to(CPU)
    pool.logits()
    for batch in pool.batches(3):
        assert len(batch) <= 3


def _damage_pool(data: bytes, random: Any) -> bytes:
    return (damage_json if data[:1] == b"{" else damage_safetensors)(data, random)


RECIPE = b"""name = "one"
seed = 3
[teacher]
reference = "m.onnx"
preset = "imagenet"
input_size = [3, 8, 8]
mean = [0.5, 0.5, 0.5]
[synthesis]
sampler = "cake"
count = 8
[synthesis.settings]
steps = 4
[student]
name = "small-resnet"
[distill]
steps = 10
learning_rate = 0.01
[quantize]
targets = ["ort-x86"]
images = 32
[evaluate]
limit = 5
[bench]
threads = 1
[budget.smoke.synthesis]
count = 4
"""


def _make_recipe(folder: Path) -> None:
    (folder / "r.toml").write_bytes(RECIPE.replace(b"mean = [0.5, 0.5, 0.5]\n", b""))


def _read_recipe(folder: Path) -> None:
    load_recipe(folder / "r.toml")
    load_recipe(folder / "r.toml", budget="smoke")


def _damage_toml(data: bytes, random: Any) -> bytes:
    """Another value, or another name, in one of the lines."""
    lines = data.decode().splitlines()
    at = random.randrange(len(lines))
    name, equals, value = lines[at].partition(" = ")
    odd = (
        '""', '"x\\u0000"', "-1", "0", "1e999", "nan", "true", "[]", "{}", "[[]]", '["a", "a"]',
        "9223372036854775808", "1" * 400, '"' + "x" * 3000 + '"', "{a = 1}", "2020-01-01",
        '"""a\nb"""',
    )  # fmt: skip
    what = random.random()
    if what < 0.2:
        del lines[at]
    elif what < 0.3:
        lines.insert(random.randrange(len(lines)), lines[at])
    elif what < 0.4:
        lines[at] = f"{name}_{equals}{value}"
    elif equals:
        lines[at] = f"{name} = {random.choice(odd)}"
    else:
        lines[at] = random.choice(("[teacher", "[a]", "[[distill]]", "x", '"" = 1'))
    return "\n".join(lines).encode()


def _make_labels(folder: Path) -> None:
    make_onnx(folder)
    (folder / "labels.txt").write_text("ant\nbee\ncat\ndög\n", encoding="utf-8")


@click.command()
@teacher_options(positional=True)
def _labelled(teacher: TeacherConfig) -> None:
    check_answers(load_teacher(teacher, device=CPU))


def _read_labels(folder: Path) -> None:
    words = [
        str(folder / "m.onnx"),
        "--preset",
        "inception",
        "--labels",
        str(folder / "labels.txt"),
    ]
    _labelled.main(words, standalone_mode=False)


def _damage_lines(data: bytes, random: Any) -> bytes:
    lines = data.splitlines(keepends=True)
    at = random.randrange(len(lines))
    odd = (
        b"",
        b"\n",
        b"\n\n",
        b"\xff\n",
        b"\x85",
        b"\0",
        b"x" * 9999,
        b"\xe2\x80\xa8",
        b"a\rb",
        b"1",
    )
    what = random.random()
    if what < 0.3:
        del lines[at]
    elif what < 0.5:
        lines.insert(at, lines[random.randrange(len(lines))])
    else:
        lines[at] = random.choice(odd) + random.choice((b"", lines[at]))
    return b"".join(lines)


def _hostile_labels(folder: Path) -> dict[str, Any]:
    texts = {
        "nothing": b"", "zeros": bytes(4000), "UTF-16": "a\nb\nc\nd".encode("utf-16"),
        "a million": b"x\n" * 1_000_000, "not UTF-8": b"\xff\xfe\xfd", "JSON": b'["a","b","c","d"]',
    }  # fmt: skip
    found: dict[str, Any] = {name: {"labels.txt": text} for name, text in texts.items()}
    return found | {"a device": {"labels.txt": Path("/dev/full")}}


def _inspect(name: str, *more: str) -> tuple[str, ...]:
    return ("inspect", f"FOLDER/{name}", *more)


def _all(name: str, make: Callable[[], Mapping[str, bytes]]) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {what: {name: content} for what, content in make().items()}


SAID = ("--preset", "inception", "--input-size", "3,8,8", "--no-check")

OF_FACTORY = (*SAID, "--arch", FACTORY)

READERS: dict[str, Reader] = {
    "safetensors": Reader(
        make=make_safetensors, read=teacher_reader("w.safetensors", arch=FACTORY),
        damaged=("w.safetensors",), within=damage_safetensors,
        hostile=_all("w.safetensors", hostile_safetensors),
        command=_inspect("w.safetensors", *OF_FACTORY),
    ),
    "own checkpoint": Reader(
        make=make_own, read=read_own, damaged=("own.safetensors",), within=damage_safetensors,
        hostile=_all("own.safetensors", hostile_safetensors),
        command=_inspect("own.safetensors", "--no-check"),
    ),
    "pth": Reader(
        make=make_zip, read=teacher_reader("w.pth", arch=FACTORY), damaged=("w.pth",),
        within=damage_zip, hostile=hostile_zip, command=_inspect("w.pth", *OF_FACTORY),
    ),
    "legacy pth": Reader(
        make=make_legacy, read=teacher_reader("w.pth", arch=FACTORY), damaged=("w.pth",),
        within=damage_bytes, hostile=hostile_legacy, command=_inspect("w.pth", *OF_FACTORY),
    ),
    "onnx": Reader(
        make=make_onnx, read=teacher_reader("m.onnx"), damaged=("m.onnx",), within=damage_onnx,
        hostile=_all("m.onnx", hostile_onnx), command=_inspect("m.onnx", *SAID),
    ),
    "onnx external": Reader(
        make=make_external, read=teacher_reader("m.onnx"), damaged=("m.onnx", "m.onnx", "m.bin"),
        within=damage_external, hostile=hostile_external, command=_inspect("m.onnx", *SAID),
    ),
    "torch.export": Reader(
        make=make_program("pt2"), read=teacher_reader("m.pt2"), damaged=("m.pt2",),
        within=damage_zip,
        hostile=hostile_program("m.pt2", "model.json"), command=_inspect("m.pt2", *SAID),
    ),
    "torchscript": Reader(
        make=make_program("pt"), read=teacher_reader("m.pt"), damaged=("m.pt",), within=damage_zip,
        hostile=hostile_program("m.pt", "data.pkl"), command=_inspect("m.pt", *SAID),
    ),
    "pool": Reader(
        make=_make_pool, read=_read_pool, within=_damage_pool,
        damaged=("pool.json", "pool.json", "shard-00001.safetensors", "shard-00000.safetensors"),
        hostile=_all("shard-00000.safetensors", hostile_safetensors),
        command=("distill", "--teacher", "embedded", "--student", "small-resnet",
                 "--pool", "FOLDER", "--out", "FOLDER/out.safetensors"),
    ),
    "recipe": Reader(
        make=_make_recipe, read=_read_recipe, damaged=("r.toml",), within=_damage_toml,
        hostile=_all("r.toml", hostile_toml), usage=True,
        command=("compress", "FOLDER/r.toml", "--out", "FOLDER/out"),
    ),
    "labels": Reader(
        make=_make_labels, read=_read_labels, damaged=("labels.txt",), within=_damage_lines,
        hostile=_hostile_labels, usage=True,
        command=_inspect("m.onnx", *SAID, "--labels", "FOLDER/labels.txt"),
    ),
    "qat": Reader(
        make=make_qat, read=read_qat, damaged=("q.safetensors",), within=damage_safetensors,
        hostile=_all("q.safetensors", hostile_safetensors),
        command=_inspect("q.safetensors", *OF_FACTORY),
    ),
    "card": Reader(
        make=make_card, read=read_with_card, damaged=("m.onnx",), within=damage_card,
        hostile=hostile_cards,
        command=("retarget", "FOLDER/m.onnx", "--target", "ort-x86", "--out", "FOLDER/out.onnx"),
    ),
}  # fmt: skip

UNSAFE: dict[str, Reader] = {
    "runs code": Reader(
        make=make_legacy, read=read_naively, damaged=("w.pth",), within=damage_bytes,
        hostile=hostile_legacy,
    ),
    "dies": Reader(
        make=make_zip, read=read_and_die, damaged=("w.pth",), within=damage_bytes,
        hostile=_all("w.pth", hostile_pickles),
    ),
}  # fmt: skip
"""Readers that do what none may: whether that is noticed."""
