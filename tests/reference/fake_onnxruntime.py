"""Builds of ONNX Runtime with providers that are not here: the real one on the processor, which
says that others took nodes.

A session is a real one; what is pretended is which providers the build has, which of them start,
and which kinds of operators they take. Before 1.24 a session does not tell its assignment, and its
profile must. Device memory is host memory that remembers for which device it was asked. That the
installed ONNX Runtime has every name that is pretended, the tests of the runtimes hold.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

__all__ = ["FakeBuild", "pretend"]

REAL = onnxruntime.InferenceSession
VALUE = onnxruntime.OrtValue
CPU = "CPUExecutionProvider"


class FakeBuild:
    """A build with these providers, and what has been asked of it."""

    def __init__(
        self,
        *providers: str,
        takes: Collection[str] | None = None,
        starts: bool = True,
        refuses: str | None = None,
    ) -> None:
        self.providers = [*providers, CPU]
        self.takes = takes
        """Kinds of operators that the first provider of a session takes; None for all."""
        self.starts = starts
        self.refuses = refuses
        self.opened: list[list[str]] = []
        self.options: list[dict[str, str]] = []
        self.copies: list[tuple[str, int]] = []
        """Each array that was put into a device's memory: which, and its number."""
        self.waits = 0

    def place(self, operator: str, providers: list[str]) -> str:
        takes = self.starts and (self.takes is None or operator in self.takes)
        return providers[0] if takes else CPU


class OldSession:
    """A session before 1.24."""

    build: FakeBuild

    def __init__(
        self, model: Any, options: Any, *, providers: list[Any], enable_fallback: int = 1
    ) -> None:
        assert not enable_fallback, "a failure would be printed, and the processor tried"
        self._providers = [each if isinstance(each, str) else each[0] for each in providers]
        unknown = set(self._providers) - set(self.build.providers)
        assert not unknown, f"ONNX Runtime would warn of {unknown} and go on"
        self.build.opened.append(self._providers)
        self.build.options += [each[1] for each in providers if not isinstance(each, str)]
        if self.build.refuses is not None and self._providers[0] != CPU:
            raise RuntimeError(self.build.refuses)
        self._real = REAL(model, options, providers=[CPU])

    def get_providers(self) -> list[str]:
        return [p for p in self._providers if p == CPU or self.build.starts]

    def get_inputs(self) -> Any:
        return self._real.get_inputs()

    def get_outputs(self) -> Any:
        return self._real.get_outputs()

    def get_modelmeta(self) -> Any:
        return self._real.get_modelmeta()

    def run(self, names: Any, inputs: Any) -> Any:
        return self._real.run(names, inputs)

    def end_profiling(self) -> str:
        path = Path(self._real.end_profiling())
        events = json.loads(path.read_text())
        for event in events:
            if "op_name" in event.get("args", {}):
                event["args"]["provider"] = self.build.place(
                    event["args"]["op_name"], self._providers
                )
        path.write_text(json.dumps(events))
        return str(path)

    def io_binding(self) -> Any:
        return FakeBinding(self._real.io_binding(), self.build)

    def run_with_iobinding(self, binding: FakeBinding) -> None:
        self._real.run_with_iobinding(binding.real)


class NewSession(OldSession):
    """A session from 1.24 on."""

    def get_provider_graph_assignment_info(self) -> Any:
        return [
            SimpleNamespace(
                ep_name=self.build.place(node.op_type, self._providers),
                get_nodes=lambda n=node: [n],
            )
            for part in self._real.get_provider_graph_assignment_info()
            for node in part.get_nodes()
        ]


class FakeBinding:
    """A binding to memory of a device."""

    def __init__(self, real: Any, build: FakeBuild) -> None:
        self.real, self._build = real, build

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self.real.bind_ortvalue_input(name, value)

    def bind_output(self, name: str, device: str, number: int) -> None:
        self._build.copies.append((device, number))
        self.real.bind_output(name, "cpu", 0)

    def bind_ortvalue_output(self, name: str, value: Any) -> None:
        self.real.bind_ortvalue_output(name, value)

    def get_outputs(self) -> Any:
        return self.real.get_outputs()

    def synchronize_outputs(self) -> None:
        self._build.waits += 1
        self.real.synchronize_outputs()


def pretend(monkeypatch: pytest.MonkeyPatch, build: FakeBuild, *, old: bool = False) -> FakeBuild:
    """Puts a build in the place of the installed one."""
    if not old and not hasattr(REAL, "get_provider_graph_assignment_info"):
        pytest.skip("the ONNX Runtime here is older than 1.24, and does not tell its assignment")

    def put(array: Any, device: str = "cpu", number: int = 0) -> Any:
        build.copies.append((device, number))
        return VALUE.ortvalue_from_numpy(array, "cpu", 0)

    session = type("Session", (OldSession if old else NewSession,), {"build": build})
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(build.providers))
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "OrtValue", SimpleNamespace(ortvalue_from_numpy=put))

    def preload() -> None:
        sys.stdout.write("no such library")

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
    return build
