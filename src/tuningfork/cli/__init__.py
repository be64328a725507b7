"""The command line: one verb, one call; bars on long work, --json for programs, exit codes that mean something."""

from __future__ import annotations

import atexit
import gc
import json
import sys
from typing import Annotated, NoReturn, cast

import typer

from .. import __version__
from ..errors import Stopped, TuningforkError
from . import chain, charting, classifying, experiments, explaining, exploring, hub, judging, looking, measuring, sky
from .screen import DONE, FAILED, INTERRUPTED, REJECTED, REQUEUE, app

__all__ = [
    "DONE", "FAILED", "INTERRUPTED", "REJECTED", "REQUEUE", "app", "chain", "charting", "classifying", "experiments",
    "explaining", "exploring", "hub", "judging", "looking", "main", "measuring", "sky",
]  # fmt: skip


def _version(value: bool) -> None:
    if value:
        typer.echo(f"tuningfork {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Options of the command itself."""


USAGE = cast("type[Exception]", typer.BadParameter.__mro__[1])  # UsageError, wherever this typer keeps it


def main() -> None:
    """Run the command line; errors that tuningfork raises on purpose are printed, not traced.

    With --json they are one line on the error stream, ``{"error": "...", "kind": "RecipeError"}``, and so are options
    that cannot be read (kind "NoSuchOption", "MissingParameter", ...) and stops.
    """
    gc.set_threshold(100_000)  # what libraries make at their start lives to the end: looking through it often is waste
    atexit.register(gc.freeze)  # and so is looking through it once more at the end
    as_json = "--json" in sys.argv[1:]
    try:
        code = app(standalone_mode=not as_json)
    except Stopped as error:
        _end(error, f"stopped: {error}", REQUEUE, as_json)
    except TuningforkError as error:
        _end(error, f"error: {error}", FAILED, as_json)
    except USAGE as error:
        _end(error, str(error), FAILED, as_json)
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:  # typer makes this of KeyboardInterrupt, without a word
        _end(KeyboardInterrupt(), "interrupted; run the same command again to go on", INTERRUPTED, as_json)
    sys.exit(code)


def _end(error: BaseException, text: str, code: int, as_json: bool) -> NoReturn:
    """Tell of an error on the error stream, and end."""
    told = str(error) or text
    typer.echo(json.dumps({"error": told, "kind": type(error).__name__}) if as_json else text, err=True)
    sys.exit(code)
