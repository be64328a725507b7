"""Few labels on real galaxies: a probe on a network's features beats the same probe on pixels, in numbers."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

import tuningfork
from tuningfork.baseline.pixels import render_rows
from tuningfork.data.split import uniform
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.display import Display
from tuningfork.insight.embedding import Embedding, embed
from tuningfork.insight.fewlabels import fit_labels
from tuningfork.model.card import shipped_models

DRAWS, EACH, OTHERS, COMPONENTS = 20, 25, 80, 40
NAMES = ("merger", "other")


def few(values: np.ndarray, classes: np.ndarray, is_test: np.ndarray) -> np.ndarray:
    """The mean of the shares of mergers and of others that are right in the test part, for 20 draws of 25 + 25."""
    found = []
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        mixed = rng.permutation(len(classes))
        mixed = mixed[np.argsort(is_test[mixed], kind="stable")]  # those of the validation part first
        own = np.concatenate([mixed[classes[mixed] == k][:EACH] for k in (0, 1)])
        judges = np.setdiff1d(np.flatnonzero(is_test), own)
        told = fit_labels(values[own], classes[own], NAMES, mean=mean, deviation=deviation, seed=draw)
        right = told.probabilities(values[judges]).argmax(axis=1) == classes[judges]
        found.append(np.mean([right[classes[judges] == k].mean() for k in (0, 1)]))
    return np.array(found)


@pytest.mark.timeout(600)
def test_fifty_labels_on_features_beat_fifty_on_pixels(real_data: Path, tmp_path: Path) -> None:
    """All galaxies, those drawn and those that judge, are of the validation and test parts of the models' samples.

    The shared encoder was taught by mergers of the training part, so that there its features know the answer. A draw
    takes galaxies of the validation part, and where these are too few, others by lot of the test part; judges are the
    galaxies of the test part that it leaves, which no choice about any network has seen. Pixels are those of 32 px in
    40 principal components, fitted, as means and deviations of both are, on all galaxies without their labels.
    """
    if "gz1" not in shipped_models():
        pytest.skip("no model 'gz1' is shipped in this checkout: there are no features to learn from")
    table = Catalog.read(real_data / "gz1" / "labels.csv")
    kind = dict(zip(table.ids, table["class"].tolist(), strict=True))
    source = tuningfork.open_source(real_data / "gz1" / "images")
    lot = dict(zip(source.ids, uniform(list(source.ids), 0).tolist(), strict=True))
    apart = [one for one in source.ids if lot[one] < 0.3]  # below 0.2 the test part, from there validation
    mergers = [one for one in apart if kind.get(one) == "merger"]
    others = [one for one in apart if kind.get(one) not in (None, "merger", "dont_know")][:OTHERS]
    assert len(mergers) >= EACH + 5, "too few mergers are left to judge"
    embed(source, "gz1", tmp_path / "f.parquet", ids=[*mergers, *others], engine="onnxruntime")
    seen = Embedding.open(tmp_path / "f.parquet")
    classes = np.array([0 if kind[one] == "merger" else 1 for one in seen.ids])
    is_test = np.array([lot[one] < 0.2 for one in seen.ids])
    rows = render_rows(source, seen.ids, Display(size=32, bands=("red", "green", "blue"), petrosian=3.0))
    assert list(rows.ids) == seen.ids
    pixels = PCA(COMPONENTS, random_state=0).fit_transform(rows.flat)
    ours, theirs = few(seen.values(), classes, is_test), few(pixels, classes, is_test)
    low, high = np.quantile(ours - theirs, [0.025, 0.975])
    text = f"features {ours.mean():.3f}, pixels {theirs.mean():.3f}, difference {low:.3f} to {high:.3f} in 95% of draws"
    print(f"{len(mergers)} mergers, {len(others)} others: {text}")
    assert low > 0 and ours.mean() > 0.8, text
