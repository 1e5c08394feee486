"""Who took which nodes, counted in old sessions and new, and what is said where others did."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from reference.fake_onnxruntime import FakeBuild, pretend

from cake_edge.errors import RuntimeUnavailable
from exporters.runtimes import ProviderChoice
from exporters.runtimes.ort import open_inference_session, session_options
from exporters.runtimes.placement import (
    RECORD,
    Placement,
    placement,
    refuse_fallback,
    tells_assignment,
)
from exporters.runtimes.profile import profiled

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CHOICE = ProviderChoice(name="cuda")


@pytest.fixture(params=[False, True], ids=["new", "old"])
def old(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def opened(
    path: Path, monkeypatch: pytest.MonkeyPatch, old: bool, **build: Any
) -> tuple[Placement, Any]:
    pretend(monkeypatch, FakeBuild(CUDA, **build), old=old)
    options = session_options(optimise=False)
    options.add_session_config_entry(RECORD, "1")
    with ExitStack() as stack:
        if old:
            stack.enter_context(profiled(options))
        session = open_inference_session(str(path), options, what="it", choice=CHOICE)
        assert tells_assignment(session) is not old
        return placement(session, CHOICE), session


@pytest.mark.parametrize(
    ("takes", "counts"),
    [
        (None, {CUDA: 2}),
        (("Flatten",), {CUDA: 1, CPU: 1}),
        ((), {CPU: 2}),
    ],
)
def test_nodes_are_counted_by_provider(
    pooled: Path,
    monkeypatch: pytest.MonkeyPatch,
    old: bool,
    takes: Collection[str] | None,
    counts: dict[str, int],
) -> None:
    found, session = opened(pooled, monkeypatch, old, takes=takes)
    assert found.counts == counts
    assert found.counted == ("ran" if old else "assigned")
    if takes is None:
        refuse_fallback(found, session, CHOICE, "it")


def test_a_refusal_says_how_many_of_which_kind_run_where(
    pooled: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    found, session = opened(pooled, monkeypatch, old, takes=("Flatten",))
    assert found.elsewhere == {CPU: {"GlobalAveragePool": 1}}
    with pytest.raises(
        RuntimeUnavailable,
        match=rf"^it: {CUDA} took 1 of 2 nodes; 1 on {CPU} \(1 GlobalAveragePool\)\. Accept that "
        "with --allow-fallback",
    ):
        refuse_fallback(found, session, CHOICE, "it")


def test_a_provider_that_did_not_start_is_told_from_one_that_took_nothing(
    pooled: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    found, session = opened(pooled, monkeypatch, old, starts=False)
    assert found.counts == {CPU: 2}
    with pytest.raises(RuntimeUnavailable, match=r"here but did not start.*cake-edge doctor"):
        refuse_fallback(found, session, CHOICE, "it")


def test_few_kinds_are_named(pooled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, session = opened(pooled, monkeypatch, False)
    kinds = {f"Kind{number}": 9 - number for number in range(7)}
    found = Placement(counts={CPU: 42}, counted="ran", elsewhere={CPU: kinds})
    with pytest.raises(RuntimeUnavailable, match=r"\(9 Kind0, .*, 5 Kind4, …\)"):
        refuse_fallback(found, session, CHOICE, "it")
