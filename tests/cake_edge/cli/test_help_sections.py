"""Help in sections."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from cake_edge.cli.bench import command as bench
from cake_edge.cli.help_sections import SectionedCommand
from cake_edge.cli.scenario import command as scenario


def test_options_stand_in_their_sections_and_the_others_last() -> None:
    @click.command(cls=SectionedCommand, sections={"First": ("b", "a")})
    @click.argument("file")
    @click.option("--a", help="Of a.")
    @click.option("--b", help="Of b.")
    @click.option("--c", help="Of c.")
    def command(file: str, a: str, b: str, c: str) -> None: ...

    said = CliRunner().invoke(command, ["--help"]).stdout
    places = [said.index(word) for word in ("First:", "--b", "--a", "Other:", "--c", "--help")]
    assert places == sorted(places)
    assert "  file\n" not in said.lower()


@pytest.mark.parametrize("command", [bench, scenario])
def test_every_option_of_a_long_command_is_listed_once(command: SectionedCommand) -> None:
    said = CliRunner().invoke(command, ["--help"]).stdout
    lines = [line.split()[0] for line in said.splitlines() if line.startswith("  -")]
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert len(lines) == len(set(lines)) == len(options) + 1  # and --help


def test_the_first_screen_of_bench_has_what_is_used_most() -> None:
    first = CliRunner().invoke(bench, ["--help"]).stdout.splitlines()[:30]
    shown = {line.split()[0] for line in first if line.startswith("  -")}
    assert {"--batch", "--threads", "--seconds", "--out", "--host"} <= shown
