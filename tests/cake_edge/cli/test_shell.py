"""The group and what its commands share: help, import cost, errors, progress."""

from __future__ import annotations

import errno
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import cake_edge
from cake_edge.cli import COMMANDS, main
from cake_edge.cli.console import _Lines, configure_logging, duration, emit, progress_sink
from cake_edge.cli.errors import explain, one_sentence
from cake_edge.cli.options import json_option, key_values, verbosity_options
from cake_edge.cli.teacher_options import teacher_options
from cake_edge.errors import GateFailed, PoolError, UsageMistake
from cake_edge.progress import silent

HEAVY = ("torch", "timm", "numpy", "rich", "onnx", "onnxruntime", "PIL", "safetensors", "psutil")


def fresh(code: str) -> tuple[str, set[str]]:
    """Runs code in a fresh interpreter; returns its stdout and the modules it had imported."""
    ending = "\nimport sys; sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code + ending], capture_output=True, text=True, check=True
    )
    return done.stdout, set(done.stderr.split())


def fresh_help(*words: str) -> tuple[str, set[str]]:
    """What `fresh` returns of a command line with --help."""
    return fresh(
        "from cake_edge.cli import main\n"
        f"main({[*words, '--help']}, prog_name='cake-edge', standalone_mode=False)"
    )


def seconds(*words: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], capture_output=True, check=True)
    return time.perf_counter() - start


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_help_of_the_group_imports_click_alone() -> None:
    text, loaded = fresh_help()
    assert "Usage: cake-edge" in text
    assert "click" in loaded
    assert not loaded.intersection(HEAVY)


def test_help_of_the_group_costs_little_more_than_importing_click_and_rich() -> None:
    # The quickest of several interleaved runs: a busy machine only ever adds to a time.
    pairs = [
        (seconds("-m", "cake_edge", "--help"), seconds("-c", "import click, rich"))
        for _ in range(7)
    ]
    help_cost, reference = (min(column) for column in zip(*pairs, strict=True))
    assert help_cost <= 1.5 * reference


def test_the_package_itself_imports_nothing_heavy() -> None:
    assert not fresh("import cake_edge")[1].intersection((*HEAVY, "click"))


def test_every_public_name_is_there_when_it_is_asked_for() -> None:
    homes = [name for names in cake_edge._HOMES.values() for name in names]
    assert sorted(homes) == sorted(cake_edge.__all__)
    for name in cake_edge.__all__:
        assert getattr(cake_edge, name) is not None
        assert name in dir(cake_edge)
    with pytest.raises(AttributeError, match="no attribute 'teach'"):
        _ = cake_edge.teach  # type: ignore[attr-defined]


