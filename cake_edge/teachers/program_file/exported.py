"""torch.export archives (.pt2) as networks.

torch.export.load is not called: it evaluates expressions of the file with sympy, unpickles sample
inputs and constants, resolves operators by attribute from `torch` down, runs guards as Python and
loads compiled libraries. Here the weights are read as bytes, the graph as JSON.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.archive import OLD_PROGRAM, Archive
from cake_edge.teachers.program_file.exported_steps import (
    SCALAR_TYPES,
    Reference,
    Step,
    read_steps,
)
from cake_edge.teachers.program_file.network import ProgramNetwork, Run
from cake_edge.teachers.program_file.numbers import calculate
from cake_edge.teachers.program_file.tensors import Layout, StoredTensors, Weight, plain_weight

__all__ = ["ExportedNetwork", "read_exported"]

SCHEMA = 8
"""The major version of the form, unchanged from torch 2.5 to 2.15."""

PAYLOADS = ("weights", "constants")


class ExportedNetwork(ProgramNetwork):
    """The steps of a torch.export program."""

    def __init__(
        self,
        weights: list[Weight],
        input_shape: tuple[int | None, ...],
        *,
        bound: dict[str, str],
        steps: tuple[Step, ...],
        image: str,
        answer: str,
    ) -> None:
        """Keeps the steps.

        Args:
            weights: everything the steps take beside the image.
            input_shape: of the image.
            bound: names in the steps, and which weight each stands for.
            steps: in order.
            image: the name of the input in the steps.
            answer: the name of the result.
        """
        super().__init__(weights, input_shape)
        self._bound, self._steps, self._image, self._result = bound, steps, image, answer
        self._writes = any(s.name.endswith("_") and s.kind == "aten" for s in steps)

    def _answer(self, images: torch.Tensor, run: Run) -> Any:
        values: dict[str, Any] = {n: run.tensors[w] for n, w in self._bound.items()}
        values[self._image] = images
        for step in self._steps:
            args = _filled(step.args, values)
            if step.kind == "number":
                result = calculate(step.name, args)
            else:
                result = run.operate(step.name, step.overload, args, _filled(step.kwargs, values))
            _store(step, result, values)
            for name in step.frees:
                values.pop(name, None)
        return values[self._result]


def _filled(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, Reference):
        return values[value.name]
    if isinstance(value, (list, tuple)):
        return [_filled(v, values) for v in value]
    if isinstance(value, dict):
        return {k: _filled(v, values) for k, v in value.items()}
    return value


def _store(step: Step, result: Any, values: dict[str, Any]) -> None:
    results = result if len(step.outputs) > 1 else [result]
    if not step.outputs:
        return
    if not isinstance(results, list) or len(results) < len(step.outputs):
        raise TeacherError(
            f"the step {step.name} is said to return {len(step.outputs)} values and does not; the "
            "file is damaged, so get it again"
        )
    for name, value in zip(step.outputs, results, strict=False):
        if isinstance(name, str):
            values[name] = value
        elif name:
            if not isinstance(value, list) or len(value) != len(name):
                raise TeacherError(
                    f"the step {step.name} is said to return a list of {len(name)} and does not; "
                    "the file is damaged, or not made for images of this shape"
                )
            values.update(zip(name, value, strict=True))


def read_exported(path: Path) -> ExportedNetwork:
    """Returns the network in a torch.export archive, on the CPU, in float32.

    Archives of torch 2.5 to 2.15 are read.

    Raises:
        TeacherError: the archive is damaged, holds what could run code, or another program than
            one from one image tensor to one tensor of logits.
    """
    with Archive(path) as archive:
        try:
            network = _read(archive)
        except TeacherError as error:
            raise TeacherError(_about(path, error)) from error
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise TeacherError(
                f"{path} is not what torch.export.save writes "
                f"({type(error).__name__}: {str(error)[:80]}); it is damaged, so get it again"
            ) from error
        except (RecursionError, MemoryError, OverflowError) as error:
            raise TeacherError(
                f"{path} is nested or sized beyond what torch.export.save writes; it is damaged, "
                "so get it again"
            ) from error
    assert network.input_shape is not None
    network_shape = tuple(
        2 if n is None and i == 0 else n for i, n in enumerate(network.input_shape)
    )
    if all(n is not None for n in network_shape):
        network.rehearse(tuple(n for n in network_shape if n is not None))
    return network


def _about(path: Path, error: TeacherError) -> str:
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def _read(archive: Archive) -> ExportedNetwork:
    refused = next((n for n in archive.names if n.startswith(("data/aotinductor/", "mtia/"))), None)
    if refused is not None:
        raise TeacherError(
            f"it holds machine code ({refused[:60]}), which is not run; save the program itself, "
            "with torch.export.save"
        )
    program = _json(archive, _program_member(archive))
    version = program["schema_version"]["major"]
    if version != SCHEMA:
        raise TeacherError(
            f"it is written in version {version} of torch.export's form (by torch "
            f"{str(program.get('torch_version', 'unknown'))[:20]}), and version {SCHEMA} is read; "
            "save it again with torch 2.5 or later"
        )
    module = program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    image, sources = _inputs(signature)
    answer = _output(signature)
    found = _stored(archive)
    weights: dict[str, Weight] = {}
    for name in sources.values():
        if name not in found:
            raise TeacherError(
                f"its program takes the weight {name[:60]!r}, which it does not hold"
            )
        weights[name] = found[name]
    return ExportedNetwork(
        list(weights.values()),
        _shape(graph, image),
        bound=sources,
        steps=read_steps(graph, {image, *sources}, answer),
        image=image,
        answer=answer,
    )


def _program_member(archive: Archive) -> str:
    if OLD_PROGRAM in archive.names:
        return OLD_PROGRAM
    programs = [n for n in archive.names if n.startswith("models/") and n.endswith(".json")]
    if len(programs) != 1:
        raise TeacherError(
            f"it holds {len(programs)} programs; a teacher is one, saved with torch.export.save"
        )
    return programs[0]


def _json(archive: Archive, member: str) -> Any:
    return json.loads(archive.text(member))


def _inputs(signature: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Returns the name of the image, and for every other input the name of its weight."""
    images, sources = [], {}
    named = {
        "parameter": "parameter_name",
        "buffer": "buffer_name",
        "tensor_constant": "tensor_constant_name",
    }
    for spec in signature["input_specs"]:
        (kind, value), *more = ((k, v) for k, v in spec.items() if v is not None)
        if kind in named and not more:
            sources[str(value["arg"]["name"])] = str(value[named[kind]])
        elif kind == "user_input" and "as_tensor" in value["arg"]:
            images.append(str(value["arg"]["as_tensor"]["name"]))
        elif kind not in ("user_input", "constant_input"):
            raise TeacherError(
                f"its program takes a {kind!r} as input, which could be any code; export the "
                "network without custom objects"
            )
    if len(images) != 1:
        raise TeacherError(
            f"its program takes {len(images)} tensors; a teacher takes one, of images "
            "[N, C, H, W], so export a wrapper that makes up the others"
        )
    return images[0], sources


