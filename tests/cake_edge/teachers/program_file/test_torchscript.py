from __future__ import annotations

import copy
import warnings

import pytest
import torch

from cake_edge.errors import TeacherError
from cake_edge.spec import ImageSpec
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.program_file import rehearsal
from cake_edge.teachers.program_file.torchscript import read_torchscript
from cake_edge.workers import packed, unpacked

NETWORKS = ("resnet18", "test_resnet", "test_efficientnet", "test_vit", "test_convnext")


@pytest.mark.parametrize("kind", ["traced", "scripted"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_program_answers_as_the_network_does(saved, require_alike, name, kind):
    given = saved(name)
    network = read_torchscript(given.paths[kind])
    assert (network.batch, network.input_shape) == (None, None)
    require_alike(network, given)


def test_a_frozen_program_answers_as_the_network_does(saved, tmp_path):
    given = saved("test_efficientnet")
    path = tmp_path / "frozen.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.freeze(torch.jit.script(given.network)), path)
    answer = read_torchscript(path)(given.images)
    torch.testing.assert_close(answer, given.network(given.images), atol=1e-4, rtol=0)


@pytest.mark.parametrize("make", ["trace", "script"])
def test_a_program_saved_in_training_mode_is_run_in_eval_mode(saved, tmp_path, make):
    given = saved("test_resnet")
    path = tmp_path / "train.pt"
    network = copy.deepcopy(given.network).train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = (
            torch.jit.script(network)
            if make == "script"
            else torch.jit.trace(copy.deepcopy(network), given.images, check_trace=False)
        )
        torch.jit.save(program, path)
        statistics = program.eval() if make == "script" else None
    read = read_torchscript(path)
    first = read(given.images)
    assert torch.equal(first, read(given.images))
    assert torch.equal(first[:1], read(given.images)[:1])
    if statistics is not None:
        torch.testing.assert_close(first, network.eval()(given.images), atol=1e-4, rtol=0)
    torch.testing.assert_close(first[:1], read(given.images[:1]), atol=1e-4, rtol=0)


def test_narrow_weights_become_float32(saved, tmp_path):
    given = saved("tiny")
    network = type(given.network)().half()
    path = tmp_path / "half.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), path)
    answer = read_torchscript(path)(given.images)
    assert answer.dtype is torch.float32
    torch.testing.assert_close(answer, network.float()(given.images), atol=1e-4, rtol=0)


def test_a_program_saved_on_a_gpu_is_read_on_the_processor(saved, rewrite):
    given = saved("test_vit")
    before, after = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
    path = rewrite(given.paths["traced"], lambda name, data: data.replace(before, after))
    assert after in path.read_bytes()
    torch.testing.assert_close(read_torchscript(path)(given.images), given.network(given.images))


@pytest.mark.parametrize("kind", ["traced", "scripted"])
def test_it_makes_a_frozen_teacher_that_worker_processes_get(saved, kind):
    given = saved("test_vit")
    spec = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3, classes=5)
    teacher = FrozenTeacher(read_torchscript(given.paths[kind]), spec, architecture="vit")
    assert teacher.parameters_total == sum(p.numel() for p in given.network.parameters())
    for again in (unpacked(packed(teacher)), copy.deepcopy(teacher)):
        assert torch.equal(again(given.images), teacher(given.images))


@pytest.mark.parametrize("member", ["data.pkl", "constants.pkl"])
def test_a_pickle_that_runs_code_is_refused(saved, rewrite, marker, hostile_pickle, member):
    path = rewrite(
        saved("tiny").paths["traced"],
        lambda name, data: hostile_pickle if name == member else data,
    )
    with pytest.raises(TeacherError, match="it was refused"):
        read_torchscript(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "body",
    [
        "torch.save(x, '{marker}')\nreturn x",
        "_0 = torch.from_file('{marker}', True, 8)\nreturn _0",
        "ops.aten.save(x, '{marker}')\nreturn x",
        "ops.prim.PythonOp(x)\nreturn x",
        "return ops.mine.op(x)",
        "open('{marker}', 'w')\nreturn x",
        "return __import__('os').system('touch {marker}')",
        "exec('1')\nreturn x",
        "return torch.os.system('touch {marker}')",
        "return torch.ops.load_library('{marker}')",
        "return __torch__.os.system('touch {marker}')",
        "import os\nreturn x",
        "return (lambda: x)()",
        "return [y for y in x]",
        "return f'{{x}}'",
        "with x:\n  pass\nreturn x",
        "global x\nreturn x",
        "del x\nreturn x",
        "try:\n  pass\nfinally:\n  pass\nreturn x",
        "return torch.conv2d(*x)",
        "return torch.conv2d(x, **x)",
    ],
)
def test_what_no_network_does_is_refused_before_anything_runs(with_body, marker, body):
    path = with_body(body.format(marker=marker))
    with pytest.raises(TeacherError, match="changed"):
        read_torchscript(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("while True:\n  pass\nreturn x", "made to run without end"),
        ("for i in range(1000000000):\n  pass\nreturn x", "made to run without end"),
        ("return (self).forward(x, )", "made to run without end"),
        ("return torch.zeros([100000, 100000])", "elements in one result"),
        ("return torch.expand(torch.zeros([1]), [1000000000000])", "elements in one result"),
        ("y = torch.zeros([30000, 30000])\nreturn torch.matmul(y, y)", "elements in one"),
        (
            "y = torch.zeros([9000, 16000])\nz = torch.zeros([16000, 16000])\n"  # noqa: ISC004
            "for i in range(9):\n  y = torch.matmul(y, z)\nreturn y",
            "floating-point operations",
        ),
        ("_0 = torch.add_(self.weight, 1)\nreturn x", "writes into its own weights"),
        ("self.weight = x\nreturn x", "changes an attribute"),
        ("_0 = int(torch.sum(x))\nreturn x", "hangs on what the images hold"),
        ("if torch.gt(torch.sum(x), 0):\n  pass\nreturn x", "hangs on what the images hold"),
        ("return torch.rand_like(x)", "random"),
        ("y = [0]\nfor i in range(40):\n  y = torch.add(y, y)\nreturn x", "makes a list of"),
        ("y = 3\nfor i in range(40):\n  y = torch.mul(y, y)\nreturn x", "does not fit 64 bits"),
        ("return [x, x]", "answers with a list of 2"),
        ("return 3", "answers with a int"),
        ("return (self).nothing(x, )", "'nothing'"),
        ("return nothing", "nothing before sets"),
        ("ops.prim.RaiseException('only 7 x 7')\nreturn x", "only 7 x 7"),
        ("a, b, = torch.split(x, 1, 1)\nreturn a", "expects 2 values"),
        ("return CONSTANTS.c99", "tuple index out of range"),
        ("return torch.conv2d(x, x, bogus=1)", "cannot be run"),
    ],
)
def test_what_exhausts_or_misleads_is_refused_before_it_computes(with_body, body, reason):
    network = read_torchscript(with_body(body))
    with pytest.raises(TeacherError, match=reason):
        network(torch.zeros(2, 3, 8, 8))


