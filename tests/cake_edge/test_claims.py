import multiprocessing
import os
import signal

import pytest

from cake_edge.claims import LOCKS, claimed
from cake_edge.errors import OutputExists

pytestmark = pytest.mark.skipif(not LOCKS, reason="no locks on this system")


@pytest.mark.parametrize("there", [False, True])
def test_a_second_claim_is_refused_while_the_first_holds(there, tmp_path):
    place = tmp_path / "deep" / "pool"
    if there:
        place.mkdir(parents=True)
    with claimed(place):
        with pytest.raises(OutputExists, match=r"another process is writing to .*pool; wait"):
            claimed(place).__enter__()
        with claimed(place, part=1), claimed(place.with_name("other")):
            pass
    with claimed(place):
        pass
    assert [path.name for path in place.parent.iterdir()] == (["pool"] if there else [])


def test_a_claim_ends_with_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path / "pool"):
        raise KeyboardInterrupt
    with claimed(tmp_path / "pool"):
        pass


def _hold(place, told):
    with claimed(place):
        told.set()
        signal.pause()


def test_what_a_killed_process_claimed_is_free(tmp_path):
    context = multiprocessing.get_context("spawn")
    told = context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "pool", told))
    process.start()
    assert told.wait(60)
    with pytest.raises(OutputExists), claimed(tmp_path / "pool"):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list(tmp_path.iterdir())  # the file is left behind, and is in nobody's way
    with claimed(tmp_path / "pool"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_nothing_is_claimed(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with claimed(tmp_path / "file" / "pool"):
        pass
