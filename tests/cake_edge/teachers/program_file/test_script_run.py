from __future__ import annotations

import weakref

import pytest
import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.network import Run
from cake_edge.teachers.program_file.script_pickle import ScriptObject
from cake_edge.teachers.program_file.script_run import Interpreter
from cake_edge.teachers.program_file.script_source import ScriptSource


def run(body, owner=None, constants=(), **extra):
    text = "class M(Module):\n  def forward(self, x):\n"
    text += "".join(f"    {line}\n" for line in body.splitlines()) + extra.get("after", "")
    owner = owner or ScriptObject("m.M")
    walk = Interpreter(ScriptSource({"m": text}), constants, Run({}, torch.device("cpu")))
    return walk.method(owner, "forward", [torch.arange(6.0).reshape(2, 3)], {})


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("return torch.size(x)", [2, 3]),
        ("return torch.len(torch.size(x))", 2),
        ("a, b, = torch.size(x)\nreturn torch.mul(a, torch.neg(b))", -6),
        ("n = ops.prim.NumToTensor(torch.size(x, 1))\nreturn int(torch.div(n, 2))", 1),
        ("n = torch.ceil(torch.div(torch.size(x, 1), 2))\nreturn torch.clamp(n, 0, 1)", 1),
        ("y = 0\nfor i in range(4):\n  y = torch.add(y, i)\nreturn y", 6),
        ("y = 5\nwhile torch.gt(y, 0):\n  y = torch.sub(y, 2)\nreturn y", -1),
        ("if torch.__is__(x, None):\n  y = 1\nelse:\n  y = 2\nreturn y", 2),
        ("for i in range(5):\n  if torch.eq(i, 3):\n    return i\n  else:\n    pass\nreturn 9", 3),
        ("y = annotate(List[int], [])\n_0 = torch.append(y, 4)\nreturn y", [4]),
        ("y = {'a': 1}\n_0 = torch._set_item(y, 'b', 2)\nreturn y['b']", 2),
        ("return torch.slice([1, 2, 3], 1)", [2, 3]),
        ("return torch.__contains__(['a', 'b'], 'b')", True),
        ("return 1 if torch.any([False, True]) else 2", 1),
        ("return isinstance([1], List[int])", True),
        ("return isinstance(True, int)", False),
        ("return isinstance(1, int)", True),
        ("return [-1, inf, float('-inf')]", [-1, float("inf"), float("-inf")]),
        ("return (self).more(2, b=5)", 7),
        ("return (self).more(2)", 5),
        ("return ops.prim.dtype(x)", 6),
        ("return ops.prim.max([1, 7, 3])", 7),
        ("return torch.numel(x)", 6),
    ],
)
def test_the_language_of_sources_is_understood(body, result):
    after = "  def more(self, a, b=3):\n    return torch.add(a, b)\n"
    assert run(body, after=after) == result


def test_a_number_where_an_operator_takes_a_tensor_becomes_one():
    found = run("y = torch.zeros([2])\n_0 = torch.copy_(y, 3)\nreturn y")
    assert found.tolist() == [3, 3]


def test_a_tensor_is_let_go_after_its_last_use():
    made = weakref.WeakSet()

    class Watched(Run):
        def operate(self, *call):
            result = super().operate(*call)
            made.add(result)
            assert len(made) <= 2
            return result

    text = "def f(self, x):\n" + "".join(f"  x{n + 1} = torch.relu(x{n})\n" for n in range(9))
    source = ScriptSource({"m": text.replace("x0", "x") + "  return x9"})
    walk = Interpreter(source, (), Watched({}, torch.device("cpu")))
    assert walk.method(ScriptObject("m"), "f", [torch.ones(2)], {}) is not None


def test_lists_of_the_module_stay_as_they_are():
    owner = ScriptObject("m.M", {"sizes": [1], "known": {}})
    body = (
        "_0 = torch.append(self.sizes, 2)\n"
        "_1 = torch._set_item(self.known, 'a', x)\n"
        "_2 = self.known['a']\nreturn torch.len(self.sizes)"
    )
    assert [run(body, owner), run(body, owner)] == [2, 2]
    assert owner.attributes == {"sizes": [1], "known": {}}


@pytest.mark.parametrize(
    "body",
    [
        "return self.__class__",
        "return getattr(self, '__class__')",
        "return x.grad_fn",
        "return (x).backward()",
        "return [1].append(2)",
        "return 'a'.format(1)",
        "y = [[1]]\nreturn torch.eq(y, y)",
        "return {'a': 1}[[1]]",
        "return x[0]",
        "return isinstance(x, os)",
        "for i in x:\n  pass\nreturn x",
        "y = torch.relu\nreturn y",
        "return __torch__.nowhere(x)",
        "a, b, = 3\nreturn a",
    ],
)
def test_nothing_beyond_it_is_reached(body):
    with pytest.raises(TeacherError):
        run(body)