def test_a_program_of_too_many_operators_is_refused(with_body, monkeypatch):
    monkeypatch.setattr(rehearsal, "MOST_STEPS", 500)
    network = read_torchscript(with_body("for i in range(501):\n  x = torch.relu(x)\nreturn x"))
    with pytest.raises(TeacherError, match="more than 500 operators"):
        network(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ("  def __setstate__(self, x: Tensor) -> NoneType:\n    return None\n", "__setstate__"),
        ("  packed : __torch__.torch.classes.quantized.Linear\n", "an object of C"),
    ],
)
def test_classes_that_bring_code_to_the_loading_are_refused(with_body, extra, reason):
    with pytest.raises(TeacherError, match=reason):
        read_torchscript(with_body("return x", after=extra))


def test_a_program_of_other_inputs_is_refused(saved, rewrite):
    path = rewrite(
        saved("tiny").paths["traced"],
        lambda name, data: data.replace(b"images: Tensor", b"images: Tensor, more: Tensor"),
    )
    with pytest.raises(TeacherError, match="takes 2 arguments"):
        read_torchscript(path)


def test_values_that_refer_to_one_another_without_end_are_refused(saved, rewrite):
    # Each list holds the one before twice: 2 ** 40 values from a hundred bytes.
    nested = b"]q\x00" + b"".join(b"]q%c(h%ch%ce" % (n + 1, n, n) for n in range(40))
    pickled = b"\x80\x02(" + nested + b"t."
    path = rewrite(
        saved("tiny").paths["traced"],
        lambda name, data: pickled if name == "constants.pkl" else data,
    )
    with pytest.raises(TeacherError, match="made to exhaust memory"):
        read_torchscript(path)


@pytest.mark.parametrize("kind", ["traced", "scripted"])
def test_damaged_files_end_in_one_sentence_or_are_whole(saved, refusals, kind):
    given = saved("tiny")
    right = given.network(given.images)

    def check(network):
        assert torch.equal(network(given.images), right)

    said = refusals(given.paths[kind], read_torchscript, check)
    assert len(said) > 20
    assert all("damaged.pt" in sentence for sentence in said)


@pytest.mark.parametrize("kind", ["traced", "scripted"])
def test_damaged_members_with_right_checksums_end_in_one_sentence(saved, refusals, kind):
    given = saved("tiny")

    def answer(path):
        return read_torchscript(path)(given.images)

    def check(logits):
        assert logits.dtype is torch.float32

    said = refusals(given.paths[kind], answer, check, members=(".pkl", ".py"))
    assert len(said) > 30
