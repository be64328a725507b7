"""Galaxies by what a network sees in them: embed, similar, anomalies, label-next, fit-few."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .screen import DONE, REJECTED, Bands, Json, account, app, bar, plain, say, split_names

Features = Annotated[Path, typer.Argument(help="Features of embed (Parquet).")]
Table = Annotated[Path | None, typer.Option(help="Table to write: .parquet .csv .ecsv .fits .vot.")]
Drawing = Annotated[Path | None, typer.Option(help="Draw the galaxies: .png, .pdf or .svg.")]
Galaxies = Annotated[str, typer.Option(help="Source of the pictures, if it has moved since embed.")]
Engine = Annotated[str, typer.Option(help="auto, onnxruntime, openvino or torch.")]
Threads = Annotated[int, typer.Option(help="0 = all cores.")]
Seed = Annotated[int, typer.Option(help="Of everything that draws lots.")]


@app.command()
def embed(
    source: Annotated[str, typer.Argument(help="Store, folder, stack or pattern: whatever ingest takes.")],
    model: Annotated[str, typer.Option(help="Run or model folder, or a shipped model's name.")],
    out: Annotated[Path, typer.Option(help="The features to write (Parquet).")],
    views: Annotated[int, typer.Option(help="Average over 1, 2, 4, 8 or 60 turned and mirrored views.")] = 1,
    precision: Annotated[str, typer.Option(help="float16 or float32.")] = "float16",
    part: Annotated[str, typer.Option(help="Only this part of the run's split: test, validation or train.")] = "",
    bands: Bands = "",
    batch: Annotated[int, typer.Option(help="Galaxies per call of the network.")] = 64,
    engine: Engine = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Write what a network sees in every galaxy, before its last layer, as numbers."""
    from ..insight.embedding import embed as run

    with bar("embed", as_json) as progress:
        done = run(
            source, model, out, views=views, precision=precision, part=part or None, bands=split_names(bands),
            batch=batch, engine=engine, threads=threads, progress=progress,
        )  # fmt: skip
    say(done, as_json, str(done))
    raise typer.Exit(REJECTED if done.n_rejected else DONE)


