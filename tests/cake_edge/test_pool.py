import copy
import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cake_edge.batch import SyntheticBatch
from cake_edge.claims import claimed
from cake_edge.errors import OutOfSpace, OutputExists, PoolError, UsageMistake
from cake_edge.pool import open_pool, synthesize, synthesize_share
from cake_edge.ranks import Rank
from cake_edge.samplers import CakeConfig, CakePaperConfig

QUICK = CakeConfig(steps=4, snapshots=2, oversample=2, images_per_shard=16, batch=16)


@pytest.fixture(scope="module")
def teacher(make_teacher):
    return make_teacher("plain")


@pytest.fixture(scope="module")
def pool(teacher, tmp_path_factory):
    return synthesize(teacher, QUICK, tmp_path_factory.mktemp("pools") / "p", count=40, seed=0)


def files_of(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_it_holds_what_the_sampler_made_shard_by_shard(pool, teacher):
    assert len(pool) == 40
    assert [len(shard) for shard in pool.shards()] == [16, 16, 8]
    assert [len(batch) for batch in pool.batches(10)] == [10, 6, 10, 6, 8]
    made = QUICK.build(teacher, count=40, seed=0).shard(1)
    stored = list(pool.shards())[1]
    assert torch.equal(stored.images, made.images)
    assert torch.equal(stored.logits, made.logits)


def test_images_are_gathered_from_where_they_lie(pool):
    whole = SyntheticBatch.concatenate(list(pool.shards()))
    images = pool.images()
    assert len(images) == 40
    index = torch.tensor([39, 0, 15, 16, 16, 31, 32])
    assert torch.equal(images.gather(index), whole.images[index])
    assert torch.equal(copy.copy(images).gather(index), whole.images[index])
    assert torch.equal(pool.logits(), whole.logits)
    assert load_file(pool.path / "shard-00000.safetensors")["images"].dtype == torch.float16


def test_workers_change_no_byte(pool, teacher, tmp_path):
    again = synthesize(teacher, QUICK, tmp_path / "p", count=40, seed=0, workers=2)
    assert files_of(again.path) == files_of(pool.path)
    assert again.digest == pool.digest


def two_ranks():
    return Rank(index=0, world=2, neighbours=2), Rank(index=1, world=2, local=1, neighbours=2)


def test_ranks_make_the_pool_of_one_process_without_a_word(pool, teacher, tmp_path):
    first, second = two_ranks()
    folder = tmp_path / "p"
    assert synthesize_share(teacher, QUICK, folder, rank=second, count=40, seed=0) is None
    assert sorted(files_of(folder)) == ["pool.json", "shard-00001.safetensors"]
    with pytest.raises(PoolError, match="unfinished"):
        open_pool(folder)
    made = synthesize_share(teacher, QUICK, folder, rank=first, count=40, seed=0)
    assert made.digest == pool.digest
    assert files_of(folder) == files_of(pool.path)
    assert synthesize_share(teacher, QUICK, folder, rank=second, count=40, seed=0) is None


def test_the_shards_of_a_rank_that_died_are_made_by_a_later_run(
    pool, teacher, tmp_path, monkeypatch
):
    first, _ = two_ranks()
    folder = tmp_path / "p"
    monkeypatch.setattr("cake_edge.ranks.PATIENCE", 0.0)
    with pytest.raises(PoolError, match=r"1 of 3 shards \(shard-00001.* give the same command"):
        synthesize_share(teacher, QUICK, folder, rank=first, count=40, seed=0)
    kept = (folder / "shard-00002.safetensors").stat().st_mtime_ns
    synthesize(teacher, QUICK, folder, count=40, seed=0)
    assert (folder / "shard-00002.safetensors").stat().st_mtime_ns == kept
    assert files_of(folder) == files_of(pool.path)


def test_the_first_rank_mends_a_finished_pool_alone(pool, teacher, tmp_path):
    first, second = two_ranks()
    folder = tmp_path / "p"
    synthesize(teacher, QUICK, folder, count=40, seed=0)
    (folder / "shard-00001.safetensors").write_bytes(b"damaged")
    assert synthesize_share(teacher, QUICK, folder, rank=second, count=40, seed=0) is None
    synthesize_share(teacher, QUICK, folder, rank=first, count=40, seed=0)
    assert files_of(folder) == files_of(pool.path)


def test_a_rank_without_a_shard_leaves_no_trace(teacher, tmp_path):
    _, second = two_ranks()
    assert synthesize_share(teacher, QUICK, tmp_path / "p", rank=second, count=4, seed=0) is None
    assert not (tmp_path / "p").exists()


def test_another_seed_makes_other_images(pool, teacher, tmp_path):
    other = synthesize(teacher, QUICK, tmp_path / "p", count=40, seed=1)
    assert other.digest != pool.digest


def test_an_interrupted_pool_goes_on_to_the_same_bytes(pool, teacher, tmp_path):
    def stop_after_first(task, done, total, note=""):
        if done > 0:
            raise KeyboardInterrupt

    folder = tmp_path / "p"
    with pytest.raises(KeyboardInterrupt):
        synthesize(teacher, QUICK, folder, count=40, seed=0, progress=stop_after_first)
    with pytest.raises(PoolError, match="unfinished"):
        open_pool(folder)
    (folder / ".shard-00001.safetensors.partial").write_bytes(b"half")
    first = (folder / "shard-00000.safetensors").stat().st_mtime_ns
    synthesize(teacher, QUICK, folder, count=40, seed=0)
    assert (folder / "shard-00000.safetensors").stat().st_mtime_ns == first
    assert files_of(folder) == files_of(pool.path)


def test_a_pool_of_bytes_goes_on_after_a_kill_to_the_same_bytes(pool, teacher, tmp_path):
    def stop_after_first(task, done, total, note=""):
        if done > 0:
            raise KeyboardInterrupt

    config, folder = replace(QUICK, stored="uint8"), tmp_path / "p"
    whole = synthesize(teacher, config, tmp_path / "whole", count=40, seed=0, workers=2)
    with pytest.raises(KeyboardInterrupt):
        synthesize(teacher, config, folder, count=40, seed=0, progress=stop_after_first)
    assert synthesize(teacher, config, folder, count=40, seed=0).digest == whole.digest
    assert files_of(folder) == files_of(whole.path)
    assert whole.digest != pool.digest
    assert whole.about["config"]["stored"] == "uint8"
    with pytest.raises(PoolError, match=r"different: config"):
        synthesize(teacher, QUICK, folder, count=40, seed=0)


def test_a_pool_of_bytes_holds_images_of_the_teacher_s_space_and_its_answers_on_them(
    pool, teacher, tmp_path
):
    config = replace(QUICK, stored="uint8")
    low = synthesize(teacher, config, tmp_path / "p", count=40, seed=0)
    for ours, theirs in zip(low.shards(), pool.shards(), strict=True):
        assert torch.equal(ours.logits, teacher(ours.images).detach())
        moved = (ours.images - theirs.images).abs() * teacher.spec.std[0]
        assert 0 < moved.max() <= 0.5 / 255 + 1e-3


def test_a_finished_pool_is_found_and_not_made_again(pool, teacher, monkeypatch):
    monkeypatch.setattr("cake_edge.pool.map_shards", None)
    assert synthesize(teacher, QUICK, pool.path, count=40, seed=0).digest == pool.digest


def test_a_shard_that_was_lost_or_damaged_is_made_again(pool, teacher, tmp_path):
    folder = tmp_path / "p"
    synthesize(teacher, QUICK, folder, count=40, seed=0)
    (folder / "shard-00000.safetensors").unlink()
    (folder / "shard-00002.safetensors").write_bytes(b"damaged")
    synthesize(teacher, QUICK, folder, count=40, seed=0)
    assert files_of(folder) == files_of(pool.path)


@pytest.mark.parametrize("lost", ["half", "images", "classes"])
def test_of_an_unfinished_pool_shards_that_cannot_be_its_own_are_made_again(
    lost, pool, teacher, tmp_path, caplog
):
    folder = tmp_path / "p"
    synthesize(teacher, QUICK, folder, count=40, seed=0)
    about = json.loads((folder / "pool.json").read_text())
    about["complete"] = False
    del about["shards"]
    (folder / "pool.json").write_text(json.dumps(about))
    shard = folder / "shard-00001.safetensors"
    if lost == "half":
        shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    else:
        tensors, name = load_file(shard), {"images": "images", "classes": "logits"}[lost]
        tensors[name] = tensors[name][:, :, 1:] if lost == "images" else tensors[name][:, 1:]
        save_file({key: t.contiguous() for key, t in tensors.items()}, shard)
    synthesize(teacher, QUICK, folder, count=40, seed=0)
    assert files_of(folder) == files_of(pool.path)
    assert "shard-00001.safetensors is damaged, or of another pool" in caplog.text


def test_a_pool_that_another_process_makes_is_left_to_it(teacher, tmp_path):
    with claimed(tmp_path / "p"), pytest.raises(OutputExists, match="another process is writing"):
        synthesize(teacher, QUICK, tmp_path / "p", count=40, seed=0)
    assert not (tmp_path / "p").exists()


def test_a_finished_pool_is_found_while_another_process_looks_at_it(pool, teacher):
    with claimed(pool.path):
        assert synthesize(teacher, QUICK, pool.path, count=40, seed=0).digest == pool.digest


def test_threads_change_no_byte(pool, teacher, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = synthesize(teacher, QUICK, tmp_path / "p", count=40, seed=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert files_of(again.path) == files_of(pool.path)


def test_other_settings_do_not_touch_a_pool_that_is_there(pool, teacher):
    before = files_of(pool.path)
    with pytest.raises(PoolError, match=r"different: count, seed"):
        synthesize(teacher, QUICK, pool.path, count=41, seed=1)
    assert files_of(pool.path) == before


def test_a_folder_with_something_else_is_refused(teacher, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(OutputExists):
        synthesize(teacher, QUICK, tmp_path, count=4, seed=0)
    assert files_of(tmp_path) == {"letter.txt": b"mine"}


def test_another_teacher_s_pool_is_refused(pool, make_teacher):
    with pytest.raises(PoolError, match="made by another teacher"):
        open_pool(pool.path, teacher_digest=make_teacher("plain", seed=9).digest)


def test_a_full_disk_is_said_and_leaves_no_half_shard(teacher, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cake_edge.pool.save_file", full)
    with pytest.raises(OutOfSpace, match="no space left"):
        synthesize(teacher, QUICK, tmp_path / "p", count=16, seed=0)
    assert [file.name for file in (tmp_path / "p").iterdir()] == ["pool.json"]


def test_damage_is_named(pool, teacher, tmp_path):
    folder = tmp_path / "p"
    synthesize(teacher, QUICK, folder, count=16, seed=0)
    shard = folder / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(PoolError, match=r"shard-00000.safetensors is damaged"):
        list(open_pool(folder).shards())
    shard.unlink()
    with pytest.raises(PoolError, match="lost its shard"):
        open_pool(folder).logits()
    about = json.loads((folder / "pool.json").read_text())
    for shards in ([], [1], [{"file": "x"}]):
        (folder / "pool.json").write_text(json.dumps({**about, "shards": shards}))
        with pytest.raises(PoolError, match=r"the pool\.json of .* is damaged"):
            open_pool(folder)
    (folder / "pool.json").write_text(json.dumps({k: v for k, v in about.items() if k != "config"}))
    with pytest.raises(PoolError, match="damaged"):
        open_pool(folder)
    (folder / "pool.json").write_text(json.dumps({"format": 1, "complete": True}))
    with pytest.raises(PoolError, match="damaged"):
        open_pool(folder)
    with pytest.raises(PoolError, match=r"holds no pool.json"):
        open_pool(tmp_path)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/hostname", 7, {}])
def test_a_list_that_names_other_files_is_refused_and_they_stay(teacher, tmp_path, name):
    folder, outside = tmp_path / "p", tmp_path / "outside.safetensors"
    synthesize(teacher, QUICK, folder, count=16, seed=0)
    outside.write_bytes(b"mine")
    about = json.loads((folder / "pool.json").read_text())
    about["shards"][0]["file"] = name
    (folder / "pool.json").write_text(json.dumps(about))
    with pytest.raises(PoolError, match="is not the name of a shard"):
        open_pool(folder)
    with pytest.raises(PoolError, match="is not the name of a shard"):
        synthesize(teacher, QUICK, folder, count=16, seed=0)
    assert outside.read_bytes() == b"mine"


def test_the_summary_counts_what_is_there(pool):
    batch, summary = SyntheticBatch.concatenate(list(pool.shards())), pool.summary()
    seen = batch.logits.argmax(1)
    assert summary["images"] == 40
    assert summary["pushed"] == int((batch.targets >= 0).sum()) > 0
    assert summary["class_histogram"] == torch.bincount(seen, minlength=4).tolist()
    assert summary["classes_covered"] == len(seen.unique())
    assert 0 <= summary["label_entropy"] <= 1
    assert summary["teacher_confidence"] == pytest.approx(
        float(batch.logits.softmax(1).amax(1).mean()), rel=1e-5
    )


@pytest.mark.parametrize(("network", "layers"), [("plain", 0), ("test_resnet", 15)])
def test_the_summary_says_whether_there_were_statistics_to_match(
    make_teacher, tmp_path, network, layers
):
    asked = synthesize(
        make_teacher(network), replace(QUICK, statistics=1.0), tmp_path / "a", count=16, seed=0
    )
    assert asked.summary()["statistics_layers"] == layers
    assert (
        "statistics_layers"
        not in synthesize(make_teacher(network), QUICK, tmp_path / "b", count=16, seed=0).about
    )


def test_the_summary_of_labels_counts_those_that_are_there(make_teacher, small_spec, tmp_path):
    teacher = make_teacher("plain", spec=replace(small_spec, head="sigmoid"))
    pool = synthesize(teacher, QUICK, tmp_path / "p", count=32, seed=0)
    batch, summary = SyntheticBatch.concatenate(list(pool.shards())), pool.summary()
    pushed = batch.targets >= 0
    there = batch.logits[pushed].gather(1, batch.targets[pushed, None]) > 0
    assert summary["hit_rate"] == pytest.approx(float(there.double().mean()))
    assert (
        summary["class_histogram"] == torch.bincount(batch.logits.argmax(1), minlength=4).tolist()
    )
    assert summary["teacher_confidence"] == pytest.approx(
        float(batch.logits.sigmoid().amax(1).mean()), rel=1e-5
    )


def test_a_full_precision_sampler_is_stored_in_full(make_teacher, tmp_path):
    config = CakePaperConfig(batch=8, tuple_size=4, steps=1, variation=1.0)
    pool = synthesize(make_teacher("plain"), config, tmp_path / "p", count=12, seed=0)
    stored = load_file(pool.path / "shard-00000.safetensors")
    assert stored["images"].dtype == torch.float32
    assert [len(shard) for shard in pool.shards()] == [8, 4]


def test_an_empty_pool_is_refused(teacher, tmp_path):
    with pytest.raises(UsageMistake, match="count is 0"):
        synthesize(teacher, QUICK, tmp_path / "p", count=0, seed=0)


def test_images_may_be_moved_in_bfloat16_but_are_judged_in_float32(pool, teacher, tmp_path):
    folder = tmp_path / "p"
    low = synthesize(teacher, QUICK, folder, count=40, seed=0, precision="bfloat16")
    ours, theirs = list(low.shards()), list(pool.shards())
    assert not torch.equal(ours[0].images, theirs[0].images)
    with torch.no_grad():
        for shard in ours:
            assert torch.equal(shard.logits, teacher(shard.images))
    # The other precision is another pool.
    with pytest.raises(PoolError, match="precision"):
        synthesize(teacher, QUICK, folder, count=40, seed=0)


def test_a_pool_of_the_user_s_images_declares_them_and_no_place(teacher, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.effect_noise((40, 30), 20 * number + 5).save(folder / f"{number}.png")
    settings = replace(QUICK, prior=f"folder:{folder}")
    pool = synthesize(teacher, settings, tmp_path / "pool", count=16, seed=0)
    said = pool.about["user_images"]
    assert (said["path"], said["count"], len(said["sha256"])) == ("photos", 3, 64)
    assert str(tmp_path) not in (tmp_path / "pool" / "pool.json").read_text()
    (tmp_path / "below").mkdir()
    moved = folder.rename(tmp_path / "below" / "photos")
    again = replace(QUICK, prior=f"folder:{moved}")
    assert synthesize(teacher, again, tmp_path / "pool", count=16, seed=0).digest == pool.digest
    (moved / "2.png").unlink()
    with pytest.raises(PoolError, match=r"other settings \(different: user_images\)"):
        synthesize(teacher, again, tmp_path / "pool", count=16, seed=0)


def test_a_pool_without_the_user_s_images_declares_none(pool):
    assert "user_images" not in pool.about


def test_what_is_not_as_it_was_made_is_found_before_it_is_used(teacher, tmp_path):
    folder = tmp_path / "p"
    made = synthesize(teacher, QUICK, folder, count=40, seed=0)
    made.check()
    shard = folder / "shard-00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    made.check(Rank(index=2, world=4, local=0, neighbours=2))  # its own part of its machine's
    beside = Rank(index=3, world=4, local=1, neighbours=2)
    for rank in (beside, Rank(index=0, world=2), Rank(index=1, world=2)):  # two on two machines
        with pytest.raises(PoolError, match=r"shard-00001\.safetensors is not as it was made"):
            made.check(rank)
    shard.unlink()
    with pytest.raises(PoolError, match="is missing: run the command that made the pool again"):
        made.check()
