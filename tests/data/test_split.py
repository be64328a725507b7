"""Splits: shares, steadiness, whole cells of sky, every class in every part, and no galaxy on both sides."""

import hashlib

import numpy as np
import pytest

from tuningfork.data.split import Split, assign, close_pairs, given_parts, sky_cells, uniform
from tuningfork.errors import DuplicateIds, SplitError
from tuningfork.galaxy.catalog import Catalog

IDS = [f"58774{n:014d}" for n in range(4000)]


def test_the_hash_is_the_documented_one() -> None:
    digest = hashlib.sha256(b"7:galaxy").digest()
    by_hand = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
    assert uniform(["galaxy"], 7)[0] == by_hand


def test_shares_are_kept_within_chance() -> None:
    parts = assign(IDS, Split(validation=0.2, test=0.1))
    for part, share in (("train", 0.7), ("validation", 0.2), ("test", 0.1)):
        spread = np.sqrt(share * (1 - share) / len(IDS))
        assert abs(np.mean(parts == part) - share) < 4 * spread  # 4 sigma of a binomial: fails once in 16,000 seeds


def test_a_galaxy_keeps_its_part_in_any_order_and_company() -> None:
    split = Split(seed=3)
    parts = dict(zip(IDS, assign(IDS, split), strict=True))
    some = list(np.random.default_rng(0).permutation(IDS)[:1000])
    assert [parts[i] for i in some] == list(assign(some, split))


def test_the_test_part_does_not_depend_on_the_validation_share() -> None:
    small, large = (assign(IDS, Split(validation=v, test=0.2)) == "test" for v in (0.1, 0.3))
    assert np.array_equal(small, large)


def test_another_seed_is_another_split() -> None:
    assert (assign(IDS, Split(seed=1)) != assign(IDS, Split(seed=2))).any()


def test_cells_of_sky_have_the_area_they_claim() -> None:
    generator = np.random.default_rng(0)
    ra, dec = generator.uniform(0, 360, 400_000), np.degrees(np.arcsin(generator.uniform(-1, 1, 400_000)))
    cells = sky_cells(ra, dec, 10.0)
    expected = 4 * np.pi / np.radians(10.0) ** 2  # how many squares of 10 degrees cover the sphere: 412.5
    counts = np.unique_counts(cells).counts
    assert abs(len(counts) - expected) < 0.02 * expected
    inner = np.abs(dec) < 80  # at the poles rounding to whole cells is coarse
    counts = np.unique_counts(cells[inner]).counts
    assert counts.std() / counts.mean() < 0.05  # Poisson noise of 970 galaxies a cell is 3.2%, rounding adds 1%


def test_cells_wrap_at_ra_zero_and_number_the_poles() -> None:
    assert sky_cells([0.0, 360.0, -360.0], [5.0, 5.0, 5.0], 1.0).tolist() == [sky_cells([0.0], [5.0], 1.0)[0]] * 3
    assert sky_cells([359.9999999999], [0.0], 1.0)[0] != sky_cells([0.0], [0.0], 1.0)[0]
    assert sky_cells([10.0], [90.0], 1.0)[0] != sky_cells([10.0], [-90.0], 1.0)[0]


def test_one_cell_is_never_divided() -> None:
    generator = np.random.default_rng(1)
    ra, dec = generator.uniform(0, 40, len(IDS)), generator.uniform(-20, 20, len(IDS))
    split = Split(method="sky", cell_deg=2.0, validation=0.25, test=0.25)
    parts, cells = assign(IDS, split, ra=ra, dec=dec), sky_cells(ra, dec, 2.0)
    assert all(len(set(parts[cells == cell])) == 1 for cell in np.unique(cells))
    assert set(parts) == {"train", "validation", "test"}


def test_sky_needs_every_position() -> None:
    with pytest.raises(SplitError, match="needs ra and dec"):
        assign(IDS, Split(method="sky"))
    with pytest.raises(SplitError, match="position for every galaxy"):
        assign(["a", "b"], Split(method="sky"), ra=[1, np.nan], dec=[1, 1])


def test_every_class_has_its_share_in_every_part() -> None:
    classes = np.repeat(["elliptical", "spiral", "merger"], [3000, 960, 40])
    parts = assign(IDS, Split(method="stratified", validation=0.2, test=0.1), classes=classes)
    for name, n in (("elliptical", 3000), ("spiral", 960), ("merger", 40)):
        assert [(parts[classes == name] == p).sum() for p in ("validation", "test")] == [n * 0.2, n * 0.1]


