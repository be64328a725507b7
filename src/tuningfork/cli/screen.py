"""What every verb shares: the application, options, the progress bar, printing, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from ..errors import RecipeError

DONE, FAILED, REJECTED, REQUEUE, INTERRUPTED = 0, 2, 3, 75, 130

EPILOG = (
    "Exit codes: 0 all done; 3 done, but some galaxies were rejected (each is listed with its reason); 2 refused, "
    "with what to do about it; 75 stopped by a signal after saving, run the same command again; 130 interrupted."
)
app = typer.Typer(
    help="From pictures of galaxies to calibrated morphology.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
simulate_app = typer.Typer(help="Draw a sky whose truth is known.", no_args_is_help=True)
app.add_typer(simulate_app, name="simulate")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Bands = Annotated[str, typer.Option(help="Names of the bands, e.g. g,r,i,z,Y, where the files do not tell.")]


class Join(StrEnum):
    """What a join does with rows that have no partner."""

    refuse = "refuse"
    drop = "drop"


Unmatched = Annotated[Join, typer.Option(help="Rows of a join without a partner: refuse, or drop them and say so.")]


@contextmanager
def bar(title: str, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on the error stream, so that the output stays clean; silent with --json."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Remaining(),
        TextColumn("{task.fields[live]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task(title, total=None, live="")
        yield lambda done, total, live: progress.update(task, completed=done, total=total, live=live)


def say(result: Any, as_json: bool, text: str) -> None:
    """Print a result: as JSON, where asked for, else as the text that stands beside it."""
    typer.echo(json.dumps(plain(result), default=str, indent=2) if as_json else text)


def plain(value: Any) -> Any:
    """A result as JSON takes it: dataclasses and mappings as objects with text for keys, sequences as arrays."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {" / ".join(map(str, k)) if isinstance(k, tuple) else str(k): plain(v) for k, v in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple, set)) else value


def account(n_in: int, n_done: int, n_rejected: int) -> str:
    """The line that every verb over galaxies ends with."""
    return f"{n_in:,} galaxies in = {n_done:,} done + {n_rejected:,} rejected"


def split_names(text: str) -> tuple[str, ...] | None:
    """``"g,r,i"`` as names; None where the flag was not given."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) or None


def chosen(options: list[str] | None, example: str) -> dict[str, Any]:
    """``["train.rate=0.001"]``, as ``--set`` takes it, as choices by key; raises :class:`RecipeError` for others."""
    changes: dict[str, Any] = {}
    for one in options or []:
        key, equals, value = one.partition("=")
        if not equals:
            raise RecipeError(f"--set {one!r}: write KEY=VALUE, for instance --set {example}")
        changes[key] = value
    return changes
