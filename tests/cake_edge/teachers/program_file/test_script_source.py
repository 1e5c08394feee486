from __future__ import annotations

import copy

import pytest

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.script_pickle import EnumValue
from cake_edge.teachers.program_file.script_source import ScriptSource

TEXT = """\
class F(Enum):
  A = "a"
class B(Module):
  __parameters__ = ["w", ]
  __buffers__ = ["m", ]
  w : Tensor
  def forward(self: __torch__.x.B,
    x: Tensor) -> Tensor:
    _0 = __torch__.x.f
    return _0(x, )
def f(x: Tensor) -> Tensor:
  y : int = 3
  return torch.add_(x, y)
"""


def test_functions_buffers_and_enumerations_are_found_by_name():
    source = ScriptSource({"__torch__.x": TEXT})
    assert set(source.functions) == {"__torch__.x.B.forward", "__torch__.x.f"}
    assert source.buffers == {"__torch__.x.B": {"m"}}
    assert source.enums == {"__torch__.x.F.A": EnumValue("__torch__.x.F", "a")}
    assert source.writes
    assert copy.deepcopy(source).functions.keys() == source.functions.keys()


@pytest.mark.parametrize(
    "text",
    [
        "x = 1",
        "import os",
        "def f(:\n",
        "def f(*a):\n  return a",
        "@g\ndef f(x):\n  return x",
        "async def f(x):\n  return x",
        "def f(x):\n  def g():\n    return x\n  return x",
        "def f(x):\n  return x + x",
        "def f(x=open('a')):\n  return x",
        "class C(Module):\n  x : __torch__.torch.classes.a.B",
        "class C(Module):\n  def __setstate__(self, x):\n    return None",
        "class C(Module):\n  print('a')",
        "def f(x):\n  return " + "-" * 100_000 + "1",
        "def f(x):\n  return x" + ".a" * 30_000,
        "def f(x):\n  return (" + "1,\n" * 30_000 + ")",
        "def f(x):\n" + "".join(" " * n + "if x:\n" for n in range(1, 120)) + " " * 120 + "pass",
        "def f(x):\n  return '\0'",
    ],
)
def test_other_text_is_refused(text):
    with pytest.raises(TeacherError):
        ScriptSource({"__torch__.x": text})


def test_quotes_do_not_join_statements():
    lines = "".join('  y = "an open ( bracket"\n' for _ in range(3000))
    assert ScriptSource({"m": f"def f(x):\n{lines}  return x"}).functions
