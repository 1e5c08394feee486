"""SIGKILL at random moments, then the run is started again: the bytes are the undisturbed run's."""

import random
import time

import pytest

from benchmarks.kill_resume import RECIPE, hashes, kill_and_resume, start


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    started = time.monotonic()
    assert start(recipe, tmp_path / "whole").wait() == 0
    whole = time.monotonic() - started
    moments = [random.Random(k).uniform(0.35, 0.9) * whole for k in range(3)]
    assert kill_and_resume(recipe, tmp_path / "killed", moments) >= 1
    found = hashes(tmp_path / "whole")
    assert {name.split("/")[0] for name in found} == {"pool", "student", "artifacts"}
    assert hashes(tmp_path / "killed") == found
