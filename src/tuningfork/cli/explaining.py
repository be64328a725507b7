"""Why a model answers as it does: explain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .screen import DONE, REJECTED, Bands, Json, app, bar, say, split_names

PARTS = (
    "card,filters,exemplars,visualise,averages,answers,attribution,activations,sensitivity,dream,blocks,measurements"
)


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or the folder of a run or a model.")],
    galaxies: Annotated[list[str], typer.Option(help="Pictures (JPEG, PNG, FITS ...), a folder of them, or a store.")],
    out: Annotated[Path | None, typer.Option(help="The page to write: one HTML file.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for each figure as a PNG file too.")] = None,
    ids: Annotated[list[str] | None, typer.Option(help="Id of a galaxy of the store to explain.")] = None,
    n: Annotated[int, typer.Option("--n", help="Explain so many, the first; 0: single files all, of a store 1.")] = 0,
    target: Annotated[
        list[str] | None, typer.Option(help="Answer or question to explain; else the likeliest class, or the first.")
    ] = None,
    parts: Annotated[str, typer.Option(help=f"Only some of {PARTS}.")] = "",
    methods: Annotated[str, typer.Option(help="integrated_gradients,grad_cam,occlusion,smoothgrad or some.")] = "",
    layers: Annotated[str, typer.Option(help="Layers to show, by name or number, commas between.")] = "",
    compare: Annotated[int, typer.Option(help="Galaxies of the store to compare with; 0: none.")] = 400,
    thorough: Annotated[bool, typer.Option("--thorough", help="More steps everywhere: minutes, not seconds.")] = False,
    bands: Bands = "",
    seed: Annotated[int, typer.Option(help="Of everything that draws lots.")] = 0,
    as_json: Json = False,
) -> None:
    """Show on one page what a model sees in galaxies, and why it answers as it does."""
    from ..insight.explain import explain as run

    with bar("explain", as_json) as progress:
        done = run(
            model, galaxies, out, figures=figures, parts=split_names(parts) or (), ids=ids or (), n=n,
            targets=target or (), methods=split_names(methods) or (), layers=split_names(layers) or (), compare=compare,
            bands=split_names(bands), thorough=thorough, seed=seed, command=["tuningfork", *sys.argv[1:]],
            progress=progress,
        )  # fmt: skip
    say(done.as_json(), as_json, done.text())
    raise typer.Exit(REJECTED if done.n_rejected else DONE)
