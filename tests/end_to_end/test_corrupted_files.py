"""Five hundred damaged and hostile files through every reader: each is refused in one sentence.

Some are sound enough to be read, such as those where a bit of a weight is flipped; no more than
half may be. One reader alone, or one case, runs by the command that a failure names.
"""

import json
import logging
import os
import subprocess
import sys
from collections import Counter

import pytest
from reference.corrupt_readers import READERS
from reference.hostile import hostile_onnx, hostile_pickles, hostile_toml

log = logging.getLogger(__name__)

COUNT = 500
SHOWN = 5

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")


@pytest.fixture
def watched(root, tmp_path):
    """Reads damaged files in a process of its own; gives what it said of them, by reader."""

    def watched(*readers, more=()):
        words = ["-m", "reference.corrupt_child", str(tmp_path / "files"), *readers, *more]
        done = subprocess.run(
            [sys.executable, *words],
            cwd=root,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "tests"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return {name: [line for line in lines if line["reader"] == name] for name in readers}

    return watched


def faults(name, lines):
    """What a reader did that none may."""
    cases = [line for line in lines if "outcome" in line]
    seen = [line for line in cases if line["outcome"] == "forbidden"]
    found = [f"{name}, case {one['case']} ({one['name']}): {one['said']}" for one in seen[:SHOWN]]
    if lines[-1]["ended"] != 0:
        last = next((f"case {line['case']} ({line['name']})" for line in lines[-2::-1]), "valid")
        found.append(f"{name}, {last}: ended {lines[-1]['ended']}")
    return found


@pytest.mark.slow
def test_each_reader_refuses_damaged_files_in_one_sentence(watched, caplog):
    caplog.set_level(logging.INFO)
    told = watched(*READERS, more=("--count", str(COUNT)))
    found = []
    for name, lines in told.items():
        ends = Counter(line["outcome"] for line in lines if "outcome" in line)
        seconds = sum(line.get("seconds", 0.0) for line in lines)
        log.info("%s: %d refused, %d read, %.0f s", name, ends["refused"], ends["read"], seconds)
        found += faults(name, lines)
        if not found and (ends.total() != COUNT or ends["refused"] < COUNT / 2):
            found.append(f"{name}: of {COUNT} files {dict(ends)}")
    again = "PYTHONPATH=tests python -m reference.corrupt_child NEW_FOLDER READER --case N"
    assert not found, "\n".join([*found, f"Each again with: {again}"])


def test_a_reader_that_runs_code_is_noticed(watched):
    (told,) = watched("runs code", more=("--case", "0")).values()
    (fault,) = faults("runs code", told)
    assert "os.system" in fault
    assert "made" in fault


def test_a_reader_that_dies_is_noticed(watched):
    (told,) = watched("dies", more=("--case", "0")).values()
    assert faults("dies", told) == ["dies, case 0 (os.system): ended -6"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "words", "code"),
    [
        ("m.onnx", hostile_onnx()["fills 4 TiB"], ("inspect", "FILE", "--preset", "imagenet"), 1),
        ("w.pth", hostile_pickles()["posix.system"], ("export", "--teacher", "FILE"), 1),
        ("r.toml", hostile_toml()["deep lists"], ("compress", "FILE"), 2),
    ],
    ids=["graph", "pickle", "recipe"],
)
def test_the_command_says_one_line(root, tmp_path, name, content, words, code):
    file = tmp_path / name
    file.write_bytes(content)
    out = ["--out", str(tmp_path / "out.onnx")] if words[0] != "inspect" else []
    words = [str(file) if word == "FILE" else word for word in words]
    done = subprocess.run(
        [sys.executable, "-m", "cake_edge", *words, *out],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert name in line
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
