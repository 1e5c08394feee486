"""Providers by the names of --provider, with their options, where this ONNX Runtime has them."""

from __future__ import annotations

import onnxruntime
import pytest
from reference.fake_onnxruntime import FakeBuild, pretend

from cake_edge.errors import RuntimeUnavailable, UsageMistake
from exporters.runtimes import PROVIDERS, ProviderChoice, parse_provider
from exporters.runtimes.providers import CPU, load_provider, present_providers, provider_list


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("cpu", "cpu", {}),
        ("cuda,device_id=1", "cuda", {"device_id": "1"}),
        (
            "tensorrt, trt_fp16_enable=1 , trt_profile_min_shapes=x:1x3x8x8",
            "tensorrt",
            {"trt_fp16_enable": "1", "trt_profile_min_shapes": "x:1x3x8x8"},
        ),
        ("qnn,backend_path=/a=b.so", "qnn", {"backend_path": "/a=b.so"}),
    ],
)
def test_text_becomes_a_choice_and_text_again(
    text: str, name: str, options: dict[str, str]
) -> None:
    choice = parse_provider(text)
    assert (choice.name, dict(choice.options)) == (name, options)
    assert parse_provider(str(choice)) == choice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cudda", "no provider 'cudda' .did you mean cuda"),
        ("", "no provider ''; allowed: cpu, cuda, tensorrt"),
        ("cuda,device_id", "'device_id' in provider .* is not of the form OPTION=VALUE"),
        ("cuda,=1", "not of the form"),
        ("cuda,device_id=", "not of the form"),
        ("cuda,device_id=0,device_id=1", "gives device_id twice"),
    ],
)
def test_text_of_another_form_is_wrong_usage(text: str, message: str) -> None:
    with pytest.raises(UsageMistake, match=message):
        parse_provider(text)


@pytest.mark.parametrize("options", [{"": "1"}, {"a": ""}, {"a": "1,2"}, {"a=b": "1"}])
def test_options_that_text_cannot_carry_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(UsageMistake, match="without a comma"):
        ProviderChoice(name="cuda", options=options)


def test_a_device_is_a_whole_number() -> None:
    assert ProviderChoice(name="cuda").device_id == 0
    assert parse_provider("cuda,device_id=3").device_id == 3
    with pytest.raises(UsageMistake, match="whole number"):
        _ = parse_provider("cuda,device_id=first").device_id


def test_onnx_runtime_knows_these_providers() -> None:
    known = set(onnxruntime.get_all_providers()) | {"ACLExecutionProvider"}  # In 1.31 and older.
    assert {provider.ort_name for provider in PROVIDERS.values()} <= known
    assert "cpu" in present_providers()


def test_one_that_is_not_built_in_is_a_sentence_with_what_is_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, FakeBuild("OpenVINOExecutionProvider"))
    assert present_providers() == ("cpu", "openvino")
    with pytest.raises(
        RuntimeUnavailable,
        match=r"here has no CUDAExecutionProvider; its providers are cpu, openvino\. To get it: "
        r"uninstall onnxruntime and pip install onnxruntime-gpu",
    ):
        load_provider(ProviderChoice(name="cuda"))


def test_cuda_is_loaded_from_packages_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, FakeBuild("CUDAExecutionProvider"))
    load_provider(ProviderChoice(name="cuda"))
    assert capsys.readouterr().out == ""


def test_the_next_best_is_asked_before_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    tensorrt = parse_provider("tensorrt,trt_fp16_enable=1")
    first = ("TensorrtExecutionProvider", {"trt_fp16_enable": "1"})
    pretend(monkeypatch, FakeBuild("TensorrtExecutionProvider", "CUDAExecutionProvider"))
    assert provider_list(tensorrt) == [first, "CUDAExecutionProvider", "CPUExecutionProvider"]
    pretend(monkeypatch, FakeBuild("TensorrtExecutionProvider"))
    assert provider_list(tensorrt) == [first, "CPUExecutionProvider"]
    assert provider_list(CPU) == [("CPUExecutionProvider", {})]
