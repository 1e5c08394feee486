from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from cake_edge.errors import CakeEdgeError, NumericsError, TeacherError
from cake_edge.teachers.weights_file import read_state

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        {"state_dict": STATE, "epoch": 3},
        {"model": {f"module.{name}": tensor for name, tensor in STATE.items()}},
        {"state_dict": {f"_orig_mod.module.{name}": tensor for name, tensor in STATE.items()}},
        {"state_dict": {name: tensor * 0 for name, tensor in STATE.items()}, "model_ema": STATE},
        {"model": {"state_dict": STATE}, "optimizer": {"step": torch.ones(1)}},
        {"checkpoint": 3, "ema": {"shadow_params": list(STATE.values())}, "network": STATE},
        {"model_state_dict": {f"model.module.{name}": tensor for name, tensor in STATE.items()}},
        {"params": STATE, "params_ema": {"decay": 0.9, "params": STATE}},
        {name: nn.Parameter(tensor) for name, tensor in STATE.items()},
        {**STATE, "version": "1"},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_the_weights_are_found_wherever_training_scripts_put_them(
    tmp_path: Path, content: Any, zipped: bool
) -> None:
    path = saved(tmp_path / "w.pth.tar", content, _use_new_zipfile_serialization=zipped)
    state = read_state(path)
    assert list(state) == list(STATE)
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert not any(tensor.requires_grad for tensor in state.values())


def test_a_prefix_that_not_all_names_share_stays(tmp_path: Path) -> None:
    given = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert list(read_state(saved(tmp_path / "w.pt", given))) == ["module.a", "b"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_every_float_becomes_float32(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    state = {"w": torch.tensor([0.5, -2.0], dtype=dtype), "n": torch.tensor([7])}
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    found = read_state(path)
    assert found["w"].dtype is torch.float32
    assert found["w"].tolist() == [0.5, -2.0]
    assert found["n"].dtype is torch.int64


class Hostile:
    """Unpickling it would run a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    proof = tmp_path / "ran"
    content = {**STATE, "x": Hostile(f"touch {proof}")}
    path = saved(tmp_path / "w.pth", content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(TeacherError) as caught:
        read_state(path)
    assert not proof.exists()
    for word in ("it asks for posix.system", "would run code", "sandbox", "w-plain.pth"):
        assert word in str(caught.value)


def test_a_bare_pickle_is_refused_without_advice_to_load_it_all_the_same(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    command = f"touch {proof}".encode()
    # Protocol 4, which torch does not write: posix.system is looked up, and called.
    called = b"X" + len(command).to_bytes(4, "little") + command + b"\x85R."
    (tmp_path / "w.pth").write_bytes(b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + called)
    with pytest.raises(TeacherError, match=r"w\.pth cannot be read") as caught:
        read_state(tmp_path / "w.pth")
    assert not proof.exists()
    assert "weights_only" not in str(caught.value)


def test_a_whole_pickled_network_is_refused_by_the_name_of_its_class(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(TeacherError, match=r"torch\.nn\.modules.*convert it inside a sandbox"):
        read_state(path)


def test_a_torchscript_program_is_known(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/constants.pkl", b"")
        archive.writestr("w/data.pkl", b"")
    with pytest.raises(TeacherError, match=r"a torchscript program.*without --arch"):
        read_state(tmp_path / "w.pt")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(tmp_path: Path, bad: float) -> None:
    state = {**STATE, "b.weight": torch.tensor([1.0, bad, bad])}
    with pytest.raises(NumericsError, match=r"2 of 3 values of b\.weight"):
        read_state(saved(tmp_path / "w.pth", state))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3, "args": {}}, "a dict of args, epoch"),
        ({}, "a dict of nothing"),
        ([torch.ones(2)], "but list"),
        (torch.ones(2), "but Tensor"),
        ({"state_dict": {}}, "a dict of state_dict"),
    ],
)
def test_a_file_without_named_tensors_says_what_it_holds(
    tmp_path: Path, content: Any, words: str
) -> None:
    with pytest.raises(TeacherError, match=words):
        read_state(saved(tmp_path / "w.pth", content))


def test_a_dict_that_holds_itself_comes_to_an_end(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content["model"] = content
    with pytest.raises(TeacherError, match="no named tensors"):
        read_state(saved(tmp_path / "w.pth", content, _use_new_zipfile_serialization=False))


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    "tensor",
    [torch.eye(3).to_sparse(), torch.ones(2, dtype=torch.complex64)],
    ids=["sparse", "complex"],
)
def test_a_tensor_of_an_unusual_kind_is_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    with pytest.raises(TeacherError, match="dense real weights"):
        read_state(saved(tmp_path / "w.pth", {"w": tensor}))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_other_bytes_are_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TeacherError, match=r"w\.(pth|safetensors)") as caught:
        read_state(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_zip_that_claims_to_span_disks_is_one_sentence(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", STATE)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x06\x07") + 16] = 9
    path.write_bytes(content)
    with pytest.raises(TeacherError, match=r"w\.pth"):
        read_state(path)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    content = {"state_dict": {"module.w": torch.ones(3, 4).half(), "module.b": torch.ones(3)}}
    saved(folder / "zip.pth", content)
    saved(folder / "legacy.pth", content, _use_new_zipfile_serialization=False)
    save_file({"w": torch.ones(3, 4), "b": torch.ones(3)}, folder / "w.safetensors")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.filterwarnings("ignore")  # a damaged pickle may make torch warn before it raises
@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "w.safetensors"])
@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_file_gives_an_error_of_ours_or_loads(
    originals: dict[str, bytes], tmp_path: Path, name: str, data: st.DataObject
) -> None:
    content = bytearray(originals[name])
    for _ in range(data.draw(st.integers(0, 8), label="flips")):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    length = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))), "length")
    path = tmp_path / name
    path.write_bytes(bytes(content[:length]))
    with suppress(CakeEdgeError):
        assert read_state(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_one_value_repeated_without_end_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "w.pth"
    tensor = torch.zeros(1, dtype=torch.float16).expand(1 << 40)
    torch.save({"a": tensor}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(TeacherError, match="the tensor a is said to have 1,099,511,627,776"):
        read_state(path)


def test_a_tensor_of_many_axes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros([1] * 60)}, path)
    with pytest.raises(TeacherError, match="the tensor a has 60 axes"):
        read_state(path)
