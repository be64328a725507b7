"""Few labels on real galaxies: a probe on a network's features beats the same probe on pixels, in numbers."""

from pathlib import Path

import numpy as np
import pytest

import tuningfork
from tuningfork.baseline.pixels import render_rows
from tuningfork.data.split import uniform
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.display import Display
from tuningfork.insight.embedding import Embedding, embed
from tuningfork.insight.fewlabels import fit_labels
from tuningfork.model.card import shipped_models

DRAWS, EACH, OTHERS = 20, 25, 160
NAMES = ("merger", "other")


def few(values: np.ndarray, classes: np.ndarray, is_test: np.ndarray) -> np.ndarray:
    """The mean of the shares of mergers and of others that are right in the test part, for 20 draws of 25 + 25."""
    found = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        own = np.concatenate([rng.permutation(np.flatnonzero(~is_test & (classes == k)))[:EACH] for k in (0, 1)])
        told = fit_labels(
            values[own], classes[own], NAMES, mean=values.mean(axis=0), deviation=values.std(axis=0), seed=draw
        )
        right = told.probabilities(values[is_test]).argmax(axis=1) == classes[is_test]
        found.append(np.mean([right[classes[is_test] == k].mean() for k in (0, 1)]))
    return np.array(found)


@pytest.mark.timeout(600)
def test_fifty_labels_on_features_beat_fifty_on_pixels(real_data: Path, tmp_path: Path) -> None:
    """Galaxies that judge are of the test part of the reference models' samples: no network has seen their class."""
    if "gz1" not in shipped_models():
        pytest.skip("no model 'gz1' is shipped in this checkout: there are no features to learn from")
    table = Catalog.read(real_data / "gz1" / "labels.csv")
    kind = dict(zip(table.ids, table["class"].tolist(), strict=True))
    source = tuningfork.open_source(real_data / "gz1" / "images")
    lot = dict(zip(source.ids, uniform(list(source.ids), 0).tolist(), strict=True))  # below 0.2: the test part
    mergers = [one for one in source.ids if kind.get(one) == "merger"]
    others = [one for one in source.ids if kind.get(one) not in (None, "merger", "dont_know")]
    others = [*[one for one in others if lot[one] < 0.2][:OTHERS], *[one for one in others if lot[one] >= 0.2][:OTHERS]]
    embed(source, "gz1", tmp_path / "f.parquet", ids=[*mergers, *others], engine="onnxruntime")
    seen = Embedding.open(tmp_path / "f.parquet")
    classes = np.array([0 if kind[one] == "merger" else 1 for one in seen.ids])
    is_test = np.array([lot[one] < 0.2 for one in seen.ids])
    display = Display(size=32, bands=("red", "green", "blue"), petrosian=3.0)
    rows = render_rows(source, seen.ids, display)
    assert list(rows.ids) == seen.ids and (~is_test & (classes == 0)).sum() > EACH
    ours, pixels = few(seen.values(), classes, is_test), few(rows.flat, classes, is_test)
    low, high = np.quantile(ours - pixels, [0.025, 0.975])
    text = f"features {ours.mean():.3f}, pixels {pixels.mean():.3f}, difference {low:.3f} to {high:.3f} in 95% of draws"
    print(text)
    assert low > 0 and ours.mean() > 0.8, text
