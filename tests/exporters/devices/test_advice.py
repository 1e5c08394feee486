"""Sentences for a person before measuring."""

from exporters.devices import advice, changes, describe_device


def test_a_jetson_in_a_low_mode_with_free_clocks(board):
    said = "\n".join(advice(describe_device(board("orin-nano"))))
    assert "power mode is 15W" in said
    assert "MAXN_SUPER is faster" in said
    assert "clocks are not locked (cpu0-3, cpu4-5, 17000000.gpu)" in said
    assert "run sudo jetson_clocks yourself" in said


def test_a_locked_but_hot_jetson(board):
    said = advice(describe_device(board("agx-orin")))
    assert not any("not locked" in line or "the power mode is" in line for line in said)
    assert any("it is at 88 °C" in line for line in said)
    assert any("holding itself back (cpu-throttle-alert)" in line for line in said)
    assert any("peak over-current (oc3) 15x" in line for line in said)
    assert any("sudo apt install nvidia-jetpack" in line for line in said)


def test_little_memory_is_said(board):
    said = advice(describe_device(board("xavier-nx")))
    assert any("only 488 MiB of memory are free" in line for line in said)


def test_a_governor_that_follows_the_load(board):
    assert any(
        "governor is ondemand" in line for line in advice(describe_device(board("raspberry-pi-5")))
    )
    assert any("governor is powersave" in line for line in advice(describe_device(board("pc"))))


def test_a_machine_that_tells_nothing_needs_no_advice(board):
    assert advice(describe_device(board("virtual"))) == ()


def test_what_happened_meanwhile_is_said(board):
    before = describe_device(board("orin-nano"))
    folder = "sys/class/hwmon/hwmon3"
    after = describe_device(
        board(
            "orin-nano",
            {
                f"{folder}/oc3_event_cnt": "7\n",
                "sys/class/thermal/thermal_zone0/temp": "91000\n",
                "sys/class/thermal/cooling_device1/cur_state": "1\n",
                "var/lib/nvpmodel/status": "pmode:0002\n",
            },
        )
    )
    assert changes(before, after) == (
        "it warmed from 48 to 91 °C meanwhile",
        "peak over-current (oc3) happened 7x meanwhile, and slowed what was measured",
        "it began to hold itself back meanwhile (cpu-throttle-alert)",
        "the power mode was changed meanwhile: measure again",
    )


def test_nothing_happened(board):
    device = describe_device(board("orin-nano"))
    assert changes(device, device) == ()
