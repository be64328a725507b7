"""The reference models: one encoder learns every label there is, of real galaxies and of a simulated sky."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import disk
from .. import recipe as recipes
from ..data.split import PARTS, uniform
from ..errors import RecipeError
from ..evaluate.judge import Judgement, evaluate
from ..galaxy.catalog import Catalog
from ..galaxy.ingest import ingest
from ..galaxy.records import Source
from ..galaxy.store import Store
from ..galaxy.union import Union
from ..predict.predict import predict
from ..simulate.galaxies import simulate_galaxies
from ..train.choices import TrainRecipe
from ..train.finish import TrainSummary
from .experiments.choices import Sky
from .training import train

Progress = Callable[[int, int, str], None]
RECIPE = Path(__file__).resolve().parents[1] / "model" / "reference.toml"


@dataclass(frozen=True)
class Sample:
    """One sample of real galaxies with labels, as it lies in the user's folder."""

    folder: str  # with images/ below it
    table: str  # of labels
    renamed: tuple[tuple[str, str], ...] = ()  # columns that are called otherwise among all samples
    test: float = 0.15  # share that judges
    validation: float = 0.1  # share that chooses the best epoch and calibrates


@dataclass(frozen=True)
class ReferenceRecipe:
    """Everything that decides the reference models of colour pictures."""

    sky: Sky = field(default_factory=Sky)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    views: int = 8  # of each galaxy when the models are judged
    bootstrap: int = 1000


SAMPLES = {
    "gz1": Sample("gz1", "labels.csv", (("class", "gz1_class"),), test=0.2),
    "efigi": Sample("efigi", "labels.csv", test=0.2),
    "stripe82": Sample("gz2_stripe82", "votes.csv", test=0.5, validation=0.1),
}


def gather_samples(data: Path, out: Path, sky: Sky, progress: Progress | None = None) -> Union:
    """All galaxies with a label as one source whose catalogue has the column "part"; stores lie in ``out``.

    A galaxy's part is that of a hash of its id within its sample, which nothing else changes; simulated galaxies train
    and validate, and never judge. Raises :class:`RecipeError` for a sample that ``data`` does not hold.
    """
    sources: dict[str, Source] = {}
    parts: dict[str, str] = {}
    for name, sample in SAMPLES.items():
        table = data / sample.folder / sample.table
        if not table.is_file():
            raise RecipeError(f"'{data}' has no {sample.folder}/{sample.table}, from which the reference models learn")
        ingest(data / sample.folder / "images", out / name, labels=table, unmatched="drop", progress=progress)
        sources[name] = Store.open(out / name)
        parts |= _parts(name, sources[name], sample.test, sample.validation)
    sources["sky"] = simulate_galaxies(
        sky.galaxies, out / "sky", survey=sky.survey, size=sky.size or None, seed=sky.seed, progress=progress
    )
    parts |= _parts("sky", sources["sky"], 0.0, 0.05)
    renamed = {name: dict(sample.renamed) for name, sample in SAMPLES.items()}
    union = Union(sources, {**renamed, "sky": {"class": "sky_class"}})
    assert union.catalog is not None
    return union.with_catalog(union.catalog.with_columns({"part": [parts[one] for one in union.ids]}))


def _parts(name: str, source: Source, test: float, validation: float) -> dict[str, str]:
    u = uniform(list(source.ids), 0)
    words = np.select([u < test, u < test + validation], ["test", "validation"], "train")
    return {f"{name}:{one}": str(word) for one, word in zip(source.ids, words, strict=True)}


def make_models(
    data: str | Path,
    out: str | Path,
    *,
    recipe: str | Path | ReferenceRecipe = RECIPE,
    changes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> tuple[TrainSummary, dict[str, Judgement]]:
    """Train the reference models on the galaxies of ``data`` in the folder ``out``, and judge them on its test parts.

    The same call goes on where a killed one was. Raises what :func:`gather_samples` and training raise.
    """
    chosen = recipe if isinstance(recipe, ReferenceRecipe) else recipes.load(ReferenceRecipe, recipe)
    chosen = recipes.replace(chosen, dict(changes or {}))
    folder = disk.make_folder(out)
    union = gather_samples(Path(data), folder / "samples", chosen.sky, progress)
    summary = train(union, folder / "run", recipe=chosen.train, progress=progress)
    judged = {name: _judge(union, name, folder, chosen, progress) for name in JUDGED}
    return summary, judged


JUDGED = {"gz1": "gz1", "efigi": "efigi", "gz2": "stripe82"}  # model -> the sample whose test part judges it


def _judge(union: Union, name: str, out: Path, recipe: ReferenceRecipe, progress: Progress | None) -> Judgement:
    """Judge one model on the test part of its sample, with the report ``out``/NAME.html."""
    assert union.catalog is not None
    sample = JUDGED[name]
    catalog = union.catalog
    here = (np.asarray(catalog["sample"]) == sample) & (np.asarray(catalog["part"]) == PARTS[2])
    ids = [one for one, judges in zip(catalog.ids, here.tolist(), strict=True) if judges]
    path = out / f"{name}.parquet"
    predict(union, out / "run" / "models" / name, path, ids=ids, part="test", views=recipe.views, progress=progress)
    truth: Catalog = catalog.select(ids)
    return evaluate(path, truth, out / f"{name}.html", images=union, bootstrap=recipe.bootstrap, progress=progress)
