"""ONNX Runtime's execution providers: what computes a graph, by the names that people use.

An ONNX Runtime has the providers that it was built with, and each build is a package of its own.
Asked for one that it lacks, it warns and computes on the processor; here that is an error.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cake_edge.errors import RuntimeUnavailable, UsageMistake, near_names
from exporters.optional import import_package

__all__ = [
    "CPU",
    "INSTALL",
    "PROVIDERS",
    "Provider",
    "ProviderChoice",
    "load_provider",
    "parse_provider",
    "present_providers",
    "provider_list",
]

INSTALL = "pip install onnxruntime"
GPU_BUILD = (
    "uninstall onnxruntime and pip install onnxruntime-gpu, on Jetson the build that NVIDIA makes "
    "for its JetPack"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What ONNX Runtime calls it, and where it comes from."""

    ort_name: str
    """The name in `onnxruntime.get_available_providers()`."""
    install: str
    """How to get a build that has it."""
    on_processor: bool = False
    """Whether it computes on the machine's own processor, unless its options say otherwise."""
    memory: str | None = None
    """The memory that images can be put into before the clock starts, as an OrtValue names it."""
    next_best: tuple[str, ...] = ()
    """Who is asked, before the processor, for what it does not take."""


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider(ort_name="CPUExecutionProvider", install=INSTALL, on_processor=True),
    "cuda": Provider(ort_name="CUDAExecutionProvider", install=GPU_BUILD, memory="cuda"),
    "tensorrt": Provider(
        ort_name="TensorrtExecutionProvider",
        install=f"{GPU_BUILD}, and the TensorRT that it was built with",
        memory="cuda",
        next_best=("cuda",),
    ),
    "openvino": Provider(
        ort_name="OpenVINOExecutionProvider",
        install="uninstall onnxruntime and pip install onnxruntime-openvino",
        on_processor=True,
    ),
    "xnnpack": Provider(
        ort_name="XnnpackExecutionProvider",
        install="build ONNX Runtime with --use_xnnpack; no package has it but Android's",
        on_processor=True,
    ),
    "acl": Provider(
        ort_name="ACLExecutionProvider",
        install="build ONNX Runtime 1.24 or older with --use_acl; later ones may lack it",
        on_processor=True,
    ),
    "qnn": Provider(
        ort_name="QNNExecutionProvider",
        install="use a build of ONNX Runtime with QNN inside, which Qualcomm's devices have",
    ),
    "coreml": Provider(
        ort_name="CoreMLExecutionProvider", install="pip install onnxruntime, on macOS"
    ),
    "dml": Provider(
        ort_name="DmlExecutionProvider",
        install="uninstall onnxruntime and pip install onnxruntime-directml, on Windows",
    ),
}
"""By the name of --provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChoice:
    """A provider, and what is said to it."""

    name: str = "cpu"
    """One of `PROVIDERS`."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Its options, in ONNX Runtime's words."""

    def __post_init__(self) -> None:
        if self.name not in PROVIDERS:
            raise UsageMistake(
                f"no provider {self.name!r}{near_names(self.name, PROVIDERS)}; "
                f"allowed: {', '.join(PROVIDERS)}"
            )
        for key, value in self.options.items():
            if not key or not value or set(",=") & set(key) or "," in value:
                raise UsageMistake(
                    f"option {key!r} of provider {self.name} is {value!r}; give name and value, "
                    "without a comma"
                )

    @property
    def provider(self) -> Provider:
        """What is known of it."""
        return PROVIDERS[self.name]

    @property
    def device_id(self) -> int:
        """Which of several devices.

        Raises:
            UsageMistake: the option is no whole number.
        """
        given = self.options.get("device_id", "0")
        if not given.isdecimal():
            raise UsageMistake(f"device_id is {given!r}; it must be a whole number such as 0")
        return int(given)

    def __str__(self) -> str:
        return ",".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])


CPU = ProviderChoice()
"""The processor, with nothing said."""


def parse_provider(text: str) -> ProviderChoice:
    """Reads NAME[,OPTION=VALUE...]; `str()` of a choice is the inverse.

    Raises:
        UsageMistake: it is of another form, an option is there twice, or the name is unknown.
    """
    name, *words = (word.strip() for word in text.split(","))
    options: dict[str, str] = {}
    for word in words:
        key, separator, value = (part.strip() for part in word.partition("="))
        if not separator or not key or not value:
            raise UsageMistake(
                f"{word!r} in provider {text!r} is not of the form OPTION=VALUE; write "
                "NAME[,OPTION=VALUE...], such as cuda,device_id=0"
            )
        if key in options:
            raise UsageMistake(f"provider {text!r} gives {key} twice; give it once")
        options[key] = value
    return ProviderChoice(name=name, options=options)


def present_providers() -> tuple[str, ...]:
    """The names in `PROVIDERS` that the ONNX Runtime here was built with.

    Raises:
        RuntimeUnavailable: ONNX Runtime is not installed.
    """
    ort = import_package("onnxruntime", install=INSTALL)
    built = ort.get_available_providers()
    return tuple(name for name, known in PROVIDERS.items() if known.ort_name in built)


def load_provider(choice: ProviderChoice) -> None:
    """Makes sure that the ONNX Runtime here has the provider, and loads what it needs.

    Raises:
        RuntimeUnavailable: it does not have it; the message says what is there and how to get it.
    """
    ort: Any = import_package("onnxruntime", install=INSTALL)
    present = present_providers()
    if choice.name not in present:
        raise RuntimeUnavailable(
            f"ONNX Runtime {ort.__version__} here has no {choice.provider.ort_name}; its providers "
            f"are {', '.join(present)}. To get it: {choice.provider.install}"
        )
    if choice.provider.memory == "cuda" and hasattr(ort, "preload_dlls"):
        # CUDA from Python packages lies where no loader looks. What is missing it prints; whether
        # the provider comes up without it is found out when a model is opened.
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def provider_list(choice: ProviderChoice) -> list[str | tuple[str, dict[str, str]]]:
    """What `onnxruntime.InferenceSession` is to be given, in the order of preference."""
    present = present_providers()
    names = [choice.name, *(n for n in choice.provider.next_best if n in present)]
    if choice.name != "cpu":
        names.append("cpu")
    first, *others = (PROVIDERS[name].ort_name for name in names)
    return [(first, dict(choice.options)), *others]
