import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch

from cake_edge.errors import CakeEdgeError, PoolError
from cake_edge.workers import map_shards


@dataclass(frozen=True)
class Touch:
    folder: Path

    def __call__(self, index):
        (self.folder / str(index)).write_text(str(os.getpid()))


@dataclass(frozen=True)
class CountThreads:
    folder: Path

    def __call__(self, index):
        (self.folder / str(index)).write_text(str(torch.get_num_threads()))


@dataclass(frozen=True)
class Fail:
    how: str

    def __call__(self, index):
        if self.how == "die":
            os._exit(9)
        raise PoolError("this shard is bad")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_index_is_done_once_and_told_of(tmp_path, workers):
    told = []
    map_shards(Touch(tmp_path), [4, 1, 7], workers=workers, note=told.append)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1", "4", "7"]
    assert told == [1, 2, 3]
    pids = {file.read_text() for file in tmp_path.iterdir()}
    assert (str(os.getpid()) in pids) == (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_work_is_done_on_one_thread_wherever_it_is_done(tmp_path, workers):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        map_shards(CountThreads(tmp_path), [0, 1], workers=workers, note=lambda done: None)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert [(tmp_path / name).read_text() for name in ("0", "1")] == ["1", "1"]


def test_an_error_in_a_worker_comes_through_as_it_is():
    with pytest.raises(PoolError, match="this shard is bad"):
        map_shards(Fail("raise"), [0, 1], workers=2, note=lambda done: None)


def test_a_worker_that_is_killed_is_said():
    with pytest.raises(CakeEdgeError, match=r"a worker process was killed .* fewer --workers"):
        map_shards(Fail("die"), [0, 1], workers=2, note=lambda done: None)


SLEEPERS = """
import time
from cake_edge.workers import map_shards

def sleep(index):
    time.sleep(60)

if __name__ == "__main__":
    map_shards(sleep, [0, 1], workers=2, note=print)
"""


def test_workers_end_soon_after_their_parent_is_killed(tmp_path):
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    parent = subprocess.Popen([sys.executable, str(script)])
    me = psutil.Process(parent.pid)
    deadline = time.monotonic() + 60
    children = []
    # The workers (beside multiprocessing's own resource tracker) run once they have two threads:
    # their own and the one that watches the parent.
    while sum(child.num_threads() > 1 for child in children) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        children = me.children(recursive=True)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


WRITERS = """
import signal, sys, time
from pathlib import Path
from cake_edge.provenance import atomic_path
from cake_edge.workers import map_shards

def write(index):
    with atomic_path(Path(sys.argv[1]) / str(index)) as temporary:
        temporary.write_text("half")
        # In short naps: a signal that another thread takes does not wake this one.
        for _ in range(6000):
            time.sleep(0.01)

if __name__ == "__main__":
    # A shell that runs the tests in the background has them ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        map_shards(write, [0, 1, 2, 3], workers=2, note=print)
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize("writing", [False, True])
def test_an_interrupted_run_ends_soon_in_silence_and_leaves_no_half_file(tmp_path, writing):
    script, out = tmp_path / "writers.py", tmp_path / "out"
    script.write_text(WRITERS)
    out.mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(script), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    me, deadline = psutil.Process(parent.pid), time.monotonic() + 60
    while len(list(out.iterdir())) < 2 if writing else len(me.children()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(parent.pid, signal.SIGINT)  # As a terminal does: to the workers too.
    said, complaints = parent.communicate(timeout=30)
    assert (said, complaints) == ("interrupted\n", "")
    assert list(out.iterdir()) == []
