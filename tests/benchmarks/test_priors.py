"""The record of the speed of priors is what its figures say, and is of every prior there is."""

import json
import re

import pytest
import torch
from PIL import Image

from benchmarks.priors import COLUMNS, NOISE, PROMISES, SIDE, kept, measure, noise, sheet
from cake_edge.priors import PRIORS


@pytest.fixture(scope="module")
def result(root):
    return json.loads((root / "benchmarks/results/priors_speed.json").read_text())


def test_every_prior_was_measured_at_every_size(result):
    for side in PROMISES:
        assert set(result["sides"][side]) == {NOISE, *PRIORS, "folder:PATH", "photo:PATH"}
    assert result["threads"] == 1
    assert result["load"]["before"] is not None


def test_what_is_promised_is_kept_by_the_figures(result, root):
    assert result["kept"] == kept(result["sides"]) == {"32": True, "224": True}
    said = (root / "docs/priors.md").read_text(encoding="utf-8")
    assert PROMISES == {"32": 2000, "224": 100}
    assert re.search(r"at least 2 000 images a second at 32 .*, and 100 at 224", said)


def test_a_promise_that_is_not_kept_is_seen(result):
    worse = json.loads(json.dumps(result["sides"]))
    worse["224"]["leaves"]["images_per_processor_second"] = 99
    assert kept(worse) == {"32": True, "224": False}


def test_ratios_are_to_noise_drawn_in_turns():
    def thrice(count, spec, random):
        return sum(noise(count, spec, random) for _ in range(3))

    torch.set_num_threads(1)
    found = measure({NOISE: noise, "thrice": thrice}, 32, 200, 5)
    assert found[NOISE]["times_noise"] == 1
    assert 1.5 < found["thrice"]["times_noise"] < 8


def test_the_sheet_has_a_row_a_prior(tmp_path):
    sheet(tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet.jpg") as picture:
        assert picture.width // SIDE == COLUMNS
        assert picture.height // SIDE == len(PRIORS)


def test_the_documentation_has_every_prior(root):
    said = (root / "docs/priors.md").read_text(encoding="utf-8")
    assert [name for name in PRIORS if f"| `{name}` |" not in said] == []
