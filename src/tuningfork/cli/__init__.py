"""The command line: one verb, one call; bars on long work, --json for programs, exit codes that mean something."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import Stopped, TuningforkError
from . import chain, experiments, looking, sky
from .screen import DONE, FAILED, INTERRUPTED, REJECTED, REQUEUE, app

__all__ = [
    "DONE", "FAILED", "INTERRUPTED", "REJECTED", "REQUEUE", "app", "chain", "experiments", "looking", "main", "sky",
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


def main() -> None:
    """Run the command line; errors that tuningfork raises on purpose are printed, not traced."""
    try:
        app()
    except Stopped as error:
        typer.echo(f"stopped: {error}", err=True)
        sys.exit(REQUEUE)
    except TuningforkError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(INTERRUPTED)
