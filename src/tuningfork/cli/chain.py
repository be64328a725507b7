"""From pictures to a report: demo, simulate, ingest, train, predict, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .screen import (
    DONE,
    REJECTED,
    REQUEUE,
    Bands,
    Join,
    Json,
    Unmatched,
    account,
    app,
    bar,
    chosen,
    say,
    simulate_app,
    split_names,
)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the sky, the network and the report.")] = Path("demo"),
    galaxies: Annotated[int, typer.Option(help="How many galaxies to draw.")] = 3000,
    epochs: Annotated[int, typer.Option(help="Passes over them; 0 = 30.")] = 0,
    real: Annotated[bool, typer.Option("--real", help="Then classify sixty famous galaxies.")] = False,
    url: Annotated[str, typer.Option(help="A mirror to gather them from.")] = "",
    as_json: Json = False,
) -> None:
    """Draw a sky, train a network on it, classify galaxies it never saw, and judge that, in a few minutes."""
    from ..workflow import demo as workflow

    with bar("demo", as_json) as progress:
        if real:
            workflow.check_sky(url or None)
        result = workflow.demo(out, galaxies=galaxies, epochs=epochs or None, progress=progress)
        famous = workflow.demo_real(out, url=url or None, progress=progress) if real else ""
    say(result, as_json, "\n".join(filter(None, [result.text(), famous])))


@simulate_app.command("galaxies")
def simulate_galaxies(
    out: Annotated[Path, typer.Option(help="The store to write.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 1000,
    survey: Annotated[str, typer.Option(help="Camera: sdss or des.")] = "sdss",
    bands: Bands = "",
    size: Annotated[int, typer.Option(help="Side of a cutout, px; 0 = the survey's usual.")] = 0,
    colour: Annotated[bool, typer.Option(help="Colour pictures (JPEG), or flux in each band.")] = True,
    seed: Annotated[int, typer.Option(help="Galaxy i of a seed is always the same.")] = 0,
    as_json: Json = False,
) -> None:
    """Galaxies of known shape, with the votes of simulated volunteers."""
    from ..simulate.galaxies import simulate_galaxies as run

    with bar("simulate", as_json) as progress:
        store = run(
            n, out, survey=survey, bands=split_names(bands), size=size or None, colour=colour, seed=seed,
            progress=progress,
        )  # fmt: skip
    say({"path": str(out), "n_done": len(store)}, as_json, f"{account(len(store), len(store), 0)}: '{out}'")


@simulate_app.command("lenses")
def simulate_lenses(
    out: Annotated[Path, typer.Option(help="The store to write.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 1000,
    survey: Annotated[str, typer.Option(help="Camera: cfhtls, sdss or des.")] = "cfhtls",
    fraction: Annotated[float, typer.Option(help="Share of lenses; the rest are look-alikes.")] = 0.5,
    bands: Bands = "",
    size: Annotated[int, typer.Option(help="Side of a cutout, px; 0 = 30 arcsec.")] = 0,
    colour: Annotated[bool, typer.Option(help="Colour pictures (JPEG), or flux in each band.")] = True,
    snr: Annotated[float, typer.Option(help="Signal to noise that an arc has at least.")] = 25.0,
    on: Annotated[str, typer.Option(help="Paint the arcs on the galaxies of this source (flux).")] = "",
    seed: Annotated[int, typer.Option(help="Lens i of a seed is always the same.")] = 0,
    as_json: Json = False,
) -> None:
    """Gravitational lenses, and galaxies that look like them."""
    from ..galaxy.source import open_source
    from ..simulate.lenses import simulate_lenses as run

    with bar("simulate", as_json) as progress:
        store = run(
            n, out, survey=survey, fraction=fraction, colour=colour, bands=split_names(bands), size=size or None,
            snr=snr, seed=seed, base=open_source(on) if on else None, progress=progress,
        )  # fmt: skip
    n_rejected = len(store.rejected)
    text = f"{account(len(store) + n_rejected, len(store), n_rejected)}: '{out}'"
    say({"path": str(out), "n_done": len(store), "n_rejected": n_rejected}, as_json, text)
    raise typer.Exit(REJECTED if n_rejected else DONE)


@app.command()
def ingest(
    source: Annotated[str, typer.Argument(help="Folder, FITS/HDF5 stack, Parquet, or a pattern with {id} and {band}.")],
    out: Annotated[Path, typer.Option(help="The store to write.")],
    labels: Annotated[
        Path | None, typer.Option(help="Catalogue to join by id (CSV, ECSV, FITS, VOTable, ...).")
    ] = None,
    id_column: Annotated[str, typer.Option("--id", help="The id column of the catalogue, if not guessed.")] = "",
    unmatched: Unmatched = Join.refuse,
    bands: Bands = "",
    pixel_scale: Annotated[float, typer.Option(help="Arcsec per pixel, where the files do not tell.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Check every picture and put them all, with their labels, into a store."""
    from ..galaxy.ingest import ingest as run

    with bar("ingest", as_json) as progress:
        done = run(
            source, out, labels=labels, id_column=id_column or None, unmatched=unmatched.value,
            bands=split_names(bands), pixel_scale=pixel_scale or None, progress=progress,
        )  # fmt: skip
    say(done, as_json, str(done))
    raise typer.Exit(REJECTED if done.n_rejected else DONE)


