"""Whole stores of lenses: the same however they were made, and a background that does not give them away."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from tuningfork.errors import BadStore, BandError, Reason, RecipeError
from tuningfork.galaxy.cutout import COLOUR, Record
from tuningfork.galaxy.store import Store, StoreWriter
from tuningfork.simulate.cfhtls import CFHTLS
from tuningfork.simulate.lenses import _order as order_of
from tuningfork.simulate.lenses import draw_stamp, identifier, simulate_lenses
from tuningfork.simulate.lookalikes import LOOKALIKES
from tuningfork.simulate.scene import LENSES

pytest.importorskip("galsim")
pytest.importorskip("lenstronomy")
N, SIZE = 20, 64


def data(store: Store) -> list[bytes]:
    return [record.data for record in store.records() if isinstance(record, Record)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return simulate_lenses(N, tmp_path_factory.mktemp("lenses") / "store", size=SIZE, seed=5)


def test_pictures(store: Store) -> None:
    assert store.verify() == [] and store.bands == COLOUR and store.pixel_scale == 0.186
    assert list(store.ids) == [identifier(5, index) for index in range(N)]
    for record in store.records():
        assert isinstance(record, Record) and record.cutout().pixels.shape == (3, SIZE, SIZE)


def test_catalogue(store: Store) -> None:
    catalog = store.catalog
    lens = catalog["class"] == "lens"
    assert set(catalog["class"]) == {"lens", "not_lens"} and catalog.ids == list(store.ids)
    assert set(catalog["flavor"][lens]) <= set(LENSES) and set(catalog["flavor"][~lens]) <= set(LOOKALIKES)
    for name in ("einstein_radius", "magnification", "arc_snr", "source_redshift", "source_magnitude", "shear"):
        assert np.isfinite(catalog[name][lens]).all() and np.isnan(catalog[name][~lens]).all(), name
    assert (catalog["arc_snr"][lens] >= 25).all() and (catalog["magnification"][lens] > 1).all()
    assert (catalog["einstein_radius"][lens] >= 0.8).all()
    quasar = catalog["flavor"] == "lensed quasar"
    assert (np.isfinite(catalog["quasar_magnitude"]) == quasar).all() and ((catalog["n_images"] > 1) == quasar).all()
    assert (catalog["source_redshift"][lens] > catalog["deflector_redshift"][lens]).all()


def test_neither_number_nor_workers_nor_a_kill_change_a_stamp(store: Store, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def die(done: int, of: int, text: str) -> None:
        raise Killed

    assert data(simulate_lenses(4, tmp_path / "four", size=SIZE, seed=5)) == data(store)[:4]
    assert simulate_lenses(N, tmp_path / "two", size=SIZE, seed=5, workers=2).digest == store.digest
    with pytest.raises(Killed):
        simulate_lenses(N, tmp_path / "killed", size=SIZE, seed=5, progress=die)
    told: list[tuple[int, int]] = []
    again = simulate_lenses(N, tmp_path / "killed", size=SIZE, seed=5, progress=lambda d, n, _: told.append((d, n)))
    assert again.digest == store.digest and told[-1] == (N, N)
    with pytest.raises(BadStore, match="fraction"):
        simulate_lenses(N, tmp_path / "killed", size=SIZE, seed=5, fraction=0.1)


def test_a_stamp_that_is_not_wanted_any_more_has_the_same_truth() -> None:
    """What a continued run tells of stamps that an earlier one has stored."""
    order = order_of(9, "cfhtls", 0.5, True, None, SIZE, 25.0, 5, None)
    for index in range(9):
        record, row = draw_stamp(index, order)
        nothing, same = draw_stamp(index, type(order)(**{**vars(order), "start": 9}))
        assert record is not None and nothing is None
        assert repr(row) == repr(same)


def test_flux_in_another_surveys_bands(tmp_path: Path) -> None:
    made = simulate_lenses(2, tmp_path / "des", survey="des", colour=False, seed=1, fraction=1.0)
    assert made.bands == ("g", "r", "i", "z", "Y") and made.pixel_scale == 0.263
    for record in made.records():
        assert isinstance(record, Record)
        pixels = record.cutout().pixels
        assert pixels.shape == (5, 114, 114) and pixels.dtype == np.float32 and pixels.min() < 0


def test_refusals_leave_nothing_behind(tmp_path: Path) -> None:
    for wrong, error in [
        ({"n": 0}, RecipeError),
        ({"size": 8}, RecipeError),
        ({"survey": "hst"}, RecipeError),
        ({"fraction": 1.5}, RecipeError),
        ({"snr": float("nan")}, RecipeError),
        ({"bands": ("g", "z")}, BandError),
        ({"bands": ("g", "H"), "colour": False}, BandError),
    ]:
        with pytest.raises(error):
            simulate_lenses(**{"n": 2, "out": tmp_path / "no", **wrong})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def base(tmp_path: Path) -> Store:
    """Four good galaxies, one of them larger, and three that cannot be painted on."""
    rng = np.random.default_rng(0)
    with StoreWriter(tmp_path / "base", plan={"command": "test"}) as writer:
        for number in range(4):
            size = 64 if number else 66
            sky = rng.normal(0, 2, (4, size, size)).astype(np.float32)
            writer.add(Record.from_pixels(f"g{number}", sky, ("u", "g", "r", "i"), 0.186, 10.0 + number, -5.0))
        sky = rng.normal(0, 2, (4, 64, 64)).astype(np.float32)
        writer.add(Record.from_pixels("two bands", sky[:2], ("g", "r"), 0.186))
        writer.add(Record.from_pixels("coarse", sky, ("u", "g", "r", "i"), 0.396))
        sky[2, 30, 30] = np.nan
        writer.add(Record.from_pixels("hole", sky, ("u", "g", "r", "i"), 0.186))
    return writer.store


def test_arcs_are_painted_on_what_is_there(base: Store, tmp_path: Path) -> None:
    made = simulate_lenses(
        14, tmp_path / "out", base=base, size=64, colour=False, bands=("g", "r", "i"), fraction=0.5, seed=3
    )
    assert sorted(one.reason for one in made.rejected) == sorted(
        2 * [Reason.MISSING_BAND, Reason.WRONG_SCALE, Reason.NO_COVERAGE]
    )
    catalog = made.catalog
    assert len(made) == 8 and list(catalog["base_id"]) == ["g0", "g1", "g2", "g3"] * 2
    np.testing.assert_array_equal(catalog.ra, [10, 11, 12, 13] * 2)
    assert set(catalog["flavor"]) >= {"unlensed"} and set(catalog["class"]) == {"lens", "not_lens"}
    for record, name, kind in zip(made.records(), catalog["base_id"], catalog["class"], strict=True):
        assert isinstance(record, Record)
        before = base.record(str(name)).cutout().pixels[1:]
        margin = (before.shape[1] - 64) // 2
        before = before[:, margin : margin + 64, margin : margin + 64]
        added = record.cutout().pixels - before
        assert (added.sum() > 100) if kind == "lens" else not added.any()


def test_pictures_are_not_painted_on(store: Store, tmp_path: Path) -> None:
    made = simulate_lenses(2, tmp_path / "out", base=store)
    assert len(made) == 0 and [one.reason for one in made.rejected] == [Reason.WRONG_SHAPE] * 2
    assert "stretch" in made.rejected[0].detail


def test_the_border_does_not_tell_lenses_from_look_alikes() -> None:
    """A logistic regression on what lies farther than 12 arcsec from the middle, cross-validated, is at chance.

    Of 160 + 160 stamps the area under its curve scatters by 0.033 about 0.5 if there is nothing to learn; 4 sigma. The
    wings of early-type galaxies, were they left in, give 0.55 on 1200 (benchmarks/lenses.py measures it on more).
    """
    order = order_of(320, "cfhtls", 0.5, False, None, None, 25.0, 7, None)
    border = np.ones((161, 161), bool)
    border[16:-16, 16:-16] = False
    features, lens = [], []
    for index in range(320):
        record, row = draw_stamp(index, order)
        assert record is not None and row is not None
        edge = record.cutout().pixels[:, border]  # type: ignore[union-attr]
        features.append(np.concatenate([edge.mean(1), edge.std(1), *np.percentile(edge, (5, 50, 90, 99), axis=1)]))
        lens.append(row["class"] == "lens")
    judge = make_pipeline(QuantileTransformer(n_quantiles=50, output_distribution="normal"), LogisticRegression(C=0.1))
    chance = cross_val_predict(judge, np.array(features), np.array(lens), cv=5, method="predict_proba")[:, 1]
    assert abs(roc_auc_score(lens, chance) - 0.5) < 0.13
    assert CFHTLS.size == 161
