"""A timm model that others put on a hub, or in a folder: what its config.json says of it."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import timm
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from timm.models import load_model_config_from_hf

from cake_edge.errors import TeacherError, UsageMistake

__all__ = ["SCHEMES", "Published", "never_hanging", "published"]

SCHEMES = ("hf-hub", "local-dir")
"""What timm writes before the name of a model that it does not list itself."""

PATIENCE = 5.0
"""Seconds to wait for a sign of life before files are looked for in the cache alone."""

OWN = ("in_chans", "num_classes", "pretrained")
"""Arguments of a network that this package gives by itself."""


class Published(NamedTuple):
    """What a config.json says."""

    architecture: str
    """timm's name, without a tag."""
    config: dict[str, Any]
    """timm's pretrained_cfg: what the model expects, and where its weights are."""
    arguments: dict[str, Any]
    """Further arguments of `timm.create_model`."""


def published(name: str) -> Published:
    """Returns what is said of `hf-hub:ORG/NAME` or `local-dir:FOLDER`.

    Raises:
        UsageMistake: it is no name of a repository.
        TeacherError: there is no config.json, or it is not one of a timm model.
    """
    try:
        config, architecture, arguments = _read(*name.split(":", 1))
        config, arguments = dict(config), dict(arguments or {})
    except (HFValidationError, AssertionError) as error:
        raise UsageMistake(
            f"{name} is no name of a repository; write hf-hub:ORG/NAME, or hf-hub:ORG/NAME@REVISION"
        ) from error
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise _no_timm_model(name, f"{type(error).__name__}: {error}") from error
    except Exception as error:  # the clients of the hub have many errors of their own
        raise TeacherError(_not_had(name, error)) from error
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise _no_timm_model(name, f"its architecture is {architecture!r}")
    kept = {key: value for key, value in arguments.items() if key not in OWN}
    return Published(architecture.partition(".")[0], config, kept)


def _read(scheme: str, place: str) -> tuple[dict[str, Any], Any, dict[str, Any] | None]:
    found: tuple[dict[str, Any], Any, dict[str, Any] | None]
    if scheme == "local-dir":
        from timm.models._hub import load_model_config_from_path

        found = load_model_config_from_path(Path(place).expanduser())
    else:
        with never_hanging():
            found = load_model_config_from_hf(place)
    return found


def _no_timm_model(name: str, reason: str) -> TeacherError:
    return TeacherError(
        f"the config.json of {name} is not that of a timm model ({reason}); for a network of "
        "another library write a function that builds it, and give it as MODULE:FACTORY"
    )


def _not_had(name: str, error: Exception) -> str:
    if name.startswith("local-dir:"):
        return (
            f"{name} cannot be read ({error}); give the folder of a timm model, with its "
            "config.json and its weights"
        )
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return (
        f"{name} could not be had ({reason}). Connect to the network once, give the folder that "
        "it was downloaded to as local-dir:FOLDER, or its weights as --teacher FILE --arch NAME"
    )


@contextmanager
def never_hanging() -> Iterator[None]:
    """Lets a fetch use the local cache alone where the network does not answer."""
    offline, timeout = constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    constants.HF_HUB_OFFLINE = offline or not _answers(constants.ENDPOINT)
    socket.setdefaulttimeout(timeout or 4 * PATIENCE)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        socket.setdefaulttimeout(timeout)


def _answers(address: str) -> bool:
    try:
        request = urllib.request.Request(address, method="HEAD")
        urllib.request.urlopen(request, timeout=PATIENCE).close()
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except (OSError, ValueError):
        return False
    return True
