"""Finished rows that outlive the run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cake_edge.errors import ArtifactError, OutputExists
from exporters.remote import BenchOptions
from exporters.remote import journal as module
from exporters.remote.journal import Journal, journal_path

OPTIONS = BenchOptions(seconds=1)


@pytest.fixture
def models(tmp_path):
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results" / "bench.json"


def row(batch=1, **more):
    return {"threads": 1, "batch": batch, "latency_ms": {"p50": 0.1 + 0.2}, **more}


def test_rows_are_found_again_to_the_last_digit(out, models):
    journal = Journal(out, models, OPTIONS, resume=False)
    assert not journal.path.exists()  # before a row is done there is nothing to take up
    journal.add([0, 1], [row(), row(batch=2)])
    journal.add([1], [row()])
    again = Journal(out, models, OPTIONS, resume=True)
    assert again.rows == 3
    assert again.kept(1, 1, 2) == row(batch=2)
    assert again.kept(0, 1, 2) is None
    again.remove()
    assert not journal_path(out).exists()
    again.remove()


def test_rows_of_an_earlier_run_are_not_written_over(out, models):
    Journal(out, models, OPTIONS, resume=False).add([0], [row()])
    with pytest.raises(OutputExists, match="--resume"):
        Journal(out, models, OPTIONS, resume=False)


def test_nothing_to_take_up_is_a_beginning(out, models):
    assert Journal(out, models, OPTIONS, resume=True).rows == 0


def test_a_line_that_was_being_written_is_measured_again(out, models):
    Journal(out, models, OPTIONS, resume=False).add([0], [row()])
    with journal_path(out).open("a") as stream:
        stream.write('{"model": 1, "row": {"thre')
    resumed = Journal(out, models, OPTIONS, resume=True)
    assert (resumed.rows, resumed.kept(1, 1, 1)) == (1, None)
    resumed.add([1], [row()])
    assert Journal(out, models, OPTIONS, resume=True).rows == 2


def test_another_model_option_runtime_or_machine_is_refused(out, models, monkeypatch):
    Journal(out, models, OPTIONS, resume=False).add([0], [row()])

    def refused(words, models=models, options=OPTIONS):
        with pytest.raises(ArtifactError, match=f"other {words}: give the same command"):
            Journal(out, models, options, resume=True)

    refused("models", models=models[:1])
    refused("options", options=replace(OPTIONS, threads=(2,)))
    models[0].write_bytes(b"other bytes")
    refused("models")
    models[0].write_bytes(b"a.onnx")
    found = module.provenance.environment()
    monkeypatch.setattr(module.provenance, "environment", lambda: {**found, "cores": 999})
    refused("machine")
    versions = {**found["versions"], "numpy": "0"}
    monkeypatch.setattr(module.provenance, "environment", lambda: {**found, "versions": versions})
    refused("versions")


@pytest.mark.parametrize(
    "text", ["", "[]\n", '{"version": 1}\n', '{"version": 1, "about": {}}\n{"model": 0}\n']
)
def test_what_is_no_journal_is_refused(out, models, text):
    journal_path(out).parent.mkdir()
    journal_path(out).write_text(text)
    with pytest.raises(ArtifactError, match="remove it, and measure anew"):
        Journal(out, models, OPTIONS, resume=True)
