"""From the sky to the store, and from Zooniverse to votes: gather, query, surveys, datasets, fetch, votes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .screen import DONE, REJECTED, REQUEUE, Bands, Json, app, bar, say, split_names

votes_app = typer.Typer(help="From Zooniverse's clicks to votes, and from a store to Zooniverse.", no_args_is_help=True)
app.add_typer(votes_app, name="votes")

Url = Annotated[str, typer.Option(help="A mirror of the service (or a stand-in) to ask instead.")]
TreeName = Annotated[str, typer.Option(help="Decision tree: a built-in name, or a TOML file.")]
TaskMap = Annotated[Path | None, typer.Option("--map", help="TOML: which task is which question, where words differ.")]
Workflow = Annotated[str, typer.Option(help="Only the rows of this workflow.")]
IdKey = Annotated[str, typer.Option(help="Field of the subjects' metadata that holds the id.")]


@app.command()
def gather(
    out: Annotated[Path, typer.Option(help="The store to write; a run that was stopped goes on in it.")],
    survey: Annotated[str, typer.Option(help="See `tuningfork surveys`; or mosaic, for your own tiles.")],
    width: Annotated[str, typer.Option(help="Field of view: 60arcsec, or of a column: 0.02*petroR90_r*424.")],
    catalog: Annotated[Path | None, typer.Argument(help="Catalogue with id, ra, dec.")] = None,
    names: Annotated[str, typer.Option(help="Galaxies by name instead: M51,NGC1300.")] = "",
    pixels: Annotated[int, typer.Option(help="Side of a cutout, px; 0 = the survey's own pixels.")] = 0,
    bands: Bands = "",
    images: Annotated[str, typer.Option(help="mosaic: your tiles, e.g. 'tile*.fits' or 'tile*_{band}.fits'.")] = "",
    weights: Annotated[str, typer.Option(help="mosaic: their weight maps.")] = "",
    masks: Annotated[str, typer.Option(help="mosaic: their masks.")] = "",
    partial: Annotated[bool, typer.Option(help="mosaic: keep cutouts that reach over an edge.")] = False,
    url: Url = "",
    names_url: Annotated[str, typer.Option(help="A mirror of the name resolver.")] = "",
    workers: Annotated[int, typer.Option(help="Galaxies asked for at a time.")] = 8,
    rate: Annotated[float, typer.Option(help="Requests per second and host; 0 = the survey's own manners.")] = 0.0,
    retry_rejected: Annotated[bool, typer.Option("--retry-rejected", help="Ask again for all rejected ones.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch a cutout of every galaxy of a catalogue into a store, whatever the service does."""
    from ..workflow.sky import gather as run

    with bar("gather", as_json) as progress:
        done = run(
            catalog, survey, out, width=width, names=names, names_url=names_url or None, pixels=pixels or None,
            bands=split_names(bands), url=url or None, images=images or None, weights=weights or None,
            masks=masks or None, partial=partial, workers=workers, rate=rate or None, retry_rejected=retry_rejected,
            progress=progress,
        )  # fmt: skip
    say(done, as_json, str(done))
    raise typer.Exit(REQUEUE if getattr(done, "stopped", False) else REJECTED if done.n_rejected else DONE)


@app.command()
def surveys(as_json: Json = False) -> None:
    """List the surveys that gather can ask, with their bands, pixel scale and units."""
    from ..survey.surveys import SURVEYS

    rows = [
        {"name": one.name, "bands": ",".join(one.bands), "pixel_scale": one.pixel_scale, "units": one.units,
         "title": one.title}
        for one in SURVEYS.values()
    ]  # fmt: skip
    lines = [
        f"{r['name']:12} {r['title']}\n{'':12} bands {r['bands'] or 'as asked'}; "
        f"{r['pixel_scale'] or 'chosen'} arcsec per pixel; {r['units']}"
        for r in rows
    ]
    say(rows, as_json, "\n".join(lines))


@app.command()
def query(
    service: Annotated[str, typer.Argument(help="sdss.")],
    sql: Annotated[str, typer.Argument(help="A SELECT, instead of a preset.")] = "",
    out: Annotated[Path, typer.Option(help="The catalogue to write: .csv .ecsv .fits .vot .parquet.")] = Path(
        "query.parquet"
    ),
    preset: Annotated[str, typer.Option(help="galaxyzoo1, galaxyzoo1-nospec, galaxyzoo2 or photometry.")] = "",
    where: Annotated[str, typer.Option(help="Condition on the rows of a preset.")] = "",
    url: Url = "",
    as_json: Json = False,
) -> None:
    """Ask the SDSS for a table: all rows, past the server's limit, with units."""
    from ..errors import RecipeError
    from ..workflow.sky import query as run

    if service != "sdss":
        raise RecipeError(f"there is no SQL service '{service}'; there is: sdss")
    with bar("query", as_json) as progress:
        found = run(out, preset=preset, sql=sql, where=where, url=url or None, progress=progress)
    say({"path": str(out), "rows": len(found), "columns": found.columns}, as_json, f"{len(found):,} rows: '{out}'")


