"""Files of /proc, /sys, /etc and /var as boards have them: paths and texts, by board.

The shapes are those of Jetson Linux 32, 35, 36 and 38 and of Raspberry Pi OS; the values are ours.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["BOARDS", "plant"]

MEMINFO = (
    "MemTotal: {} kB\nMemFree: 1000 kB\nMemAvailable: {} kB\nSwapTotal: {} kB\nSwapFree: {} kB\n"
)


def plant(root: Path, files: dict[str, str]) -> Path:
    """Writes `files` below `root`, which it returns."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def tree(model: str, *compatible: str) -> dict[str, str]:
    return {
        "proc/device-tree/model": f"{model}\0",
        "proc/device-tree/compatible": "".join(f"{name}\0" for name in compatible),
    }


def processor(policies: dict[str, tuple[int, int, int]], governor: str) -> dict[str, str]:
    """cpufreq policies: cores, and lowest, present and highest kHz."""
    files = {}
    for number, (cores, (lowest, now, highest)) in enumerate(policies.items()):
        folder = f"sys/devices/system/cpu/cpufreq/policy{4 * number}"
        files |= {
            f"{folder}/related_cpus": f"{cores}\n",
            f"{folder}/scaling_min_freq": f"{lowest}\n",
            f"{folder}/scaling_cur_freq": f"{now}\n",
            f"{folder}/scaling_max_freq": f"{highest}\n",
            f"{folder}/scaling_governor": f"{governor}\n",
        }
    return files


def gpu(name: str, lowest: int, now: int, highest: int) -> dict[str, str]:
    folder = f"sys/class/devfreq/{name}"
    return {
        f"{folder}/min_freq": f"{lowest}\n",
        f"{folder}/cur_freq": f"{now}\n",
        f"{folder}/max_freq": f"{highest}\n",
        f"{folder}/governor": "nvhost_podgov\n",
    }


def sensor(number: int, chip: str, rails: dict[str, tuple[int, int]]) -> dict[str, str]:
    """A power sensor: labels, millivolts and milliamperes of its channels."""
    folder = f"sys/class/hwmon/hwmon{number}"
    files = {f"{folder}/name": f"{chip}\n"}
    for channel, (label, (millivolts, milliamperes)) in enumerate(rails.items(), 1):
        files |= {
            f"{folder}/in{channel}_label": f"{label}\n",
            f"{folder}/in{channel}_input": f"{millivolts}\n",
            f"{folder}/curr{channel}_input": f"{milliamperes}\n",
        }
    if chip == "ina3221":
        files |= {f"{folder}/in7_label": "sum of shunt voltages\n", f"{folder}/in7_input": "90\n"}
    return files


def zones(*found: tuple[str, int]) -> dict[str, str]:
    files = {}
    for number, (name, temperature) in enumerate(found):
        files[f"sys/class/thermal/thermal_zone{number}/type"] = f"{name}\n"
        files[f"sys/class/thermal/thermal_zone{number}/temp"] = f"{temperature}\n"
    return files


def cooling(*found: tuple[str, int, int]) -> dict[str, str]:
    files = {}
    for number, (name, state, states) in enumerate(found):
        folder = f"sys/class/thermal/cooling_device{number}"
        files[f"{folder}/type"] = f"{name}\n"
        files[f"{folder}/cur_state"] = f"{state}\n"
        files[f"{folder}/max_state"] = f"{states}\n"
    return files


def events(number: int, *counts: int) -> dict[str, str]:
    folder = f"sys/class/hwmon/hwmon{number}"
    return {f"{folder}/name": "soctherm_oc\n"} | {
        f"{folder}/oc{i}_event_cnt": f"{count}\n" for i, count in enumerate(counts, 1)
    }


def packages(**versions: str) -> dict[str, str]:
    blocks = [
        f"Package: {name.replace('_', '-')}\nStatus: install ok installed\nPriority: extra\n"
        f"Version: {version}\nDescription: text\n with lines\n"
        for name, version in versions.items()
    ]
    removed = "Package: nvidia-jetpack\nStatus: deinstall ok config-files\nVersion: 9.9-b1\n"
    return {"var/lib/dpkg/status": "\n".join([removed, *blocks])}


def release(major: int, revision: str) -> str:
    return (
        f"# R{major} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, "
        "EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n"
    )


