"""SIGKILL at random moments, then the run is started again: the bytes are the undisturbed run's."""

import time

import pytest

from benchmarks.kill_resume import RECIPE, hashes, kill_and_resume, kill_moments, start


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.replace("count = 480", "count = 240").replace("4000", "150"))
    started = time.monotonic()
    assert start(recipe, tmp_path / "whole").wait() == 0
    whole = time.monotonic() - started
    moments = kill_moments(whole, idle=0.4 * whole, kills=3, seed=0)
    assert kill_and_resume(recipe, tmp_path / "killed", moments) >= 1
    found = hashes(tmp_path / "whole")
    assert {name.split("/")[0] for name in found} == {"pool", "student", "artifacts"}
    assert hashes(tmp_path / "killed") == found
