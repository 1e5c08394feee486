"""Each layer's time is told with its type and the ONNX nodes behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reference.fake_tensorrt import RTX, VERSIONS, fake_machine

from cake_edge.errors import ArtifactError, RuntimeUnavailable, UsageMistake
from exporters.tensorrt import engine_from_onnx
from exporters.tensorrt.layer_profile import profile_layers


@pytest.fixture
def engine(float_file: Path, tmp_path: Path, request: Any, monkeypatch: Any) -> Iterator[Path]:
    cuda = fake_machine(monkeypatch, request.param)
    out = tmp_path / "model.engine"
    module = "tensorrt_rtx" if request.param == RTX else "tensorrt"
    engine_from_onnx(float_file, out, module=module)
    yield out
    assert cuda.leaks == 0


@pytest.mark.parametrize("engine", [*VERSIONS, RTX], indirect=True)
def test_layers_are_timed_on_every_version(engine: Path) -> None:
    found = profile_layers(engine, runs=3)
    rows = found["layers"]
    assert found["shape"] == [1, 1, 20, 20]
    assert rows[0]["ms"] == pytest.approx(1.0)
    assert rows[4]["ms"] == pytest.approx(5.0)
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)
    assert all(row["precision"] == "fp32" for row in rows)
    assert [row["nodes"] for row in rows] == [[row["name"]] for row in rows]
    moved = sum(row["ms"] for row in rows if row["kind"] == "Reformat")
    assert found["summary"]["reformat_share"] == pytest.approx(moved / sum(r["ms"] for r in rows))
    assert found["summary"]["layers"] == len(rows)


@pytest.mark.parametrize("engine", ["10.3.0"], indirect=True)
def test_what_goes_wrong_is_told(engine: Path, tmp_path: Path, monkeypatch: Any) -> None:
    with pytest.raises(UsageMistake, match="runs is 0"):
        profile_layers(engine, runs=0)
    with pytest.raises(ArtifactError, match=r"nothing\.engine does not exist"):
        profile_layers(tmp_path / "nothing.engine")
    bad = tmp_path / "bad.engine"
    bad.write_bytes(b"bad")
    with pytest.raises(ArtifactError, match=r"could not be profiled: .*Version tag does not match"):
        profile_layers(bad)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailable):
        profile_layers(bad)
