"""Coverage is kept on exchangeable galaxies, whatever the model says: checked against binomial bounds."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from tuningfork.errors import BadVotes
from tuningfork.evaluate.conformal import (
    Promise,
    covered_within,
    fit_intervals,
    fit_sets,
    intervals,
    judge_intervals,
    judge_sets,
    quantile,
    sets,
)


def galaxies(n, generator, classes=5, sure=1.0):
    truth = generator.integers(classes, size=n)
    z = generator.normal(size=(n, classes))
    z[np.arange(n), truth] += 1.5
    return softmax(z * sure, axis=1), truth


def bounds(coverage, n_fit, n_test, trials):
    """Between which mean coverages of many trials, but for one chance in a million: coverage is beta-binomial."""
    place = int(np.ceil((n_fit + 1) * coverage))
    one = stats.betabinom(n_test, place, n_fit + 1 - place)
    half = stats.norm.isf(5e-7) * one.std() / n_test / np.sqrt(trials)
    return one.mean() / n_test - half, one.mean() / n_test + half


@pytest.mark.parametrize("method", ["least_ambiguous", "adaptive"])
@pytest.mark.parametrize("sure", [0.2, 1.0, 10.0])  # too unsure, calibrated, far too sure
@pytest.mark.parametrize("coverage", [0.68, 0.95])
def test_sets_cover_as_promised_however_wrong_the_probabilities_are(method, sure, coverage):
    generator = np.random.default_rng(7)
    shares = []
    for trial in range(40):
        p, truth = galaxies(700, generator, sure=sure)
        promise = fit_sets(p[:300], truth[:300], coverage, method, seed=2 * trial)
        inside = sets(p[300:], promise, seed=2 * trial + 1)
        shares.append(inside[np.arange(400), truth[300:]].mean())
    low, high = bounds(coverage, 300, 400, 40)
    assert low <= np.mean(shares) <= high


def test_no_new_score_is_above_more_often_than_promised_for_every_n():
    """The rank of a new score among n + 1 is uniform: exact, not only for large n."""
    for n in (5, 9, 10, 19, 20, 99):
        for coverage in (0.5, 0.8, 0.9):
            scores = np.arange(1, n + 1.0)
            threshold = quantile(scores, coverage)
            chance = 1.0 if np.isinf(threshold) else threshold / (n + 1)  # of a new rank 1..n+1 to be at most it
            assert coverage - 1e-12 <= chance
            assert np.isinf(threshold) == (n < coverage / (1 - coverage) - 1e-9)
            assert np.isinf(threshold) or chance < coverage + 1 / (n + 1)


def test_least_ambiguous_sets_are_smaller_and_adaptive_ones_follow_difficulty():
    generator = np.random.default_rng(3)
    hard = np.arange(6000) % 2 == 0
    signal = np.where(hard, 0.8, 3.0)[:, None]
    truth = generator.integers(5, size=6000)
    z = generator.normal(size=(6000, 5)) + signal * (np.arange(5) == truth[:, None])
    p = softmax(signal * z, axis=1)  # the exact chances
    size, right = {}, {}
    for method in ("least_ambiguous", "adaptive"):
        inside = sets(p[3000:], fit_sets(p[:3000], truth[:3000], 0.9, method))
        size[method] = inside.mean()
        right[method] = [inside[np.arange(3000), truth[3000:]][some[3000:]].mean() for some in (hard, ~hard)]
    assert size["least_ambiguous"] < size["adaptive"]
    assert np.ptp(right["adaptive"]) < 0.03 < 0.1 < np.ptp(right["least_ambiguous"])


def test_more_coverage_never_makes_a_set_smaller():
    p, truth = galaxies(500, np.random.default_rng(1))
    for method in ("least_ambiguous", "adaptive"):
        less, more = (sets(p, fit_sets(p, truth, coverage, method)) for coverage in (0.7, 0.95))
        assert (less <= more).all() and less.sum() < more.sum()


def test_too_few_galaxies_promise_everything():
    p, truth = galaxies(8, np.random.default_rng(0))
    promise = fit_sets(p, truth, 0.9)
    assert np.isinf(promise.threshold)
    assert sets(p, promise).all()


def test_empty_sets_can_be_filled_with_the_most_probable_class():
    promise = Promise(0.3, 0.9, 100, "least_ambiguous")
    p = np.array([[0.6, 0.4], [0.9, 0.1]])
    assert sets(p, promise).tolist() == [[False, False], [True, False]]
    assert sets(p, promise, never_empty=True).tolist() == [[True, False], [True, False]]


def test_judged_sets():
    inside = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], bool)
    found = judge_sets(inside, np.array([0, 1, 2, 0]), resamples=50)
    assert found["coverage"].value == 0.5
    assert (found["size"].value, found["single"].value, found["single_right"].value, found["empty"]) == (
        1,
        0.5,
        0.5,
        0.25,
    )
    assert found["coverage"].low < 0.5 < found["coverage"].high
    assert np.isnan(judge_sets(inside[:0], np.zeros(0, int), resamples=5)["coverage"].value)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
@pytest.mark.parametrize("method", ["residual", "quantile"])
def test_intervals_cover_as_promised(coverage, method):
    generator = np.random.default_rng(4)
    shares = []
    for _ in range(40):
        scale = generator.uniform(0.1, 2, 700)  # some galaxies are harder
        predicted = generator.normal(size=700)
        truth = predicted + 0.3 + scale * generator.standard_t(3, 700)  # biased, heavy tails
        own = (predicted - scale, predicted + scale) if method == "quantile" else (None, None)
        fit, test = slice(None, 300), slice(300, None)
        promise = fit_intervals(predicted[fit], truth[fit], coverage, *(None if x is None else x[fit] for x in own))
        low, high = intervals(predicted[test], promise, *(None if x is None else x[test] for x in own))
        shares.append(judge_intervals(low, high, truth[test])["coverage"].value)
    least, most = bounds(coverage, 300, 400, 40)
    assert least <= np.mean(shares) <= most


def test_the_models_own_bounds_make_intervals_narrow_where_it_knows():
    generator = np.random.default_rng(5)
    scale = np.where(np.arange(4000) % 2, 0.1, 2.0)
    predicted = np.zeros(4000)
    truth = scale * generator.normal(size=4000)
    promise = fit_intervals(predicted, truth, 0.9, -scale, scale)
    low, high = intervals(predicted, promise, -scale, scale)
    assert judge_intervals(low, high, truth)["width"] < 2 * fit_intervals(predicted, truth, 0.9).threshold
    assert (high - low)[1::2].max() < (high - low)[::2].min()


def test_a_negative_threshold_narrows_but_never_turns_an_interval_round():
    promise = Promise(-0.5, 0.9, 100, "quantile")
    low, high = intervals(np.zeros(2), promise, np.array([-2.0, -0.1]), np.array([2.0, 0.1]))
    assert low.tolist() == [-1.5, 0] and high.tolist() == [1.5, 0]


def test_undefined_truths_are_left_out():
    truth = np.r_[np.linspace(0, 1, 99), np.full(50, np.nan)]
    promise = fit_intervals(np.zeros(149), truth, 0.9)
    assert promise.n == 99
    assert promise.threshold == pytest.approx(np.linspace(0, 1, 99)[89])
    assert judge_intervals(truth * 0 - 1, truth * 0 + 1, truth)["coverage"].value == 1


def test_what_cannot_be_is_refused():
    p, truth = galaxies(30, np.random.default_rng(0))
    with pytest.raises(BadVotes, match=r"between 0 and 1, for instance 0.9, not 90"):
        fit_sets(p, truth, 90)
    with pytest.raises(BadVotes, match="classes 7 to 7 for 5 columns"):
        fit_sets(p, truth * 0 + 7)
    with pytest.raises(BadVotes, match="no conformal method 'best'"):
        fit_sets(p, truth, 0.9, "best")
    with pytest.raises(BadVotes, match=r"\(30, 5\) and true classes of shape \(29,\)"):
        fit_sets(p, truth[1:])
    with pytest.raises(BadVotes, match="both bounds"):
        fit_intervals(truth, truth, 0.9, lower=truth)
    with pytest.raises(BadVotes, match="need the model's lower and upper"):
        intervals(truth, Promise(1, 0.9, 10, "quantile"))
    with pytest.raises(BadVotes, match="1 of 30 rows"):
        fit_sets(np.where(np.arange(30)[:, None] == 3, np.nan, p), truth)


def test_a_share_has_the_interval_of_wilson():
    assert covered_within(0.9, 100).low == pytest.approx(0.8256, abs=1e-4)
    assert np.isnan(covered_within(0.0, 0).value)