def modes(now: int, *names: str) -> dict[str, str]:
    blocks = [
        f"< POWER_MODEL ID={i} NAME={name} >\nCPU_ONLINE CORE_0 1" for i, name in enumerate(names)
    ]
    return {
        "etc/nvpmodel.conf": "\n".join(
            [
                "# FORMAT:",
                "# < POWER_MODEL ID=id_num NAME=mode_name >",
                *blocks,
                "< PM_CONFIG DEFAULT=0 >",
                "",
            ]
        ),
        "var/lib/nvpmodel/status": f"pmode:{now:04d}\n",
    }


ORIN_NANO = {
    **tree(
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "nvidia,p3768-0000+p3767-0005-super",
        "nvidia,p3767-0005",
        "nvidia,tegra234",
    ),
    "etc/nv_tegra_release": release(36, "4.3"),
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
    "proc/sys/kernel/osrelease": "5.15.148-tegra\n",
    **packages(
        nvidia_jetpack="6.2+b77", tensorrt="10.3.0.30-1+cuda12.5", cuda_cudart_12_6="12.6.68-1"
    ),
    "usr/lib/aarch64-linux-gnu/libnvinfer.so.10.3.0": "",
    "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}',
    **modes(0, "15W", "25W", "MAXN_SUPER", "7W"),
    **processor(
        {"0 1 2 3": (729600, 1497600, 1497600), "4 5": (729600, 729600, 1497600)}, "schedutil"
    ),
    **gpu("17000000.gpu", 306000000, 306000000, 612000000),
    "sys/class/devfreq/15340000.vic/min_freq": "1\n",
    **zones(
        ("cpu-thermal", 48031),
        ("gpu-thermal", 47500),
        ("cv0-thermal", -256000),
        ("tj-thermal", 48031),
    ),
    **cooling(("pwm-fan", 2, 4), ("cpu-throttle-alert", 0, 2), ("cpufreq-cpu0", 0, 28)),
    **events(3, 0, 0, 0),
    **sensor(
        1,
        "ina3221",
        {"VDD_IN": (4984, 1000), "VDD_CPU_GPU_CV": (4976, 200), "VDD_SOC": (4976, 300)},
    ),
    "proc/meminfo": MEMINFO.format(7620000, 5000000, 3810000, 3810000),
    "proc/mounts": "proc /proc proc rw 0 0\n/dev/mmcblk0p1 / ext4 rw,relatime 0 0\n",
}

AGX_ORIN = {
    **tree(
        "NVIDIA Jetson AGX Orin Developer Kit",
        "nvidia,p3737-0000+p3701-0005",
        "nvidia,p3701-0005",
        "nvidia,tegra234",
    ),
    "etc/nv_tegra_release": release(36, "4.0"),
    **modes(0, "MAXN", "15W", "30W", "50W"),
    **processor({"0 1 2 3": (2201600, 2201600, 2201600)}, "performance"),
    **gpu("17000000.gpu", 1300500000, 1300500000, 1300500000),
    "sys/kernel/debug/bpmp/debug/clk/emc/rate": "3199000000\n",
    "sys/kernel/debug/bpmp/debug/clk/emc/max_rate": "3199000000\n",
    "sys/kernel/debug/bpmp/debug/clk/emc/mrq_rate_locked": "1\n",
    **zones(
        ("cpu-thermal", 88000),
    ),
    **cooling(("cpu-throttle-alert", 1, 2), ("devfreq-17000000.gpu", 3, 11)),
    **events(4, 0, 2, 15),
    **sensor(
        1,
        "ina3221",
        {"VDD_GPU_SOC": (19992, 300), "VDD_CPU_CV": (19992, 100), "VIN_SYS_5V0": (4992, 900)},
    ),
    **sensor(2, "ina3221", {"NC": (0, 0), "VDDQ_VDD2_1V8AO": (4992, 150)}),
    "proc/meminfo": MEMINFO.format(64000000, 50000000, 0, 0),
}

