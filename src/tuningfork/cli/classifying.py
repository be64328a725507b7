"""Any galaxy by the models at hand: classify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .screen import DONE, REJECTED, Bands, Json, app, bar, say, split_names


@app.command()
def classify(
    files: Annotated[list[str], typer.Argument(help="Pictures (JPEG, PNG, FITS ...), folders of them, or stores.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Shipped models' names, or folders of models; none: all shipped.")
    ] = None,
    views: Annotated[int, typer.Option(help="Average over 1, 2, 4, 8 or 60 turned and mirrored views.")] = 8,
    resize: Annotated[
        bool, typer.Option("--resize/--no-resize", help="Find the galaxy and frame it; or take the picture as it is.")
    ] = True,
    bands: Bands = "",
    out: Annotated[Path | None, typer.Option(help="Table of all answers: .parquet .csv .ecsv .fits .vot.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw up to 24 galaxies: .png, .pdf or .svg.")] = None,
    engine: Annotated[str, typer.Option(help="auto, onnxruntime, openvino or torch.")] = "auto",
    threads: Annotated[int, typer.Option(help="0 = all cores.")] = 0,
    as_json: Json = False,
) -> None:
    """Say what the galaxies in some pictures are, whatever their scale."""
    from ..predict.classify import classify as run

    portraits = 0
    if figure is not None:
        from ..predict.portraits import MOST_DRAWN, check_figure, save_figure

        check_figure(figure)
        portraits = MOST_DRAWN
    with bar("classify", as_json) as progress:
        done = run(
            files, model or None, views=views, resize=resize, bands=split_names(bands), out=out, portraits=portraits,
            engine=engine, threads=threads, progress=progress,
        )  # fmt: skip
    drawn = figure is not None and bool(done.portraits)
    if figure is not None and drawn:
        save_figure(done, figure)
    told = f"figure: {figure}" if drawn else f"'{figure}' is not drawn: no galaxy was classified" if figure else ""
    say({**done.as_json(), "figure": str(figure) if drawn else ""}, as_json, f"{done.text()}\n{told}".rstrip())
    raise typer.Exit(REJECTED if done.n_rejected else DONE)
