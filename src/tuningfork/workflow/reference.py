"""The reference models: one encoder learns every label there is, of real galaxies and of a simulated sky."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import disk
from .. import recipe as recipes
from ..data.split import PARTS
from ..errors import RecipeError, Stopped
from ..evaluate.bootstrap import LEVEL
from ..evaluate.judge import Judgement, evaluate
from ..galaxy.union import Union
from ..model.card import CARD, Card
from ..model.share import ship
from ..predict.predict import predict
from ..train.choices import TrainRecipe
from .calibrate import calibrate
from .experiments.choices import Sky
from .release import HEADS, Release, Told, accompany, release, settle, told_of
from .samples import gather_samples
from .training import train

Progress = Callable[[int, int, str], None]
RECIPE = Path(__file__).resolve().parents[1] / "model" / "reference.toml"
SHIPPED = "shipped"


@dataclass(frozen=True)
class ReferenceRecipe:
    """Everything that decides the reference models of colour pictures."""

    sky: Sky = field(default_factory=Sky)
    lenses: int = 1000  # simulated, and what looks like them; 0 = none
    train: TrainRecipe = field(default_factory=TrainRecipe)
    views: int = 8  # of each galaxy when the models are judged
    bootstrap: int = 1000


@dataclass(frozen=True, eq=False)
class Bench:
    """What models are measured with: the galaxies, the models by name, and where pages may be written."""

    data: Path  # the user's folder
    union: Union  # of all samples
    models: Mapping[str, Path]
    out: Path
    recipe: ReferenceRecipe
    progress: Progress | None = None


def make_models(
    data: str | Path,
    out: str | Path,
    *,
    recipe: str | Path | ReferenceRecipe = RECIPE,
    changes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Release:
    """Make the models that are shipped from the galaxies of ``data`` in the folder ``out``; the set is ``out``/shipped.

    The samples are gathered, one run learns all labels, its models are calibrated, written as a set that shares an
    encoder, measured on galaxies that taught nothing, and what was measured goes to their cards; ``out``/NAME.html are
    reports. The same call goes on where a killed one was, and does nothing twice. Raises :class:`RecipeError` where
    nothing that is shipped was learnt or the set is too large, :class:`~tuningfork.errors.Stopped` where training was
    stopped, and what :func:`gather_samples` and training raise.
    """
    chosen = recipe if isinstance(recipe, ReferenceRecipe) else recipes.load(ReferenceRecipe, recipe)
    chosen = recipes.replace(chosen, dict(changes or {}))
    folder = disk.make_folder(out)
    union = gather_samples(Path(data), folder / "samples", chosen.sky, chosen.lenses, progress)
    summary = train(union, folder / "run", recipe=chosen.train, progress=progress)
    if summary.stopped:
        raise Stopped(f"training was stopped after {summary.epochs} epochs; the same command goes on in '{out}'")
    trained = {name: folder / "run" / "models" / name for name in HEADS}
    trained = {name: place for name, place in trained.items() if (place / CARD).is_file()}
    if not trained:
        raise RecipeError(f"no part of the labels is called {', '.join(HEADS)}: none of the models would be shipped")
    shelf = folder / SHIPPED
    shipped = {name: shelf / name for name in trained}
    asked = json.dumps(recipes.to_mapping(chosen), sort_keys=True)
    key = disk.sha256((asked + "".join(Card.load(one).digest for one in trained.values())).encode())
    notes = _once(
        folder / "shipped.json", key, partial(_ship, Bench(Path(data), union, trained, folder, chosen, progress))
    )
    bench = Bench(Path(data), union, shipped, folder, chosen, progress)
    found = [_once(folder / f"{measure.__name__}.json", key, partial(measure, bench)) for measure in MEASURES]
    for name, place in shipped.items():
        settle(place, _joined([one.get(name, {}) for one in found]))
    return release(shelf, shipped, (*summary.notes, *notes))


def _ship(bench: Bench) -> list[str]:
    """Write the set of calibrated models and what lies beside them; notes of the calibration."""
    assert bench.union.catalog is not None
    shelf, start = bench.out / SHIPPED, Path(bench.recipe.train.model.pretrained).name  # a file's place is of no use
    told = told_of(bench.models, bench.union.catalog, bench.recipe.train.labels, start or "random weights")
    fitted = calibrate(bench.union, bench.models, views=bench.recipe.views, progress=bench.progress)
    tell = {name: {**told[name], **fitted.tell.get(name, {})} for name in bench.models}
    ship(bench.models, shelf, tell=tell, strangeness=fitted.strangeness)
    accompany(shelf, bench.union.catalog, recipes.replace(bench.recipe, {"train.model.pretrained": start}))
    return list(fitted.notes)


def _once(path: Path, key: str, work: Callable[[], Any]) -> Any:
    """What a stage gave, as JSON holds it: read from ``path`` where it was kept there under the same ``key``."""
    if path.exists() and (kept := disk.read_json(path))["key"] == key:
        return kept["result"]
    result = work()
    disk.write_json(path, {"key": key, "result": result})
    return result


def _joined(told: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The figures and the sentences of several measurements of one model, one after the other."""
    return {entry: [one for each in told for one in each.get(entry, ())] for entry in ("measured", "fails")}


def judged(bench: Bench) -> Told:
    """Judge each model on its sample, with the report ``out``/NAME.html; figures of those with classes.

    A model whose sample has no galaxy in the part that judges it has none.
    """
    return {name: told for name in bench.models if (told := _judge(bench, name))}


MEASURES: tuple[Callable[[Bench], Told], ...] = (judged,)  # figures stand on cards in this order


def _judge(bench: Bench, name: str) -> dict[str, Any]:
    catalog, (sample, part) = bench.union.catalog, HEADS[name].judges
    assert catalog is not None
    here = (np.asarray(catalog["sample"]) == sample) & (np.asarray(catalog["part"]) == part)
    ids = [one for one, judges in zip(catalog.ids, here.tolist(), strict=True) if judges]
    if not ids:
        return {}
    path, recipe, say = bench.out / f"{name}.parquet", bench.recipe, bench.progress
    predict(bench.union, bench.models[name], path, ids=ids, part=part, views=recipe.views, progress=say)
    page = bench.out / f"{name}.html"
    found = evaluate(
        path, catalog.select(ids), page, images=bench.union, bootstrap=recipe.bootstrap, progress=say,
    )  # fmt: skip
    on = f"the {part} part of {sample}{' (simulated)' if part != PARTS[2] else ''}"
    return {"measured": _figures(found, on)}


def _figures(found: Judgement, on: str) -> list[dict[str, Any]]:
    """Accuracy and balanced accuracy of a head of classes, as a card holds them."""
    rows = []
    for key in ("accuracy", "balanced_accuracy"):
        value = found.numbers.get("metrics", {}).get(key)
        if isinstance(value, Mapping) and value["value"] is not None:
            row = {"what": key.replace("_", " "), "on": on, "value": value["value"]}
            if value["low"] is not None and value["high"] is not None:
                row |= {"low": min(value["low"], value["value"]), "high": max(value["high"], value["value"])}
                row["level"] = LEVEL
            rows.append(row | {"galaxies": found.n_judged})
    return rows
