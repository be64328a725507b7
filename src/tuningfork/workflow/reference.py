"""The reference models: one encoder learns every label there is, of real galaxies and of a simulated sky."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from .. import disk
from .. import recipe as recipes
from ..errors import RecipeError, Stopped
from ..model.card import CARD, Card
from ..model.share import ship
from ..train.choices import TrainRecipe
from .calibrate import calibrate
from .experiments.choices import Sky
from .measure.bench import MEASURES, Bench
from .release import HEADS, Release, accompany, release, settle, told_of
from .samples import gather_samples
from .training import train

Progress = Callable[[int, int, str], None]
RECIPE = Path(__file__).resolve().parents[1] / "model" / "reference.toml"
SHIPPED = "shipped"
COMMAND = "make models DATA=..."


@dataclass(frozen=True)
class ReferenceRecipe:
    """Everything that decides the reference models of colour pictures."""

    sky: Sky = field(default_factory=Sky)
    lenses: int = 1000  # simulated, and what looks like them; 0 = none
    train: TrainRecipe = field(default_factory=TrainRecipe)
    views: int = 8  # of each galaxy when the models are judged
    bootstrap: int = 1000


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
    encoder, measured (:data:`~.measure.bench.MEASURES`), and what was measured goes to their cards. The same call goes
    on where a killed one was, and does nothing twice. Raises :class:`RecipeError` where nothing that is shipped was
    learnt or the set is too large, :class:`~tuningfork.errors.Stopped` where training was stopped, and what
    :func:`gather_samples` and training raise.
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
    bench = Bench(Path(data), union, trained, folder, chosen.views, chosen.bootstrap, COMMAND, progress)
    notes = once(folder / "shipped.json", key, partial(_ship, bench, chosen))
    bench = replace(bench, models=shipped)
    found = [once(folder / f"{measure.__name__}.json", key, partial(measure, bench)) for measure in MEASURES]
    for name, place in shipped.items():
        settle(place, _joined([one.get(name, {}) for one in found]))
    return release(shelf, shipped, (*summary.notes, *notes))


def _ship(bench: Bench, recipe: ReferenceRecipe) -> list[str]:
    """Write the set of calibrated models and what lies beside them; notes of the calibration."""
    assert bench.union.catalog is not None
    shelf, start = bench.out / SHIPPED, Path(recipe.train.model.pretrained).name  # a file's place is of no use
    told = told_of(bench.models, bench.union.catalog, recipe.train.labels, start or "random weights")
    fitted = calibrate(bench.union, bench.models, views=bench.views, progress=bench.progress)
    tell = {name: {**told[name], **fitted.tell.get(name, {})} for name in bench.models}
    ship(bench.models, shelf, tell=tell, strangeness=fitted.strangeness)
    accompany(shelf, bench.union.catalog, recipes.replace(recipe, {"train.model.pretrained": start}))
    return list(fitted.notes)


def once(path: Path, key: str, work: Callable[[], Any]) -> Any:
    """What a stage gave, as JSON holds it: read from ``path`` where it was kept there under the same ``key``."""
    if path.exists() and (kept := disk.read_json(path))["key"] == key:
        return kept["result"]
    result = work()
    disk.write_json(path, {"key": key, "result": result})
    return result


def _joined(told: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The figures and the sentences of several measurements of one model, one after the other."""
    return {entry: [one for each in told for one in each.get(entry, ())] for entry in ("measured", "fails")}
