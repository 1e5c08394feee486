"""The command line: a group that knows its commands by name and imports one when it is called.

Nothing but click is imported to answer `cake-edge --help`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from cake_edge.errors import near_names

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("cake_edge.cli.demo", "The whole job on the embedded teacher."),
    "compress": ("cake_edge.cli.compress", "The whole job, from a recipe or a teacher."),
    "inspect": ("cake_edge.cli.inspect", "Say what is understood of a teacher."),
    "synthesize": ("cake_edge.cli.synthesize", "Make a pool of synthetic images from a teacher."),
    "distill": ("cake_edge.cli.distill", "Train a student on a pool."),
    "export": ("cake_edge.cli.export", "Write a checkpoint, or a teacher, as ONNX."),
    "quantize": ("cake_edge.cli.quantize", "Turn an ONNX model into INT8."),
    "retarget": ("cake_edge.cli.retarget", "Turn an INT8 file into one for another target."),
    "qat": ("cake_edge.cli.qat", "Fine-tune a network for 4 bits and fewer."),
    "lint": ("cake_edge.cli.lint", "Say what a target will not take of a model, and why."),
    "build": ("cake_edge.cli.build", "Build a TensorRT engine from an ONNX model."),
    "evaluate": ("cake_edge.cli.evaluate", "Measure accuracy and agreement on real images."),
    "bench": ("cake_edge.cli.bench", "Measure latency."),
    "scenario": ("cake_edge.cli.scenario", "Measure a model in a scenario of MLPerf's."),
    "import-trtexec": (
        "cake_edge.cli.import_trtexec",
        "Read what trtexec measured on a board as a result of bench.",
    ),
    "compare": ("cake_edge.cli.compare", "Say whether new measurements are worse than old ones."),
    "report": ("cake_edge.cli.report", "Write the HTML, Markdown and JSON report of a run."),
    "device": ("cake_edge.cli.device", "Say which device this is, and what would spoil a figure."),
    "doctor": ("cake_edge.cli.doctor", "Say what is installed, and what is missing."),
}
"""Name, then the module that holds a click command called `command`, and one line of help."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and turns its errors into a sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order of a job, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command of that name, or returns None."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]}.command is not a click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command; an unknown one is answered with its nearest names."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(
                f"no command {name!r}{near_names(name, COMMANDS)}; "
                f"the commands are {', '.join(COMMANDS)}",
                ctx,
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the names and their lines without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Notes --json and --debug early, so that an error in the other options heeds them."""
        ctx.meta["cake_edge.json"] = "--json" in args
        ctx.meta["cake_edge.debug"] = "--debug" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; an error becomes one sentence and an exit code."""
        from cake_edge.cli.errors import one_sentence

        with one_sentence(ctx):
            return super().invoke(ctx)


def _show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib import metadata

        click.echo(f"cake-edge {metadata.version('cake-edge')}")
        ctx.exit()


@click.group(
    "cake-edge",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n"
    "  cake-edge demo --out runs/demo\n"
    "  cake-edge inspect vendor.onnx --preset imagenet\n"
    "  cake-edge compress --teacher vendor.onnx --preset imagenet --budget smoke --out runs/x\n"
    "  cake-edge COMMAND --help",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and leave.",
)
def main() -> None:
    """Compress a trained image classifier without its training data, and measure the result.

    Results go to stdout, the log to stderr. Exit codes: 0 done, 1 failed for the reason stated,
    2 wrong usage, 130 interrupted.
    """
