"""A program out of a file as a network: our own module, run by our own code."""

from __future__ import annotations

import logging
import re
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.operators import (
    FACTORIES,
    at_inference,
    is_in_place,
    operator,
)
from cake_edge.teachers.program_file.rehearsal import bounded, shapes_of
from cake_edge.teachers.program_file.tensors import NARROW, Weight

__all__ = ["ProgramNetwork", "Run"]

logger = logging.getLogger(__name__)


class Run:
    """One call of a program: its tensors, and the way to every operator it calls."""

    def __init__(self, tensors: dict[str, torch.Tensor], device: torch.device) -> None:
        self.tensors = tensors
        self.device = device
        self.in_training = False
        """Whether an operator was told that it is in training, and was not heard."""
        self._counters = {id(t) for t in tensors.values() if _is_counter(t)}
        self._fixed: set[int] = set()
        if device.type == "meta":
            self._fixed = {_storage(tensor) for tensor in tensors.values()}

    def operate(
        self, name: str, overload: str | None, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """Calls an operator, on the device and in the precision of the run.

        Raises:
            TeacherError: the program may not call it, or not so.
        """
        if args and id(args[0]) in self._counters and is_in_place(name):
            name = name.removesuffix("_")  # counts training steps; here the count stays
        chosen = operator(name, overload)
        if "generator" in kwargs or "out" in kwargs:
            raise TeacherError(
                f"the program hands {name} a generator or a place for its result, which no "
                "exported classifier does; save it again"
            )
        args, kwargs, trained = at_inference(name, args, kwargs)
        self.in_training |= trained
        args = [self.device if isinstance(a, torch.device) else a for a in args]
        kwargs = {k: self.device if isinstance(v, torch.device) else v for k, v in kwargs.items()}
        if name in FACTORIES and kwargs.get("device") is None:
            kwargs["device"] = self.device
        if is_in_place(name) and self._fixed:
            self._refuse_to_change(name, args)
        try:
            return _widened(chosen(*args, **kwargs))
        except (TeacherError, RuntimeError):
            raise
        except Exception as error:
            raise RuntimeError(f"{name}: {_first_line(error)}") from error

    def _refuse_to_change(self, name: str, args: list[Any]) -> None:
        target = args[0] if args else None
        if isinstance(target, torch.Tensor) and _storage(target) in self._fixed:
            raise TeacherError(
                f"the program writes into its own weights ({name}), so that each answer would "
                "change the next; export the network in eval mode"
            )


class ProgramNetwork(nn.Module):
    """A network whose forward pass is what a file describes, step by step.

    Nothing of the file is Python, machine code or a pickle to us: every step is an operator of
    torch that `operators` allows, called by this class. `forward` maps [N, C, H, W] to what the
    program answers, with gradients to the images. It can be copied, pickled, put on a device, and
    exported as any other module.

    Before a shape of images is first computed it is rehearsed without memory, see `rehearsal`.
    What remains is that a kernel of torch may have a fault of its own for odd arguments.
    """

    input_shape: tuple[int | None, ...] | None
    """The shape of the input as the file states it, None for an axis that may vary."""
    batch: int | None
    """The only number of images that the program takes, None if any will do or none is stated."""

    def __init__(
        self, weights: Iterable[Weight], input_shape: tuple[int | None, ...] | None
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.batch = input_shape[0] if input_shape else None
        self.weights = nn.Module()
        self._keys: dict[str, str] = {}
        self._writes = False
        self._rehearsed: dict[tuple[int, ...], tuple[int, ...]] = {}
        for weight in weights:
            self._keep(weight)
        self.eval()

    def _keep(self, weight: Weight) -> None:
        key = base = re.sub(r"\W", "_", weight.name) or "weight"
        number = len(self._keys)
        while hasattr(self.weights, key):
            key = f"{base}_{number}"
            number += 1
        self._keys[weight.name] = key
        if weight.trained and weight.tensor.is_floating_point():
            parameter = nn.Parameter(weight.tensor, requires_grad=False)
            self.weights.register_parameter(key, parameter)
        else:
            self.weights.register_buffer(key, weight.tensor)

    @abstractmethod
    def _answer(self, images: torch.Tensor, run: Run) -> Any:
        """Runs the program; the result is whatever it returns."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the program's answer to images [N, C, H, W].

        Raises:
            TeacherError: the program does what no classifier does.
            RuntimeError: torch cannot compute a step for images of this shape.
        """
        # Symbolic shapes come from torch's exporter, which computes nothing either.
        if type(images) in (torch.Tensor, nn.Parameter):
            self.rehearse(tuple(images.shape))
        tensors = {name: getattr(self.weights, key) for name, key in self._keys.items()}
        images = images.contiguous()
        run = Run(tensors, images.device)
        return self._tensor(self._answer(images.clone() if self._writes else images, run))

    def rehearse(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Runs the program for images of `shape` without memory; returns its answer's shape.

        Raises:
            TeacherError: it cannot be run for that shape, or needs more than any classifier.
        """
        if shape in self._rehearsed:
            return self._rehearsed[shape]
        tensors = {name: getattr(self.weights, key) for name, key in self._keys.items()}
        run = Run(shapes_of(tensors), torch.device("meta"))
        try:
            with bounded(shape[0] if shape else 1):
                images = torch.empty(shape, device="meta")
                answer = self._tensor(self._answer(images, run))
        except TeacherError:
            raise
        except Exception as error:  # a program of foreign making can fail in any way
            raise TeacherError(
                f"the program cannot be run for images of shape {list(shape)}: {_first_line(error)}"
            ) from error
        if run.in_training and not self._rehearsed:
            logger.warning(
                "the program was saved in training mode; batch normalisation takes its running "
                "statistics and dropout is left out, as in eval mode"
            )
        self._rehearsed[shape] = tuple(answer.shape)
        return self._rehearsed[shape]

    def to(self, *args: Any, **kwargs: Any) -> ProgramNetwork:
        """`nn.Module.to`, but the layout of memory stays: a program's views count on it."""
        kwargs.pop("memory_format", None)
        return super().to(*args, **kwargs) if args or kwargs else self

    @staticmethod
    def _tensor(answer: Any) -> torch.Tensor:
        if isinstance(answer, (tuple, list)) and len(answer) == 1:
            answer = answer[0]
        if not isinstance(answer, torch.Tensor):
            count = f" of {len(answer)}" if isinstance(answer, (tuple, list, dict)) else ""
            raise TeacherError(
                f"the program answers with a {type(answer).__name__}{count}; a teacher answers "
                "with one tensor of logits, so export a wrapper that returns those alone"
            )
        return answer


def _is_counter(tensor: torch.Tensor) -> bool:
    return tensor.dim() == 0 and not tensor.is_floating_point()


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _widened(result: Any) -> Any:
    """The result with every narrow or double float in float32, which the weights are in."""
    if isinstance(result, torch.Tensor):
        return result.float() if result.dtype in NARROW else result
    if isinstance(result, (tuple, list)):
        return [_widened(r) for r in result]
    return result


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