def _output(signature: dict[str, Any]) -> str:
    answers = [s["user_output"]["arg"] for s in signature["output_specs"] if s.get("user_output")]
    if len(answers) != 1 or "as_tensor" not in answers[0]:
        raise TeacherError(
            f"its program returns {len(answers)} values; a teacher returns one tensor of logits, "
            "so export a wrapper that returns those alone"
        )
    return str(answers[0]["as_tensor"]["name"])


def _shape(graph: dict[str, Any], image: str) -> tuple[int | None, ...]:
    about = graph["tensor_values"][image]
    dtype = SCALAR_TYPES.get(about["dtype"])
    if dtype is None or not dtype.is_floating_point:
        raise TeacherError(
            f"its program takes images of type {dtype or 'unknown'}; a teacher needs gradients to "
            "its input, so export the network for float32 images"
        )
    sizes = [size.get("as_int") for size in about["sizes"]]
    if len(sizes) != 4 or not all(n is None or (type(n) is int and 0 < n < 1 << 16) for n in sizes):
        raise TeacherError(
            f"its program takes a tensor of shape {sizes[:9]}; a teacher takes images [N, C, H, W]"
        )
    return tuple(sizes)


def _stored(archive: Archive) -> dict[str, Weight]:
    """Every weight and constant of the archive, by name."""
    if OLD_PROGRAM in archive.names:
        members = [f"serialized_{n}.pt" for n in ("state_dict", "constants")]
        return {k: v for m in members for k, v in _plain_file(archive, m).items()}
    found: dict[str, Weight] = {}
    tensors = StoredTensors(archive)
    for payload in PAYLOADS:
        listed = [n for n in archive.names if n.startswith(f"data/{payload}/")]
        for member in listed:
            if member.endswith("_config.json"):
                found.update(_listed(archive, tensors, member))
            elif member.endswith(".pt"):
                found.update(_plain_file(archive, member))
    return found


def _listed(archive: Archive, tensors: StoredTensors, member: str) -> dict[str, Weight]:
    folder = member.rpartition("/")[0]
    found = {}
    for name, about in _json(archive, member)["config"].items():
        meta = about["tensor_meta"]
        if about["use_pickle"] or meta is None:
            raise TeacherError(
                f"its weight {name[:60]!r} is a pickle, which could run any code; save the program "
                "with plain tensors as weights"
            )
        dtype = SCALAR_TYPES.get(meta["dtype"])
        if dtype is None or meta["layout"] != 7:
            raise TeacherError(
                f"its weight {name[:60]!r} is of type {meta['dtype']} and layout {meta['layout']} "
                "of torch.export's form; a teacher's weights are dense float32, float16 or "
                "bfloat16, so save the float program that it was made from"
            )
        layout = Layout(
            dtype=dtype,
            size=tuple(size["as_int"] for size in meta["sizes"]),
            stride=tuple(stride["as_int"] for stride in meta["strides"]),
            offset=meta["storage_offset"]["as_int"],
        )
        member = f"{folder}/{about['path_name']}"
        tensor = tensors.tensor(member, layout, f"its weight {name[:60]!r}")
        found[name] = Weight(name=name, tensor=tensor, trained=about["is_param"] is True)
    return found


def _plain_file(archive: Archive, member: str) -> dict[str, Weight]:
    """The tensors that torch up to 2.8 kept in a file of torch.save."""
    if member not in archive.names:
        return {}
    data = archive.read(member)
    if not data:
        return {}
    Archive(archive.path, data).close()
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make the unpickler raise anything
        raise TeacherError(
            f"its weights in {member} are not plain tensors ({type(error).__name__}), and loading "
            "them could run code; save it again with a newer torch"
        ) from error
    if not isinstance(content, dict):
        raise TeacherError(f"its weights in {member} are no dict of tensors; save it again")
    return {
        str(name): Weight(
            name=str(name),
            tensor=plain_weight(tensor, f"its weight {name!r}"),
            trained=isinstance(tensor, torch.nn.Parameter),
        )
        for name, tensor in content.items()
        if isinstance(tensor, torch.Tensor)
    }
