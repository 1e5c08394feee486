"""Finds, among the ways to quantize a model, the one that lies nearest to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx

from cake_edge.errors import ArtifactError
from exporters.quantize.bias import correct_biases, correctable_inputs
from exporters.quantize.body import half_body
from exporters.quantize.dialect import Dialect
from exporters.quantize.feed import Feed
from exporters.quantize.forms import in_form_of
from exporters.quantize.insert import rangeable_tensors, weighted_nodes, write_qdq
from exporters.quantize.judge import Judge, Score
from exporters.quantize.observe import Observed, observe
from exporters.quantize.ranges import TensorRanges, tensor_ranges
from exporters.quantize.reconstruct import reconstruct
from exporters.quantize.rescale import rescaled
from exporters.quantize.restore import restored
from exporters.quantize.rewrites import REWRITES, rewrite

__all__ = ["Candidate", "Search"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to quantize the model, and how far it lies from float."""

    source: onnx.ModelProto
    """The float model behind it, with what was done to it."""
    uncorrected: onnx.ModelProto
    """The same before its biases were corrected for the rounding of its weights."""
    plain: onnx.ModelProto
    """The same before its weights were rounded, too."""
    model: onnx.ModelProto
    """With Q and DQ."""
    observed: Observed
    """What `source` held, before its biases were corrected."""
    ranges: Mapping[str, TensorRanges]
    """By tensor."""
    rule: str
    """How ranges were chosen: "minmax" or "least-error"."""
    steps: tuple[str, ...] = ()
    """What was done to the float model, in order."""
    left_float: tuple[str, ...] = ()
    """Nodes that are not quantized although the dialect would."""
    four_bit: tuple[str, ...] = ()
    """Nodes whose weights have 4 bits."""
    score: Score
    """Distance from the float model on the judge's images."""

    @property
    def name(self) -> str:
        """What a report calls it."""
        parts = [self.rule, *self.steps]
        parts += [f"{len(self.four_bit)} in 4 bits"] if self.four_bit else []
        parts += [f"{len(self.left_float)} in float"] if self.left_float else []
        return "+".join(parts)


