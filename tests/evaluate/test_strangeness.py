"""Strangeness of synthetic features: honest p-values, what it must notice, and what must not matter to it."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from tuningfork.errors import BadVotes
from tuningfork.evaluate.strangeness import Strangeness, fit_strangeness, judge_strangeness

F = 60


def network(seed=0, width=F, hidden=10, classes=3):
    """A maker of features: clusters in a few hidden directions, small scatter in all, other units per feature."""
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(hidden, width))
    centres = 4 * generator.normal(size=(classes, hidden))
    units, zero = generator.lognormal(0, 2, width), 10 * generator.normal(size=width)

    def make(n, rng, shift=0.0, scatter=0.3):
        group = rng.integers(classes, size=n)
        inner = centres[group] + rng.normal(size=(n, hidden)) + shift
        return ((inner @ mix + scatter * rng.normal(size=(n, width))) * units + zero).astype(np.float32), group

    return make, (lambda n, rng: (rng.normal(size=(n, width)) * units + zero).astype(np.float32))


@pytest.fixture(scope="module")
def fitted():
    make, noise = network()
    rng = np.random.default_rng(1)
    features, groups = make(3000, rng)
    return fit_strangeness(features, groups, held_out=make(2500, rng)[0]), make, noise


@pytest.mark.parametrize("held", [True, False])
def test_ordinary_galaxies_have_uniform_p_values(held):
    make, _ = network(5)
    rng = np.random.default_rng(2)
    features, groups = make(6000, rng)
    one = fit_strangeness(features, groups, held_out=make(3000, rng)[0] if held else None)
    p = one.share(make(4000, rng)[0])
    assert p.min() > 0 and p.max() <= 1
    # both samples are finite: two-sample Kolmogorov-Smirnov at one in a million
    n = len(p) * (3000 if held else 1200) / (len(p) + (3000 if held else 1200))
    assert stats.kstest(p, "uniform").statistic < stats.kstwobign.isf(1e-6) / np.sqrt(n) + 1 / 1000


def test_p_values_are_never_too_small_on_average():
    """P(p <= a) <= a for exchangeable galaxies, here exactly for few of them: over all draws of the held-out ones."""
    make, _ = network(6, width=6, hidden=3)
    rng = np.random.default_rng(3)
    one = fit_strangeness(make(500, rng)[0], held_out=make(30, rng)[0])
    pool = np.sort(one.score(make(200_000, rng)[0]))
    rates = []
    for _ in range(400):
        ordinary = np.sort(rng.choice(pool, 29)).astype(np.float32)
        again = Strangeness(**(one.arrays | {"ordinary": ordinary}))
        rates.append((again.share_of(rng.choice(pool, 500)) <= 0.1).mean())
    assert np.mean(rates) == pytest.approx(0.1, abs=0.012)  # 29 kept: 0.1 is 3/30


def test_what_is_strange_is_noticed(fitted):
    one, make, noise = fitted
    rng = np.random.default_rng(4)
    own = one.score(make(1000, rng)[0])
    others = {
        "other survey": one.score(make(500, rng, shift=2.5)[0]),
        "noise": one.score(noise(500, rng)),
        "same": one.score(make(500, rng)[0]),
        "broken": np.full(20, np.inf),
    }
    found = judge_strangeness(own, others, one, resamples=60)
    assert found["other survey"]["roc_auc"].value > 0.9
    assert found["noise"]["roc_auc"].value > 0.99
    assert found["noise"]["flagged"].value > 0.95
    assert found["same"]["roc_auc"].low < 0.5 < found["same"]["roc_auc"].high
    assert found["same"]["flagged_ordinary"].value < 0.03
    assert found["broken"]["roc_auc"].value == found["broken"]["flagged"].value == 1
    assert found["noise"]["galaxies"] == 500


def test_a_direction_that_was_never_used_is_strange_although_it_was_not_kept(fitted):
    """Outside the kept directions the variance is small, and whatever is large there is strange."""
    make, _ = network(7, hidden=4)
    rng = np.random.default_rng(5)
    features, groups = make(2000, rng)
    one = fit_strangeness(features, groups, directions=4)
    test = make(500, rng)[0]
    aside = rng.normal(size=F)
    aside -= one.axes.astype(float) @ (one.axes.T.astype(float) @ aside)
    moved = test + (4 * aside / np.linalg.norm(aside) * one.scale).astype(np.float32)
    assert one.axes.shape == (F, 4)
    assert np.median(one.share(moved)) < 0.01 < 0.3 < np.median(one.share(test))


def test_a_galaxy_between_two_classes_is_stranger_than_in_either():
    rng = np.random.default_rng(6)
    group = rng.integers(2, size=2000)
    features = rng.normal(size=(2000, 8))
    features[:, 0] += np.where(group, 8, -8)
    between = np.zeros((50, 8)) + 0.1 * rng.normal(size=(50, 8))
    assert fit_strangeness(features, group).share(between).max() == pytest.approx(1 / 401)
    assert fit_strangeness(features).share(between).min() > 0.5  # one Gaussian takes it for the very middle


def test_the_score_is_the_mahalanobis_distance_where_all_directions_are_kept():
    rng = np.random.default_rng(7)
    features = rng.normal(size=(4000, 5)) @ rng.normal(size=(5, 5)) + 3
    one = fit_strangeness(features, held_out=features[:100], directions=5)
    inverse = np.linalg.inv(np.cov(features.T))
    expected = cdist(features[:300], [features.mean(0)], "mahalanobis", VI=inverse)[:, 0] ** 2
    assert one.rest[0] == 0
    np.testing.assert_allclose(one.score(features[:300]), expected, rtol=0.02)  # float16 axes, shrinkage


def test_units_of_the_features_do_not_matter():
    make, _ = network(8)
    rng = np.random.default_rng(8)
    features, groups = make(1500, rng)
    test = make(300, rng)[0]
    units = np.geomspace(1e-6, 1e6, F)
    first = fit_strangeness(features, groups, directions=10).share(test)
    second = fit_strangeness(features * units, groups, directions=10).share(test * units)
    np.testing.assert_allclose(first, second, atol=0.03)  # ten of 300 held-out galaxies


def test_it_is_small_and_its_arrays_bring_it_back():
    rng = np.random.default_rng(9)
    features = rng.normal(size=(1500, 1280)).astype(np.float32)
    one = fit_strangeness(features, rng.integers(10, size=1500))
    assert one.n_bytes <= 105_000
    again = Strangeness.from_arrays({name: array.copy() for name, array in one.arrays.items()})
    np.testing.assert_array_equal(one.score(features[:50]), again.score(features[:50]))
    assert len(again.ordinary) == 300
    with pytest.raises(BadVotes, match="lack rest"):
        Strangeness.from_arrays({name: array for name, array in one.arrays.items() if name != "rest"})
    with pytest.raises(BadVotes, match=r"do not fit together: mean \(1279,\)"):
        Strangeness.from_arrays(one.arrays | {"mean": one.mean[1:]})


def test_features_that_hardly_move_and_rows_that_are_broken(fitted):
    rng = np.random.default_rng(10)
    features = rng.normal(size=(400, 6)).astype(np.float32)
    features[:, 3] = 2.0
    one = fit_strangeness(features)
    assert np.isfinite(one.score(features)).all()
    odd = features[:3].copy()
    odd[0, 0], odd[1, 1] = np.nan, np.inf
    scores = one.score(odd)
    assert np.isinf(scores[:2]).all() and np.isfinite(scores[2])
    assert one.share(odd)[0] == pytest.approx(1 / (len(one.ordinary) + 1))
    assert one.score(features[:0]).shape == (0,)


def test_what_cannot_be_is_refused():
    rng = np.random.default_rng(11)
    features = rng.normal(size=(300, 6))
    one = fit_strangeness(features)
    with pytest.raises(BadVotes, match=r"shape \(3, 5\), where \(galaxies, 6\)"):
        one.score(features[:3, :5])
    with pytest.raises(BadVotes, match="20 galaxies or more"):
        fit_strangeness(features[:30])
    with pytest.raises(BadVotes, match="1 of 300 galaxies have features with NaN"):
        fit_strangeness(np.where(np.arange(300)[:, None] == 7, np.nan, features))
    with pytest.raises(BadVotes, match="the same for all"):
        fit_strangeness(np.ones((300, 6)))
    with pytest.raises(BadVotes, match=r"classes of shape \(3,\)"):
        fit_strangeness(features, [1, 2, 3])
