import json
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.paper.plot import COLOURS, HEIGHT, LINE, WIDTH, main, plot, spread, write_plot
from cake_edge.provenance import write_json
from cake_edge.samplers import SAMPLERS
from exporters.report.svg import text_width

SVG = "{http://www.w3.org/2000/svg}"


def results(budgets=(40_000, 160_000), names=tuple(SAMPLERS)):
    """Made-up results in which all samplers are close to one another."""
    lines = {
        name: {
            "uses_statistics": name in ("cmi", "gdfq"),
            "points": [
                {
                    "budget": budget,
                    "image_steps": 0 if name == "forward-only" else budget - 10 * row,
                    "total": budget - 5 * row,
                    "agreement": {"mean": 70 + column + row / 10},
                }
                for column, budget in enumerate(budgets)
            ],
            "left_out": [],
        }
        for row, name in enumerate(names)
    }
    return {
        "dataset": "fashion-mnist",
        "student": {"name": "cake_lenet5"},
        "training": {"steps": 100, "batch": 256},
        "budgets": list(budgets),
        "seeds": [0],
        "samplers": lines,
    }


def drawn(said):
    return ET.fromstring(plot(said))


def curves(root, name):
    found = root.findall(f"{SVG}polyline")
    return [one for one in found if name in one.get("class").split()]


def test_every_sampler_has_a_line_a_colour_and_a_name():
    root = drawn(results())
    assert COLOURS.keys() == SAMPLERS.keys()
    assert len(set(COLOURS.values())) == len(COLOURS)
    words = [text.text for text in root.findall(f"{SVG}text")]
    for name in SAMPLERS:
        line, sample = curves(root, name)
        assert len(line.get("points").split()) == 2
        assert line.get("class") == sample.get("class")
        assert sum(word.startswith(f"{name} 7") for word in words) == 1
        assert f".{name} {{ stroke: {COLOURS[name]} }}" in root.find(f"{SVG}style").text


def test_statistics_are_dashed_and_cake_is_bold_and_above_all():
    root = drawn(results())
    dashed = {
        name for name in SAMPLERS if "statistics" in curves(root, name)[0].get("class").split()
    }
    assert dashed == {"cmi", "gdfq"}
    lines = root.findall(f"{SVG}polyline")
    assert "main" in curves(root, "cake")[0].get("class").split()
    others = [index for index, one in enumerate(lines) if one is curves(root, "lake")[0]]
    assert lines.index(curves(root, "cake")[0]) > others[0]


def test_what_takes_no_image_steps_is_dotted_and_stands_where_its_looks_put_it():
    root = drawn(results(budgets=(40_000,), names=("cake", "forward-only")))
    cake, free = (curves(root, name)[0] for name in ("cake", "forward-only"))
    assert "free" in free.get("class").split()
    assert "free" not in cake.get("class").split()
    assert float(free.get("points").split(",")[0]) < float(cake.get("points").split(",")[0])
    assert any("takes no image-steps" in text.text for text in root.findall(f"{SVG}text"))


def test_no_name_lies_on_another_and_none_is_cut_off():
    root = drawn(results())
    names = [text for text in root.findall(f"{SVG}text") if "name" in text.get("class").split()]
    assert len(names) == len(SAMPLERS)
    heights = sorted(float(text.get("y")) for text in names)
    assert all(b - a >= LINE - 0.01 for a, b in pairwise(heights))
    for text in names:
        assert float(text.get("x")) + text_width(text.text, 13) <= WIDTH
        assert 0 < float(text.get("y")) < HEIGHT


def test_ticks_that_would_touch_are_left_out():
    root = drawn(results(budgets=(40_000, 41_000, 640_000)))
    ticks = [text.text for text in root.findall(f"{SVG}text") if "," in text.text]
    assert "40,000" in ticks
    assert "41,000" not in ticks


@given(st.lists(st.floats(0, 400), max_size=12))
def test_names_keep_their_order_and_distance_within_the_picture(wanted):
    heights = spread(wanted, 60, 380)
    assert all(59.99 <= height <= 380.01 for height in heights)
    ordered = sorted(heights)
    assert all(b - a >= LINE - 1e-6 for a, b in pairwise(ordered))
    rank = sorted(range(len(wanted)), key=lambda index: wanted[index])
    assert [heights[index] for index in rank] == ordered


def test_names_with_room_stay_where_they_are_wanted():
    assert spread([300.0, 100.0], 60, 380) == [300.0, 100.0]


def test_a_results_file_is_drawn_anew_beside_it(tmp_path):
    path = tmp_path / "samplers.json"
    write_json(path, results())
    done = CliRunner().invoke(main, [str(path)], catch_exceptions=False)
    assert done.exit_code == 0
    written = path.with_suffix(".svg").read_text()
    assert written == plot(json.loads(path.read_text()))
    assert len(written) < 30_000


def test_where_nothing_was_measured_nothing_is_drawn(tmp_path):
    said = results()
    for one in said["samplers"].values():
        one["points"] = []
    write_plot(tmp_path / "none.svg", said)
    assert not (tmp_path / "none.svg").exists()


def test_a_sampler_that_has_no_colour_yet_can_be_seen():
    root = drawn(results(names=("cake", "another")))
    assert ".another { stroke: #" in root.find(f"{SVG}style").text


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_picture_says_over_how_many_seeds_it_is_taken(seeds):
    text = plot({**results(), "seeds": list(range(seeds))})
    assert ("one seed" in text) == (seeds == 1)
    assert ("mean of 3 seeds" in text) == (seeds == 3)