@dataclass(slots=True)
class Search:
    """The candidates for one model and one target; each method tries more and says the best."""

    ready: onnx.ModelProto
    """The float model as `prepare` gives it."""
    dialect: Dialect
    """The target's."""
    dialects: tuple[Dialect, ...]
    """All whose ranges the table is to hold, so that the file can change its dialect later."""
    feed: Feed
    """The images."""
    formed: onnx.ModelProto = field(init=False)
    """`ready` in the form that the target is fastest with."""
    observed: Observed = field(init=False)
    """What `formed` held."""
    judge: Judge = field(init=False)
    """On some of the calibration images."""
    divergence: dict[str, float] = field(default_factory=dict)
    """Of every candidate by its name; of the models only the nearest is held in memory."""
    _best: Candidate | None = None

    def __post_init__(self) -> None:
        if not weighted_nodes(self.ready, self.dialect):
            raise ArtifactError(
                f"the model holds no operator that {self.dialect.name} computes in INT8; "
                "keep the float file"
            )
        # The pass that finds the ranges gives the judge its reference as well.
        self.formed = in_form_of(self.ready, self.dialect)
        self.observed = self._observe(self.formed)
        self.judge = Judge(
            self.ready,
            self.feed.judging(),
            self.dialect,
            head=self.feed.spec.head,
            reference=self.observed.logits,
        )

    @property
    def best(self) -> Candidate:
        """The nearest so far."""
        if self._best is None:
            raise ValueError("nothing was tried yet")
        return self._best

    def ranges_and_bias(self, source: onnx.ModelProto, steps: tuple[str, ...] = ()) -> Candidate:
        """Tries both rules for ranges on a float model, then the better one with biases corrected.

        Args:
            source: a model that computes what `ready` does.
            steps: what made it of `ready`.
        """
        if source is self.ready:
            source, observed = self.formed, self.observed
        else:
            source = in_form_of(source, self.dialect)
            observed = self._observe(source)
        widest, nearest = (self._table(observed, rule) for rule in ("minmax", "least-error"))
        first = self.write(source, observed, widest, "minmax", steps)
        second = self.write(source, observed, nearest, "least-error", steps, like=first)
        better = min(first, second, key=lambda one: one.score.divergence)
        return min(better, self.correct(better), key=lambda one: one.score.divergence)

    def correct(self, candidate: Candidate) -> Candidate:
        """Tries a candidate with biases that make up for its rounded weights."""
        source = candidate.uncorrected
        corrected = correct_biases(source, candidate.model, candidate.observed.means)
        return self.write(
            corrected,
            candidate.observed,
            candidate.ranges,
            candidate.rule,
            (*candidate.steps, "bias"),
            left_float=candidate.left_float,
            four_bit=candidate.four_bit,
            uncorrected=source,
            plain=candidate.plain,
            like=candidate,
        )

    def rewrites(self) -> None:
        """Tries the float model after each rewrite that applies, and after all of them.

        Channels are observed on the judge's images alone: scales need no more.
        """
        kept: list[str] = []
        for name in (*REWRITES, None):
            names = (name,) if name is not None else tuple(kept)
            if name is None and len(kept) < 2:
                continue
            changed, records = rewrite(self.ready, names, self.feed.judging)
            done = tuple(record.name for record in records if record.kept and record.places)
            kept += done if name is not None else ()
            if done:
                self.ranges_and_bias(changed, done)

    def rounding(self) -> None:
        """Tries the best candidate with weights rounded so that the layers' outputs are kept."""
        base = self.best
        bits = self.dialect.weight_bits
        rounded, records = reconstruct(base.uncorrected, self.feed.calibration, bits=bits)
        if any(record.reconstructed for record in records):
            steps = tuple(step for step in base.steps if step != "bias")
            plain = self.write(
                rounded, base.observed, base.ranges, base.rule, (*steps, "rounding"),
                left_float=base.left_float, four_bit=base.four_bit, plain=base.plain,
            )  # fmt: skip
            self.correct(plain)

    def round_narrow(self, base: Candidate) -> Candidate:
        """Returns a candidate whose 4-bit weights are rounded so that outputs are kept."""
        rounded, _ = reconstruct(
            base.uncorrected, self.feed.calibration, bits=4, nodes=base.four_bit
        )
        steps = tuple(step for step in base.steps if step != "bias")
        plain = self.write(
            rounded, base.observed, base.ranges, base.rule, (*steps, "rounding"),
            left_float=base.left_float, four_bit=base.four_bit, plain=base.plain,
        )  # fmt: skip
        return min(base, plain, self.correct(plain), key=lambda one: one.score.divergence)

    def write(
        self,
        source: onnx.ModelProto,
        observed: Observed,
        ranges: Mapping[str, TensorRanges],
        rule: str,
        steps: tuple[str, ...],
        *,
        left_float: tuple[str, ...] = (),
        four_bit: tuple[str, ...] = (),
        uncorrected: onnx.ModelProto | None = None,
        plain: onnx.ModelProto | None = None,
        like: Candidate | None = None,
        record: bool = True,
    ) -> Candidate:
        """Writes and scores one candidate.

        Args:
            uncorrected: `source` itself if not given.
            plain: `source` itself if not given.
            like: one that differs in ranges and biases alone; it saves time.
            record: whether it counts among those tried.
        """
        half = self.dialect.body == "float16"
        if like is not None and not four_bit and not half:
            model = rescaled(like.model, source, self.dialect, ranges)
        else:
            model = write_qdq(
                source, self.dialect, ranges, left_float=left_float, four_bit=four_bit
            )
            model = half_body(model) if half else model
        candidate = Candidate(
            source=source, uncorrected=uncorrected or source, plain=plain or source, model=model,
            observed=observed, ranges=ranges, rule=rule, steps=steps,
            left_float=left_float, four_bit=four_bit, score=self.judge.score(model),
        )  # fmt: skip
        if record:
            self.divergence[candidate.name] = candidate.score.divergence
            if self._best is None or candidate.score.divergence < self._best.score.divergence:
                self._best = candidate
        return candidate

    def in_float(
        self, candidate: Candidate, nodes: tuple[str, ...], *, record: bool = True
    ) -> Candidate:
        """Writes a candidate with these nodes in float as well, with the weights they came with."""
        left = (*candidate.left_float, *nodes)
        return self.write(
            restored(candidate.source, candidate.plain, left), candidate.observed,
            candidate.ranges, candidate.rule, candidate.steps, left_float=left,
            four_bit=tuple(name for name in candidate.four_bit if name not in left),
            uncorrected=restored(candidate.uncorrected, candidate.plain, left),
            plain=candidate.plain, record=record,
        )  # fmt: skip

    def in_four_bits(
        self, candidate: Candidate, nodes: tuple[str, ...], *, record: bool = True
    ) -> Candidate:
        """Writes a candidate with the weights of these nodes, and no others, in 4 bits.

        Its biases are not corrected: those of the candidate are for another rounding.
        """
        return self.write(
            candidate.uncorrected, candidate.observed, candidate.ranges, candidate.rule,
            tuple(step for step in candidate.steps if step != "bias"),
            left_float=candidate.left_float, four_bit=nodes, plain=candidate.plain, record=record,
        )  # fmt: skip

    def _observe(self, source: onnx.ModelProto) -> Observed:
        names = rangeable_tensors(source, self.dialects)
        averaged = correctable_inputs(source).intersection(names)
        step = self.feed.judging_step
        return observe(source, names, averaged, self.feed.calibration, logits_every=step)

    @staticmethod
    def _table(observed: Observed, rule: str) -> dict[str, TensorRanges]:
        return {
            name: tensor_ranges(histogram, least_error=rule == "least-error")
            for name, histogram in observed.histograms.items()
        }
