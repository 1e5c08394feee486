"""The one place that imports a package which may be missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from cake_edge.errors import RuntimeUnavailable

__all__ = ["import_package"]


def import_package(module: str, *, install: str) -> ModuleType:
    """Imports `module`, or says how to get it.

    Args:
        module: the name to import, such as `onnxruntime`.
        install: the command line that installs it.

    Raises:
        RuntimeUnavailable: it is not installed, or it is and cannot be loaded.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A missing module of another name is a damaged installation, and worth its own words.
        if error.name != module.partition(".")[0]:
            raise RuntimeUnavailable(
                f"{module} is installed but needs {error.name}, which is not: {install}"
            ) from error
        raise RuntimeUnavailable(f"{module} is not installed: {install}") from error
    except (ImportError, OSError) as error:
        raise RuntimeUnavailable(
            f"{module} is installed but does not load ({error}); to install it anew: {install}"
        ) from error
