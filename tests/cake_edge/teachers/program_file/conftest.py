"""Programs that torch saves, and ways to change what is in their archives."""

from __future__ import annotations

import json
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cake_edge.errors import TeacherError
from cake_edge.networks import build_network

SIZE = 32


class Tiny(nn.Module):
    """One convolution: the smallest program there is to put other code into."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 4 * 3).reshape(4, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.conv2d(images, self.weight).mean((2, 3))


class Saved:
    """One network, and files of it in every form, each made when it is first asked for."""

    def __init__(self, network: nn.Module, folder: Path) -> None:
        self.network = network
        self.images = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))
        self.paths = Paths(self, folder)

    def save(self, kind: str, path: Path) -> None:
        varying = ({0: torch.export.Dim("batch", min=1, max=64)},) if kind == "dynamic" else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about making such files
            if kind == "traced":
                program = torch.jit.trace(self.network, self.images, check_trace=False)
                torch.jit.save(program, path)
            elif kind == "scripted":
                torch.jit.save(torch.jit.script(self.network), path)
            else:
                exported = torch.export.export(self.network, (self.images,), dynamic_shapes=varying)
                torch.export.save(exported, path)


class Paths(dict[str, Path]):
    def __init__(self, saved: Saved, folder: Path) -> None:
        super().__init__()
        self.saved, self.folder = saved, folder

    def __missing__(self, kind: str) -> Path:
        path = self.folder / f"{kind}.{'pt' if kind in ('traced', 'scripted') else 'pt2'}"
        self.saved.save(kind, path)
        self[kind] = path
        return path


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Callable[[str], Saved]:
    """`saved("test_vit")`: a network of timm, or Tiny, in all forms; made once."""
    known: dict[str, Saved] = {}

    def make(name: str) -> Saved:
        if name not in known:
            network: nn.Module = Tiny()
            if name != "tiny":
                arguments = {"img_size": SIZE} if "vit" in name else {}
                network = build_network(
                    name, channels=3, classes=5, seed=1, arguments=arguments
                ).eval()
            known[name] = Saved(network, tmp_path_factory.mktemp(name))
        return known[name]

    return make


@pytest.fixture
def rewrite(tmp_path) -> Callable[..., Path]:
    """`rewrite(path, change)`: the archive again, each member as `change(name, data)` gives it.

    None leaves a member out; `more` adds some. Names are without the folder around them.
    """

    def write(
        path: Path,
        change: Callable[[str, bytes], bytes | None] = lambda name, data: data,
        more: dict[str, bytes] | None = None,
        root: str = "root/",
    ) -> Path:
        target = tmp_path / f"changed{random.Random(str(path)).random()}{path.suffix}"
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
            for name in old.namelist():
                inside = name.partition("/")[2]
                data = change(inside, old.read(name))
                if data is not None:
                    new.writestr(root + inside, data)
            for name, data in (more or {}).items():
                new.writestr(root + name, data)
        return target

    return write


@pytest.fixture
def with_program(saved, rewrite) -> Callable[..., Path]:
    """`with_program(change)`: Tiny's exported program, after `change` of its JSON."""

    def write(change: Callable[[dict[str, Any]], None], kind: str = "static", **rest: Any) -> Path:
        def members(name: str, data: bytes) -> bytes:
            if name != "models/model.json":
                return data
            program = json.loads(data)
            change(program)
            return json.dumps(program).encode()

        return rewrite(saved("tiny").paths[kind], members, **rest)

    return write


@pytest.fixture
def with_body(saved, rewrite) -> Callable[..., Path]:
    """`with_body("return x")`: Tiny's traced program, with another body of `forward(self, x)`."""

    def write(body: str, before: str = "", after: str = "", **rest: Any) -> Path:
        indented = "".join(f"    {line}\n" for line in body.splitlines())

        def members(name: str, data: bytes) -> bytes:
            if not name.endswith(".py"):
                return data
            head = data.decode().partition("  def forward")[0]
            text = f"{before}{head}  def forward(self, x: Tensor) -> Tensor:\n{indented}{after}"
            return text.encode()

        return rewrite(saved("tiny").paths["traced"], members, **rest)

    return write


@pytest.fixture
def refusals(rewrite, tmp_path) -> Callable[..., list[str]]:
    """`refusals(path, read, check)`: what `read` said to sixty damaged forms of a file.

    Of those that it read all the same, `check` takes what it gave. Where `members` names endings,
    the damage is to such members, under right checksums.
    """

    def refusals(
        path: Path,
        read: Callable[[Path], Any],
        check: Callable[[Any], None],
        members: tuple[str, ...] = (),
    ) -> list[str]:
        said = []
        for seed in range(60):
            try:
                found = read(spoilt(path, seed, members))
            except TeacherError as error:
                said.append(str(error))
            else:
                check(found)
        return said

    def spoilt(path: Path, seed: int, members: tuple[str, ...]) -> Path:
        if members:
            return rewrite(
                path, lambda name, data: damaged(data, seed) if name.endswith(members) else data
            )
        target = tmp_path / f"damaged{path.suffix}"
        target.write_bytes(damaged(path.read_bytes(), seed))
        return target

    return refusals


def damaged(data: bytes, seed: int) -> bytes:
    """The bytes cut short, or with some bits turned."""
    draw = random.Random(seed)
    if seed % 3 == 0:
        return data[: draw.randrange(len(data))]
    spoilt = bytearray(data)
    for _ in range(1 + seed % 5):
        spoilt[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(spoilt)


@pytest.fixture
def require_alike() -> Callable[[nn.Module, Saved], None]:
    """`require_alike(network, saved)`: one image and three get the same logits and gradients."""

    def require_alike(network: nn.Module, given: Saved) -> None:
        for count in (1, 3):
            images = given.images[:count].clone().requires_grad_()
            wanted = given.images[:count].clone().requires_grad_()
            answer, right = network(images), given.network(wanted)
            torch.testing.assert_close(answer, right, atol=1e-4, rtol=0)
            answer.square().sum().backward()
            right.square().sum().backward()
            torch.testing.assert_close(images.grad, wanted.grad, atol=1e-4, rtol=0)

    return require_alike


@pytest.fixture
def marker(tmp_path) -> Path:
    """A file that must never come to be."""
    return tmp_path / "marker"


@pytest.fixture
def hostile_pickle(marker) -> bytes:
    """A pickle that makes the file `marker` when Python's unpickler reads it."""
    return f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
