"""Temperatures and what holds a board back."""

from exporters.devices.heat import temperatures, throttling
from exporters.devices.tree import Tree


def test_zones_that_sleep_are_left_out(board):
    assert temperatures(Tree(board("orin-nano"))) == {
        "cpu-thermal": 48.031,
        "gpu-thermal": 47.5,
        "tj-thermal": 48.031,
    }
    assert list(temperatures(Tree(board("thor")))) == ["tj-thermal", "soc012-thermal"]


def test_zones_of_one_name_are_all_kept(board):
    twice = {}
    for number in (0, 1):
        zone = f"sys/class/thermal/thermal_zone{number}"
        twice |= {f"{zone}/type": "acpitz\n", f"{zone}/temp": f"{number + 30}000\n"}
    assert sorted(temperatures(Tree(board("virtual", twice))).values()) == [30, 31]


def test_no_zone_is_said(board):
    tree = Tree(board("virtual"))
    assert temperatures(tree) == {}
    assert tree.unknown == ("temperatures: no readable zone in /sys/class/thermal",)


def test_a_cool_jetson_is_not_held_back_by_its_fan(board):
    found = throttling(Tree(board("orin-nano")))
    assert (found.alerts, found.caps) == ((), ())
    assert set(found.events.values()) == {0}


def test_a_hot_jetson_tells_alerts_caps_and_events(board):
    found = throttling(Tree(board("agx-orin")))
    assert found.alerts == ("cpu-throttle-alert",)
    assert found.caps == ("devfreq-17000000.gpu: 3 of 11",)
    assert found.events == {
        "under-voltage (oc1)": 0,
        "average over-current (oc2)": 2,
        "peak over-current (oc3)": 15,
    }


def test_the_firmware_of_a_raspberry_pi_tells_now_and_since_boot(board):
    found = throttling(Tree(board("raspberry-pi-5")))
    assert found.alerts == ("under-voltage", "throttled")
    assert found.events == {
        "under-voltage": 1,
        "frequency capped": 0,
        "throttled": 1,
        "soft temperature limit": 0,
    }


def test_the_firmware_of_another_kernel_is_found_too(board):
    files = {
        "sys/devices/platform/soc/soc:firmware/get_throttled": None,
        "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "0x2\n",
    }
    assert throttling(Tree(board("raspberry-pi-5", files))).alerts == ("frequency capped",)


def test_firmware_that_says_something_else_is_told(board):
    path = "sys/devices/platform/soc/soc:firmware/get_throttled"
    tree = Tree(board("raspberry-pi-5", {path: "no\n"}))
    assert throttling(tree).alerts == ()
    assert "not a hexadecimal number" in tree.unknown[0]


def test_an_idle_power_clamp_is_no_throttling(board):
    found = throttling(Tree(board("pc")))
    assert (found.alerts, found.caps, found.events) == ((), (), {})


def test_a_machine_that_does_not_tell(board):
    tree = Tree(board("virtual"))
    assert throttling(tree) is None
    assert tree.unknown[0].startswith("throttling: ")
