"""What helps a reference model: short runs that differ in one thing each, judged on validation galaxies alone.

Every run trains as `make models` does, but for few epochs and of smaller pictures, so that it takes minutes;
a run of another seed says how far chance alone takes them. With --whole every run is as long and its pictures as large
as those of `make models`: three quarters of an hour each. Test galaxies are not looked at. The start weights are those
that `make models` fetches. Run again, it goes on where it was.

    OMP_NUM_THREADS=2 python benchmarks/ablations.py DATA [--out ablations] [--epochs 3] [--size 96] [--only NAME ...]
    OMP_NUM_THREADS=2 python benchmarks/ablations.py DATA --whole --only "as they are made" "160 px" "mean with 160 px"
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tuningfork import disk
from tuningfork import recipe as recipes
from tuningfork.data.split import uniform
from tuningfork.evaluate.judge import evaluate
from tuningfork.galaxy.union import Union
from tuningfork.predict.predict import predict
from tuningfork.workflow.reference import RECIPE, ReferenceRecipe
from tuningfork.workflow.samples import gather_samples
from tuningfork.workflow.training import train

SIMULATED = ("sky", "lenses")
JUDGED = {"gz1": "gz1", "efigi": "efigi"}  # model -> its sample


@dataclass(frozen=True)
class Variant:
    """What differs: ``changes`` to the recipe, samples left ``without``, the labels that are learnt (none given: all),
    the ``share`` of training galaxies that teach (by lot, in the more epochs), the views that are averaged, and the
    variants of an earlier run whose networks are asked together instead of training one (``mean``)."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    share: float = 1.0
    views: int = 8
    mean: tuple[str, ...] = ()


VARIANTS: dict[str, Variant] = {
    "as they are made": Variant(),
    "another seed": Variant({"train.train.seed": 1}),
    "one view": Variant(views=1),
    "60 views": Variant(views=60),
    "random start": Variant({"train.model.pretrained": ""}),
    "half of the galaxies": Variant(share=0.5),
    "a quarter of the galaxies": Variant(share=0.25),
    "no simulated galaxies": Variant(without=SIMULATED, labels=("gz1", "stage", "efigi", "gz2")),
    "Galaxy Zoo 1 alone": Variant(without=(*SIMULATED, "efigi", "stripe82", "examples"), labels=("gz1",)),
    "EFIGI alone": Variant(without=(*SIMULATED, "gz1", "stripe82", "examples"), labels=("stage", "efigi")),
    "64 px": Variant({"train.display.size": 64, "train.augment.shift": 3.0}),
    "96 px": Variant({"train.display.size": 96, "train.augment.shift": 4.5}),
    "160 px": Variant({"train.display.size": 160, "train.augment.shift": 7.5}),
    "mean with 160 px": Variant(mean=("as they are made", "160 px")),
    "whole picture": Variant({"train.display.petrosian": 0.0}),
    "no average of weights": Variant({"train.train.ema": 0.0}),
    "two views agree": Variant({"train.train.agree": 1.0}),
    "no balance": Variant({"train.train.balance": "none"}),
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
    parser.add_argument("--whole", action="store_true", help="as many epochs, and as large, as make models has them")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    choice = parser.parse_args()
    base = recipes.load(ReferenceRecipe, RECIPE)
    short: dict[str, Any] = {} if choice.whole else {"train.display.size": choice.size, "train.augment.shift": 4.5}
    epochs, patience = base.train.train.epochs if choice.whole else choice.epochs, base.train.train.patience
    if choice.start:
        short["train.model.pretrained"] = choice.start
    union = gather_samples(choice.data, choice.samples or choice.out / "samples", base.sky, base.lenses)
    rows = []
    for name in choice.only:
        variant = VARIANTS[name]
        steps = {"epochs": round(epochs / variant.share), "patience": round(patience / variant.share)}  # alike for all
        steps = {f"train.train.{key}": value for key, value in steps.items()}
        recipe = recipes.replace(base, {**short, **steps, **variant.changes})
        rows.append(_row(name, variant, union, recipe, choice.out))
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


def _row(name: str, variant: Variant, union: Union, recipe: ReferenceRecipe, out: Path) -> dict[str, Any]:
    """Train one variant (kept where it is there), and judge it on the validation part."""
    assert union.catalog is not None
    if variant.labels:
        kept = [part for part in recipes.to_mapping(recipe.train.labels)["parts"] if part["name"] in variant.labels]
        recipe = recipes.replace(recipe, {"train.labels.parts": kept})
    catalog, views = union.catalog, variant.views
    samples, ids = np.asarray(catalog["sample"]), np.asarray(catalog.ids)
    drawn = (np.asarray(catalog["part"]) != "train") | (uniform(ids.tolist(), 3) < variant.share)
    some = catalog.select(ids[~np.isin(samples, variant.without) & drawn].tolist())
    plain = name not in ("one view", "60 views")  # these judge the first variant's network again
    run = _folder(out, name if plain else "as they are made")
    began = time.monotonic()
    if not variant.mean:
        train(union, run, labels=some, recipe=recipe.train)
    row: dict[str, Any] = {"variant": name, "seconds": round(time.monotonic() - began)}
    for model, sample in JUDGED.items():
        if variant.labels and model not in variant.labels:
            continue
        here = (samples == sample) & (np.asarray(catalog["part"]) == "validation")
        chosen = ids[here].tolist()
        path = run / f"{model}-{views}.parquet"
        asked = [_folder(out, one) / "models" / model for one in variant.mean] or [run / "models" / model]
        predict(union, asked, path, ids=chosen, part="validation", views=views)
        judged = evaluate(path, catalog.select(chosen), run / f"{model}-{views}.html")
        row[model] = _told(model, judged.numbers)
    return row


def _folder(out: Path, name: str) -> Path:
    return out / name.replace(" ", "-")


def _told(model: str, numbers: dict[str, Any]) -> dict[str, Any]:
    """The figures that the table shows, each with its 95% interval."""
    told = {"galaxies": numbers["account"]["n_judged"]}
    if model == "gz1":
        return told | {key: numbers["metrics"][key] for key in ("accuracy", "balanced_accuracy", "log_loss")}
    stage, bar = numbers["attributes"]["T"], numbers["readings"]["Bar_Length \u2265 0.5 against \u2264 0"]
    return told | {"T rms": stage["rmse"], "T spearman": stage["spearman"], "bar auc": bar["roc_auc"]}


if __name__ == "__main__":
    main()
