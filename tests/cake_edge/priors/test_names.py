from pathlib import Path

import pytest

from cake_edge.errors import DatasetError, UsageMistake
from cake_edge.priors import PRIORS, anchored, placeless, shapes, user_images
from cake_edge.samplers import SAMPLERS, CakeConfig, ForwardOnlyConfig


def test_a_procedural_prior_is_found_by_its_name():
    assert PRIORS["shapes"] is shapes
    assert "shapes" in PRIORS
    assert user_images("shapes") is None


@pytest.mark.parametrize(
    ("name", "near"),
    [("leafs", "leaves"), ("random_network", "random-network"), ("foldr:x", "folder")],
)
def test_an_unknown_name_is_refused_with_those_that_are_near(name, near):
    assert name not in PRIORS
    with pytest.raises(UsageMistake, match=rf"did you mean .*{near}.*\?\); allowed: .*photo:PATH"):
        PRIORS[name]


@pytest.mark.parametrize("name", ["folder", "photo", "", None, 3])
def test_what_names_nothing_is_not_there(name):
    assert name not in PRIORS


@pytest.mark.parametrize("name", ["folder:nowhere", "photo:nowhere.jpg", "folder:", "photo:"])
def test_a_path_is_looked_at_when_images_are_wanted(name):
    assert name in PRIORS
    assert CakeConfig(prior=name).prior == name
    with pytest.raises(DatasetError, match="there is no f"):
        PRIORS[name]
    with pytest.raises(DatasetError, match="there is no f"):
        user_images(name)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_no_sampler_starts_from_files_unless_it_is_told_to(sampler):
    prior = getattr(SAMPLERS[sampler](), "prior", "gaussian")
    assert dict.__contains__(PRIORS, prior)


def test_a_sampler_refuses_an_unknown_prior_by_its_near_names():
    with pytest.raises(UsageMistake, match=r"did you mean gratings"):
        ForwardOnlyConfig(prior="grating")


def test_a_path_is_read_from_a_folder_and_written_down_without_its_place():
    assert anchored("folder:photos", Path("recipes")) == f"folder:{Path('recipes/photos')}"
    away = Path("away").resolve()
    assert anchored(f"photo:{away / 'a.png'}", Path("recipes")) == f"photo:{away / 'a.png'}"
    assert placeless(f"photo:{away / 'a.png'}") == "photo:a.png"
    assert placeless("folder:some/photos/") == "folder:photos"
    for name in ("shapes", "unknown", "folder:"):
        assert anchored(name, Path("recipes")) == name
    assert placeless("shapes") == "shapes"
