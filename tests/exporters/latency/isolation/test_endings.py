"""What is said of a process that gave no answer."""

from __future__ import annotations

import pytest

from exporters.latency.isolation.endings import (
    of_error,
    of_exit,
    of_memory,
    of_silence,
    out_of_memory,
)

DOING = "while it was opened"


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (-11, [], "SIGSEGV (segmentation fault) while it was opened"),
        (-6, ["assert failed"], "SIGABRT (abort) while it was opened: assert failed"),
        (-9, [], "killed while it was opened (SIGKILL): that is what the system does when memory"),
        (-250, [], "signal 250 while it was opened"),
        (3, ["a", "", "b ", "c"], "its process left with exit code 3 while it was opened: b; c"),
    ],
)
def test_an_exit_is_named(code: int, words: list[str], said: str) -> None:
    assert of_exit(code, DOING, words, None).startswith(said)


@pytest.mark.parametrize(
    "line",
    [
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "MemoryError",
        "OSError: [Errno 12] Cannot allocate memory",
    ],
)
def test_an_abort_for_want_of_memory_is_no_crash(line: str) -> None:
    said = of_exit(-6, DOING, ["before", line, "after"], 512)
    assert said.startswith("out of memory (--memory-limit 512) while it was opened: ")
    assert "SIGABRT" not in said


def test_of_a_long_message_the_lack_is_told() -> None:
    detail = "Fail: in bfc_arena.cc:360 Failed to allocate memory for buffer of size 12."
    said = of_memory(DOING, detail, None)
    assert said == f"out of memory {DOING}: Failed to allocate memory for buffer of size 12"
    assert of_memory(DOING, "", None) == f"out of memory {DOING}"


def test_silence_names_the_option() -> None:
    assert of_silence(DOING, 2.5).startswith(f"no answer for 2.5 s {DOING}: ")
    assert "--timeout" in of_silence(DOING, 2.5)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA out of memory"), True),
        (RuntimeError("no such operator"), False),
    ],
)
def test_want_of_memory_is_known_by_kind_and_by_words(error: Exception, memory: bool) -> None:
    assert out_of_memory(error) is memory


def test_an_error_is_told_without_places_in_source() -> None:
    error = ValueError("FAIL : node X. Status Message: /src/a.cc:3\nindex 4 is too large.")
    assert of_error(error) == "ValueError: /src/a.cc:3 index 4 is too large"
