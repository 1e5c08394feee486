"""What a launcher says of a process, and what follows from it."""

import threading
import time

import pytest
import torch

from cake_edge.errors import PoolError, UsageMistake
from cake_edge.ranks import ALONE, Rank, rank_here, refuse_ranks, wait_for_files

LAUNCHED = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


def test_a_process_without_a_launcher_is_alone():
    assert rank_here({}) == rank_here({"WORLD_SIZE": "1", "RANK": "0"}) == ALONE
    assert ALONE.alone
    assert ALONE.first


def test_the_launcher_s_variables_say_which_rank_this_is():
    rank = rank_here(LAUNCHED)
    assert rank == Rank(index=3, world=4, local=1, neighbours=2)
    assert not rank.alone
    assert not rank.first
    assert rank_here({"WORLD_SIZE": "2", "RANK": "0"}).first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE is 'many'"),
        ({"RANK": ""}, "RANK is ''"),
        ({"RANK": "-1"}, "RANK is '-1'"),
        ({"RANK": "4"}, "rank 4 of 4"),
        ({"WORLD_SIZE": "0"}, "rank 3 of 0"),
        ({"LOCAL_RANK": "2"}, "on its machine 2 of 2"),
    ],
)
def test_variables_that_do_not_fit_are_refused(change, message):
    with pytest.raises(UsageMistake, match=message):
        rank_here({**LAUNCHED, **change})


def test_what_one_process_does_whole_is_not_done_by_several():
    refuse_ranks("a whole job", {})
    with pytest.raises(UsageMistake, match=r"a whole job runs in one process, and 4 were started"):
        refuse_ranks("a whole job", LAUNCHED)


def test_every_index_is_the_share_of_one_rank_whatever_else_is_left():
    ranks = [Rank(index=index, world=3) for index in range(3)]
    shares = [rank.share(range(8)) for rank in ranks]
    assert sorted(index for share in shares for index in share) == list(range(8))
    assert shares[1] == [1, 4, 7]
    assert ranks[1].share([0, 4, 5]) == [4]


@pytest.mark.parametrize(
    ("name", "cards", "wanted"),
    [
        ("auto", True, "cuda:1"),
        ("auto", False, "auto"),
        ("cuda", False, "cuda:1"),
        ("cuda:0", True, "cuda:0"),
        ("cpu", True, "cpu"),
    ],
)
def test_a_rank_takes_the_card_of_its_number(name, cards, wanted, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards)
    assert rank_here(LAUNCHED).device(name) == wanted
    assert ALONE.device(name) == name


def test_the_ranks_of_a_machine_share_its_worker_processes():
    rank = rank_here(LAUNCHED)
    assert [rank.workers(number) for number in (1, 2, 9)] == [1, 1, 4]
    assert ALONE.workers(9) == 9


def test_files_of_others_are_waited_for_and_told_of(tmp_path):
    files = [tmp_path / name for name in "abc"]
    files[0].touch()
    told = []

    def late():
        for file in files[1:]:
            time.sleep(0.1)
            file.touch()

    thread = threading.Thread(target=late)
    thread.start()
    wait_for_files(files, told.append)
    thread.join()
    assert told[0] == 1
    assert told[-1] == 3


def test_files_that_do_not_come_are_given_up_with_what_to_do(tmp_path):
    (tmp_path / "a").touch()
    files = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(PoolError, match=r"1 of 2 shards \(b, ….* the same command"):
        wait_for_files(files, lambda there: None, patience=0.0)
