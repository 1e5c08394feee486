from __future__ import annotations

import random

import numpy as np
import torch

from cake_edge.seeding import derive_seed, generator


def test_a_stream_repeats_and_another_differs():
    first = torch.rand(8, generator=generator(0, "pool", 3))
    assert torch.equal(first, torch.rand(8, generator=generator(0, "pool", 3)))
    for other in [(1, "pool", 3), (0, "pool", 4), (0, "student", 3), (0, 3, "pool"), (0,)]:
        assert not torch.equal(first, torch.rand(8, generator=generator(*other)))


def test_seeds_stay_what_they_were():
    # Stored pools are found again by what these give: a change here is a change of format.
    assert derive_seed(0) == 3456079177858693020
    assert derive_seed(7, "pool", 12) == 7344937120072517118


def test_seeds_fit_a_signed_word_and_do_not_collide():
    seeds = {derive_seed(seed, name, i) for seed in (0, 1) for name in "ab" for i in range(500)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_names_do_not_run_together():
    assert derive_seed(0, "ab", "c") != derive_seed(0, "a", "bc")
    assert derive_seed(0, 1, 2) != derive_seed(0, 12)


def test_the_global_random_state_is_left_alone():
    torch.rand(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    torch.randn(100, generator=generator(5, "x"))
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
