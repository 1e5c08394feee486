"""The steps of quantization, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from cake_edge.errors import ArtifactError, GateFailed
from cake_edge.provenance import atomic_path, sha256_file
from exporters.artifact import ModelCard, attach_card, card_from_metadata
from exporters.parity import compare
from exporters.quantize.bias import correct_biases, correctable_inputs
from exporters.quantize.config import QuantizeConfig, QuantizeReport
from exporters.quantize.dialect import Dialect
from exporters.quantize.feed import Feed
from exporters.quantize.graph import prepare, quantized_tensors, read_float_model, write_qdq
from exporters.quantize.observe import Observed, observe
from exporters.quantize.ranges import Range, least_error_range
from exporters.runtimes.coverage import coverage
from exporters.runtimes.ort import OrtSession, open_inference_session, session_options

__all__ = ["run"]

Images = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variant:
    """One way to quantize the model, and how far it lies from float."""

    model: onnx.ModelProto
    ranges: Mapping[str, Range]
    rule: str
    corrected: bool
    divergence: float

    @property
    def name(self) -> str:
        return f"{self.rule}+bias" if self.corrected else self.rule


def run(
    model: Path,
    out: Path,
    images: Callable[[], Iterator[Images]],
    *,
    dialect: Dialect,
    config: QuantizeConfig,
) -> QuantizeReport:
    """Quantizes `model` into `out` in one dialect; `exporters.quantize.quantize` says the rest."""
    float_model = read_float_model(model)
    card = _card(float_model, model)
    _check_ports(model, card)
    feed = Feed(images, card.spec, config.images)
    ready = prepare(float_model)
    tried = _variants(ready, dialect, feed)
    best = min(tried, key=lambda variant: variant.divergence)
    with atomic_path(out) as temporary:
        # Twice: the figures that go into the card are measured on the file as it runs.
        temporary.write_bytes(_serialised(best.model, card))
        report = _report(model, temporary, best, tried, dialect, feed)
        _gate(report, config)
        finished = replace(
            card,
            precision="int8",
            target=dialect.name,
            parent=sha256_file(model),
            manifest={**card.manifest, "quantization": _account(report)},
        )
        temporary.write_bytes(_serialised(best.model, finished))
        return replace(report, path=out, bytes=temporary.stat().st_size)


def _card(model: onnx.ModelProto, path: Path) -> ModelCard:
    card = card_from_metadata({entry.key: entry.value for entry in model.metadata_props})
    if card is None:
        raise ArtifactError(
            f"{path} carries no cake_edge metadata, so its input is unknown; "
            "export it with `cake-edge export`"
        )
    return card


def _check_ports(path: Path, card: ModelCard) -> None:
    """Refuses a graph that is no classifier, or is not the one that its card speaks of."""
    with OrtSession(path) as session:
        batch, *size = session.input_shape
    if isinstance(batch, int):
        raise ArtifactError(
            f"{path} takes batches of {batch} images only; export it with a dynamic batch"
        )
    if tuple(size) != card.spec.input_size:
        raise ArtifactError(
            f"{path} takes images of shape {size}, but its metadata says "
            f"{list(card.spec.input_size)}; export it again"
        )


def _variants(ready: onnx.ModelProto, dialect: Dialect, feed: Feed) -> list[_Variant]:
    """Both rules for ranges, then the better one with corrected biases."""
    names = quantized_tensors(ready, dialect)
    if not names:
        raise ArtifactError(
            f"the model holds no operator that {dialect.name} computes in INT8; keep the float file"
        )
    averaged = correctable_inputs(ready).intersection(names)
    observed = observe(ready, names, averaged, feed.calibration)
    reference = _logits(ready, feed.calibration)

    def variant(
        source: onnx.ModelProto, ranges: Mapping[str, Range], rule: str, corrected: bool
    ) -> _Variant:
        made = write_qdq(source, dialect, ranges)
        divergence = _divergence(reference, _logits(made, feed.calibration))
        return _Variant(
            model=made, ranges=ranges, rule=rule, corrected=corrected, divergence=divergence
        )

    plain = [
        variant(ready, ranges, rule, corrected=False)
        for rule, ranges in _range_tables(observed).items()
    ]
    better = min(plain, key=lambda one: one.divergence)
    corrected = correct_biases(ready, better.model, observed.means)
    return [*plain, variant(corrected, better.ranges, better.rule, corrected=True)]


def _range_tables(observed: Observed) -> dict[str, dict[str, Range]]:
    histograms = observed.histograms
    return {
        "minmax": {name: histogram.minmax for name, histogram in histograms.items()},
        "least-error": {name: least_error_range(each) for name, each in histograms.items()},
    }


def _logits(
    model: onnx.ModelProto, batches: Callable[[], Iterator[Images]]
) -> npt.NDArray[np.float64]:
    session = open_inference_session(
        model.SerializeToString(), session_options(), what="the model being quantized"
    )
    source = model.graph.input[0].name
    return np.concatenate([session.run(None, {source: images})[0] for images in batches()]).astype(
        np.float64
    )


def _divergence(reference: npt.NDArray[np.float64], candidate: npt.NDArray[np.float64]) -> float:
    """Mean over images of KL(softmax(reference) || softmax(candidate)), in nats."""
    wanted, given = _log_softmax(reference), _log_softmax(candidate)
    return float((np.exp(wanted) * (wanted - given)).sum(axis=1).mean())


def _log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalised: npt.NDArray[np.float64] = shifted - np.log(
        np.exp(shifted).sum(axis=1, keepdims=True)
    )
    return normalised


def _serialised(model: onnx.ModelProto, card: ModelCard) -> bytes:
    attach_card(model, card)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _report(
    model: Path, written: Path, best: _Variant, tried: list[_Variant], dialect: Dialect, feed: Feed
) -> QuantizeReport:
    with OrtSession(model) as before, OrtSession(written) as after:
        pairs = [(before.infer(images), after.infer(images)) for images in feed.kept_apart()]
    wanted, given = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return QuantizeReport(
        path=written,
        target=dialect.name,
        calibration_images=feed.calibration_images,
        checked_images=feed.checked_images,
        parity=compare(wanted, given),
        coverage=coverage(written),
        ranges=best.rule,
        methods=dict(sorted(Counter(each.method for each in best.ranges.values()).items())),
        bias_correction=best.corrected,
        divergence={variant.name: variant.divergence for variant in tried},
        bytes=written.stat().st_size,
    )


def _gate(report: QuantizeReport, config: QuantizeConfig) -> None:
    drop = 1 - report.parity.top1_agreement
    if config.max_agreement_drop is not None and drop > config.max_agreement_drop:
        raise GateFailed(
            f"INT8 names another class than the float model on {drop:.1%} of "
            f"{report.checked_images} images, more than the {config.max_agreement_drop:.1%} "
            "allowed; nothing was written. Give more images, or allow more"
        )


def _account(report: QuantizeReport) -> dict[str, object]:
    """The report for the card: without the place, and the size it cannot know."""
    told = report.to_dict()
    for name in ("path", "bytes"):
        del told[name]
    return told
