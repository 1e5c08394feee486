"""A manifest belongs to the engine beside it, and to no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cake_edge.errors import ArtifactError
from cake_edge.provenance import sha256_file
from exporters.tensorrt import Manifest, read_manifest
from exporters.tensorrt.manifest import manifest_path, write_manifest


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "model.engine"
    path.write_bytes(b"engine")
    return path


@pytest.fixture
def manifest(engine: Path) -> Manifest:
    return Manifest(
        onnx={"name": "model.onnx", "sha256": "ab" * 32, "bytes": 7},
        engine={"sha256": sha256_file(engine), "bytes": 6},
        module="tensorrt",
        version="10.3.0",
        gpu=None,
        compute_capability="present",
        config={},
        typing="strong",
        profile={},
        layers=None,
        coverage=None,
        warnings=("one",),
        seconds=1.5,
        card=None,
    )


def test_it_comes_back_as_it_was(engine: Path, manifest: Manifest) -> None:
    write_manifest(engine, manifest)
    assert manifest_path(engine).name == "model.engine.json"
    assert read_manifest(engine) == manifest
    assert engine.read_bytes() == b"engine"


def test_an_engine_of_another_tool_has_none(engine: Path) -> None:
    assert read_manifest(engine) is None


def test_it_is_not_believed_of_another_engine(engine: Path, manifest: Manifest) -> None:
    write_manifest(engine, manifest)
    engine.write_bytes(b"other.")
    with pytest.raises(ArtifactError, match="tells of another engine than the one beside it"):
        read_manifest(engine)


@pytest.mark.parametrize("missing", ["engine", "config", "warnings"])
def test_a_damaged_one_is_named(engine: Path, manifest: Manifest, missing: str) -> None:
    write_manifest(engine, manifest)
    values = json.loads(manifest_path(engine).read_text())
    del values[missing]
    manifest_path(engine).write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match=r"model\.engine\.json is damaged"):
        read_manifest(engine)


def test_a_damaged_card_is_named(manifest: Manifest) -> None:
    with pytest.raises(ArtifactError, match="metadata of the model is damaged"):
        replace(manifest, card="{}").model_card()
