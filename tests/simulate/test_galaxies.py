"""Whole stores of simulated galaxies: the same bytes however they were made, and catalogues that can be trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tuningfork.errors import BadStore, BandError, RecipeError
from tuningfork.galaxy.cutout import COLOUR, Record
from tuningfork.galaxy.tree import Tree
from tuningfork.simulate import galaxies
from tuningfork.simulate.galaxies import identifier, position, simulate_galaxies
from tuningfork.simulate.truth import Galaxy

pytest.importorskip("galsim")
N, SIZE = 12, 32


def data(store: galaxies.Store) -> list[bytes]:
    return [record.data for record in store.records() if isinstance(record, Record)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> galaxies.Store:
    return simulate_galaxies(N, tmp_path_factory.mktemp("sky") / "store", size=SIZE, seed=5)


def test_pictures(store: galaxies.Store) -> None:
    assert store.verify() == [] and len(store) == N and store.bands == COLOUR
    assert list(store.ids) == [f"sim-5-{index:06d}" for index in range(N)]
    for record in store.records():
        cutout = record.cutout()
        assert cutout.pixels.shape == (3, SIZE, SIZE) and cutout.is_picture
        assert cutout.pixel_scale is not None and 0.02 < cutout.pixel_scale < 10
        assert cutout.ra is not None and cutout.dec is not None


def test_catalogue(store: galaxies.Store) -> None:
    catalog, tree = store.catalog, Tree.load("gz2")
    counts = np.stack([catalog[f"{name}_count"] for name in tree.columns], 1)
    fractions = np.stack([catalog[f"{name}_fraction"] for name in tree.columns], 1)
    assert tree.check_counts(counts) == [] and fractions.dtype == np.float32
    assert catalog.ids == list(store.ids) and counts.sum() > N * 40
    np.testing.assert_allclose([record.ra for record in store.records()], catalog.ra)
    for name in ("class", "kind", "redshift", "magnitude", "direction", "pitch", "visibility", "half_light"):
        assert name in catalog.columns
    assert not {"classes", "companions_other"} & set(catalog.columns)


def test_neither_number_nor_workers_nor_a_kill_change_a_galaxy(store: galaxies.Store, tmp_path: Path) -> None:
    assert data(simulate_galaxies(5, tmp_path / "five", size=SIZE, seed=5)) == data(store)[:5]
    many = simulate_galaxies(40, tmp_path / "two workers", size=SIZE, seed=5, workers=2)
    assert data(many)[:N] == data(store)
    assert many.digest == simulate_galaxies(40, tmp_path / "one", size=SIZE, seed=5, workers=1).digest


def test_a_killed_run_continues(store: galaxies.Store, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def die(done: int, of: int, text: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        simulate_galaxies(N, tmp_path / "store", size=SIZE, seed=5, progress=die)
    told: list[tuple[int, int]] = []
    again = simulate_galaxies(N, tmp_path / "store", size=SIZE, seed=5, progress=lambda d, n, _: told.append((d, n)))
    assert again.digest == store.digest and told[-1] == (N, N)
    with pytest.raises(BadStore, match="seed"):
        simulate_galaxies(N, tmp_path / "store", size=SIZE, seed=6)


def test_flux_in_the_surveys_bands(tmp_path: Path) -> None:
    made = simulate_galaxies(3, tmp_path / "des", survey="des", colour=False, size=40, seed=1)
    assert made.bands == ("g", "r", "i", "z", "Y") and made.pixel_scale == 0.263
    for record in made.records():
        pixels = record.cutout().pixels
        assert pixels.shape == (5, 40, 40) and pixels.dtype == np.float32 and pixels.min() < 0
    two = simulate_galaxies(3, tmp_path / "two", survey="des", colour=False, bands=("z", "g"), size=40, seed=1)
    kinds = made.catalog["kind"]
    for record, other, kind in zip(made.records(), two.records(), kinds, strict=True):
        if kind != "artefact":
            np.testing.assert_array_equal(record.cutout().pixels[[3, 0]], other.cutout().pixels)


def test_classes_that_were_asked_for(tmp_path: Path) -> None:
    made = simulate_galaxies(6, tmp_path / "s", size=16, class_weights={"merger": 1})
    assert set(made.catalog["class"]) == {"merger"} and (made.catalog["companions"] > 0).all()


def test_refusals_leave_nothing_behind(tmp_path: Path) -> None:
    for wrong, error in [
        ({"n": 0}, RecipeError),
        ({"size": 8}, RecipeError),
        ({"survey": "hst"}, RecipeError),
        ({"class_weights": {"spirals": 1}}, RecipeError),
        ({"bands": ("g", "z")}, BandError),
        ({"bands": ("g", "H"), "colour": False}, BandError),
    ]:
        with pytest.raises(error):
            simulate_galaxies(**{"n": 2, "out": tmp_path / "no", **wrong})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_positions_keep_apart() -> None:
    places = np.array([position(3, index) for index in range(3000)])
    assert (places[:, 0] >= 120).all() and (places[:, 0] <= 240).all()
    assert (places[:, 1] >= -10).all() and (places[:, 1] <= 60).all()
    flat = places * [[1, 1]] * np.stack([np.cos(np.radians(places[:, 1])), np.ones(3000)], 1)
    distance = np.hypot(*(flat[:, None] - flat[None]).transpose(2, 0, 1)) + 99 * np.eye(3000)
    assert distance.min() > 60 / 3600  # 3000 points over 8000 square degrees: some 1.6 degrees apart if all were even
    assert position(3, 7) != position(4, 7)


def test_ids() -> None:
    assert identifier(Galaxy("star", seed=2, index=13)) == "sim-2-000013"
    assert identifier(replace(Galaxy("star"), index=12_345_678)) == "sim-0-12345678"