@app.command()
def datasets(
    name: Annotated[str, typer.Argument(help="One set, in full; none lists them.")] = "", as_json: Json = False
) -> None:
    """List the published data sets that fetch knows, or describe one."""
    from ..published import datasets as every
    from ..published import find_dataset

    if name:
        one = find_dataset(name)
        say(one, as_json, str(one))
        return
    rows = every()
    say(rows, as_json, "\n".join(f"{one.name:18} {one.galaxies or '?':>9} galaxies  {one.title}" for one in rows))


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A data set's name (see `tuningfork datasets`), or a card of your own.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files and what becomes of them; default NAME.")
    ] = None,
    own: Annotated[Path | None, typer.Option("--from", help="Folder that already holds the files, instead.")] = None,
    url: Url = "",
    ingest: Annotated[bool, typer.Option(help="Make a store or a catalogue of them.")] = True,
    as_json: Json = False,
) -> None:
    """Download a published data set, resuming and verifying, and ingest it."""
    from ..published import fetch as run

    with bar("fetch", as_json) as progress:
        done = run(name, out or Path(name).stem, url=url or None, own=own, ingest=ingest, progress=progress)
    say(done.to_mapping(), as_json, str(done))
    raise typer.Exit(REJECTED if done.store and done.store.n_rejected else DONE)


@votes_app.command("from-zooniverse")
def from_zooniverse(
    export: Annotated[Path, typer.Argument(help="Classification, extract or reduction export (CSV).")],
    tree: TreeName,
    out: Annotated[Path, typer.Option(help="The catalogue of votes to write.")] = Path("volunteers.parquet"),
    task_map: TaskMap = None,
    weighting: Annotated[str, typer.Option(help="none, or consistency (Galaxy Zoo 2's weights).")] = "none",
    id_key: IdKey = "",
    workflow: Workflow = "",
    as_json: Json = False,
) -> None:
    """Turn a project's raw clicks into votes per question."""
    from ..survey.zooniverse import from_zooniverse as run

    weights: Any = weighting
    with bar("votes", as_json) as progress:
        done = run(
            export, out, tree=tree, map=task_map, weighting=weights, id_key=id_key, workflow=workflow, progress=progress
        )
    say(done, as_json, str(done))
    raise typer.Exit(REJECTED if done.n_rejected else DONE)


@votes_app.command("swap")
def swap(
    export: Annotated[Path, typer.Argument(help="Classification export (CSV).")],
    tree: TreeName,
    out: Annotated[Path, typer.Option(help="The table of posteriors to write.")],
    question: Annotated[str, typer.Option(help="The binary question.")],
    positive: Annotated[str, typer.Option(help="Its answer that means yes.")],
    gold: Annotated[Path, typer.Option(help="Catalogue of subjects whose truth is known.")],
    gold_column: Annotated[str, typer.Option(help="Its column of the truth.")] = "truth",
    task_map: TaskMap = None,
    id_key: IdKey = "",
    workflow: Workflow = "",
    as_json: Json = False,
) -> None:
    """Weigh the clicks on a yes-or-no question by each volunteer's skill (SWAP)."""
    from ..survey.swap import swap as run

    with bar("swap", as_json) as progress:
        done = run(
            export, out, tree=tree, question=question, positive=positive, gold=gold, gold_column=gold_column,
            map=task_map, id_key=id_key, workflow=workflow, progress=progress,
        )  # fmt: skip
    say(done, as_json, str(done))
    raise typer.Exit(REJECTED if done.n_rejected else DONE)


@votes_app.command("debias")
def debias(
    catalog: Annotated[Path, typer.Argument(help="Catalogue of votes with redshift, magnitude and size.")],
    tree: TreeName,
    out: Annotated[Path, typer.Option(help="The catalogue to write, with columns _debiased.")],
    redshift: Annotated[str, typer.Option(help="Column of the redshift.")] = "redshift",
    magnitude: Annotated[str, typer.Option(help="Column of the absolute magnitude.")] = "absolute_magnitude",
    size: Annotated[str, typer.Option(help="Column of the size, kpc.")] = "size_kpc",
    as_json: Json = False,
) -> None:
    """Correct vote fractions for what volunteers cannot see in far galaxies (Hart et al. 2016)."""
    from ..galaxy.catalog import Catalog
    from ..survey.debias import debias as run

    with bar("debias", as_json) as progress:
        corrected, report = run(
            Catalog.read(catalog), tree, redshift=redshift, magnitude=magnitude, size=size, progress=progress
        )
        corrected.write(out)
    say(report, as_json, f"{report}\nvotes: '{out}'")


@votes_app.command("to-zooniverse")
def to_zooniverse(
    source: Annotated[str, typer.Argument(help="Store, or whatever ingest takes.")],
    out: Annotated[Path, typer.Option(help="New folder for the pictures and manifest.csv.")],
    hidden: Annotated[str, typer.Option(help="Columns of the catalogue that volunteers are not shown.")] = "",
    visible: Annotated[str, typer.Option(help="Columns that they are shown.")] = "",
    side: Annotated[int, typer.Option(help="Longer side of a picture, px; 0 = as it is.")] = 0,
    as_json: Json = False,
) -> None:
    """Write a subject set for `panoptes-client`: pictures and their manifest."""
    from ..survey.subjects import to_zooniverse as run

    with bar("subjects", as_json) as progress:
        done = run(
            source, out, hidden=split_names(hidden) or (), visible=split_names(visible) or (), side=side,
            progress=progress,
        )  # fmt: skip
    say(done, as_json, str(done))
    raise typer.Exit(REJECTED if done.n_rejected else DONE)
