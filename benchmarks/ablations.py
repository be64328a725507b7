"""What helps a reference model: short runs that differ in one thing each, judged on validation galaxies alone.

Every run trains as `make models` does, but for few epochs and of smaller pictures, so that it takes minutes;
a run of another seed says how far chance alone takes them. Test galaxies are not looked at. The start weights are those
that `make models` fetches. Run again, it goes on where it was.

    OMP_NUM_THREADS=2 python benchmarks/ablations.py DATA [--out ablations] [--epochs 3] [--size 96] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from tuningfork import disk
from tuningfork import recipe as recipes
from tuningfork.evaluate.judge import evaluate
from tuningfork.galaxy.union import Union
from tuningfork.predict.predict import predict
from tuningfork.workflow.reference import RECIPE, ReferenceRecipe
from tuningfork.workflow.samples import gather_samples
from tuningfork.workflow.training import train

SIMULATED = ("sky", "lenses")
JUDGED = {"gz1": "gz1", "efigi": "efigi"}  # model -> its sample

# name -> (changes to the recipe, samples that are left out, labels that are learnt: empty = all, views)
VARIANTS: dict[str, tuple[dict[str, Any], tuple[str, ...], tuple[str, ...], int]] = {
    "as they are made": ({}, (), (), 8),
    "another seed": ({"train.train.seed": 1}, (), (), 8),
    "one view": ({}, (), (), 1),
    "60 views": ({}, (), (), 60),
    "random start": ({"train.model.pretrained": ""}, (), (), 8),
    "no simulated galaxies": ({}, SIMULATED, ("gz1", "stage", "efigi", "gz2"), 8),
    "Galaxy Zoo 1 alone": ({}, (*SIMULATED, "efigi", "stripe82", "examples"), ("gz1",), 8),
    "EFIGI alone": ({}, (*SIMULATED, "gz1", "stripe82", "examples"), ("stage", "efigi"), 8),
    "64 px": ({"train.display.size": 64, "train.augment.shift": 3.0}, (), (), 8),
    "whole picture": ({"train.display.petrosian": 0.0}, (), (), 8),
    "no average of weights": ({"train.train.ema": 0.0}, (), (), 8),
    "no balance": ({"train.train.balance": "none"}, (), (), 8),
}


def main() -> None:
    """Train and judge the variants, and write their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("ablations"))
    parser.add_argument("--start", default="", help="a safetensors file of ImageNet weights; else the recipe's")
    parser.add_argument("--samples", type=Path, help="folder of the samples' stores, if they are there already")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    choice = parser.parse_args()
    base = recipes.load(ReferenceRecipe, RECIPE)
    short = {"train.train.epochs": choice.epochs, "train.display.size": choice.size, "train.augment.shift": 4.5}
    if choice.start:
        short["train.model.pretrained"] = choice.start
    union = gather_samples(choice.data, choice.samples or choice.out / "samples", base.sky, base.lenses)
    rows = []
    for name in choice.only:
        changes, without, parts, views = VARIANTS[name]
        rows.append(_row(name, union, recipes.replace(base, {**short, **changes}), without, parts, views, choice.out))
        print(json.dumps(rows[-1]), flush=True)
        disk.write_json(choice.out / "ablations.json", rows)
    print(table(rows))


COLUMNS = (
    ("gz1", "accuracy"), ("gz1", "balanced_accuracy"), ("gz1", "log_loss"),
    ("efigi", "T rms"), ("efigi", "T spearman"), ("efigi", "bar auc"),
)  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as a table of Markdown, each with half the width of its 95% interval."""

    def cell(row: dict[str, Any], model: str, key: str) -> str:
        if model not in row:
            return ""
        one = row[model][key]
        return f"{one['value']:.3f} \u00b1 {(one['high'] - one['low']) / 2:.3f}"

    head = ["variant", *(f"{model}: {key.replace('_', ' ')}" for model, key in COLUMNS)]
    lines = [head, ["---"] * len(head), *([row["variant"], *(cell(row, *one) for one in COLUMNS)] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(
    name: str,
    union: Union,
    recipe: ReferenceRecipe,
    without: tuple[str, ...],
    parts: tuple[str, ...],
    views: int,
    out: Path,
) -> dict[str, Any]:
    """Train one variant (kept where it is there), and judge it on the validation part."""
    assert union.catalog is not None
    labels = recipe.train.labels
    if parts:
        kept = [part for part in recipes.to_mapping(labels)["parts"] if part["name"] in parts]
        recipe = recipes.replace(recipe, {"train.labels.parts": kept})
    catalog = union.catalog
    samples, ids = np.asarray(catalog["sample"]), np.asarray(catalog.ids)
    some = catalog.select(ids[~np.isin(samples, without)].tolist())
    plain = name not in ("one view", "60 views")  # these judge the first variant's network again
    run = out / (name if plain else "as they are made").replace(" ", "-")
    began = time.monotonic()
    train(union, run, labels=some, recipe=recipe.train)
    row: dict[str, Any] = {"variant": name, "seconds": round(time.monotonic() - began)}
    for model, sample in JUDGED.items():
        if parts and model not in parts:
            continue
        here = (samples == sample) & (np.asarray(catalog["part"]) == "validation")
        chosen = ids[here].tolist()
        path = run / f"{model}-{views}.parquet"
        predict(union, run / "models" / model, path, ids=chosen, part="validation", views=views)
        judged = evaluate(path, catalog.select(chosen), run / f"{model}-{views}.html")
        row[model] = _told(model, judged.numbers)
    return row


def _told(model: str, numbers: dict[str, Any]) -> dict[str, Any]:
    """The figures that the table shows, each with its 95% interval."""
    told = {"galaxies": numbers["account"]["n_judged"]}
    if model == "gz1":
        return told | {key: numbers["metrics"][key] for key in ("accuracy", "balanced_accuracy", "log_loss")}
    stage, bar = numbers["attributes"]["T"], numbers["readings"]["Bar_Length \u2265 0.5 against \u2264 0"]
    return told | {"T rms": stage["rmse"], "T spearman": stage["spearman"], "bar auc": bar["roc_auc"]}


if __name__ == "__main__":
    main()
