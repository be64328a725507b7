"""Looking at what is there: tree, models, info."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from .screen import Json, app, say


@app.command()
def tree(
    name: Annotated[str, typer.Argument(help="A built-in tree, or a TOML file; none lists them.")] = "",
    out: Annotated[Path | None, typer.Option(help="Draw it as a figure: .png, .pdf or .svg.")] = None,
    as_json: Json = False,
) -> None:
    """Draw a decision tree."""
    from ..galaxy.tree import TREES, Tree

    if not name:
        rows = {one: Tree.load(one).title for one in TREES}
        say(rows, as_json, "\n".join(f"{one:14} {title}" for one, title in rows.items()))
        return
    loaded = Tree.load(name)
    if out:
        from ..galaxy.treefigure import save

        save(loaded, out)
    say(asdict(loaded), as_json, f"figure: {out}" if out else loaded.text())


@app.command()
def models(
    folder: Annotated[str, typer.Argument(help="Where your runs are, or a model's name, to read its card.")] = ".",
    backbones: Annotated[bool, typer.Option(help="List the networks that train can use, instead.")] = False,
    as_json: Json = False,
) -> None:
    """List the models that are shipped and those here, or show one's card."""
    from ..model.card import find_model
    from ..workflow.info import info, list_backbones, list_models, list_shipped

    if not backbones and not Path(folder).is_dir():  # a name of a shipped model, or none at all
        result = info(find_model(folder))
        return say(result, as_json, _page(result))
    rows = list_backbones() if backbones else [*list_shipped(), *list_models(folder)]
    lines = [
        f"{row.pop('name'):24} {'  '.join(f'{key} {value}' for key, value in row.items())}" for row in map(dict, rows)
    ]
    say(rows, as_json, "\n".join(lines) or f"no model under '{folder}': train one, or run `tuningfork demo`")


@app.command()
def info(
    path: Annotated[str, typer.Argument(help="A store, source, run, model, votes or catalogue.")], as_json: Json = False
) -> None:
    """Say what a file or folder is and what is in it."""
    from ..workflow.info import info as run

    result = run(path)
    say(result, as_json, _page(result))


def _page(result: Mapping[str, Any]) -> str:
    """A description as lines; of a list each entry has one."""
    lines = []
    for key, value in result.items():
        for number, one in enumerate(value if isinstance(value, list) else [value]):
            lines.append(f"{'' if number else key:14} {one}")
    return "\n".join(lines)


@app.command()
def export(
    votes: Annotated[Path, typer.Argument(help="Votes of predict.")],
    out: Annotated[Path, typer.Argument(help="The table to write: .fits .vot .ecsv .csv .parquet.")],
    as_json: Json = False,
) -> None:
    """Write votes as a table that TOPCAT and others open."""
    from ..galaxy.votes import Votes

    table = Votes.read(votes)
    table.export(out)
    say({"path": str(out), "rows": len(table)}, as_json, f"{len(table):,} rows: '{out}'")
