"""Predict: whose galaxies a part holds, what is refused before any work, and how it stops."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import tuningfork
from tuningfork import recipe
from tuningfork.errors import BadCatalog, RecipeError, Stopped
from tuningfork.galaxy.cutout import COLOUR, Record
from tuningfork.galaxy.display import Display, render_record
from tuningfork.galaxy.source import open_source
from tuningfork.galaxy.store import StoreWriter
from tuningfork.model.card import Card, find_model
from tuningfork.predict.affine import SIXTY, margin, moved
from tuningfork.predict.engine import open_engine


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of noise of two classes, and two runs on them that split them differently."""
    folder = tmp_path_factory.mktemp("predict")
    rng = np.random.default_rng(0)
    ids = [f"g{k:02d}" for k in range(40)]
    catalog = tuningfork.Catalog({"id": ids, "class": ["ab"[k % 2] for k in range(40)]})
    with StoreWriter(folder / "store", catalog=catalog) as writer:
        for name in ids:
            writer.add(Record.from_picture(name, rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)))
    for seed in (0, 1):
        changes = {
            "model.backbone": "mobilenetv4_small", "display.size": 32, "train.epochs": 1, "split.seed": seed,
            "split.method": "stratified", "split.test": 0.3,
        }  # fmt: skip
        tuningfork.train(folder / "store", folder / f"run{seed}", labels="class", changes=changes)
    return folder


def part(run: Path, name: str) -> set[str]:
    split = tuningfork.Catalog.read(run / "split.parquet")
    return {one for one, its in zip(split.ids, split["part"], strict=True) if its == name}


def test_the_test_part_of_an_ensemble_was_seen_by_none_of_it(sky: Path, tmp_path: Path) -> None:
    runs = [sky / "run0", sky / "run1"]
    tests = [part(run, "test") for run in runs]
    assert tests[0] != tests[1]
    done = tuningfork.predict(sky / "store", runs, tmp_path / "v.parquet", part="test")
    assert set(tuningfork.Votes.read(tmp_path / "v.parquet").ids) == tests[0] & tests[1] and done.n_in > 0


def test_votes_come_in_the_order_of_the_source_whatever_the_batch(sky: Path, tmp_path: Path) -> None:
    tables = []
    for batch in (1, 7, 64):
        tuningfork.predict(sky / "store", sky / "run0", tmp_path / f"{batch}.parquet", batch=batch)
        tables.append(tuningfork.Votes.read(tmp_path / f"{batch}.parquet"))
    assert tables[0].ids == tables[1].ids == tables[2].ids == [f"g{k:02d}" for k in range(40)]
    for other in tables[1:]:
        np.testing.assert_allclose(other.values, tables[0].values, rtol=1e-4, atol=1e-6)  # sums in another order


def test_sixty_views_are_the_mean_over_all_of_them(sky: Path, tmp_path: Path) -> None:
    """Held against the network asked by hand, and against one view for a picture that looks the same from everywhere.

    That is a black one, since beyond a picture's edge all is black; a single level in its corner makes it a picture.
    """
    with StoreWriter(tmp_path / "flat") as flat:
        for name, level in (("black", 0), ("white", 250)):
            pixels = np.full((3, 160, 160), level, dtype=np.uint8)
            pixels[0, 0, 0] += 1
            flat.add(Record.from_pixels(name, pixels, COLOUR))
    tables = {}
    for views in (1, 60):
        for name, source in (("flat", tmp_path / "flat"), ("sky", sky / "store")):
            out = tmp_path / f"{name}{views}.parquet"
            tuningfork.predict(source, sky / "run0", out, views=views, batch=16)
            tables[name, views] = tuningfork.Votes.read(out).values
    black, white = np.abs(tables["flat", 60] - tables["flat", 1]).max(axis=1)
    assert black < 1e-6 < 1e-5 < white
    assert np.abs(tables["sky", 60] - tables["sky", 1]).max(axis=1).min() > 1e-6, "noise is different from everywhere"
    model = find_model(sky / "run0")
    display, engine = recipe.from_mapping(Display, Card.load(model).display), open_engine(model)
    record = next(iter(open_source(sky / "store").records(["g03"])))
    wide = render_record(record, display, margin(display.size))[None]
    by_hand = np.mean([engine.run(moved(wide, display.size, one)) for one in SIXTY], axis=0)[0]
    np.testing.assert_allclose(tables["sky", 60][3], by_hand, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"batch": 0}, "--batch is 0"),
        ({"threads": -3}, "--threads is -3"),
        ({"views": 3}, "--views is 3"),
        ({"engine": "onxruntime"}, "onnxruntime"),
        ({"part": "tset"}, "test"),
    ],
)
def test_choices_that_cannot_be_are_refused_first(sky: Path, tmp_path: Path, choice: dict, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        tuningfork.predict(sky / "store", sky / "run0", tmp_path / "v.parquet", **choice)
    assert not list(tmp_path.iterdir())


def test_votes_are_parquet_and_say_how_to_get_another_format(sky: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="tuningfork export"):
        tuningfork.predict(sky / "store", sky / "run0", tmp_path / "v.csv")


def test_an_id_that_is_not_there_is_named(sky: Path, tmp_path: Path) -> None:
    with pytest.raises(BadCatalog, match="m51"):
        tuningfork.predict(sky / "store", sky / "run0", tmp_path / "v.parquet", ids=["g01", "m51"])


def test_sigterm_leaves_nothing_half_written(sky: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, live: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="run the same command again"):
        tuningfork.predict(sky / "store", sky / "run0", tmp_path / "v.parquet", batch=8, progress=stop)
    assert not list(tmp_path.iterdir())


def test_shipped_models_that_share_an_encoder_predict_by_name(
    sky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trained run and a copy with other answers, shipped as a set: the run's votes, but for the rounding."""
    from tuningfork.model import card as cards
    from tuningfork.model.share import ship

    names = {"noise": sky / "run0" / "model", "again": sky / "run0" / "model"}
    ship(names, tmp_path / "shipped")
    monkeypatch.setattr(cards, "SHIPPED", tmp_path / "shipped")
    tables = {}
    for model, engine in (("noise", "onnxruntime"), ("again", "torch"), (sky / "run0", "onnxruntime")):
        out = tmp_path / f"{len(tables)}.parquet"
        tuningfork.predict(sky / "store", model, out, engine=engine)
        tables[str(model), engine] = tuningfork.Votes.read(out).values
    rounded, by_torch, whole = tables.values()
    np.testing.assert_allclose(rounded, by_torch, rtol=1e-4, atol=1e-5)
    assert 0 < np.abs(rounded - whole).max() < 0.02
    with pytest.raises(RecipeError, match="needs the split of the run"):
        tuningfork.predict(sky / "store", "noise", tmp_path / "p.parquet", part="test")
