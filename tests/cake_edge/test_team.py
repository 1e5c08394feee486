"""Two processes that talk through gloo train what one trains; a rank that dies costs little."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch

from cake_edge import team
from cake_edge.checkpoint import load_checkpoint
from cake_edge.distill import DistillConfig, distill, distill_share
from cake_edge.errors import RuntimeUnavailable, UsageMistake
from cake_edge.pool import synthesize
from cake_edge.ranks import Rank
from cake_edge.samplers import CakeConfig
from cake_edge.students import StudentConfig

needs_accelerate = pytest.mark.skipif(
    importlib.util.find_spec("accelerate") is None, reason="Accelerate is not installed"
)
WITHOUT_NORMS = StudentConfig(name="test_vit", arguments={"img_size": 16})
WITH_NORMS = StudentConfig(name="resnet10t", arguments={"channels": [4, 4, 4, 8], "stem_width": 4})
# Muon computes in bfloat16, which makes much of the last bits of a gradient; AdamW does not.
CONFIG = DistillConfig(steps=24, batch=32, optimiser="adamw", learning_rate=0.004)

PROGRAM = """
import json, os, signal, sys
from pathlib import Path

import torch

from cake_edge import diagnostics, training
from cake_edge.distill import DistillConfig, distill_share
from cake_edge.networks import build_network
from cake_edge.pool import open_pool
from cake_edge.ranks import rank_here
from cake_edge.students import StudentConfig
from cake_edge.teachers.frozen import FrozenTeacher

torch.set_num_threads(1)
training.SAVE_SECONDS = 0.0
diagnostics.MANY, diagnostics.FEW = 192, 64  # as in this process
folder, name, dies_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[4])
arguments = json.loads(sys.argv[3])
rank, pool = rank_here(), open_pool(folder / "pool")
network = build_network("test_resnet", channels=1, classes=4, seed=0, arguments={})
teacher = FrozenTeacher(network, pool.spec, architecture="test_resnet")
seen = []

def progress(task, done, total, note=""):
    seen.append(done)
    if rank.index == 1 and done == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)

result = distill_share(
    teacher, StudentConfig(name=name, arguments=arguments), pool,
    DistillConfig(**json.loads(sys.argv[5])),
    folder / f"{name}.safetensors",
    rank=rank, seed=0, progress=progress,
)
print(json.dumps({"rank": rank.index, "seen": seen, "result": result and result.to_dict()}))
"""


@pytest.fixture(scope="module")
def teacher(make_teacher):
    return make_teacher("test_resnet")


@pytest.fixture(scope="module")
def folder(teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "program.py").write_text(PROGRAM)
    config = CakeConfig(steps=4, snapshots=2, oversample=2, images_per_shard=64, batch=64)
    synthesize(teacher, config, folder / "pool", count=128, seed=0)
    return folder


@pytest.fixture
def pool(folder):
    from cake_edge.pool import open_pool

    return open_pool(folder / "pool")


def on_two_ranks(folder, student, config=CONFIG, dies_at=0):
    """Runs the program on two ranks: what each of them printed, sorted by rank."""
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            str(folder / "program.py"), str(folder), student.name, json.dumps(student.arguments),
            str(dies_at), json.dumps(asdict(config)),
        ],
        capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode == 0) == (dies_at == 0), done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return sorted(lines, key=lambda line: line["rank"])


def answers(path, teacher):
    student, about = load_checkpoint(path)
    images = torch.rand((64, *teacher.spec.input_size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return student.eval()(images), about.manifest


@pytest.mark.slow
@needs_accelerate
def test_two_ranks_of_which_one_dies_train_the_student_of_one_process(
    folder, teacher, pool, tmp_path
):
    assert on_two_ranks(folder, WITHOUT_NORMS, dies_at=12) == []
    assert not (folder / "test_vit.safetensors").exists()
    first, second = on_two_ranks(folder, WITHOUT_NORMS)
    assert first["seen"][0] == second["seen"][0] > 1  # both went on from the first one's state
    assert second["result"] is None
    alone = distill(teacher, WITHOUT_NORMS, pool, CONFIG, tmp_path / "s.safetensors", seed=0)
    losses = [loss for _, loss in first["result"]["curve"]]
    assert losses == pytest.approx([loss for _, loss in alone.curve], rel=1e-3)
    given, manifest = answers(folder / "test_vit.safetensors", teacher)
    wanted, about = answers(alone.path, teacher)
    torch.testing.assert_close(given, wanted, rtol=0, atol=0.01 * float(wanted.std()))
    assert (manifest["ranks"], about["ranks"]) == ([2], [1])
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == []


@pytest.mark.slow
@needs_accelerate
def test_batch_norms_on_processors_see_a_part_of_the_batch_and_learn_as_well(
    folder, teacher, pool, tmp_path
):
    first, _ = on_two_ranks(folder, WITH_NORMS)
    alone = distill(teacher, WITH_NORMS, pool, CONFIG, tmp_path / "s.safetensors", seed=0)
    assert first["result"]["curve"][0][1] == pytest.approx(alone.curve[0][1], rel=0.1)
    assert first["result"]["curve"][-1][1] == pytest.approx(alone.curve[-1][1], rel=0.6)


@pytest.mark.slow
@needs_accelerate
def test_ranks_agree_on_when_a_student_has_settled(folder):
    config = replace(CONFIG, steps=80, schedule="until-settled", patience=1, learning_rate=1e-6)
    (folder / f"{WITHOUT_NORMS.name}.safetensors").unlink(missing_ok=True)
    first, second = on_two_ranks(folder, WITHOUT_NORMS, config)
    assert first["seen"] == second["seen"]
    # A tiny rate leads nowhere, which is seen at the eleventh look; the rate falls over a third.
    assert [step for step, _ in first["result"]["checks"]] == list(range(2, 24, 2))
    assert first["seen"][-1] == first["result"]["steps"] == 22 + 8


def test_without_accelerate_several_ranks_are_refused_in_a_sentence(
    teacher, pool, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    out = tmp_path / "s.safetensors"
    with pytest.raises(RuntimeUnavailable, match=r"on 2 ranks.*pip install 'cake-edge\[scale\]'"):
        distill_share(
            teacher, WITH_NORMS, pool, CONFIG, out, rank=Rank(world=2, neighbours=2), seed=0
        )
    assert not out.exists()


@pytest.mark.parametrize(("batch", "other"), [(33, 32), (2, 4)])
def test_a_batch_that_ranks_cannot_share_evenly_is_refused(teacher, pool, tmp_path, batch, other):
    with pytest.raises(UsageMistake, match=rf"batch is {batch}, and 2 ranks .* {other} for inst"):
        distill_share(
            teacher, WITH_NORMS, pool, replace(CONFIG, batch=batch), tmp_path / "s.safetensors",
            rank=Rank(world=2, neighbours=2), seed=0,
        )  # fmt: skip


def test_one_that_is_alone_decides_and_averages_by_itself(tmp_path):
    value = torch.ones(3)
    assert team.SOLO.mean(value) is value
    assert team.SOLO.decide(lambda: True) is True
    with team.SOLO.file_of_first(tmp_path / "state") as path:
        assert path == tmp_path / "state"
