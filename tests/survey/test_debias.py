"""Debiasing proven on a sky whose unbiased fractions are known: what faded comes back, what did not stays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import BadCatalog, LabelError, TreeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import find_votes
from tuningfork.galaxy.tree import Tree
from tuningfork.survey.debias import DebiasReport, debias
from tuningfork.survey.fading import Cells, Sample, Slice, inverse, law, matched, unevenness

TREE = Tree.from_toml(
    """
name = "two"
[[question]]
name = "shape"
answers = [{ name = "smooth" }, { name = "features", next = "arms" }, { name = "star" }]
[[question]]
name = "arms"
answers = [{ name = "two" }, { name = "many" }]
"""
)
NEAR = 0.035  # up to this redshift everything can be seen


def sky(n: int = 8000, seed: int = 0, fades: float = 1.0) -> tuple[Catalog, np.ndarray]:
    """A flux-limited sample whose features fade with redshift, the smaller the faster; 40 volunteers each.

    Returns the catalogue of counts and the fractions (n, 3) of the first question that infinitely many volunteers would
    give, could they see. Features are commoner among bright and large galaxies, so that the raw trend mixes fading
    with selection (far galaxies are bright), as in SDSS.
    """
    rng = np.random.default_rng(seed)
    magnitude = rng.uniform(-23, -19.5, 40 * n)
    redshift = 0.15 * rng.random(40 * n) ** 0.5
    bright = (magnitude + 5 * np.log10(redshift * 3e5 / 70 * 1e5) < 17.7) & (redshift > 0.02)
    magnitude, redshift = magnitude[bright][:n], redshift[bright][:n]
    log_size = 0.65 + 0.12 * (-magnitude - 21) + rng.normal(0, 0.15, n)
    mean = 1 / (1 + np.exp(-(0.3 * (magnitude + 21.2) + 2 * (log_size - 0.65))))
    features, many = rng.beta(2.5 * mean, 2.5 * (1 - mean)), rng.beta(2, 4, n)
    sight = np.exp(-fades * np.maximum(0, redshift - NEAR) / 0.1 * 10 ** (-0.5 * (log_size - 0.65)))

    def asked(share: np.ndarray) -> np.ndarray:
        return np.column_stack([(1 - share) * 0.97, share * 0.97, np.full(n, 0.03)])

    first = rng.multinomial(40, asked(features * sight))
    second = rng.binomial(first[:, 1], many * sight)
    counts = np.column_stack([first, first[:, 1] - second, second])
    columns = dict(zip([f"{column}_count" for column in TREE.columns], counts.T, strict=True))
    properties = {"redshift": redshift, "absolute_magnitude": magnitude, "size_kpc": 10**log_size}
    return Catalog({"id": [f"g{i}" for i in range(n)], **properties, **columns}), asked(features)


def offsets(values: np.ndarray, truth: np.ndarray, redshift: np.ndarray, bins: int = 6) -> np.ndarray:
    """Mean of values less truth in slices of redshift of equal number."""
    order = np.argsort(redshift)
    return np.array([np.nanmean(values[part] - truth[part]) for part in np.array_split(order, bins)])


@pytest.fixture(scope="module")
def faded() -> tuple[Catalog, np.ndarray]:
    return sky()


Debiased = tuple[Catalog, DebiasReport]


@pytest.fixture(scope="module")
def lawful(faded: tuple[Catalog, np.ndarray]) -> Debiased:
    return debias(faded[0], TREE, questions=("shape",), cells=20)


@pytest.fixture(scope="module")
def ranked(faded: tuple[Catalog, np.ndarray]) -> Debiased:
    return debias(faded[0], TREE, questions=("shape",), cells=20, method="ranks")


@pytest.mark.parametrize("method", ["lawful", "ranked"])
def test_what_faded_comes_back(method: str, faded: tuple[Catalog, np.ndarray], request: pytest.FixtureRequest) -> None:
    catalog, truth = faded
    corrected, report = request.getfixturevalue(method)
    raw = TREE.fractions(find_votes(catalog, TREE, ("counts",))[1])
    for answer, column in enumerate(TREE.columns[:3]):
        before = offsets(raw[:, answer], truth[:, answer], catalog["redshift"])
        after = offsets(corrected[f"{column}_debiased"], truth[:, answer], catalog["redshift"])
        # 0.05: in cells of bright galaxies the nearest slice reaches to z = 0.05, where up to 0.05 have faded already
        assert np.abs(after).max() < 0.05
        if answer < 2:
            assert np.abs(before).max() > 0.25 and np.abs(after).max() < 0.2 * np.abs(before).max()
    assert all(one.method == ("ranks" if method == "ranked" else "law") for one in report.answers)
    assert all(one.after < one.before for one in report.answers[:2])
    assert report.reference == pytest.approx(np.percentile(catalog["redshift"], 5))


def test_single_galaxies_keep_their_rank_among_their_like(faded: tuple[Catalog, np.ndarray], lawful: Debiased) -> None:
    catalog, truth = faded
    values = lawful[0]["shape_features_debiased"]
    raw = TREE.fractions(find_votes(catalog, TREE, ("counts",))[1])[:, 1]
    assert ((values >= 0) & (values <= 1)).all() and (values[raw == 0] == 0).all()
    far = catalog["redshift"] > 0.08
    errors = [np.abs(one[far] - truth[far, 1]).mean() for one in (raw, values)]
    assert errors[1] < 0.5 * errors[0]  # not only the mean: galaxy by galaxy


def test_where_nothing_fades_nothing_changes() -> None:
    catalog, truth = sky(seed=3, fades=0.0)
    corrected, _ = debias(catalog, TREE, questions=("shape",), cells=20)
    for answer, column in enumerate(TREE.columns[:3]):
        after = offsets(corrected[f"{column}_debiased"], truth[:, answer], catalog["redshift"])
        assert np.abs(after).max() < 0.02  # slices of 1,300 galaxies with a scatter of 0.25: 0.007, and as much of laws


def test_the_order_of_the_rows_does_not_matter(faded: tuple[Catalog, np.ndarray]) -> None:
    catalog, _ = faded
    mixed = catalog.rows(np.random.default_rng(1).permutation(len(catalog)))
    one, _ = debias(catalog, TREE, questions=("shape",), method="ranks")
    other, _ = debias(mixed, TREE, questions=("shape",), method="ranks")
    np.testing.assert_array_equal(one["shape_smooth_debiased"], other.select(one.ids)["shape_smooth_debiased"])


def test_too_few_galaxies_are_refused_with_the_counts(faded: tuple[Catalog, np.ndarray]) -> None:
    catalog, _ = faded
    with pytest.raises(BadCatalog) as told:
        debias(catalog, TREE)
    for words in ("5,000 galaxies per question", "shape: 8,000 of 5,000", "too few", "questions=shape"):
        assert words in str(told.value)
    with pytest.raises(BadCatalog, match="shape: 4,999 of 5,000, too few"):
        debias(catalog.rows(np.arange(4999)), TREE, questions=("shape",))
    debias(catalog.rows(np.arange(5000)), TREE, questions=("shape",), method="ranks")


def test_galaxies_without_properties_are_counted_and_stay_unknown(faded: tuple[Catalog, np.ndarray]) -> None:
    catalog, _ = faded
    spoilt = {name: catalog[name].copy() for name in ("redshift", "absolute_magnitude", "size_kpc")}
    spoilt["redshift"][:3], spoilt["absolute_magnitude"][3:5], spoilt["size_kpc"][5] = [np.nan, 0, -9999], 99, 0
    corrected, report = debias(catalog.with_columns(spoilt), TREE, questions=("shape",), method="ranks")
    values = np.column_stack([corrected[f"{column}_debiased"] for column in TREE.columns[:3]])
    assert np.isnan(values[:6]).all() and np.isfinite(values[6:]).all()
    assert (report.n_corrected, report.n_without, report.n_galaxies) == (7994, 6, 8000)
    assert "8,000 galaxies = 7,994 debiased" in str(report) and "6 without redshift" in str(report)


def test_the_result_is_what_labels_are_made_of(faded: tuple[Catalog, np.ndarray]) -> None:
    catalog, _ = faded
    corrected, report = debias(catalog, TREE, minimum=500, cells=6)
    kind, values = find_votes(corrected, TREE, ("debiased",))
    assert kind == "debiased" and values.shape == (8000, 5)
    np.testing.assert_allclose(np.nansum(values[:, :3], axis=1), 1, atol=1e-6)
    assert set(report.n_basis) == {"shape", "arms"} and len(report.answers) == 5
    votes = find_votes(catalog, TREE, ("counts",))[1]
    assert (np.isnan(values[:, 3]) >= (votes[:, 3:].sum(axis=1) == 0)).all()


def test_weighted_fractions_come_first(faded: tuple[Catalog, np.ndarray]) -> None:
    catalog, _ = faded
    shares = TREE.fractions(find_votes(catalog, TREE, ("counts",))[1])
    turned = shares[:, [1, 0, 2, 3, 4]]  # smooth and features changed places, to be seen
    named = {f"{column}_weighted_fraction": turned[:, i] for i, column in enumerate(TREE.columns)}
    plain, _ = debias(catalog, TREE, questions=("shape",), method="ranks")
    swapped, _ = debias(catalog.with_columns(named), TREE, questions=("shape",), method="ranks", min_reach=0.0)
    np.testing.assert_allclose(swapped["shape_smooth_debiased"], plain["shape_features_debiased"])


def test_an_answer_that_is_too_rare_is_left_alone_and_said_so(faded: tuple[Catalog, np.ndarray]) -> None:
    catalog, _ = faded
    moved = catalog["shape_star_count"].copy()
    moved[20:] = 0
    total = catalog["shape_smooth_count"] + catalog["shape_star_count"] - moved
    corrected, report = debias(
        catalog.with_columns({"shape_star_count": moved, "shape_smooth_count": total}), TREE, questions=("shape",)
    )
    assert [one.method for one in report.answers] == ["law", "law", "not at all"]
    share = moved / 40
    np.testing.assert_allclose(corrected["shape_star_debiased"], share, atol=1e-7)
    assert "shape_star: not at all" in str(report) and isinstance(report, DebiasReport)


def test_what_cannot_be_asked(faded: tuple[Catalog, np.ndarray]) -> None:
    catalog, _ = faded
    with pytest.raises(BadCatalog, match="did you mean 'redshift'"):
        debias(catalog, TREE, redshift="redshft")
    with pytest.raises(BadCatalog, match="should hold numbers"):
        debias(catalog.with_columns({"kind": ["x"] * len(catalog)}), TREE, size="kind")
    with pytest.raises(TreeError, match="did you mean 'shape'"):
        debias(catalog, TREE, questions=("shap",))
    with pytest.raises(ValueError, match="the method is"):
        debias(catalog, TREE, method="fit")  # type: ignore[arg-type]
    with pytest.raises(LabelError):
        debias(catalog, Tree.load("gz2"))


@given(st.floats(0.5, 10), st.floats(-10, 10), st.floats(-3, -1e-3))
def test_the_logistic_and_its_inverse(k: float, c: float, x: float) -> None:
    one = (np.array([k]), np.array([c]))
    y = law(np.array([x]), *one, "logistic")
    assert 0 <= y[0] <= 1 and law(np.array([0.0]), *one, "logistic")[0] == pytest.approx(1)
    if y[0] > 1e-9 and abs(law(np.array([x + 1e-3]), *one, "logistic")[0] - y[0]) > 1e-9:  # not where it is flat
        assert inverse(y, *one, "logistic")[0] == pytest.approx(x, abs=1e-4)


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(-3, -1e-2))
def test_the_power_and_its_inverse(k: float, c: float, x: float) -> None:
    one = (np.array([k]), np.array([c]))
    y = law(np.array([x]), *one, "power")
    assert 0 <= y[0] <= 1 and law(np.array([0.0]), *one, "power")[0] == pytest.approx(1, abs=0.7)
    if 1e-9 < y[0] < 1 - 1e-9:
        assert inverse(y, *one, "power")[0] == pytest.approx(x, rel=1e-4)


def test_cells_are_voronoi_cells() -> None:
    rng = np.random.default_rng(0)
    magnitude, log_size = rng.normal(-21, 1, 2000), rng.normal(0.6, 0.2, 2000)
    cells = Cells.of(magnitude, log_size, 12)
    number = cells.number(magnitude, log_size)
    assert set(number.tolist()) == set(range(12))
    plane = (np.column_stack([magnitude, log_size]) - cells.middle) / cells.spread
    distance = ((plane[:, None] - cells.centres) ** 2).sum(-1)
    np.testing.assert_array_equal(number, distance.argmin(1))
    assert len(Cells.of(np.full(50, -21.0), np.full(50, 0.5), 12).centres) == 1


def test_ranks_are_matched_to_the_nearest_slice() -> None:
    near, far = np.linspace(0.1, 0.9, 81), np.linspace(0.1, 0.9, 81) / 2
    zero, ones = np.zeros(162, np.int64), np.ones(162)
    slices = np.repeat([0, 1], 81)
    sample = Sample(-21 * ones, 0.5 * ones, 0.05 * ones, np.concatenate([near, far]), zero, slices)
    moved = matched(sample, sample)
    np.testing.assert_allclose(moved[:81], near, atol=0.02)  # half a rank of 81 is 0.005
    np.testing.assert_allclose(moved[81:], near, atol=0.02)
    assert unevenness(sample.fraction, sample) > 0.1 > 0.01 > unevenness(moved, sample)


@pytest.mark.parametrize(("shape", "k", "c"), [("logistic", 4.0, -2.5), ("logistic", 2.0, 1.0), ("power", 3.0, 1.4)])
def test_a_law_is_found_again_in_its_own_distribution(shape: str, k: float, c: float) -> None:
    shares = (np.arange(20_000) + 0.5) / 20_000
    found = inverse(shares, np.array(k), np.array(c), shape)  # type: ignore[arg-type]
    one = Slice.of(np.array([-21.0]), np.array([0.5]), np.array([0.05]), 10**found)
    fitted = one.fit(shape)  # type: ignore[arg-type]
    assert fitted[:2] == pytest.approx((k, c), abs=0.01) and fitted[2] < 1e-5  # steps of 1 / 20,000
