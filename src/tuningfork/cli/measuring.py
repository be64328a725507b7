"""The shape of galaxies in numbers without a network: measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .screen import DONE, REJECTED, Bands, Json, app, bar, say, split_names


@app.command()
def measure(
    source: Annotated[str, typer.Argument(help="Store, folder, stack, file or pattern: whatever ingest takes.")],
    out: Annotated[Path, typer.Option(help="Table to write: .parquet .csv .ecsv .fits .vot.")],
    band: Annotated[str, typer.Option(help="A band's name, sum or luminance; else r, the one band, or these.")] = "",
    psf: Annotated[str, typer.Option(help="FWHM as 3.2px or 1.3arcsec, or a FITS image of the PSF.")] = "",
    gain: Annotated[float | None, typer.Option(help="Electrons per unit of the band's flux; wants --band.")] = None,
    limit: Annotated[
        float, typer.Option(help="Seconds by the clock for one galaxy; slower ones are rejected.")
    ] = 300.0,
    workers: Annotated[int, typer.Option(help="Processes; 0 = one per core.")] = 0,
    bands: Bands = "",
    as_json: Json = False,
) -> None:
    """Measure Gini, M20, concentration, asymmetry, smoothness and Sersic fits, as a check beside a network."""
    from ..insight.measuring import measure as run

    with bar("measure", as_json) as progress:
        done = run(
            source, out, bands=split_names(bands), band=band, psf=psf, gain=gain, limit=limit, workers=workers,
            progress=progress,
        )  # fmt: skip
    say(done, as_json, str(done))
    raise typer.Exit(REJECTED if done.n_rejected else DONE)
