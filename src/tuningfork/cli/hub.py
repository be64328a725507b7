"""Models to and from huggingface.co: push, pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .screen import Json, app, say

Repository = Annotated[str, typer.Argument(help="On huggingface.co, as OWNER/NAME.")]


@app.command()
def push(
    repository: Repository,
    model: Annotated[list[str], typer.Option(help="A run, a model or a shipped model's name; repeat it for several.")],
    public: Annotated[bool, typer.Option(help="Let everybody see a repository that is made by this.")] = False,
    as_json: Json = False,
) -> None:
    """Send models to a repository on huggingface.co."""
    from ..workflow.hub import push as run

    done = run(model, repository, public=public)
    say(done, as_json, f"sent {done}")


@app.command()
def pull(
    repository: Repository,
    out: Annotated[Path, typer.Argument(help="The folder in which each model gets its own.")] = Path("models"),
    revision: Annotated[str, typer.Option(help="A branch, a tag or a commit.")] = "main",
    replace: Annotated[bool, typer.Option(help="Write over models of the same names.")] = False,
    as_json: Json = False,
) -> None:
    """Bring the models of a repository on huggingface.co, proved on their golden pairs."""
    from ..workflow.hub import pull as run

    done = run(repository, out, revision=revision, replace=replace)
    say(done, as_json, "\n".join([f"brought {done}", *(f"  {path}" for path in done.paths)]))
