"""The whole job: teacher → pool → student → ONNX → INT8 → accuracy, latency → report.

Every stage is skipped when a run folder already holds its result. Real images are read by one
stage, `evaluate`, after every file that could be changed by them is finished.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cake_edge.assistant import load_assistant
from cake_edge.checkpoint import load_checkpoint
from cake_edge.claims import claimed
from cake_edge.distill import DistillConfig, distill
from cake_edge.errors import DatasetError, UsageMistake
from cake_edge.evaluate import evaluate_many, open_dataset
from cake_edge.networks import parameter_count
from cake_edge.pictures import write_sheets
from cake_edge.pool import Pool, open_pool, shard_files, synthesize
from cake_edge.precision import refuse_unsound
from cake_edge.priors import declared
from cake_edge.progress import Progress, silent
from cake_edge.provenance import environment, sha256_file, versions
from cake_edge.ranks import refuse_ranks
from cake_edge.recipe import Recipe, load_recipe, placeless_values
from cake_edge.report_rows import data_free, distill_section, int8_section, model_row
from cake_edge.samplers.needs import refuse_without_gradients
from cake_edge.stages import Run, open_run
from cake_edge.students import StudentConfig, build_student
from cake_edge.teachers import load_teacher
from cake_edge.teachers.adapters import fixed_batch
from cake_edge.teachers.frozen import FrozenTeacher
from exporters.artifact import ModelCard
from exporters.latency.environment import latency_environment, load_average
from exporters.latency.harness import LatencyConfig, measure, paired_ratio, random_images
from exporters.onnx_export import export_onnx, export_teacher
from exporters.quantize import QuantizeConfig, quantize
from exporters.quantize.config import FEWEST_IMAGES
from exporters.report import build_report, write_report
from exporters.runtimes import (
    OrtSession,
    open_for_accuracy,
    open_session,
    read_card,
    why_not_here,
)

__all__ = ["demo_recipe", "pool_images", "run_recipe"]

logger = logging.getLogger(__name__)

ASSETS = Path(__file__).parent / "assets"
MADE = ("seed", "teacher", "synthesis", "assistant", "student", "distill")
"""Tables of a recipe that decide the student; what else it says can change within a run folder."""


def demo_recipe() -> Recipe:
    """Returns the recipe of `cake-edge demo`: the embedded teacher and its test images."""
    return load_recipe(ASSETS / "demo.toml")


def run_recipe(
    recipe: Recipe,
    out: Path,
    *,
    device: torch.device,
    teacher: FrozenTeacher | None = None,
    threads: int = 1,
    workers: int = 1,
    data: Path | None = None,
    command: str = "cake_edge.run_recipe(…)",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Runs a recipe into a folder, or finishes a run that was cut short; returns the report.

    Args:
        out: a new folder, or one that the same recipe has begun.
        device: where to compute.
        teacher: the recipe's, on that device, where it has been loaded before.
        threads: threads of this process on a CPU, and of a model whose latency is measured; one
            is what makes equal seeds give equal bytes.
        workers: processes on a CPU. They change how long the run takes and nothing else.
        data: real images for the evaluation, in place of the recipe's.
        command: what the report names as its origin.

    Raises:
        CakeEdgeError: any of the stages refuses, for the reason it states.
    """
    refuse_ranks("a whole job")
    data = data or (Path(recipe.evaluation.data) if recipe.evaluation.data else None)
    if data is not None and not data.exists():
        raise DatasetError(f"there is no evaluation data at {data}; give a folder or a .npz file")
    if data is not None and not data.is_dir() and data.suffix.lower() != ".npz":
        raise DatasetError(
            f"the evaluation data {data} is neither a folder nor a .npz file; give one of them"
        )
    torch.set_num_threads(threads)
    teacher = teacher or load_teacher(recipe.teacher, device=device, seed=recipe.seed)
    _refuse_early(recipe, teacher)
    with claimed(out):
        run = open_run(out, _head(recipe))
        job = _Job(recipe, run, teacher, threads, workers, command, progress)
        return _stages(job, data)


def _stages(job: _Job, data: Path | None) -> dict[str, Any]:
    """The stages in order, each of which finds by itself what it has done before."""
    recipe, out = job.recipe, job.run.folder
    job.export_teacher()
    pool = job.synthesize()
    job.assist(pool)
    trained = job.distill(pool)
    job.export_student()
    quantized = {target: job.quantize(pool, target) for target in recipe.targets}
    accuracy = job.evaluate(data) if data is not None else {}
    latency = job.bench()
    report = job.report(pool, trained, quantized, accuracy, latency, data)
    write_report(out, report)
    return report


