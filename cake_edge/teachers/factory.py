"""A teacher from Python code that the user has installed: MODULE:FACTORY.

This is the one way in that runs code of others: the module is imported and the factory called.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn

from cake_edge.errors import TeacherError, UsageMistake, near_names
from cake_edge.seeding import derive_seed
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.network import Port, teacher_from_network
from cake_edge.teachers.stated import Stated, stated_by_network

__all__ = ["call_factory", "is_factory", "load_factory"]

logger = logging.getLogger(__name__)

FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_factory(reference: str) -> bool:
    """Whether the word has the form MODULE:FACTORY."""
    return FORM.fullmatch(reference) is not None


def load_factory(reference: str, config: TeacherConfig, *, seed: int) -> FrozenTeacher:
    """Returns the network that MODULE:FACTORY gives as a teacher, on the CPU.

    Args:
        reference: of the form MODULE:FACTORY.
        config: its `arguments` are those of the call.
        seed: of the weights that the factory draws, if it draws any.

    Raises:
        UsageMistake: an option does not go with a factory, or the module has none of that name.
        TeacherError: the module cannot be imported, the call fails, or what it gives is no
            classifier of images.
        NumericsError: it answers with NaN or infinity.
    """
    if config.random_weights:
        raise UsageMistake(
            f"--random-weights goes with timm:NAME; {reference} says itself what weights it has"
        )
    if config.arch is not None or config.match != "name":
        raise UsageMistake(
            f"--arch and --match are for checkpoint files; {reference} builds its own network. "
            f"For weights in a file give --teacher FILE --arch {reference}"
        )
    network = call_factory(reference, config.arguments, seed=seed)
    stated = stated_by_network(network) or Stated(origin=reference)
    return teacher_from_network(
        network,
        config,
        stated,
        Port(),
        architecture=reference,
        arguments=config.arguments,
        source=reference,
    )


def call_factory(reference: str, arguments: Mapping[str, Any], *, seed: int) -> nn.Module:
    """Imports the module and calls the factory; returns its network on the CPU, in float32.

    torch's random state is left as it was found.

    Raises:
        UsageMistake: the module has no factory of that name.
        TeacherError: the module cannot be imported, the call fails, or gives no `nn.Module`.
    """
    module_name, _, name = reference.partition(":")
    logger.warning("%s: runs code of the Python module %s", reference, module_name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "factory", reference))  # noqa: TID251
        factory = _factory(reference, module_name, name)
        try:
            network = factory(**dict(arguments))
        except Exception as error:
            said = f" with {_said(arguments)}" if arguments else ""
            raise TeacherError(
                f"{reference}{said} failed ({_reason(error)}); its arguments are given with "
                "--arguments KEY=VALUE"
            ) from error
    if not isinstance(network, nn.Module):
        raise TeacherError(
            f"{reference} returns {_kind(network)}, not a torch.nn.Module; name a function that "
            "builds the network and returns it"
        )
    return network.cpu().float()


def _factory(reference: str, module_name: str, name: str) -> Any:
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _import_failure(reference, module_name, error) from error
        raise TeacherError(
            f"{reference!r} is not an existing file, and there is no Python module {error.name} "
            "in this environment: install it, or run with PYTHONPATH=FOLDER, the folder that it "
            "lies in"
        ) from error
    except (Exception, SystemExit) as error:
        raise _import_failure(reference, module_name, error) from error
    factory = getattr(module, name, None)
    if not callable(factory):
        there = [n for n, value in vars(module).items() if callable(value) and n[0] != "_"]
        said = "nothing of that name" if factory is None else f"there {_kind(factory)}"
        raise UsageMistake(
            f"{reference}: the module {module_name} has {said}{near_names(name, there)}; give "
            "MODULE:FACTORY with a function or class that can be called"
        )
    return factory


def _import_failure(reference: str, module: str, error: BaseException) -> TeacherError:
    return TeacherError(
        f"{reference}: importing {module} failed ({_reason(error)}); mend it so that "
        f"`python -c 'import {module}'` works in this environment"
    )


def _reason(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _said(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
