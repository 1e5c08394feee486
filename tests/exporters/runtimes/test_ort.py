from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from reference.fake_onnxruntime import FakeBuild, pretend

from cake_edge.errors import ArtifactError, RuntimeUnavailable, UsageMistake
from exporters.runtimes import OrtSession
from exporters.runtimes.providers import present_providers

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
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


def test_the_processor_says_how_many_nodes_it_has(pooled):
    with OrtSession(pooled, optimise=False) as session:
        told = session.describe()
    assert told["provider"] == "cpu"
    if told["nodes_counted"] is None:
        pytest.skip("this ONNX Runtime does not tell its assignment: 1.24 is the first")
    assert (told["nodes"], told["nodes_counted"]) == ({CPU: 2}, "assigned")


def test_before_1_24_the_processor_is_not_profiled_for_a_count(pooled, monkeypatch):
    pretend(monkeypatch, FakeBuild(), old=True)
    with OrtSession(pooled) as session:
        told = session.describe()
    assert (told["providers"], told["nodes"]) == ([CPU], None)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("fixed_batch", [None, 2])
def test_a_provider_that_takes_all_nodes_is_what_computes(pooled, monkeypatch, old, fixed_batch):
    build = pretend(monkeypatch, FakeBuild(CUDA), old=old)
    with OrtSession(
        pooled, fixed_batch=fixed_batch, provider="cuda", provider_options={"use_tf32": "0"}
    ) as session:
        told = session.describe()
        np.testing.assert_allclose(session.infer(IMAGES), IMAGES.mean(axis=(2, 3)))
    assert (told["providers"], told["nodes"]) == ([CUDA], {CUDA: 2})
    assert told["options"]["cuda.use_tf32"] == "0"
    # What may compile for minutes is opened once, whatever had to be read before.
    assert [providers[0] for providers in build.opened].count(CUDA) == 1


@pytest.mark.parametrize("old", [False, True])
def test_nodes_elsewhere_are_refused_unless_that_is_allowed(pooled, monkeypatch, old):
    pretend(monkeypatch, FakeBuild(CUDA, takes=["Flatten"]), old=old)
    with pytest.raises(RuntimeUnavailable, match=r"hand\.onnx: CUDAExecutionProvider took 1 of 2"):
        OrtSession(pooled, provider="cuda")
    with OrtSession(pooled, provider="cuda", allow_fallback=True) as session:
        told = session.describe()
    assert told["nodes"] == {CUDA: 1, CPU: 1}
    assert set(told["providers"]) == {CUDA, CPU}
    assert told["options"]["allow_fallback"] is True


def test_a_provider_that_does_not_start_is_refused_or_said(pooled, monkeypatch, caplog):
    pretend(monkeypatch, FakeBuild(CUDA, starts=False))
    with pytest.raises(RuntimeUnavailable, match="did not start"):
        OrtSession(pooled, provider="cuda")
    with OrtSession(pooled, provider="cuda", allow_fallback=True) as session:
        assert session.describe()["providers"] == [CPU]
    assert "did not start" in caplog.text


def test_a_provider_that_is_not_built_in_is_refused_before_the_file_is_opened(pooled, monkeypatch):
    build = pretend(monkeypatch, FakeBuild())
    for fixed_batch in (None, 2):
        with pytest.raises(RuntimeUnavailable, match="has no TensorrtExecutionProvider"):
            OrtSession(pooled, provider="tensorrt", fixed_batch=fixed_batch, allow_fallback=True)
    assert build.opened == []


@pytest.mark.parametrize(
    ("options", "kind"), [({}, RuntimeUnavailable), ({"bogus": "1"}, UsageMistake)]
)
def test_what_a_provider_refuses_is_said_without_its_place_in_the_source(
    pooled, monkeypatch, options, kind
):
    place = "/onnxruntime/python/state.cc:1053 Factory Create(const Options&, const Map&) "
    pretend(monkeypatch, FakeBuild(CUDA, refuses=f"{place}Invalid option: bogus\nmore"))
    with pytest.raises(kind, match=r"does not start cuda(,bogus=1)?: Invalid option: bogus$"):
        OrtSession(pooled, provider="cuda", provider_options=options)


def test_openvino_takes_the_whole_of_a_file_where_it_is_installed(pooled):
    if "openvino" not in present_providers():
        pytest.skip("this ONNX Runtime has no OpenVINO: it is in onnxruntime-openvino")
    with OrtSession(pooled, provider="openvino", fixed_batch=2) as session:
        np.testing.assert_allclose(session.infer(IMAGES), IMAGES.mean(axis=(2, 3)), rtol=1e-5)
        assert session.describe()["providers"] == ["OpenVINOExecutionProvider"]
    # Without an Intel GPU it is left out in silence, and the processor computes everything.
    absent = {"device_type": "GPU.9"}
    with pytest.raises((RuntimeUnavailable, UsageMistake)):
        OrtSession(pooled, provider="openvino", provider_options=absent)
