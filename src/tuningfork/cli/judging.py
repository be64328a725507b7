"""Beside the network: baseline (its classical rivals), compare (votes side by side), humans (against people)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import RecipeError
from .screen import DONE, REJECTED, Join, Json, Unmatched, account, app, bar, chosen, say, split_names

Truth = Annotated[Path, typer.Option(help="Catalogue of the true classes or votes, or a store that has them.")]
Page = Annotated[Path, typer.Option(help="The page to write (HTML).")]
Column = Annotated[str, typer.Option(help="Column of the classes.")]
Kind = Annotated[str, typer.Option("--as", help="How labels are made of the truth, as in train.")]
TreeName = Annotated[str, typer.Option(help="Decision tree of the votes: a name, or a TOML file.")]
Merge = Annotated[str, typer.Option(help="Classes to merge, as in train; none = none.")]
Drop = Annotated[str, typer.Option(help="Classes to leave out, commas between; none = none.")]


@app.command()
def baseline(
    source: Annotated[str, typer.Argument(help="Store, folder, stack or pattern: whatever ingest takes.")],
    out: Annotated[Path, typer.Option(help="The votes to write (Parquet).")],
    kind: Annotated[str, typer.Option(help="tree, forest, mlp, svm or logistic.")] = "",
    on: Annotated[str, typer.Option(help="pixels, pca, or features (of --model).")] = "",
    model: Annotated[str, typer.Option(help="Run or model folder of the network whose features they are.")] = "",
    labels: Annotated[str, typer.Option(help="A catalogue file, or a column of the store's own catalogue.")] = "",
    run: Annotated[str, typer.Option(help="A training run: take its split, and what no flag tells of labels.")] = "",
    part: Annotated[str, typer.Option(help="Answer for this part of the split: test, validation or train.")] = "test",
    column: Column = "",
    label_kind: Kind = "",
    tree: TreeName = "",
    merge: Merge = "",
    drop: Drop = "",
    choose: Annotated[
        list[str] | None, typer.Option("--set", help="Any choice of the recipe: baseline.depth=8")
    ] = None,
    threads: Annotated[int, typer.Option(help="For decoding; 0 = all cores.")] = 0,
    as_json: Json = False,
) -> None:
    """Fit a classical rival of the network (scikit-learn), and write votes for galaxies that it never saw."""
    from ..workflow.judging import baseline as fit

    flags = {"baseline.kind": kind, "baseline.on": on, "baseline.model": model}
    changes = {key: value for key, value in flags.items() if value}
    told = _label_changes(column=column, kind=label_kind, tree=tree, merge=merge, drop=drop)
    changes |= {f"labels.{key}": value for key, value in told.items()}
    changes |= chosen(choose, "baseline.depth=8")
    with bar("baseline", as_json) as progress:
        done = fit(
            source, out, labels=labels or None, run=run or None, changes=changes, part=part, threads=threads,
            progress=progress,
        )  # fmt: skip
    unusable = f" ({done.n_train_rejected:,} more could not be used)" if done.n_train_rejected else ""
    lines = [f"{done.name}, fitted on {done.n_trained:,} galaxies{unusable}", *done.notes]
    lines += [f"{account(done.n_in, done.n_done, done.n_rejected)}: '{out}'"]
    say(done, as_json, "\n".join(lines))
    raise typer.Exit(REJECTED if done.n_rejected or done.n_train_rejected else DONE)


@app.command()
def compare(
    votes: Annotated[list[Path], typer.Argument(help="Two or more files of votes; the others are held to the first.")],
    truth: Truth,
    out: Page,
    names: Annotated[str, typer.Option(help="What the page calls them, in order, commas between.")] = "",
    column: Column = "",
    label_kind: Kind = "",
    tree: TreeName = "",
    merge: Merge = "",
    drop: Drop = "",
    unmatched: Unmatched = Join.refuse,
    as_json: Json = False,
) -> None:
    """Judge several votes on the same galaxies, one beside the other, on one page."""
    from ..workflow.judging import compare as run

    changes = _label_changes(column=column, kind=label_kind, tree=tree, merge=merge, drop=drop)
    with bar("compare", as_json) as progress:
        done = run(
            votes, truth, out, names=split_names(names), changes=changes, unmatched=unmatched.value, progress=progress
        )
    rows = {name: one["account"] for name, one in done.numbers["votes"].items()}
    accounts = [f"{name}: {account(its['n_in'], its['n_done'], its['n_rejected'])}" for name, its in rows.items()]
    say(done, as_json, "\n".join([done.text(), *accounts, f"page: {out}"]))


@app.command()
def humans(
    votes: Annotated[Path, typer.Argument(help="Votes of predict.")],
    truth: Annotated[Path, typer.Option(help="Catalogue of the volunteers' votes, or a store that has them.")],
    out: Page,
    unsure: Annotated[str, typer.Option(help="People were unsure if their largest share lies here.")] = "0,0.8",
    label_kind: Kind = "",
    tree: TreeName = "",
    merge: Merge = "",
    drop: Drop = "",
    radius: Annotated[
        str, typer.Option(help="Join by position within this angle, e.g. 2arcsec, instead of by id.")
    ] = "",
    images: Annotated[str, typer.Option(help="Source of the pictures for the gallery, if it has moved.")] = "",
    unmatched: Unmatched = Join.refuse,
    as_json: Json = False,
) -> None:
    """Hold the machine's probabilities against the votes of people, where these were unsure."""
    from ..galaxy.position import arcsec
    from ..workflow.judging import humans as run

    limits = _limits(unsure)
    with bar("humans", as_json) as progress:
        done = run(
            votes, truth, out, changes=_label_changes(kind=label_kind, tree=tree, merge=merge, drop=drop),
            unsure=limits, radius_arcsec=arcsec(radius) if radius else None, images=images or None,
            unmatched=unmatched.value, progress=progress,
        )  # fmt: skip
    say(done, as_json, f"{done.text()}\npage: {out}")


def _label_changes(**flags: str) -> dict[str, Any]:
    """The flags that were given, as choices of labels; "none" takes merged or dropped classes away."""
    return {key: "" if value == "none" and key in ("merge", "drop") else value for key, value in flags.items() if value}


def _limits(text: str) -> tuple[float, float]:
    """``"0,0.8"`` as two numbers."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise RecipeError(f"--unsure {text!r}: write two shares of the votes, such as 0,0.8") from None
    return low, high