@app.command()
def train(
    data: Annotated[str, typer.Option(help="Store, or whatever ingest takes.")],
    out: Annotated[Path, typer.Option(help="Run folder; a run that was stopped goes on in it.")],
    labels: Annotated[str, typer.Option(help="A catalogue file, or a column of the store's own catalogue.")] = "",
    column: Annotated[str, typer.Option(help="Column of the classes, if it is not 'class'.")] = "",
    kind: Annotated[
        str, typer.Option("--as", help="column, largest, threshold, kmeans, mode, draw, counts, fractions.")
    ] = "",
    tree: Annotated[str, typer.Option(help="Decision tree of the votes: a name, or a TOML file.")] = "",
    merge: Annotated[str, typer.Option(help="Classes to merge: spiral=spiral_clockwise+spiral_anticlockwise,...")] = "",
    drop: Annotated[str, typer.Option(help="Classes to leave out, commas between.")] = "",
    recipe: Annotated[Path | None, typer.Option(help="TOML file of choices; flags win over it.")] = None,
    backbone: Annotated[str, typer.Option(help="The network: see `tuningfork models --backbones`.")] = "",
    start: Annotated[str, typer.Option("--from", help="Start from the weights of this model or run.")] = "",
    pretrained: Annotated[str, typer.Option(help="Start from imagenet (fetched once), or a safetensors file.")] = "",
    epochs: Annotated[int, typer.Option(help="Passes over the training part; 0 = the recipe's (20).")] = 0,
    size: Annotated[int, typer.Option(help="Side of the network's input, px; 0 = the recipe's (64).")] = 0,
    crop: Annotated[
        float, typer.Option(help="Side of the central square to look at, px of the picture; 0 = all of it.")
    ] = 0.0,
    balance: Annotated[str, typer.Option(help="Rare classes: none, sqrt or balanced sampling.")] = "",
    choose: Annotated[
        list[str] | None, typer.Option("--set", help="Any choice of the recipe: train.rate=0.001")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a network on labelled galaxies; killed and started again, it goes on where it was."""
    from ..workflow.training import train as run

    flags = {
        "labels.column": column,
        "labels.kind": kind, "labels.tree": tree, "labels.merge": merge, "labels.drop": drop,
        "model.backbone": backbone, "train.epochs": epochs, "display.size": size, "display.crop": crop,
        "train.balance": balance, "start": start, "model.pretrained": pretrained,
    }  # fmt: skip
    changes: dict[str, Any] = {key: value for key, value in flags.items() if value}
    changes |= chosen(choose, "train.rate=0.001")
    with bar("train", as_json) as progress:
        done = run(data, out, labels=labels, recipe=recipe, changes=changes, progress=progress)
    say(done, as_json, done.text())
    raise typer.Exit(REQUEUE if done.stopped else REJECTED if done.n_rejected else DONE)


@app.command()
def predict(
    source: Annotated[str, typer.Argument(help="Store, folder, stack or pattern: whatever ingest takes.")],
    model: Annotated[list[str], typer.Option(help="Run or model folder; several make an ensemble.")],
    out: Annotated[Path, typer.Option(help="The votes to write (Parquet).")],
    part: Annotated[str, typer.Option(help="Only this part of the run's split: test, validation or train.")] = "",
    views: Annotated[int, typer.Option(help="Average over 1, 2, 4, 8 or 60 turned and mirrored views.")] = 1,
    bands: Bands = "",
    engine: Annotated[str, typer.Option(help="auto, onnxruntime, openvino or torch.")] = "auto",
    batch: Annotated[int, typer.Option(help="Galaxies per call of the network.")] = 64,
    threads: Annotated[int, typer.Option(help="0 = all cores.")] = 0,
    as_json: Json = False,
) -> None:
    """Classify every galaxy of a source; write votes, one row per galaxy."""
    from ..predict.predict import predict as run

    with bar("predict", as_json) as progress:
        done = run(
            source, model, out, part=part or None, bands=split_names(bands), views=views, batch=batch, engine=engine,
            threads=threads, progress=progress,
        )  # fmt: skip
    say(done, as_json, str(done))
    raise typer.Exit(REJECTED if done.n_rejected else DONE)


@app.command()
def evaluate(
    votes: Annotated[Path, typer.Argument(help="Votes of ours, or a rival's table.")],
    truth: Annotated[Path, typer.Option(help="Catalogue of the true classes or votes, or a store that has them.")],
    out: Annotated[Path, typer.Option(help="The report: one HTML page.")],
    column: Annotated[str, typer.Option(help="Column of the true class.")] = "",
    merge: Annotated[
        str, typer.Option(help="Classes to merge, as in train; none = not even those that the model's card merges.")
    ] = "",
    drop: Annotated[str, typer.Option(help="Classes to leave out of the truth; none = none.")] = "",
    tree: Annotated[str, typer.Option(help="Decision tree, where the votes do not tell.")] = "",
    kind: Annotated[str, typer.Option("--as", help="How labels are made of the truth, as in train.")] = "",
    votes_id: Annotated[str, typer.Option("--id", help="The id column of a rival's votes, if not guessed.")] = "",
    truth_id: Annotated[str, typer.Option("--truth-id", help="The id column of the truth, if not guessed.")] = "",
    radius: Annotated[
        str, typer.Option(help="Join by position within this angle, e.g. 2arcsec, instead of by id.")
    ] = "",
    images: Annotated[str, typer.Option(help="Source of the pictures for the galleries, if it has moved.")] = "",
    unmatched: Unmatched = Join.refuse,
    as_json: Json = False,
) -> None:
    """Judge votes against the truth; write a report. What no flag tells is as the model's card in the votes says."""
    from ..evaluate.judge import evaluate as run
    from ..galaxy.position import arcsec

    flags = {"column": column, "merge": merge, "drop": drop, "tree": tree, "kind": kind}
    changes = {
        key: "" if value == "none" and key in ("merge", "drop") else value for key, value in flags.items() if value
    }
    with bar("evaluate", as_json) as progress:
        done = run(
            votes, truth, out, changes=changes, votes_id=votes_id or None, truth_id=truth_id or None,
            radius_arcsec=arcsec(radius) if radius else None, images=images or None, unmatched=unmatched.value,
            progress=progress,
        )  # fmt: skip
    say(done, as_json, f"{done.text()}\nreport: {out}")