@app.command()
def similar(
    features: Features,
    queries: Annotated[list[str], typer.Argument(help="Ids of galaxies in it, or pictures of galaxies.")],
    k: Annotated[int, typer.Option("--k", help="Neighbours of each.")] = 12,
    model: Annotated[str, typer.Option(help="The model of the features, if it has moved; for pictures.")] = "",
    method: Annotated[str, typer.Option(help="exact, index, or auto: exact up to 50,000 galaxies.")] = "auto",
    out: Table = None,
    figure: Drawing = None,
    galaxies: Galaxies = "",
    engine: Engine = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Find the galaxies that a network sees most alike."""
    from ..insight.embedding import Embedding
    from ..insight.neighbours import similar as run

    _check(figure, out)
    opened = Embedding.open(features)
    with bar("similar", as_json) as progress:
        done = run(
            opened, queries, k=k, model=model or None, method=method, engine=engine, threads=threads, progress=progress
        )
    if out is not None:
        done.write(out)
    if figure is not None:
        _draw(done.figure(opened.source(galaxies or None)), figure)
    rows = done.table().to_pylist()
    told = {"method": done.method, "neighbours": rows, "notes": done.notes}
    say(told | _files(out, figure), as_json, _told(done.text(), out, figure))


@app.command()
def anomalies(
    features: Features,
    count: Annotated[int, typer.Option(help="How many to print and draw; --out has all.")] = 24,
    answers: Annotated[Path | None, typer.Option(help="Your answers: a table with id and interesting.")] = None,
    yes: Annotated[list[str] | None, typer.Option(help="Id of a galaxy that is interesting.")] = None,
    no: Annotated[list[str] | None, typer.Option(help="Id of a galaxy that is not.")] = None,
    methods: Annotated[str, typer.Option(help="Which measures, commas between.")] = "forest,outlier,distance",
    out: Table = None,
    figure: Drawing = None,
    galaxies: Galaxies = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Rank galaxies by how odd they are, and by which odd ones you like."""
    from ..insight.anomalies import anomalies as run
    from ..insight.anomalies import read_answers
    from ..insight.embedding import Embedding

    _check(figure, out)
    told = read_answers(answers, yes or (), no or ())
    opened = Embedding.open(features)
    with bar("anomalies", as_json) as progress:
        done = run(opened, told, methods=split_names(methods) or (), seed=seed, progress=progress)
    if out is not None:
        done.write(out)
    if figure is not None:
        _draw(done.figure(opened.source(galaxies or None), count), figure)
    rows = done.table().slice(0, count).to_pylist()
    result = {"galaxies": len(done.ids), "first": rows, "answers": len(told), "notes": done.notes}
    say(result | _files(out, figure), as_json, _told(done.text(count), out, figure))


@app.command("label-next")
def label_next(
    features: Features,
    votes: Annotated[list[Path], typer.Option(help="Votes of predict; several are several models.")],
    count: Annotated[int, typer.Option(help="Galaxies of a batch.")] = 50,
    batches: Annotated[int, typer.Option(help="Batches, one after the other.")] = 1,
    method: Annotated[str, typer.Option(help="margin, entropy or bald; the best there is where not given.")] = "",
    pool: Annotated[int, typer.Option(help="Choose among this many times as many, the most uncertain.")] = 10,
    labelled: Annotated[Path | None, typer.Option(help="Catalogue of galaxies that have a label.")] = None,
    out: Table = None,
    figure: Drawing = None,
    galaxies: Galaxies = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Propose which galaxies to label next: uncertain, and unlike each other."""
    from ..galaxy.catalog import Catalog
    from ..insight.embedding import Embedding
    from ..insight.labelnext import label_next as run

    _check(figure, out)
    opened = Embedding.open(features)
    known = Catalog.read(labelled).ids if labelled is not None else []
    done = run(opened, votes, count=count, batches=batches, method=method, pool=pool, labelled=known, seed=seed)
    if out is not None:
        done.write(out)
    if figure is not None:
        _draw(done.figure(opened.source(galaxies or None)), figure)
    result = {"method": done.method, "proposed": done.table().to_pylist(), "notes": done.notes}
    say(result | _files(out, figure), as_json, _told(done.text(), out, figure))


@app.command("fit-few")
def fit_few(
    features: Features,
    labels: Annotated[Path, typer.Option(help="Catalogue with an id and a class for some of the galaxies.")],
    out: Annotated[Path, typer.Option(help="The votes to write for all galaxies (Parquet).")],
    column: Annotated[str, typer.Option(help="Column of the classes.")] = "class",
    kind: Annotated[str, typer.Option(help="logistic (a linear probe) or neighbours.")] = "logistic",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Learn classes of your own from a few labels, in seconds."""
    from ..insight.fewlabels import fit_few as run

    with bar("fit-few", as_json) as progress:
        done = run(features, labels, out, column=column, kind=kind, seed=seed, progress=progress)
    lines = [done.text(), f"{account(done.n_in, done.n_done, done.n_rejected)}: '{out}'"]
    say({**plain(done), "accuracy": done.accuracy.as_dict()}, as_json, "\n".join(lines))
    raise typer.Exit(REJECTED if done.n_rejected else DONE)


def _check(figure: Path | None, out: Path | None) -> None:
    """Refuse files that cannot be written before any work is done."""
    from ..insight.contactsheet import check_figure
    from ..predict.answertable import check_table

    if figure is not None:
        check_figure(figure)
    if out is not None:
        check_table(out)


def _draw(drawn: object, path: Path) -> None:
    from matplotlib.figure import Figure

    from ..insight.contactsheet import save_figure

    assert isinstance(drawn, Figure)
    save_figure(drawn, path)


def _files(out: Path | None, figure: Path | None) -> dict[str, str]:
    return {"out": str(out or ""), "figure": str(figure or "")}


def _told(text: str, out: Path | None, figure: Path | None) -> str:
    lines = [f"{what}: {path}" for what, path in (("table", out), ("figure", figure)) if path is not None]
    return "\n".join([text, *lines])
