from __future__ import annotations

import io
import zipfile

import pytest
import torch

from cake_edge.errors import TeacherError
from cake_edge.spec import ImageSpec
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.program_file.exported import read_exported
from cake_edge.workers import packed, unpacked

NETWORKS = ("resnet18", "test_resnet", "test_efficientnet", "test_vit", "test_convnext")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_program_with_a_free_batch_answers_as_the_network_does(saved, require_alike, name):
    given = saved(name)
    network = read_exported(given.paths["dynamic"])
    assert (network.batch, network.input_shape) == (None, (None, 3, 32, 32))
    require_alike(network, given)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_program_with_a_fixed_batch_says_so(saved, name):
    given = saved(name)
    network = read_exported(given.paths["static"])
    assert (network.batch, network.input_shape) == (3, (3, 3, 32, 32))
    torch.testing.assert_close(
        network(given.images), given.network(given.images), atol=1e-4, rtol=0
    )


def test_the_images_are_left_as_they_are(saved):
    given = saved("test_resnet")
    images = given.images.clone()
    read_exported(given.paths["static"])(images)
    assert torch.equal(images, given.images)


def test_it_makes_a_frozen_teacher_that_worker_processes_get(saved):
    given = saved("test_vit")
    spec = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3, classes=5)
    teacher = FrozenTeacher(read_exported(given.paths["dynamic"]), spec, architecture="vit")
    assert teacher.parameters_total == sum(p.numel() for p in given.network.parameters())
    again = unpacked(packed(teacher))
    assert torch.equal(again(given.images), teacher(given.images))
    assert not any(p.requires_grad for p in teacher.parameters())


def test_a_program_saved_in_training_mode_is_run_in_eval_mode(saved, tmp_path, caplog):
    given = saved("test_resnet")
    network = given.network.train()
    try:
        program = torch.export.export(network, (given.images,))
        for at, name in ((program, "plain.pt2"), (program.run_decompositions(), "core.pt2")):
            torch.export.save(at, tmp_path / name)
    finally:
        network.eval()
    for name in ("plain.pt2", "core.pt2"):
        caplog.clear()
        read = read_exported(tmp_path / name)
        assert "training mode" in caplog.text
        for _ in range(2):
            torch.testing.assert_close(read(given.images), network(given.images), atol=1e-4, rtol=0)


def test_narrow_weights_become_float32(saved, tmp_path):
    given = saved("tiny")
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        network = type(given.network)().to(dtype)
        path = tmp_path / "narrow.pt2"
        torch.export.save(torch.export.export(network, (given.images.to(dtype),)), path)
        answer = read_exported(path)(given.images)
        assert answer.dtype is torch.float32
        torch.testing.assert_close(answer, network.float()(given.images), atol=1e-4, rtol=0)


def test_a_program_saved_on_a_gpu_is_read_on_the_processor(saved, rewrite):
    given = saved("test_vit")
    path = rewrite(
        given.paths["dynamic"],
        lambda name, data: data.replace(
            b'"type": "cpu", "index": null', b'"type": "cuda", "index": 0'
        ),
    )
    assert path.read_bytes().count(b'"cuda"') > 10
    torch.testing.assert_close(read_exported(path)(given.images), given.network(given.images))


def test_the_form_of_torch_2_5_is_read(saved, tmp_path):
    given = saved("test_resnet")
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(given.paths["dynamic"]) as new, zipfile.ZipFile(path, "w") as old:
        program = next(n for n in new.namelist() if n.endswith("models/model.json"))
        old.writestr("version", "8.1")
        old.writestr("serialized_exported_program.json", new.read(program))
        for name, content in (
            ("state_dict", dict(given.network.state_dict())),
            ("constants", {}),
            ("example_inputs", {}),
        ):
            buffer = io.BytesIO()
            torch.save(content, buffer)
            old.writestr(f"serialized_{name}.pt", buffer.getvalue())
    answer = read_exported(path)(given.images)
    torch.testing.assert_close(answer, given.network(given.images), atol=1e-4, rtol=0)


