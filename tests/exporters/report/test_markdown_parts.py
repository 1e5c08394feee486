from __future__ import annotations

import pytest

from exporters.report.markdown_parts import bullets, cells, text
from exporters.report.story import Table


def test_numbers_are_set_flush_right_and_words_left() -> None:
    table = Table(headers=("Model", "Size", "Note"), rows=(("one", "1.5 MB", "steady"),))
    assert (
        cells(table) == "| Model | Size | Note |\n| --- | ---: | --- |\n| one | 1.5 MB | steady |"
    )


def test_a_cell_cannot_end_its_cell_or_its_row() -> None:
    table = Table(headers=("Model",), rows=(("a | b\nc",), ("d",)))
    assert cells(table).splitlines()[2:] == ["| a \\| b c |", "| d |"]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("layer_1*2", r"layer\_1\*2"),
        ("<b>[x](y)</b>", r"\<b\>\[x\](y)\</b\>"),
        ("# not a heading", r"\# not a heading"),
        ("`code` \\ end", r"\`code\` \\ end"),
        ("  two\n\n lines ", "two lines"),
        ("plain, 99.2 %", "plain, 99.2 %"),
    ],
)
def test_what_markdown_reads_as_markup_is_escaped(given: str, written: str) -> None:
    assert text(given) == written


def test_names_and_values_are_one_list_or_nothing() -> None:
    assert bullets([("Seed", "3"), ("File", "a_b")]) == ["- Seed: 3\n- File: a\\_b"]
    assert bullets([]) == []