def test_help_lists_every_command_in_the_order_of_a_job() -> None:
    result = run("--help")
    assert result.exit_code == 0
    places = [result.stdout.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert "Examples:" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert f"  cake-edge {name}" in result.stdout.split("Examples:")[1]
    for option in ("--json", "--verbose", "--quiet", "--debug"):
        assert option in result.stdout
    line = COMMANDS[name][1]
    assert line.endswith(".")
    assert len(line) < 60


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_does_not_import_torch(name: str) -> None:
    text, loaded = fresh_help(name)
    assert "Examples:" in text
    assert not loaded.intersection(("torch", "timm", "onnx", "onnxruntime"))


def test_version_is_the_one_installed() -> None:
    assert run("--version").stdout == f"cake-edge {metadata.version('cake-edge')}\n"


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    result = run("distil")
    assert result.exit_code == 2
    assert "did you mean distill?" in result.stderr


def failing(error: BaseException) -> click.Group:
    """The group with a single command that raises."""

    class One(type(main)):  # type: ignore[misc]
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            @click.command()
            @json_option
            @verbosity_options
            def command(as_json: bool) -> None:
                raise error

            return command

    return One("cake-edge")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (PoolError("the pool p is damaged; make it again"), 1, "error: the pool p is damaged"),
        (UsageMistake("count is 0; it must be at least 1"), 2, "error: count is 0"),
        (GateFailed("top-1 is 70, below 78"), 1, "error: top-1 is 70"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 1, "no space left on the disk"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/y"),
            1,
            "permission denied at /x/y",
        ),
        (OSError(errno.EROFS, "Read-only file system", "/x"), 1, "the file system is read-only"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), 1, "error: No such file at /x"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (MemoryError(), 1, "error: out of memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA\nmore"), 1, "memory: use a smaller"),
        (ZeroDivisionError("division by zero"), 1, "internal error: ZeroDivisionError: division"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(
    error: BaseException, code: int, words: str
) -> None:
    result = CliRunner().invoke(failing(error), ["demo"], prog_name="cake-edge")
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_with_json_an_error_is_an_object_on_stdout_too() -> None:
    result = CliRunner().invoke(failing(PoolError("no pool")), ["demo", "--json"])
    assert json.loads(result.stdout) == {"error": "no pool", "kind": "PoolError", "exit_code": 1}
    assert result.stderr == "error: no pool\n"
    result = CliRunner().invoke(failing(PoolError("no pool")), ["demo", "--json", "--jsom"])
    assert json.loads(result.stdout)["exit_code"] == result.exit_code == 2


def test_debug_shows_the_traceback_before_the_sentence() -> None:
    result = CliRunner().invoke(failing(ValueError("odd")), ["demo", "--debug"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("ValueError: odd; run again with --debug for the traceback\n")


def test_a_closed_pipe_and_an_exit_pass_through() -> None:
    ctx = click.Context(main)
    with pytest.raises(BrokenPipeError), one_sentence(ctx):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    with pytest.raises(click.exceptions.Exit), one_sentence(ctx):
        ctx.exit(0)


def test_explain_keeps_an_internal_error_to_one_line() -> None:
    assert "\n" not in explain(ValueError("a\nb"))[0]


@pytest.mark.parametrize(
    ("words", "level"), [([], logging.INFO), (["-v"], logging.DEBUG), (["-q"], logging.WARNING)]
)
def test_verbosity_sets_the_level_of_our_log_alone(words: list[str], level: int) -> None:
    @click.command()
    @verbosity_options
    def command() -> None:
        logging.getLogger("cake_edge.x").debug("fine")
        logging.getLogger("cake_edge.x").info("usual")
        logging.getLogger("another").info("foreign")

    result = CliRunner().invoke(command, words)
    assert logging.getLogger("cake_edge").level == level
    assert ("fine" in result.stderr) == (level == logging.DEBUG)
    assert ("usual" in result.stderr) == (level <= logging.INFO)
    assert "foreign" not in result.output
    assert result.stdout == ""


def test_teacher_options_without_a_teacher_are_refused() -> None:
    @click.command()
    @teacher_options(required=False)
    def command(teacher: Any) -> None:
        click.echo(repr(teacher))

    assert CliRunner().invoke(command, []).stdout == "None\n"
    result = CliRunner().invoke(command, ["--arch", "resnet18", "--random-weights"])
    assert result.exit_code == 2
    assert "--arch, --random-weights" in result.stderr
    assert "--teacher" in result.stderr


def test_teacher_options_become_a_teacher_config() -> None:
    seen: list[Any] = []

    @click.command()
    @teacher_options()
    def command(teacher: Any) -> None:
        seen.append(teacher)

    words = "--teacher w.safetensors --arch test_resnet --match order --input-size 3,32,48 "
    words += "--mean 0.5,0.5,0.25 --std 1,1,1 --num-classes 4 --arguments act_layer=relu"
    words += " --arguments width=[1,2]"
    result = CliRunner().invoke(command, words.split())
    assert result.exit_code == 0, result.output
    (config,) = seen
    assert config.reference == "w.safetensors"
    assert (config.arch, config.match, config.num_classes) == ("test_resnet", "order", 4)
    assert config.input_size == (3, 32, 48)
    assert config.mean == (0.5, 0.5, 0.25)
    assert dict(config.arguments) == {"act_layer": "relu", "width": [1, 2]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input-size", "3,32"], "has 2 values, not 3"),
        (["--mean", "a,b"], "not numbers with commas"),
        (["--input-size", "3,x,3"], "not whole numbers"),
        (["--arguments", "width"], "KEY=VALUE"),
    ],
)
def test_a_malformed_teacher_option_is_refused(words: list[str], message: str) -> None:
    @click.command()
    @teacher_options()
    def command(teacher: Any) -> None:
        raise AssertionError

    result = CliRunner().invoke(command, ["--teacher", "timm:x", *words])
    assert result.exit_code == 2
    assert message in result.stderr


def test_key_values_are_read_as_toml_or_else_as_text() -> None:
    given = ("a=1", "b=0.5", "c=true", "d=word", "e=[1, 2]", "f=x=y")
    found = key_values(click.Context(main), click.Option(["--set"]), given)
    assert found == {"a": 1, "b": 0.5, "c": True, "d": "word", "e": [1, 2], "f": "x=y"}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    configure_logging(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def test_progress_off_a_terminal_is_a_line_every_ten_seconds(
    lines: Callable[[], list[str]],
) -> None:
    now = [0.0]
    sink = _Lines(lambda: now[0])
    for done in range(0, 101, 10):
        sink("images", 40 + done, 140, "steps")
        now[0] += 2.5
    assert lines() == [
        "images: 80 of 140, 4.0/s, 15 s left, steps",
        "images: 120 of 140, 4.0/s, 5 s left, steps",
        "images: 140 of 140, 4.0/s, took 25 s, steps",
    ]


def test_short_work_shows_no_progress(lines: Callable[[], list[str]]) -> None:
    now = [0.0]
    sink = _Lines(lambda: now[0])
    sink("step", 0, 1)
    now[0] += 0.9
    sink("step", 1, 1)
    assert lines() == []


def test_quiet_has_no_progress_at_all() -> None:
    configure_logging(logging.WARNING)
    with progress_sink() as sink:
        assert sink is silent


def test_a_terminal_gets_a_bar_with_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(logging.INFO)
    clock = iter(float(second) for second in range(100))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("cake_edge.cli.console.time.monotonic", lambda: next(clock))
    with progress_sink() as sink:
        for done in range(4):
            sink("images", done, 3)
    shown = capsys.readouterr()
    assert "images" in shown.err
    assert "3/3" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(7.6, "8 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_are_said_as_a_person_says_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_emit_prints_json_or_text_or_the_values(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": 1}, True, lambda: click.echo("text"))
    assert json.loads(capsys.readouterr().out) == {"a": 1}
    emit({"a": 1}, False, lambda: click.echo("text"))
    assert capsys.readouterr().out == "text\n"
    emit({"a": 1, "long": 2}, False)
    assert capsys.readouterr().out == "a:    1\nlong: 2\n"
