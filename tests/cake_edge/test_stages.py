import json

import numpy as np
import pytest

from cake_edge.errors import OutputExists
from cake_edge.provenance import write_json
from cake_edge.stages import PeakMemory, open_run


@pytest.fixture
def run(tmp_path):
    return open_run(
        tmp_path / "run", {"made": {"seed": 0, "distill": {"steps": 3}}, "measured": {"limit": 1}}
    )


def writes(path, text, calls):
    def work():
        calls.append(text)
        path.write_text(text)
        return {"said": text}

    return work


def test_a_stage_is_run_once_and_its_result_taken_from_the_record(run):
    out, calls = run.folder / "a.txt", []
    first = run.stage("a", {"x": 1}, [out], writes(out, "one", calls))
    again = run.stage("a", {"x": 1}, [out], writes(out, "two", calls))
    assert first == again == {"said": "one"}
    assert calls == ["one"]
    assert [record.skipped for record in run.records] == [False, True]
    assert run.records[1].seconds == run.records[0].seconds


@pytest.mark.parametrize("change", ["key", "changed output", "missing output", "damaged record"])
def test_a_stage_runs_again_when_anything_differs(run, change):
    out, calls = run.folder / "a.txt", []
    run.stage("a", {"x": 1}, [out], writes(out, "one", calls))
    record = run.folder / "stages" / "a.json"
    if change == "changed output":
        out.write_text("meddled")
    elif change == "missing output":
        out.unlink()
    elif change == "damaged record":
        record.write_text(record.read_text()[:40])
    key = {"x": 2 if change == "key" else 1}
    run.stage("a", key, [out], writes(out, "two", calls))
    assert calls == ["one", "two"]
    assert json.loads(record.read_text())["result"] == {"said": "two"}


def test_a_stage_that_fails_leaves_no_record(run):
    def fails():
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        run.stage("a", {}, [], fails)
    assert not (run.folder / "stages" / "a.json").exists()
    run.stage("a", {}, [], dict)
    assert run.records[0].attempts == 2
    assert run.records[0].to_dict()["attempts"] == 2


def test_what_is_measured_may_change_without_making_anything_again(run):
    made = {"seed": 0, "distill": {"steps": 3}}
    open_run(run.folder, {"made": made, "measured": {"limit": 2}})
    assert json.loads((run.folder / "run.json").read_text())["measured"] == {"limit": 2}


def test_a_run_that_was_killed_while_it_wrote_its_first_file_can_be_started_again(tmp_path):
    (tmp_path / ".run.json.partial").write_text("{")
    open_run(tmp_path, {"made": {}})
    assert (tmp_path / "run.json").is_file()


def test_the_same_recipe_goes_on_and_another_is_refused_with_what_differs(run):
    open_run(run.folder, {"made": {"seed": 0, "distill": {"steps": 3}}, "measured": {"limit": 1}})
    with pytest.raises(OutputExists, match=r"different: distill.steps, seed"):
        open_run(run.folder, {"made": {"seed": 1, "distill": {"steps": 4}}})


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    write_json(tmp_path / "letter.json", {})
    with pytest.raises(OutputExists, match="not empty"):
        open_run(tmp_path, {"made": {}})
    assert [file.name for file in tmp_path.iterdir()] == ["letter.json"]


def test_peak_memory_sees_what_was_held_for_a_while():
    with PeakMemory(every=0.01) as before:
        pass
    with PeakMemory(every=0.01) as watched:
        held = np.ones(200 * 2**20, dtype=np.uint8)
        watched._stop.wait(0.2)
    assert held.nbytes == 200 * 2**20
    assert watched.peak - before.peak > 150 * 2**20