def test_code_in_what_is_never_read_does_not_run(saved, with_program, marker, hostile_pickle):
    evil = f"__import__('pathlib').Path({str(marker)!r}).touch()"

    def change(program):
        program["guards_code"] = [evil]
        program["range_constraints"] = {evil: {"min_val": 1, "max_val": 2}}
        program["graph_module"]["module_call_graph"] = [{"fqn": evil}]
        size = program["graph_module"]["graph"]["tensor_values"]["images"]["sizes"][0]
        size["as_expr"]["expr_str"] = evil

    path = with_program(change, "dynamic", more={"data/sample_inputs/more.pt": hostile_pickle})
    given = saved("tiny")
    torch.testing.assert_close(read_exported(path)(given.images), given.network(given.images))
    assert not marker.exists()


@pytest.mark.parametrize("place", ["weights", "constants"])
@pytest.mark.parametrize("pickled", [True, False])
def test_a_weight_that_is_a_pickle_is_refused(
    saved, rewrite, marker, hostile_pickle, place, pickled
):
    about = (
        b'{"config": {"w": {"path_name": "custom_obj_0", "is_param": false, '
        b'"use_pickle": %s, "tensor_meta": null}}}' % (b"true" if pickled else b"false")
    )
    path = rewrite(
        saved("tiny").paths["static"],
        lambda name, data: about if name == f"data/{place}/model_{place}_config.json" else data,
        more={f"data/{place}/custom_obj_0": hostile_pickle},
    )
    with pytest.raises(TeacherError, match="is a pickle, which could run any code"):
        read_exported(path)
    assert not marker.exists()


def test_weights_in_an_old_pickle_that_runs_code_are_refused(
    saved, rewrite, marker, hostile_pickle
):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as inner:
        inner.writestr("archive/data.pkl", hostile_pickle)
        inner.writestr("archive/version", "3")
    path = rewrite(saved("tiny").paths["static"], more={"data/weights/model.pt": buffer.getvalue()})
    with pytest.raises(TeacherError, match="are not plain tensors"):
        read_exported(path)
    assert not marker.exists()


def test_machine_code_is_refused(saved, rewrite):
    path = rewrite(
        saved("tiny").paths["static"], more={"data/aotinductor/model/model.so": b"\x7fELF"}
    )
    with pytest.raises(TeacherError, match="holds machine code"):
        read_exported(path)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("schema_version", "major"), 5, "version 5 of torch.export's form"),
        (("graph_module", "signature", "output_specs"), [], "returns 0 values"),
        (("graph_module", "graph", "tensor_values", "images", "dtype"), 1, "torch.uint8"),
        (("graph_module", "graph", "tensor_values", "images", "sizes"), [], r"shape \[\]"),
        (
            ("graph_module", "signature", "input_specs"),
            [{"custom_obj": {"arg": {"name": "o", "class_fqn": "a.B"}, "custom_obj_name": "o"}}],
            "takes a 'custom_obj' as input",
        ),
        (("graph_module", "signature", "input_specs"), [], "takes 0 tensors"),
        (("graph_module", "graph"), None, "not what torch.export.save writes"),
        (("graph_module",), [], "not what torch.export.save writes"),
    ],
)
def test_another_program_than_a_classifier_is_refused(with_program, place, value, reason):
    def change(program):
        for key in place[:-1]:
            program = program[key]
        program[place[-1]] = value

    with pytest.raises(TeacherError, match=reason):
        read_exported(with_program(change))


def test_nested_json_is_refused(saved, rewrite):
    path = rewrite(
        saved("tiny").paths["static"],
        lambda name, data: b"[" * 200_000 if name.startswith("models/") else data,
    )
    with pytest.raises(TeacherError):
        read_exported(path)


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_damaged_files_end_in_one_sentence_or_are_whole(saved, refusals, kind):
    given = saved("tiny")
    right = given.network(given.images)

    def check(network):
        assert torch.equal(network(given.images), right)

    said = refusals(given.paths[kind], read_exported, check)
    assert len(said) > 20
    assert all("damaged.pt" in sentence for sentence in said)


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_damaged_members_with_right_checksums_end_in_one_sentence(saved, refusals, kind):
    given = saved("tiny")

    def answer(path):
        return read_exported(path)(given.images)

    def check(logits):
        assert logits.dtype is torch.float32

    said = refusals(given.paths[kind], answer, check, members=(".json",))
    assert len(said) > 30
