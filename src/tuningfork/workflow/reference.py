"""The reference models: one encoder learns every label there is, of real galaxies and of a simulated sky."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import disk
from .. import recipe as recipes
from ..data.split import PARTS
from ..evaluate.judge import Judgement, evaluate
from ..galaxy.catalog import Catalog
from ..galaxy.union import Union
from ..predict.predict import predict
from ..train.choices import TrainRecipe
from ..train.finish import TrainSummary
from .experiments.choices import Sky
from .samples import gather_samples
from .training import train

Progress = Callable[[int, int, str], None]
RECIPE = Path(__file__).resolve().parents[1] / "model" / "reference.toml"


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
) -> tuple[TrainSummary, dict[str, Judgement]]:
    """Train the reference models on the galaxies of ``data`` in the folder ``out``, and judge them on its test parts.

    The same call goes on where a killed one was. Raises what :func:`gather_samples` and training raise.
    """
    chosen = recipe if isinstance(recipe, ReferenceRecipe) else recipes.load(ReferenceRecipe, recipe)
    chosen = recipes.replace(chosen, dict(changes or {}))
    folder = disk.make_folder(out)
    union = gather_samples(Path(data), folder / "samples", chosen.sky, chosen.lenses, progress)
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
