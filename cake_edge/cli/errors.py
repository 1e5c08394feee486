"""The one place where an exception becomes a sentence on stderr and an exit code.

With --json the same is printed on stdout as {"error": ..., "kind": ..., "exit_code": ...}, so that
a caller who parses stdout finds an object there whatever happened. A traceback is shown with
--debug and never otherwise.
"""

from __future__ import annotations

import errno
import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from cake_edge.errors import CakeEdgeError

__all__ = ["explain", "one_sentence"]

INTERRUPTED = 130
"""What a shell reports of a program that SIGINT ended: 128 + 2."""


@contextmanager
def one_sentence(ctx: click.Context) -> Iterator[None]:
    """Turns whatever the block raises into one sentence and an exit code.

    click's own errors and exits pass through: click words them well, with exit code 2.
    """
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except click.ClickException as error:
        _tell_machine(ctx, error.format_message(), type(error).__name__, error.exit_code)
        raise
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # the reader of our stdout left; click ends quietly
        message, exit_code = explain(error)
        if ctx.meta.get("cake_edge.debug"):
            click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        click.echo(f"error: {message}", err=True)
        _tell_machine(ctx, message, type(error).__name__, exit_code)
        ctx.exit(exit_code)


def _tell_machine(ctx: click.Context, message: str, kind: str, exit_code: int) -> None:
    if ctx.meta.get("cake_edge.json"):
        click.echo(json.dumps({"error": message, "kind": kind, "exit_code": exit_code}))


def explain(error: BaseException) -> tuple[str, int]:
    """Returns the sentence for an exception, and the exit code."""
    if isinstance(error, CakeEdgeError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; no half-written file is left: give the same command again", INTERRUPTED
    if _out_of_memory(error):
        sentence = (
            "out of memory: use a smaller batch or input size, fewer --workers, or another "
            f"--device ({_first_line(error)})"
        )
        return sentence, 1
    if isinstance(error, OSError):
        return _explain_system(error), 1
    sentence = (
        f"internal error: {type(error).__name__}: {_first_line(error)}; "
        "run again with --debug for the traceback"
    )
    return sentence, 1


def _explain_system(error: OSError) -> str:
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk{where}: free some, and start the same command again"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"permission denied{where}: choose a place you may read and write"
    if error.errno == errno.EROFS:
        return f"the file system is read-only{where}: choose another --out"
    return f"{error.strerror or _first_line(error)}{where}"


def _out_of_memory(error: BaseException) -> bool:
    """Known by name, since torch is not imported to explain an error that torch did not raise."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
