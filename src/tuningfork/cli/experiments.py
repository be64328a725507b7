"""What is made again from galaxies: the historic experiments (reproduce), the shipped models (reference)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..errors import MissingExtra, RecipeError
from .screen import Json, app, bar, chosen, say


@app.command()
def reproduce(
    name: Annotated[str, typer.Argument(help="s1-lens-scratch, s2-spiral-elliptical, ...; all for every one.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of your copy of the real data; none = a simulated sky.")
    ] = None,
    size: Annotated[str, typer.Option(help="hour (minutes on 2 cores), full (the author's schedule), toy.")] = "hour",
    out: Annotated[Path, typer.Option(help="Each experiment has its own folder in it.")] = Path("experiments"),
    choose: Annotated[
        list[str] | None, typer.Option("--set", help="Any choice of its recipe: train.train.epochs=20")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a historic experiment again, and show its author's figure beside ours."""
    try:
        from ..workflow import reproduce as run
        from ..workflow.experiments.outcome import markdown
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train") from error

    changes = chosen(choose, "train.train.epochs=20")
    with bar("reproduce", as_json) as progress:
        if name == "all":
            if changes:
                raise RecipeError("--set changes one experiment; name it instead of all")
            done = run.reproduce_all(out, data=data, size=size, progress=progress)
            say([one.as_dict() for one in done], as_json, markdown(done))
        else:
            outcome = run.reproduce(name, out / name, data=data, size=size, changes=changes, progress=progress)
            say(outcome.as_dict(), as_json, outcome.text())


@app.command()
def reference(
    data: Annotated[Path, typer.Option(help="Folder of your copy of the real galaxies: gz1/, efigi/, gz2_stripe82/.")],
    out: Annotated[Path, typer.Option(help="Everything is made in it; the models are in its folder shipped.")] = Path(
        "reference"
    ),
    choose: Annotated[
        list[str] | None, typer.Option("--set", help="Any choice of the colour models' recipe: train.train.epochs=20")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the shipped models again, and measure them; killed and started again, it goes on where it was."""
    try:
        from ..workflow.reference import SHIPPED, make_models
        from ..workflow.reference_flux import make_flux_models
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train") from error

    changes = chosen(choose, "train.train.epochs=20")
    with bar("reference", as_json) as progress:
        done = make_models(data, out, changes=changes, progress=progress)
        begin = {"start": str(out / SHIPPED / "gz1")}
        flux = make_flux_models(data, out, changes=begin, progress=progress)
    done = replace(flux, rows=(*done.rows, *flux.rows), notes=(*done.notes, *flux.notes))
    say(done, as_json, done.text())
