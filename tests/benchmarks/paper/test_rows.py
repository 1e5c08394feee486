import pytest
import timm

from benchmarks.paper.rows import FAMILIES, POSTER_MNIST, ROWS
from cake_edge.samplers import SAMPLERS


@pytest.mark.parametrize("name", ROWS)
def test_a_row_can_be_run(name):
    row = ROWS[name]
    assert timm.is_model(row.teacher.name)
    assert timm.is_model(row.student.name)
    assert row.sampler.name in SAMPLERS
    assert type(row.sampler) is SAMPLERS[row.sampler.name]
    assert row.images > 0
    assert name.startswith(row.dataset)


def test_every_family_teaches_every_family():
    pairs = {(teacher, student) for teacher in FAMILIES for student in FAMILIES}
    assert len(pairs) == 16
    assert POSTER_MNIST.keys() == pairs
    assert {f"fashion-mnist-{teacher}-{student}" for teacher, student in pairs} <= ROWS.keys()
    for teacher, student in pairs:
        row = ROWS[f"fashion-mnist-{teacher}-{student}"]
        assert row.teacher == FAMILIES[teacher][0]
        assert row.student == FAMILIES[student][1]


def test_published_figures_are_percent_with_their_source():
    figures = [figure for row in ROWS.values() for figure in row.published]
    assert len(figures) >= 19
    for figure in figures:
        assert 10 < figure.student < 100
        assert figure.source


def test_no_setting_was_chosen_for_one_pair():
    across = [ROWS[f"fashion-mnist-{a}-{b}"] for a in FAMILIES for b in FAMILIES]
    assert len({(row.images, str(row.sampler), str(row.training)) for row in across}) == 1
