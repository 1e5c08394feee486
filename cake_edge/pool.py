"""A pool of synthetic images on disk: written once, shard by shard, resumable.

    POOL/pool.json                what it was made from; `complete` when every shard is there
    POOL/shard-00000.safetensors  images, logits, targets, steps

Shard k comes from its own seed, so neither an interruption nor the number of worker processes, nor
on CPUs the number of machines, changes a byte.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from cake_edge.batch import SyntheticBatch
from cake_edge.claims import claimed
from cake_edge.errors import ArtifactError, OutputExists, PoolError, UsageMistake
from cake_edge.hooks import statistics_layers
from cake_edge.losses.head import head_of
from cake_edge.precision import Precision, check_precision, mixed
from cake_edge.priors import declared
from cake_edge.progress import Progress, silent
from cake_edge.provenance import (
    atomic_path,
    read_json,
    refuse_existing,
    sha256_file,
    sha256_json,
    versions,
    write_json,
)
from cake_edge.ranks import ALONE, Rank, wait_for_files
from cake_edge.samplers.base import SamplerConfig
from cake_edge.samplers.common import shard_size
from cake_edge.samplers.needs import refuse_without_gradients
from cake_edge.spec import ImageSpec
from cake_edge.storage import Stored, decoded, encoded
from cake_edge.stored_images import MappedImages, read_tensors
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.workers import map_shards

__all__ = ["Pool", "open_pool", "shard_files", "synthesize", "synthesize_share"]

logger = logging.getLogger(__name__)

FORMAT = 1
SHARD = re.compile(r"shard-[0-9]{5,}\.safetensors")


@dataclass(frozen=True, slots=True)
class Pool:
    """A finished pool; images are read shard by shard."""

    path: Path
    about: Mapping[str, Any]
    """What `pool.json` says."""

    def __len__(self) -> int:
        return int(self.about["count"])

    @property
    def spec(self) -> ImageSpec:
        """The teacher's spec, whose normalised space the images are in."""
        return ImageSpec.from_dict(self.about["spec"])

    @property
    def teacher_digest(self) -> str:
        """Digest of the teacher that judged the images."""
        return str(self.about["teacher"])

    @property
    def digest(self) -> str:
        """SHA-256 over the manifest, and so over every shard."""
        return sha256_json(self.about)

    def check(self, rank: Rank = ALONE) -> None:
        """Reads every byte once a machine, shared among its ranks, and compares with the manifest.

        Raises:
            PoolError: a shard is missing or is not the one that was made.
        """
        entries = self.about["shards"][rank.local :: rank.neighbours]
        for file in _unlike(self.path, entries):
            what = "is not as it was made" if file.is_file() else "is missing"
            raise PoolError(
                f"{file} {what}: run the command that made the pool again, which mends it"
            )

    def shards(self) -> Iterator[SyntheticBatch]:
        """Yields the shards in order, float32 on the CPU.

        Raises:
            PoolError: a shard is missing or damaged.
        """
        spec = self.spec
        for entry in self.about["shards"]:
            yield _read_shard(self.path / entry["file"], spec)

    def batches(self, size: int) -> Iterator[SyntheticBatch]:
        """Yields batches of at most `size` images, in order."""
        for shard in self.shards():
            for index in torch.arange(len(shard)).split(size):
                yield shard.select(index)

    def images(self) -> MappedImages:
        """Returns the images where they lie, to be gathered by index."""
        files = [self.path / entry["file"] for entry in self.about["shards"]]
        sizes = [len(read_tensors(file)["targets"]) for file in files]
        return MappedImages(files, sizes, self.spec)

    def logits(self) -> torch.Tensor:
        """Returns the teacher's logits on every image, [N, classes]."""
        return torch.cat(
            [read_tensors(self.path / e["file"])["logits"] for e in self.about["shards"]]
        )

    def drawn(self) -> torch.Tensor:
        """Returns which images are as their prior drew them, and never pushed, [N] bool."""
        steps = [read_tensors(self.path / e["file"])["steps"] for e in self.about["shards"]]
        return torch.cat(steps) == 0

    def summary(self) -> dict[str, Any]:
        """What can be said of the pool without any data.

        Returns `images`, `pushed`, `hit_rate` (share of pushed images the teacher sees as their
        target, or sees the target label in), `class_histogram` (by the highest logit),
        `classes_covered`, `label_entropy` (of the histogram, as a share of the even one's),
        `teacher_confidence` (mean of the highest probability) and `statistics_layers` (whose
        BatchNorm statistics shaped the images; None where that was not asked for).
        """
        classes, head = self.spec.classes, head_of(self.spec)
        histogram = torch.zeros(classes, dtype=torch.int64)
        confidence, pushed, hit = 0.0, 0, 0
        for shard in self.shards():
            seen = shard.logits.argmax(1)
            histogram += torch.bincount(seen, minlength=classes)
            confidence += float(head.probabilities(shard.logits).amax(1).double().sum())
            aimed = shard.targets >= 0
            pushed += int(aimed.sum())
            hit += int(head.hits(shard.logits, shard.targets)[aimed].sum())
        share = histogram.double() / histogram.sum()
        entropy = float(-torch.xlogy(share, share).sum()) / math.log(max(2, classes))
        return {
            "images": len(self),
            "pushed": pushed,
            "hit_rate": hit / pushed if pushed else None,
            "class_histogram": histogram.tolist(),
            "classes_covered": int((histogram > 0).sum()),
            "label_entropy": entropy,
            "teacher_confidence": confidence / len(self),
            "statistics_layers": self.about.get("statistics_layers"),
        }