def _refuse_early(recipe: Recipe, teacher: FrozenTeacher) -> None:
    """Builds the sampler and the networks to be trained: a mistake shows before the work."""
    synthesis = recipe.synthesis
    if recipe.targets and synthesis.count < FEWEST_IMAGES:
        raise UsageMistake(
            f"synthesis.count is {synthesis.count}; to quantize for {', '.join(recipe.targets)} at "
            f"least {FEWEST_IMAGES} images are needed, and a few hundred serve better"
        )
    synthesis.settings.build(teacher, count=synthesis.count, seed=recipe.seed)
    refuse_without_gradients(synthesis.settings, teacher)
    small = {"student": recipe.student}
    if recipe.assistant is not None:
        small["assistant"] = recipe.assistant.student
    for what, config in small.items():
        network, _, _ = build_student(config, teacher.spec, seed=recipe.seed)
        if recipe.distill.precision == "bfloat16":
            shown = torch.zeros(2, *teacher.spec.input_size, device=teacher.device)
            refuse_unsound(network.to(teacher.device), shown, what)


def pool_images(pool: Pool, size: int, most: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yields at most `most` images of a pool as arrays [n, C, H, W], of its whole length alike.

    From every shard the same number, at places that spread over the shard: of every kind, and of
    every step size where a sampler changes it from shard to shard.
    """
    share = -(-most // len(pool.about["shards"]))
    for shard in pool.shards():
        images = shard.images.numpy()
        spread = np.argsort(np.arange(len(images)) * 0.6180339887 % 1.0, kind="stable")[:share]
        for part in np.array_split(spread, -(-len(spread) // size)):
            yield np.ascontiguousarray(images[part])


def _head(recipe: Recipe) -> dict[str, Any]:
    """What `run.json` says: the recipe without places on this machine."""
    values: dict[str, Any] = json.loads(json.dumps(placeless_values(recipe)))
    made = {key: values.pop(key) for key in MADE if key in values}
    return {"kind": "run", "made": made, "measured": values}


@dataclass(slots=True)
class _Job:
    """One run of one recipe; its methods are the stages, in order."""

    recipe: Recipe
    run: Run
    teacher: FrozenTeacher
    threads: int
    workers: int
    command: str
    progress: Progress

    @property
    def teacher_file(self) -> Path:
        return self.run.folder / "artifacts" / "teacher.fp32.onnx"

    @property
    def student_file(self) -> Path:
        return self.run.folder / "artifacts" / "student.fp32.onnx"

    @property
    def checkpoint(self) -> Path:
        return self.run.folder / "student" / "student.safetensors"

    @property
    def assistant_file(self) -> Path:
        return self.run.folder / "assistant" / "assistant.safetensors"

    def quantized_file(self, target: str) -> Path:
        return self.run.folder / "artifacts" / f"student.int8.{target}.onnx"

    def model_files(self) -> list[Path]:
        """Every ONNX file of the run: the teacher first, then the student's."""
        return [
            self.teacher_file,
            self.student_file,
            *(self.quantized_file(target) for target in self.recipe.targets),
        ]

    def _inside(self, file: Path) -> str:
        """The path below the run folder: a run can be moved."""
        return file.relative_to(self.run.folder).as_posix()

    def export_teacher(self) -> None:
        """Writes the teacher as ONNX."""
        teacher = self.teacher
        card = ModelCard(
            architecture=teacher.architecture,
            spec=teacher.spec,
            role="teacher",
            parent=teacher.digest,
            parameters=teacher.parameters_total,
            manifest={"arguments": dict(teacher.arguments), "versions": versions()},
        )

        def write(file: Path) -> None:
            export_teacher(teacher.network, file, card, batch=fixed_batch(teacher.network))

        self._export("export-teacher", write, self.teacher_file, card)

    def synthesize(self) -> Pool:
        """Makes the pool."""
        recipe, folder = self.recipe, self.run.folder / "pool"
        wanted = recipe.synthesis

        def work() -> Mapping[str, Any]:
            pool = synthesize(
                self.teacher, wanted.settings, folder, count=wanted.count, seed=recipe.seed,
                precision=wanted.precision, workers=self.workers, progress=self.progress,
            )  # fmt: skip
            return {"summary": pool.summary()}

        made = declared(json.loads(json.dumps(wanted.settings.to_dict())))
        key = {
            "teacher": self.teacher.digest,
            "sampler": wanted.sampler,
            "settings": made.pop("config"),
            **made,
            "count": wanted.count,
            "precision": wanted.precision,
            "seed": recipe.seed,
            "versions": versions(),
        }
        shards = shard_files(folder, wanted.settings, wanted.count)
        self.run.stage("synthesize", key, [folder / "pool.json", *shards], work)
        return open_pool(folder, teacher_digest=self.teacher.digest)

    def assist(self, pool: Pool) -> None:
        """Trains the assistant, where the recipe has one."""
        assistant, config = self.recipe.assistant, self.recipe.distill
        if assistant is not None:
            config = assistant.training(config)
            self._train("distill-assistant", assistant.student, config, pool, self.assistant_file)

    def distill(self, pool: Pool) -> Mapping[str, Any]:
        """Trains the student."""
        recipe = self.recipe
        by = self.assistant_file if recipe.assistant is not None else None
        return self._train("distill", recipe.student, recipe.distill, pool, self.checkpoint, by=by)

    def _train(
        self,
        stage: str,
        student: StudentConfig,
        config: DistillConfig,
        pool: Pool,
        out: Path,
        *,
        by: Path | None = None,
    ) -> Mapping[str, Any]:
        """Trains a network on the pool: from the teacher, or from the assistant in file `by`."""

        def work() -> Mapping[str, Any]:
            trained = distill(
                self.teacher, student, pool, config, out, seed=self.recipe.seed,
                assistant=load_assistant(by, self.teacher) if by is not None else None,
                workers=max(0, self.workers - 1), progress=self.progress,
            )  # fmt: skip
            return {**trained.to_dict(), "path": self._inside(out)}

        key = {
            "pool": pool.digest,
            "student": json.loads(json.dumps(dataclasses.asdict(student))),
            "config": dataclasses.asdict(config),
            **({"assistant": sha256_file(by)} if by is not None else {}),
            "seed": self.recipe.seed,
            "versions": versions(),
        }
        return self.run.stage(stage, key, [out], work)

    def export_student(self) -> None:
        """Writes the student as ONNX."""
        network, about = load_checkpoint(self.checkpoint)
        card = ModelCard(
            architecture=about.architecture,
            spec=about.spec,
            role="student",
            parent=sha256_file(self.checkpoint),
            parameters=parameter_count(network),
            manifest={"arguments": dict(about.arguments), "versions": versions()},
        )
        self._export(
            "export-student", lambda file: export_onnx(network, file, card), self.student_file, card
        )

    def _export(
        self, stage: str, write: Callable[[Path], object], file: Path, card: ModelCard
    ) -> None:
        def work() -> Mapping[str, Any]:
            write(file)
            return {}

        self.run.stage(stage, {"card": json.loads(card.to_json())}, [file], work)

    def quantize(self, pool: Pool, target: str) -> Mapping[str, Any]:
        """Writes the student's INT8 file for one target, its ranges taken from the pool."""
        out, config = self.quantized_file(target), _quantize_config(self.recipe)

        def work() -> Mapping[str, Any]:
            self.progress("quantize", 0, 1, target)
            result = quantize(
                self.student_file,
                out,
                lambda: pool_images(pool, 32, config.images),
                target=target,
                config=config,
            )
            self.progress("quantize", 1, 1, target)
            return {**result.to_dict(), "path": self._inside(out), "target": target}

        key = {
            "student": sha256_file(self.student_file),
            "pool": pool.digest,
            "target": target,
            "config": json.loads(json.dumps(dataclasses.asdict(config))),
            "versions": versions(),
        }
        return self.run.stage(f"quantize-{target}", key, [out], work)

    def evaluate(self, data: Path) -> Mapping[str, Any]:
        """Measures every file on real images: the only stage that reads any."""
        files, limit = self.model_files(), self.recipe.evaluation.limit

        def work() -> Mapping[str, Any]:
            dataset = open_dataset(data, self.teacher.spec).limited(limit)
            with ExitStack() as stack:
                sessions = {
                    file.name: stack.enter_context(open_for_accuracy(file, threads=self.threads))
                    for file in files
                }
                found = evaluate_many(
                    {name: session.infer for name, session in sessions.items()},
                    dataset,
                    reference=self.teacher_file.name,
                    progress=self.progress,
                )
            return {name: evaluation.to_dict() for name, evaluation in found.items()}

        key = {
            "models": [sha256_file(file) for file in files],
            "emulated": [f.name for f in files if why_not_here(read_card(f))],
            "data": _fingerprint_for_evaluation(data),
            "limit": limit,
            "versions": versions(),
        }
        return self.run.stage("evaluate", key, [], work)

    def _bench_config(self) -> LatencyConfig:
        """The recipe's; with the teacher's own batch, where its file takes no other."""
        config = self.recipe.bench
        with OrtSession(self.teacher_file, optimise=False) as session:
            batch = session.input_shape[0]
        if not isinstance(batch, int) or batch == config.batch:
            return config
        logger.warning(
            "latency is measured for %d images at a time instead of %d: the teacher takes no "
            "other number",
            batch, config.batch,
        )  # fmt: skip
        return dataclasses.replace(config, batch=batch)

    def bench(self) -> Mapping[str, Any]:
        """Measures the latency of every file that is meant for this machine, all taking turns."""
        files = [f for f in self.model_files() if why_not_here(read_card(f)) is None]
        config = self._bench_config()

        def work() -> Mapping[str, Any]:
            before = load_average()
            with ExitStack() as stack:
                sessions = [
                    stack.enter_context(
                        open_session(file, threads=self.threads, fixed_batch=config.batch)
                    )
                    for file in files
                ]
                images = [random_images(self.teacher.spec.input_size, config)] * len(files)
                results = measure(sessions, images, config, self.progress)
                runtime = sessions[0].describe()
            timed = dict(zip((file.name for file in files), results, strict=True))
            teacher, student = results[:2]
            return {
                "latency": {name: one.to_dict() for name, one in timed.items()},
                "speedup": {n: paired_ratio(teacher, one).to_dict() for n, one in timed.items()},
                "over_student_fp32": {
                    name: paired_ratio(student, one).to_dict()
                    for name, one in list(timed.items())[2:]
                },
                "environment": latency_environment(threads=self.threads, load_before=before),
                "runtime": runtime,
            }

        key = {
            "models": [sha256_file(file) for file in files],
            "threads": self.threads,
            "config": dataclasses.asdict(config),
            "environment": environment(),
        }
        return self.run.stage("bench", key, [], work)

    def report(
        self,
        pool: Pool,
        trained: Mapping[str, Any],
        quantized: Mapping[str, Mapping[str, Any]],
        accuracy: Mapping[str, Any],
        latency: Mapping[str, Any],
        data: Path | None,
    ) -> dict[str, Any]:
        """Puts the report together from what the stages recorded."""
        records = self.run.records
        made = next(r.result for r in records if r.name == "synthesize")
        spec, head = self.teacher.spec, _head(self.recipe)
        labels = list(spec.labels) if spec.labels is not None else None
        return build_report(
            manifest={
                "command": self.command,
                "seed": self.recipe.seed,
                "name": self.recipe.name,
                "recipe": {**head["made"], **head["measured"]},
                "teacher": self.teacher.digest,
                "pool": pool.digest,
            },
            stages=[record.to_dict() for record in records],
            models=[
                model_row(self.run.folder, file, accuracy.get(file.name), latency)
                for file in self.model_files()
            ],
            environment=latency["environment"] | {"runtime": latency["runtime"]},
            data_free=data_free(accuracy, data, pool.about.get("user_images")),
            images=write_sheets(pool, self.run.folder / "images"),
            pool={**made["summary"], "labels": labels},
            distill=distill_section(
                trained, next((r.result for r in records if r.name == "distill-assistant"), None)
            ),
            quantize={
                target: int8_section(
                    result, self.recipe.quantize,
                    latency["over_student_fp32"].get(self.quantized_file(target).name),
                )
                for target, result in quantized.items()
            },
        )  # fmt: skip


def _quantize_config(recipe: Recipe) -> QuantizeConfig:
    """The recipe's own, and what follows from the rest of it."""
    config, wanted = recipe.quantize, recipe.synthesis
    if wanted.sampler == "cake-paper" or getattr(wanted.settings, "prior", None) == "gaussian":
        # Noise that was asked for by name; its pool comes from there.
        config = dataclasses.replace(config, allow_noise=True)
    # The stage bench times the same two files; what may be refused is timed before it is written.
    timed = config.latency_seconds if config.when_slower == "refuse" else 0.0
    return dataclasses.replace(config, latency_seconds=timed)


def _fingerprint_for_evaluation(data: Path) -> Any:
    """What tells one data set from another: a file's hash, or a folder's names, sizes, times."""
    if data.is_file():
        return sha256_file(data)
    return [
        [file.relative_to(data).as_posix(), file.stat().st_size, file.stat().st_mtime_ns]
        for file in sorted(data.rglob("*"))
        if file.is_file()
    ]
