"""Galaxies on a map: atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .screen import DONE, REJECTED, Json, app, bar, plain, say


@app.command()
def atlas(
    table: Annotated[Path, typer.Argument(help="Features of embed, or votes of predict (Parquet).")],
    out: Annotated[Path, typer.Option(help="The page to write (.html); its tiles lie in a folder beside it.")],
    method: Annotated[str, typer.Option(help="tsne, umap or pca.")] = "tsne",
    n: Annotated[int, typer.Option("--n", help="How many galaxies; of more as many are drawn by lot.")] = 10_000,
    cell: Annotated[int, typer.Option(help="Pixels of a galaxy's cell.")] = 96,
    colour: Annotated[str, typer.Option(help="Column for the colours; of votes also likeliest; or none.")] = "",
    catalog: Annotated[Path | None, typer.Option(help="Catalogue (or votes) that the column is in.")] = None,
    image: Annotated[Path | None, typer.Option(help="The whole as one image too: .jpg or .png.")] = None,
    figure: Annotated[Path | None, typer.Option(help="The map as points: .png, .pdf or .svg.")] = None,
    places: Annotated[Path | None, typer.Option(help="Table of all places: .parquet .csv .ecsv .fits .vot.")] = None,
    galaxies: Annotated[str, typer.Option(help="Source of the pictures, if it has moved.")] = "",
    threads: Annotated[int, typer.Option(help="0 = all cores.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the lot and the map.")] = 0,
    as_json: Json = False,
) -> None:
    """Lay thousands of galaxies out on one zoomable page, alike beside alike."""
    from ..insight.atlas import atlas as run
    from ..insight.atlas import open_pictures, open_table
    from ..insight.atlaspage import check_page, write_page
    from ..insight.contactsheet import check_figure, save_figure
    from ..predict.answertable import check_table

    check_page(out, cell, image)
    if figure is not None:
        check_figure(figure)
    if places is not None:
        check_table(places)
    opened = open_table(table)
    check_page(out, cell, image, min(n, len(opened.ids)))
    source = open_pictures(opened, galaxies or None)  # before the map, which takes a while
    with bar("atlas", as_json) as progress:
        made = run(
            opened, method=method, n=n, seed=seed, colour=colour, catalog=catalog, galaxies=source, progress=progress
        )
        done = write_page(made, out, galaxies=source, cell=cell, image=image, threads=threads, progress=progress)
    if figure is not None:
        save_figure(made.figure(), figure, dpi=150)
    if places is not None:
        made.write(places)
    files = {"image": str(image or ""), "figure": str(figure or ""), "places": str(places or "")}
    told = {
        **plain(done), "n_rejected": done.n_rejected, "method": method, "grid": made.shape, "kept": plain(made.kept),
        "notes": made.notes,
    }  # fmt: skip
    lines = [made.text(), done.text(), *(f"{what}: {where}" for what, where in files.items() if where)]
    say(told | files, as_json, "\n".join(lines))
    raise typer.Exit(REJECTED if done.rejected else DONE)