def open_pool(path: Path, *, teacher_digest: str | None = None) -> Pool:
    """Opens a finished pool.

    Args:
        path: the folder that `synthesize` wrote.
        teacher_digest: refuse a pool that another teacher judged.

    Raises:
        PoolError: there is no pool, it is unfinished, or another teacher's.
    """
    if not (path / "pool.json").is_file():
        raise PoolError(f"{path} is not a pool (it holds no pool.json); make one with synthesize")
    try:
        about = read_json(path / "pool.json")
        pool = Pool(path, about)
        if about["format"] != FORMAT:
            raise PoolError(
                f"{path} has pool format {about['format']}; this version reads {FORMAT}: "
                "make the pool again, or install the cake-edge that made it"
            )
        complete = bool(about["complete"])
        _ = pool.spec, pool.teacher_digest, len(pool), dict(about["config"])
        listed = [(_shard_name(s["file"]), s["sha256"]) for s in about.get("shards", ())]
    except (
        ArtifactError, UsageMistake, KeyError, OverflowError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise PoolError(f"the pool.json of {path} is damaged: {error}") from error
    if complete and not listed:
        raise PoolError(f"the pool.json of {path} is damaged: it lists no shards")
    if not complete:
        raise PoolError(
            f"the pool {path} is unfinished; run the command that made it again to go on"
        )
    if teacher_digest is not None and pool.teacher_digest != teacher_digest:
        raise PoolError(
            f"the pool {path} was made by another teacher (weights {pool.teacher_digest[:12]}…, "
            f"given {teacher_digest[:12]}…): its labels would be wrong; make a pool with this one"
        )
    return pool


def _shard_name(name: object) -> str:
    """The name of a shard, which lies in the pool itself."""
    if not isinstance(name, str) or SHARD.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of a shard")
    return name


def shard_files(out: Path, sampler: SamplerConfig, count: int) -> list[Path]:
    """Returns the names of the shards of a pool of `count` images, in order."""
    total = math.ceil(count / sampler.images_per_shard)
    return [out / f"shard-{index:05d}.safetensors" for index in range(total)]


def _holds_pool(out: Path) -> bool:
    """True where `out` holds a pool, of whatever state; False where one can be begun.

    Raises:
        OutputExists: something else is there.
    """
    manifest = out / "pool.json"
    if manifest.exists():
        return True
    try:
        refuse_existing(out, folder=True)
    except OutputExists:
        if not manifest.exists():  # another rank may have written it between the two looks
            raise
        return True
    return False


def synthesize(
    teacher: FrozenTeacher,
    sampler: SamplerConfig,
    out: Path,
    *,
    count: int,
    seed: int,
    precision: Precision = "float32",
    workers: int = 1,
    progress: Progress = silent,
) -> Pool:
    """Makes a pool of `count` images, or finishes one that was interrupted.

    Args and errors are those of `synthesize_share`.
    """
    pool = synthesize_share(
        teacher, sampler, out, rank=ALONE,
        count=count, seed=seed, precision=precision, workers=workers, progress=progress,
    )  # fmt: skip
    assert pool is not None  # one that is alone is the first
    return pool


def synthesize_share(
    teacher: FrozenTeacher,
    sampler: SamplerConfig,
    out: Path,
    *,
    rank: Rank,
    count: int,
    seed: int,
    precision: Precision = "float32",
    workers: int = 1,
    progress: Progress = silent,
) -> Pool | None:
    """Makes one rank's shards of a pool: every `rank.world`-th, into a folder that all share.

    The ranks do not talk. The first waits for the shards of the others and lists all of them in
    `pool.json`; a pool that lost shards after that is mended by the first alone.

    Args:
        out: a new folder, or one that the same call has begun, with however many ranks.
        rank: whose shards to make.
        precision: what the teacher, and a sampler's generator, compute in while images are moved;
            prior images and the stored logits are made in float32.
        workers: processes on a CPU; a CUDA teacher is always asked by this process alone.

    Returns:
        The pool, on the first rank; None on the others, which do not wait for it.

    Raises:
        UsageMistake: the sampler's settings do not fit, it follows gradients and the teacher gives
            none, or `count` is not positive.
        OutputExists: `out` holds something else.
        PoolError: `out` holds a pool of other settings, or the other ranks' shards do not come.
    """
    if count < 1:
        raise UsageMistake(f"count is {count}; a pool holds at least 1 image")
    check_precision(precision)
    maker = sampler.build(teacher, count=count, seed=seed)
    files = shard_files(out, sampler, count)
    if not (rank.first or rank.share(range(len(files)))):
        return None  # the others may be done, and their pool finished, before this one looks
    if not (out / "pool.json").exists():  # what was begun has passed
        refuse_without_gradients(sampler, teacher)
    plan = _plan(teacher, sampler, count=count, seed=seed, precision=precision)
    if rank.first and _holds_pool(out) and _begin(out, plan, rank):
        finished = open_pool(out)
        if not any(_unlike(out, finished.about["shards"])):
            return finished  # nothing is to be written, and nothing claimed
    with claimed(out, part=rank.index):
        return _made(
            teacher, sampler, maker, out, files, plan,
            rank=rank, workers=workers, progress=progress,
        )  # fmt: skip


def _made(
    teacher: FrozenTeacher,
    sampler: SamplerConfig,
    maker: Any,
    out: Path,
    files: Sequence[Path],
    plan: dict[str, Any],
    *,
    rank: Rank,
    workers: int,
    progress: Progress,
) -> Pool | None:
    """Makes what is missing of a rank's shards; the first rank then finishes the pool."""
    count = int(plan["count"])
    complete = _begin(out, plan, rank)
    if complete and (not rank.first or _whole(out, open_pool(out).about)):
        return open_pool(out) if rank.first else None
    # A finished pool that lost shards is mended by the first rank: the others have gone.
    mine = list(range(len(files))) if complete else rank.share(range(len(files)))
    for index in [] if complete else mine:
        _drop_unlike(files[index], teacher.spec, shard_size(sampler.images_per_shard, count, index))
    missing = [index for index in mine if not files[index].exists()]
    before = sum(file.exists() for file in files)

    def note(there: int) -> None:
        progress("synthesize", min(count, there * sampler.images_per_shard), count)

    note(before)
    map_shards(
        _ShardJob(maker, out, teacher.spec, sampler.stored, plan["precision"], teacher.device),
        missing,
        workers=workers if teacher.device.type == "cpu" else 1,
        note=lambda done: note(before + done),
    )
    if not rank.first:
        return None
    if not rank.alone:
        wait_for_files(files, note)
    shards = [{"file": file.name, "sha256": sha256_file(file)} for file in files]
    whole = {**plan, **_matched(teacher, sampler), "complete": True, "shards": shards}
    write_json(out / "pool.json", whole)
    return open_pool(out)


def _plan(
    teacher: FrozenTeacher, sampler: SamplerConfig, *, count: int, seed: int, precision: Precision
) -> dict[str, Any]:
    """What decides the images of a pool."""
    return {
        "format": FORMAT,
        "kind": "pool",
        "sampler": sampler.name,
        **declared(json.loads(json.dumps(sampler.to_dict()))),
        "count": count,
        "seed": seed,
        "precision": precision,
        "teacher": teacher.digest,
        "architecture": teacher.architecture,
        "spec": teacher.spec.to_dict(),
        "versions": versions(),
        "device": teacher.device.type,
    }


def _matched(teacher: FrozenTeacher, sampler: SamplerConfig) -> dict[str, int]:
    """How many layers' statistics a sampler that goes by them could match: maybe none."""
    asked = getattr(sampler, "statistics", 0) and getattr(sampler, "pushed_share", 1)
    return {"statistics_layers": len(statistics_layers(teacher.network))} if asked else {}


@dataclass(frozen=True, slots=True)
class _ShardJob:
    """Makes one shard and writes it; goes to worker processes whole."""

    maker: Any
    out: Path
    spec: ImageSpec
    stored: Stored
    precision: Precision
    device: torch.device

    def __call__(self, index: int) -> None:
        with mixed(self.precision, self.device):
            batch: SyntheticBatch = self.maker.shard(index)
        tensors = {
            "images": encoded(batch.images, self.spec, self.stored),
            "logits": batch.logits,
            "targets": batch.targets,
            "steps": batch.steps,
        }
        with atomic_path(self.out / f"shard-{index:05d}.safetensors") as temporary:
            save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, temporary)