XAVIER_NX = {
    **tree(
        "NVIDIA Jetson Xavier NX Developer Kit",
        "nvidia,p3449-0000+p3668-0001",
        "nvidia,p3668-0001",
        "nvidia,tegra194",
    ),
    "etc/nv_tegra_release": release(35, "4.1"),
    **packages(nvidia_l4t_core="35.4.1-20230801124926", libnvinfer8="8.5.2-1+cuda11.4"),
    **modes(8, "MODE_15W_2CORE"),
    **processor({"0 1": (1190400, 1190400, 1420800)}, "schedutil"),
    **gpu("17000000.gv11b", 114750000, 114750000, 1109250000),
    **zones(("CPU-therm", 41000), ("GPU-therm", 40500), ("PMIC-Die", 50000)),
    **sensor(
        5, "ina3221", {"VDD_IN": (5080, 700), "VDD_CPU_GPU_CV": (5080, 40), "VDD_SOC": (5080, 180)}
    ),
    "proc/meminfo": MEMINFO.format(7000000, 500000, 0, 0),
}

NANO = {
    **tree(
        "NVIDIA Jetson Nano Developer Kit",
        "nvidia,p3449-0000-b00+p3448-0000-b00",
        "nvidia,jetson-nano",
        "nvidia,tegra210",
    ),
    "etc/nv_tegra_release": release(32, "7.1"),
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "2310\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input": "120\n",
}

THOR = {
    **tree(
        "NVIDIA Jetson AGX Thor Developer Kit",
        "nvidia,p4071-0000+p3834-0008",
        "nvidia,p3834-0008",
        "nvidia,tegra264",
    ),
    "etc/nv_tegra_release": release(38, "2.2"),
    "usr/lib/aarch64-linux-gnu/libnvinfer.so.10.13.3": "",
    "usr/local/cuda/version.json": '{"cuda": {"version": "13.0.0"}}',
    **modes(1, "MAXN", "120W"),
    **processor({"0": (648000, 2601000, 2601000)}, "schedutil"),
    **gpu("gpu-gpc-0", 315000000, 1575000000, 1575000000),
    **gpu("gpu-nvd-0", 315000000, 1692000000, 1692000000),
    **zones(("tj-thermal", 55100), ("soc012-thermal", 55100)),
    "sys/class/thermal/thermal_zone9/type": "gpu-thermal\n",
    **cooling(("pwm-fan", 1, 4), ("gpu-throttle-alert", 0, 2), ("devfreq-gpu-gpc-0", 18, 169)),
    **events(5, 0, 0, 179),
    **sensor(
        1,
        "ina3221",
        {"VDD_GPU": (11900, 200), "VDD_CPU_SOC_MSS": (11900, 550), "VIN_SYS_5V0": (5000, 1300)},
    ),
    **sensor(2, "ina238", {"VIN": (20000, 1150)}),
    "sys/class/hwmon/hwmon2/power1_input": "23000000\n",
}

RASPBERRY_PI_5 = {
    **tree("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b", "brcm,bcm2712"),
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    **processor({"0 1 2 3": (1500000, 2400000, 2400000)}, "ondemand"),
    **zones(("cpu-thermal", 61700)),
    **cooling(("pwm-fan", 2, 4)),
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "proc/meminfo": MEMINFO.format(8000000, 7000000, 100000, 100000),
}

PC = {
    "sys/class/dmi/id/sys_vendor": "LENOVO\n",
    "sys/class/dmi/id/product_name": "20XW\n",
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 avx512_vnni\n",
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  "
    "580.65.06  Release Build\nGCC version:  gcc version 12.3.0\n",
    **processor({"0": (400000, 3000000, 4700000)}, "powersave"),
    **cooling(("Processor", 0, 10), ("intel_powerclamp", -1, 50)),
    **zones(("x86_pkg_temp", 45000)),
    "sys/class/hwmon/hwmon0/name": "coretemp\n",
    "proc/meminfo": MEMINFO.format(16000000, 12000000, 0, 0),
}

VIRTUAL = {
    "sys/class/dmi/id/sys_vendor": "QEMU\n",
    "sys/class/dmi/id/product_name": "Standard PC (Q35 + ICH9, 2009)\n",
    "proc/cpuinfo": "vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 hypervisor\n",
}

BOARDS = {
    "orin-nano": ORIN_NANO,
    "agx-orin": AGX_ORIN,
    "xavier-nx": XAVIER_NX,
    "nano": NANO,
    "thor": THOR,
    "raspberry-pi-5": RASPBERRY_PI_5,
    "pc": PC,
    "virtual": VIRTUAL,
}
