"""`cake-edge device`: which device this is, how it is set, and what to know before measuring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cake_edge.cli.console import emit, progress_sink, table
from cake_edge.cli.options import examples, json_option, verbosity_options

if TYPE_CHECKING:
    from exporters.remote import Host

__all__ = ["command", "host_from", "host_options"]

F = TypeVar("F", bound=Callable[..., Any])


def host_options(function: F) -> F:
    """--host, --python and --ssh-config, as arguments for `host_from`."""
    function = click.option(
        "--ssh-config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Configuration file for ssh in place of yours.",
    )(function)
    function = click.option(
        "--python",
        default="python3",
        show_default=True,
        help="Python on the host, 3.10 or later; a relative path starts in the home folder.",
    )(function)
    return click.option(
        "--host",
        metavar="USER@BOARD",
        help="Do it on that machine over ssh; nothing is installed there, and nothing stays.",
    )(function)


def host_from(host: str | None, python: str, ssh_config: Path | None) -> Host | None:
    """The machine that these options name; None is the one at hand.

    Raises:
        UsageMistake: the name is of another form.
    """
    from exporters.remote import Host

    return Host(target=host, python=python, config=ssh_config) if host is not None else None


@click.command(
    "device",
    epilog=examples(
        "cake-edge device",
        "cake-edge device --host user@jetson",
        "cake-edge device --host user@jetson --python venv/bin/python --json",
    ),
)
@host_options
@json_option
@verbosity_options
def command(host: str | None, python: str, ssh_config: Path | None, as_json: bool) -> None:
    """Says which device this is, its clocks, heat and power, and what would spoil a measurement.

    Everything is read; no setting is changed. What cannot be read is said to be unknown, with the
    reason.
    """
    board = host_from(host, python, ssh_config)
    if board is None:
        from exporters.devices import advice, describe_device

        device = describe_device()
        found: dict[str, Any] = {"device": device.to_dict(), "advice": list(advice(device))}
    else:
        from exporters.remote import probe_remote

        with progress_sink() as progress:
            found = probe_remote(board, progress)
    emit(found, as_json, lambda: _show(found))


def _show(found: dict[str, Any]) -> None:
    device = found["device"]
    rows = [("system", f"{device['system'] or 'unknown'}, kernel {device['kernel'] or 'unknown'}")]
    rows += [
        (name, device[key])
        for name, key in (
            ("JetPack", "jetpack"),
            ("L4T", "l4t"),
            ("TensorRT", "tensorrt"),
            ("CUDA", "cuda"),
            ("driver", "driver"),
        )
        if device[key] is not None
    ]
    rows += [
        (name, f"{package['version']}" if package["works"] else f"no: {package['problem']}")
        for name, package in found.get("packages", {}).items()
    ]
    rows += [*_setting(device), *_state(device)]
    click.echo(table(("device", _named(device)), rows))
    for line in found["advice"]:
        click.echo(f"Note: {line}.")
    if device["unknown"]:
        click.echo("Unknown:")
    for line in device["unknown"]:
        click.echo(f"  {line}")


def _named(device: dict[str, Any]) -> str:
    name = device["model"] or {"virtual": "a virtual machine"}.get(device["kind"], "a computer")
    part = f" ({device['module']}, {device['part']})" if device["part"] else ""
    return f"{name}{part}"


def _setting(device: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    mode = device["power_mode"]
    if mode is not None:
        others = f"; it also has {', '.join(mode['others'])}" if mode["others"] else ""
        rows.append(("power mode", f"{mode['name'] or mode['number']}{others}"))
    for clock in device["clocks"]:
        now = f", now {clock['now']:.0f}" if clock["now"] is not None else ""
        if clock["locked"]:
            said = f"{clock['highest']:.0f} MHz, locked"
        else:
            said = f"{clock['lowest']:.0f} to {clock['highest']:.0f} MHz{now}"
        governor = f", {clock['governor']}" if clock["governor"] else ""
        rows.append((f"clock {clock['name']}", f"{said}{governor}"))
    return rows


def _state(device: dict[str, Any]) -> list[tuple[str, str]]:
    from exporters.report.words import size

    rows = []
    if device["temperatures"]:
        warm = sorted(device["temperatures"].items(), key=lambda zone: -zone[1])
        rows.append(("temperature", ", ".join(f"{name} {value:.0f} °C" for name, value in warm)))
    if device["throttling"] is not None:
        alerts = device["throttling"]["alerts"]
        rows.append(("held back", ", ".join(alerts) or "no"))
    for name, watts in device["rails"].items():
        rows.append((f"rail {name}", f"{watts:.2f} W"))
    if device["power_rail"] is not None:
        rows.append(("power is", device["power_rail"]))
    memory, disk = device["memory"], device["storage"]
    if memory is not None:
        swap = f", swap {size(memory['swap_total'])}" if memory["swap_total"] else ", no swap"
        rows.append(
            ("memory", f"{size(memory['available'])} free of {size(memory['total'])}{swap}")
        )
    if disk is not None:
        rows.append(("disk", f"{size(disk['free_bytes'])} free of {size(disk['total_bytes'])}"))
    return rows