def _begin(out: Path, plan: dict[str, Any], rank: Rank) -> bool:
    """Prepares `out`, refuses what is not ours; returns whether the pool was finished before."""
    manifest = out / "pool.json"
    if not _holds_pool(out):
        # Ranks begin at the same time, and all write the same: each under a name of its own.
        own = out / f".pool.json.{rank.index}.partial"
        write_json(own, {**plan, "complete": False})
        own.replace(manifest)
    found = read_json(manifest)
    complete = bool(found.get("complete"))
    # A finished pool is as good wherever it was made; a begun one goes on where it was begun.
    identity = plan.keys() - ({"device"} if complete else set())
    differs = sorted(key for key in identity if found.get(key) != plan[key])
    if differs:
        raise PoolError(
            f"{out} holds a pool of other settings (different: {', '.join(differs)}); "
            "choose another --out, or remove it"
        )
    return complete


def _whole(out: Path, about: Mapping[str, Any]) -> bool:
    """True where every shard has the hash it was recorded with; removes those that do not."""
    unlike = list(_unlike(out, about["shards"]))
    for file in unlike:
        file.unlink(missing_ok=True)
    return not unlike


def _drop_unlike(file: Path, spec: ImageSpec, size: int) -> None:
    """Removes a shard that an unfinished pool holds if it is damaged, or of another pool.

    It has no hash to be compared with yet, but a length, a shape and a number of classes.
    """
    if not file.exists():
        return
    try:
        tensors = read_tensors(file)
        fits = tensors["images"].shape == (size, *spec.input_size)
        fits = fits and tensors["logits"].shape == (size, spec.classes)
    except PoolError:
        fits = False
    if not fits:
        logger.warning("%s is damaged, or of another pool: it is made again", file)
        file.unlink(missing_ok=True)


def _unlike(folder: Path, entries: Sequence[Mapping[str, Any]]) -> Iterator[Path]:
    """Yields the files that are missing, or have another hash than was recorded."""
    for entry in entries:
        file = folder / entry["file"]
        if not file.is_file() or sha256_file(file) != entry["sha256"]:
            yield file


def _read_shard(path: Path, spec: ImageSpec) -> SyntheticBatch:
    tensors = read_tensors(path)
    return SyntheticBatch(
        images=decoded(tensors["images"], spec),
        logits=tensors["logits"],
        targets=tensors["targets"],
        steps=tensors["steps"],
    )
