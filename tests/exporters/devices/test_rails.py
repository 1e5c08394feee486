"""Power rails of every board."""

import pytest

from cake_edge.errors import DeviceUnavailable
from exporters.devices.rails import find_rails


@pytest.mark.parametrize(
    ("name", "total", "watts"),
    [
        ("orin-nano", "VDD_IN", 4.984),
        ("xavier-nx", "VDD_IN", 3.556),
        ("nano", "POM_5V_IN", 2.31),
        ("thor", "VIN", 23.0),
        (
            "agx-orin",
            "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0",
            19.992 * 0.3 + 19.992 * 0.1 + 4.992 * 0.9,
        ),
    ],
)
def test_the_rail_that_stands_for_the_whole(board, name, total, watts):
    rails = find_rails(board(name))
    assert rails.name == total
    assert rails.reader()() == pytest.approx(watts)


def test_every_rail_is_read_by_name(board):
    assert find_rails(board("orin-nano")).watts() == {
        "VDD_IN": 4.984,
        "VDD_CPU_GPU_CV": 0.995,
        "VDD_SOC": 1.493,
    }


def test_a_rail_that_another_feeds_is_shown_and_not_added(board):
    rails = find_rails(board("agx-orin"))
    assert [rail.name for rail in rails.every][-1] == "VDDQ_VDD2_1V8AO"
    assert "VDDQ_VDD2_1V8AO" not in rails.name


def test_thor_without_its_input_sensor_adds_up_what_it_feeds(board):
    rails = find_rails(board("thor", {"sys/class/hwmon/hwmon2/name": None}))
    assert rails.name == "VDD_GPU + VDD_CPU_SOC_MSS + VIN_SYS_5V0"


def test_a_sensor_without_labels_gives_its_power(board):
    labels = {"sys/class/hwmon/hwmon2/in1_label": None}
    rails = find_rails(board("thor", labels))
    assert rails.name == "VIN"
    assert rails.reader()() == 23.0


def test_a_rail_that_does_not_answer_is_left_out(board):
    rails = find_rails(board("orin-nano", {"sys/class/hwmon/hwmon1/in2_input": "\n"}))
    assert list(rails.watts()) == ["VDD_IN", "VDD_SOC"]


def test_a_rail_that_stops_answering_is_left_out_of_the_next_reading(board):
    root = board("orin-nano")
    rails = find_rails(root)
    (root / "sys/class/hwmon/hwmon1/curr1_input").unlink()
    assert list(rails.watts()) == ["VDD_CPU_GPU_CV", "VDD_SOC"]


@pytest.mark.parametrize("name", ["raspberry-pi-5", "pc", "virtual"])
def test_a_board_without_rails_says_what_to_do(board, name):
    rails = find_rails(board(name))
    assert (rails.every, rails.total, rails.name) == ((), (), "")
    with pytest.raises(DeviceUnavailable, match="measure its power with a meter"):
        rails.reader()