def test_rare_classes_reach_every_part_or_stay_in_training() -> None:
    ids, classes = IDS[:106], np.repeat([0, 1, 2], [100, 4, 2])
    parts = assign(ids, Split(method="stratified", validation=0.05, test=0.05), classes=classes)
    assert set(parts[classes == 1]) == {"train", "validation", "test"}
    assert set(parts[classes == 2]) == {"train"}
    for n in range(3, 12):
        parts = assign(IDS[:n], Split(method="stratified", validation=0.49, test=0.49), classes=np.zeros(n))
        assert set(parts) == {"train", "validation", "test"}


def test_a_stratified_split_ignores_the_order_of_rows() -> None:
    classes = np.arange(len(IDS)) % 3
    split = Split(method="stratified")
    straight = dict(zip(IDS, assign(IDS, split, classes=classes), strict=True))
    turned = dict(zip(IDS[::-1], assign(IDS[::-1], split, classes=classes[::-1]), strict=True))
    assert straight == turned


def test_close_pairs_agree_with_astropy() -> None:
    coordinates = pytest.importorskip("astropy.coordinates")
    generator = np.random.default_rng(5)
    ra = np.concatenate([generator.uniform(0, 0.02, 300), generator.uniform(359.98, 360, 300), [10.0, 200.0]])
    dec = np.concatenate([generator.uniform(-0.02, 0.02, 600), [89.9999, 89.9999]])
    sky = coordinates.SkyCoord(ra, dec, unit="deg")
    i, j, _, _ = coordinates.search_around_sky(sky, sky, 10 * coordinates.Angle("1arcsec"))
    expected = sorted((a, b) for a, b in zip(i.tolist(), j.tolist(), strict=True) if a < b)
    assert len(expected) > 50
    assert close_pairs(ra, dec, 10.0).tolist() == [list(pair) for pair in expected]


def test_a_galaxy_under_two_ids_is_refused_on_both_sides_and_named() -> None:
    generator = np.random.default_rng(2)
    ra, dec = generator.uniform(0, 360, len(IDS)), generator.uniform(-60, 60, len(IDS))
    parts = assign(IDS, Split(), ra=ra, dec=dec)
    train, test = np.flatnonzero(parts == "train")[0], np.flatnonzero(parts == "test")[0]
    ra[test], dec[test] = ra[train], dec[train] + 1.5 / 3600
    with pytest.raises(SplitError, match="1 pairs") as error:
        assign(IDS, Split(), ra=ra, dec=dec)
    assert IDS[train] in str(error.value) and IDS[test] in str(error.value)
    assert (assign(IDS, Split(min_separation_arcsec=1.0), ra=ra, dec=dec) == parts).all()
    assert (assign(IDS, Split(min_separation_arcsec=0.0), ra=ra, dec=dec) == parts).all()


def test_neighbours_in_one_part_and_unknown_positions_are_no_matter() -> None:
    ra, dec = np.full(len(IDS), np.nan), np.full(len(IDS), np.nan)
    train = np.flatnonzero(assign(IDS, Split()) == "train")[:2]
    ra[train], dec[train] = 150.0, 2.0
    assert (assign(IDS, Split(), ra=ra, dec=dec) == assign(IDS, Split())).all()


@pytest.mark.parametrize(
    "split",
    [
        Split(method="random"),
        Split(validation=0.6, test=0.5),
        Split(test=-0.1),
        Split(cell_deg=0),
        Split(method="stratified"),
    ],
)
def test_choices_that_cannot_be_are_refused(split: Split) -> None:
    with pytest.raises(SplitError):
        assign(IDS, split)


def test_an_empty_part_is_refused_with_advice() -> None:
    with pytest.raises(SplitError, match="validation part of this split is empty"):
        assign(IDS[:3], Split(validation=1e-6, test=0))
    assert set(assign(IDS[:3], Split(validation=0, test=0))) == {"train"}


def test_an_id_that_comes_twice_is_refused() -> None:
    with pytest.raises(DuplicateIds, match="galaxy-1"):
        assign(["galaxy-1", "b", "galaxy-1"], Split())


def test_a_published_split_is_taken_as_it_is():
    parts = assign(["a", "b", "c"], Split(method="column"), given=["train", "test", "validation"])
    assert parts.tolist() == ["train", "test", "validation"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "no column 'part'"),
        (["train", "exam", "test"], "for 1 of 3 galaxies: b: 'exam'"),
        (["test", "test", "test"], "none of 3 galaxies into the train part"),
    ],
)
def test_a_published_split_that_cannot_be_is_refused(given, words):
    with pytest.raises(SplitError, match=words):
        assign(["a", "b", "c"], Split(method="column"), given=given)


def test_the_words_of_a_column_follow_the_ids():
    catalog = Catalog({"id": ["a", "b", "c"], "part": ["train", "test", "validation"]})
    assert given_parts(catalog, ["c", "a"], Split(method="column")).tolist() == ["validation", "train"]
    assert given_parts(catalog, ["c"], Split()) is None
    assert given_parts(catalog, ["c"], Split(method="column", column="set")) is None
