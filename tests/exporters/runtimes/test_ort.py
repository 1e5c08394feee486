from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from cake_edge.errors import ArtifactError, UsageMistake
from exporters.runtimes import OrtSession

IMAGES = np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3)


def test_it_computes_what_the_graph_says(pooled):
    with OrtSession(pooled) as session:
        np.testing.assert_allclose(session.infer(IMAGES), IMAGES.mean(axis=(2, 3)))


def test_a_file_of_ours_has_its_card_and_another_has_none(float_file, card, pooled):
    with OrtSession(float_file) as ours, OrtSession(pooled) as other:
        assert ours.card == card
        assert other.card is None


def test_it_describes_what_shapes_a_measured_time(pooled):
    with OrtSession(pooled, threads=2, fixed_batch=2) as session:
        told = session.describe()
    assert (told["runtime"], told["threads"]) == ("ort", 2)
    assert told["providers"] == ["CPUExecutionProvider"]
    assert told["options"]["fixed_batch"] == 2
    assert told["options"]["session.intra_op.allow_spinning"] == "0"


def test_a_fixed_batch_takes_that_many_images_and_no_others(pooled):
    with OrtSession(pooled, fixed_batch=2) as session:
        assert session.input_shape == (2, 2, 3, 3)
        assert session.infer(IMAGES).shape == (2, 2)
        with pytest.raises(ArtifactError, match=r"\[2, 2, 3, 3\]"):
            session.infer(IMAGES[:1])


def test_a_file_made_for_another_batch_is_refused(write_model):
    path = write_model(
        [helper.make_node("ReduceMean", ["input"], ["a"], keepdims=1), _flat("a")],
        given=(4, 2, 3, 3),
        got=(1, 1),
    )
    with pytest.raises(ArtifactError, match="batches of 4"):
        OrtSession(path, fixed_batch=1)


@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_file_with_one_batch_is_shown_any_number_part_by_part(write_model, count):
    path = write_model(
        [helper.make_node("GlobalAveragePool", ["input"], ["a"]), _flat("a")],
        given=(4, 2, 3, 3),
        got=(4, 2),
    )
    images = np.arange(count * 18, dtype=np.float32).reshape(count, 2, 3, 3)
    with OrtSession(path) as session:
        np.testing.assert_allclose(session.infer(images), images.mean(axis=(2, 3)))
        with pytest.raises(ArtifactError, match="takes float32"):
            session.infer(images[:, :1])
    with (
        OrtSession(path, fixed_batch=4) as session,
        pytest.raises(ArtifactError, match="was given"),
    ):
        session.infer(images[:1].repeat(3, axis=0))


@pytest.mark.parametrize(
    "images",
    [
        IMAGES[:, :, :2],
        IMAGES[0],
        IMAGES[:0],
        IMAGES.astype(np.float64),
    ],
)
def test_images_that_do_not_fit_are_refused_with_both_shapes(pooled, images):
    with OrtSession(pooled) as session, pytest.raises(ArtifactError, match="takes float32") as told:
        session.infer(images)
    assert str(list(images.shape)) in str(told.value)


def test_a_closed_session_says_so(pooled):
    with OrtSession(pooled) as session:
        pass
    with pytest.raises(ArtifactError, match="closed"):
        session.infer(IMAGES)


@pytest.mark.parametrize("content", [b"", b"not onnx at all", None])
def test_what_is_not_a_model_is_one_sentence_and_nothing_is_printed(tmp_path, capfd, content):
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"a\.onnx") as told:
        OrtSession(path)
    assert "\n" not in str(told.value)
    assert capfd.readouterr() == ("", "")


def test_a_truncated_file_is_refused(float_file, tmp_path):
    path = tmp_path / "half.onnx"
    data = float_file.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ArtifactError, match=r"half\.onnx"):
        OrtSession(path)


def _flat(name):
    return helper.make_node("Flatten", [name], ["logits"])


@pytest.mark.parametrize(
    ("ports", "said"),
    [
        ({"given": ("batch", 18)}, "float32 \\[batch, C, H, W\\]"),
        ({"kind": TensorProto.DOUBLE}, "takes tensor\\(double\\)"),
        ({"more_inputs": ("mask",)}, "2 inputs"),
    ],
)
def test_a_graph_that_is_no_image_classifier_is_refused(write_model, ports, said):
    path = write_model([_flat("input")], **{"got": ("batch", 18), **ports})
    with pytest.raises(ArtifactError, match=said):
        OrtSession(path)


def test_an_output_that_is_no_logit_vector_is_refused(write_model):
    path = write_model(
        [helper.make_node("Identity", ["input"], ["logits"])], got=("batch", 2, 3, 3)
    )
    with pytest.raises(ArtifactError, match="float32 \\[batch, classes\\]"):
        OrtSession(path)


@pytest.mark.parametrize("setting", [{"threads": 0}, {"fixed_batch": 0}])
def test_a_number_below_one_is_wrong_usage(pooled, setting):
    with pytest.raises(UsageMistake, match="at least 1"):
        OrtSession(pooled, **setting)
