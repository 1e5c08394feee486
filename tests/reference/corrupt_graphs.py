"""Small files of whole networks: ONNX, torch.export, TorchScript; and of those the hostile ones."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from reference.corrupt import (
    damage_bytes,
    damage_json,
    damage_onnx,
)
from reference.corrupt_weights import CPU, SPEC, check_answers, tiny, tiny_state
from reference.hostile import (
    hostile_zips,
)

from cake_edge.errors import ArtifactError
from cake_edge.teachers import TeacherConfig, load_teacher
from exporters.artifact import ModelCard, attach_card
from exporters.quantize.table import table_from_dict
from exporters.runtimes import read_card

__all__ = [
    "damage_card",
    "damage_external",
    "hostile_cards",
    "hostile_external",
    "hostile_program",
    "make_card",
    "make_external",
    "make_onnx",
    "make_program",
    "read_with_card",
]


def _model() -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    state = {name: tensor.numpy() for name, tensor in tiny_state().items()}
    nodes = [
        helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["c"], strides=[2, 2], name="conv"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"], axis=1),
        helper.make_node("Gemm", ["f", "5.weight", "5.bias"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(state[n], n) for n in state if n[0] in "05"],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def make_onnx(folder: Path) -> None:
    (folder / "m.onnx").write_bytes(_model().SerializeToString())


def make_external(folder: Path) -> None:
    onnx.save_model(
        _model(), folder / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0
    )


def hostile_external(folder: Path) -> dict[str, Any]:
    """External data that are anywhere but beside the model."""
    outside = folder.parent / "outside.bin"
    outside.write_bytes(bytes(4096))
    places = {
        "above": "../outside.bin", "absolute": str(outside), "of the system": "/etc/passwd",
        "above, roundabout": "x/../../outside.bin", "Windows": "..\\outside.bin",
        "itself": "m.onnx",
        "a device": "/dev/zero", "its folder": ".", "nothing": "", "zeros": "m.bin\0",
        "home": "~/x",
        "a URL": "http://127.0.0.1/x", "a name of 5 kB": "n" * 5000, "a line": "a\nb",
    }  # fmt: skip
    found: dict[str, Any] = {}
    for name, place in places.items():
        found[f"at {name}"] = _external(folder, location=place)
    for key, value in (
        ("offset", "-8"), ("offset", "9" * 30), ("offset", "x"), ("length", "-8"),
        ("length", "1e3"),
        ("length", str(1 << 62)), ("length", "x"), ("offset", "9" * 5000), ("length", "0"),
    ):  # fmt: skip
        found[f"{key} {value[:9]} of {len(value)}"] = _external(folder, **{key: value})
    found["a link outside"] = {"m.bin": outside}
    found["a link to a device"] = {"m.bin": Path("/dev/zero")}
    found["a link to itself"] = {"m.bin": Path("m.bin")}
    return found


def _external(folder: Path, **entries: str) -> dict[str, bytes]:
    model = onnx.load(folder / "m.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in list(tensor.external_data):
            if entry.key in entries:
                tensor.external_data.remove(entry)
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
    return {"m.onnx": model.SerializeToString()}


def damage_external(data: bytes, random: Any) -> bytes:
    return (damage_onnx if b"external" in data or b"m.bin" in data else damage_bytes)(data, random)


def make_program(kind: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        images = (torch.zeros(1, 3, 8, 8),)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about making such files
            if kind == "pt2":
                torch.export.save(torch.export.export(tiny(), images), folder / "m.pt2")
            else:
                torch.jit.save(torch.jit.trace(tiny(), images), folder / "m.pt")

    return make


def hostile_program(name: str, member: str) -> Callable[[Path], dict[str, Any]]:
    def hostile(folder: Path) -> dict[str, Any]:
        return {k: {name: v} for k, v in hostile_zips((folder / name).read_bytes(), member).items()}

    return hostile


def _card() -> str:
    triple = {"asymmetric": [-1.0, 2.0, "min-max"], "symmetric": [-2.0, 2.0, "min-max"]}
    table = dict.fromkeys(("x", "c", "y"), triple)
    return ModelCard(
        architecture="tiny",
        spec=SPEC,
        role="teacher",
        parent="0" * 64,
        manifest={"quantization": {"table": table, "target": "ort-x86"}},
    ).to_json()


def make_card(folder: Path) -> None:
    model = _model()
    attach_card(model, ModelCard.from_json(_card()))
    (folder / "m.onnx").write_bytes(model.SerializeToString())


def read_with_card(folder: Path) -> None:
    check_answers(load_teacher(TeacherConfig(reference=str(folder / "m.onnx")), device=CPU))
    card = read_card(folder / "m.onnx")
    account = card.manifest.get("quantization") if card is not None else None
    if isinstance(account, Mapping) and "table" in account:
        try:
            table_from_dict(account["table"])
        except ArtifactError as error:  # as retarget words it
            raise ArtifactError(f"{folder / 'm.onnx'}: {error}") from error


def damage_card(data: bytes, random: Any) -> bytes:
    return _with_card(data, damage_json(_card().encode(), random))


def _with_card(data: bytes, text: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    model.metadata_props[0].value = text.decode("utf-8", errors="replace")
    return bytes(model.SerializeToString())


def hostile_cards(folder: Path) -> dict[str, Any]:
    card = json.loads(_card())
    texts = {
        "nothing": b"", "deep": b"[" * 200_000, "deep and closed": b"[" * 90_000 + b"]" * 90_000,
        "a list": b"[]", "digits": b"9" * 90_000, "NaN": _card().replace("0.5", "NaN").encode(),
        "twice": _card().replace("{", '{"classes": 2, ', 1).encode(), "text": b'"x"',
        "infinite": _card().replace("2.0", "1e999").encode(), "null": b"null",
        "a million classes": json.dumps({**card, "classes": 10**6}).encode(),
        "an image of 1 TiB": json.dumps({**card, "input_size": [3, 1 << 20, 1 << 20]}).encode(),
    }  # fmt: skip
    valid = (folder / "m.onnx").read_bytes()
    return {name: {"m.onnx": _with_card(valid, text)} for name, text in texts.items()}
