"""A sky small enough to train on in a second: three kinds of blobs in memory, told apart by shape and colour."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tuningfork import recipe as recipes
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.records import Source
from tuningfork.train.choices import TrainRecipe

KINDS = ("round", "long", "ring")
SIDE = 16


def picture(kind: int, seed: int) -> np.ndarray:
    """uint8 (3, SIDE, SIDE): a red round blob, a blue long one or a green ring, over noise."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2 + generator.normal(0, 0.3, (2, 1, 1))
    r2 = [x**2 + y**2, x**2 / 9 + y**2 * 2, (np.hypot(x, y) - 5) ** 2][kind]
    colour = np.eye(3)[kind] * 0.6 + 0.4
    light = 180 * np.exp(-r2 / 6) * colour[:, None, None] + 20 + generator.normal(0, 8, (3, SIDE, SIDE))
    return np.clip(light, 0, 255).astype(np.uint8)


class Sky(Source):
    """Galaxies in memory; those of ``broken`` have bytes that are no image."""

    kind = "sky of the tests"

    def __init__(self, ids: Sequence[str], kinds: Sequence[int], broken: Sequence[str] = ()) -> None:
        super().__init__("sky", ids, digest=f"{len(ids)} {list(kinds)} {list(broken)}", bands=("red", "green", "blue"))
        self.kinds, self.broken = kinds, broken

    def _read(self, row: int) -> Record:
        record = Record.from_pixels(self.ids[row], picture(self.kinds[row], row), ("red", "green", "blue"))
        return replace(record, data=b"no image at all") if self.ids[row] in self.broken else record

    def _where(self, row: int) -> str:
        return "sky"


def make_sky(n: int = 60, broken: Sequence[str] = (), kinds: Sequence[int] | None = None) -> Sky:
    """``n`` galaxies named g0, g1, ... of the three kinds in turn, with their catalogue."""
    kinds = [i % 3 for i in range(n)] if kinds is None else kinds
    ids = [f"g{i}" for i in range(len(kinds))]
    sky = Sky(ids, kinds, broken)
    return sky.with_catalog(Catalog({"id": ids, "class": [KINDS[k] for k in kinds]}))


RECIPE: dict[str, Any] = {
    "split.method": "stratified",
    "split.validation": 0.2,
    "split.test": 0.2,
    "display.size": 8,
    "model.backbone": "s1",
    "train.epochs": 3,
    "train.batch": 8,
    "train.threads": 1,
    "train.rate": 1e-3,
}


def make_recipe(changes: Mapping[str, Any] | None = None) -> TrainRecipe:
    """The recipe of the tests, with changes."""
    return recipes.replace(TrainRecipe(), RECIPE | dict(changes or {}))


def weights(run: str | Path) -> bytes:
    """The bytes of the weights that a run has made."""
    return (Path(run) / "model" / "weights.safetensors").read_bytes()
