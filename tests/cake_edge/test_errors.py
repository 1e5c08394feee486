from __future__ import annotations

import inspect
import re

import pytest

from cake_edge import errors
from cake_edge.errors import CakeEdgeError, TeacherError, UsageMistake, near_names

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception)
}


def test_the_tree_drawn_in_the_module_is_the_tree():
    lines = re.findall(r"(?:├──|└──|^ {4})\s*(\w+)\s+exit (\d)", errors.__doc__, re.MULTILINE)
    drawn = {name: int(code) for name, code in lines}
    assert drawn == {name: value.exit_code for name, value in CLASSES.items()}


def test_every_error_is_caught_by_the_base_and_exported():
    assert all(issubclass(value, CakeEdgeError) for value in CLASSES.values())
    assert set(errors.__all__) == {*CLASSES, "near_names"}


def test_only_wrong_usage_leaves_with_two():
    assert [name for name, value in CLASSES.items() if value.exit_code == 2] == ["UsageMistake"]
    assert UsageMistake.exit_code == 2


@pytest.mark.parametrize("given", ["resnet81", "resent18", "RESNET18"])
def test_near_names_are_offered(given):
    allowed = ["resnet18", "vgg11"]
    expected = "" if given.isupper() else " (did you mean resnet18?)"
    assert near_names(given, allowed) == expected


def test_far_names_are_not_offered():
    assert near_names("zebra", ["resnet18", "vgg11"]) == ""


def test_at_most_that_many_names_are_offered_best_first():
    text = near_names("resnet18", (f"resnet1{n}" for n in range(10)), most=2)
    assert text.startswith(" (did you mean resnet18, ")
    assert text.count(",") == 1


def test_a_message_is_one_line_whatever_it_cites():
    assert str(TeacherError("a\nb\u2028c")) == "a b c"
    assert str(TeacherError("red \x1b[31m")) == "red \\x1b[31m"


def test_a_long_message_keeps_its_beginning_and_what_to_do():
    said = str(TeacherError(f"w.pth names {'x' * 9000}; make it again"))
    assert len(said) < 1000
    assert said.startswith("w.pth names x")
    assert said.endswith("; make it again")
