"""The bootstrap: seeded draws, intervals that cover as often as they say, NaN where nobody says anything."""

import json

import numpy as np
import pytest

from tuningfork.evaluate.bootstrap import Estimate, estimate, mean_of_finite, ratio, resampled_weights
from tuningfork.evaluate.metrics import weighted_mean


def mean_of(values):
    return lambda weights: {"mean": weighted_mean(values, weights)}


def test_every_resample_draws_n_galaxies_and_a_seed_repeats_it():
    first = np.concatenate(list(resampled_weights(7, 50, seed=3)))
    again = np.concatenate(list(resampled_weights(7, 50, seed=3)))
    other = np.concatenate(list(resampled_weights(7, 50, seed=4)))
    assert first.shape == (50, 7)
    np.testing.assert_array_equal(first.sum(1), 7)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_blocks_do_not_change_how_many_resamples_there_are():
    assert sum(len(block) for block in resampled_weights(200_000, 7, seed=0)) == 7


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    # For n = 4000 the percentile interval of a mean is mean +- 1.96 s / sqrt(n); 1000 resamples leave 5% of noise.
    values = np.random.default_rng(5).exponential(size=4000)
    found = estimate(mean_of(values), 4000)["mean"]
    half = 1.96 * values.std() / np.sqrt(4000)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(half, rel=0.12)
    assert found.value - found.low == pytest.approx(half, rel=0.12)


def test_intervals_cover_the_truth_as_often_as_they_say():
    # 300 toy surveys of 80 galaxies, 80% accuracy: of 95% intervals, 0.95 +- 0.04 (three binomial sigmas) should cover.
    # The percentile bootstrap of so small a sample is known to undercover by a point or two.
    generator = np.random.default_rng(11)
    covered = 0
    for _ in range(300):
        right = (generator.random(80) < 0.8).astype(float)
        found = estimate(mean_of(right), 80, resamples=400, seed=int(generator.integers(2**31)))["mean"]
        covered += found.low <= 0.8 <= found.high
    assert 0.90 <= covered / 300 <= 0.985


def test_resamples_without_a_rare_galaxy_are_left_out():
    rare = np.array([1.0] + [0.0] * 9)

    def statistic(weights):
        return {"rare": ratio(weights @ rare, weights @ rare)}  # 1 where the rare galaxy was drawn, else NaN

    found = estimate(statistic, 10, resamples=200)["rare"]
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_no_galaxies_and_no_resamples():
    nothing = estimate(mean_of(np.zeros(0)), 0)["mean"]
    assert str(nothing) == "no galaxies"
    assert nothing.as_dict() == {"value": None, "low": None, "high": None}
    alone = estimate(mean_of(np.array([1.0, 2.0])), 2, resamples=0)["mean"]
    assert str(alone) == "1.500"


def test_vectors_of_statistics_give_lists_of_estimates():
    found = estimate(lambda weights: {"both": weights[:, :2] / weights[:, :2].clip(1)}, 2, resamples=20)["both"]
    assert [one.value for one in found] == [1.0, 1.0]


def test_an_estimate_reads_as_it_is_quoted():
    assert str(Estimate(0.9312, 0.918, 0.9441)) == "0.931 [0.918, 0.944]"
    assert Estimate(1.25, 1.0, 2.0).text(1) == "1.2 [1.0, 2.0]"
    assert json.loads(json.dumps(Estimate(0.5).as_dict(), allow_nan=False)) == {"value": 0.5, "low": None, "high": None}


def test_progress_reaches_its_total():
    seen = []
    estimate(mean_of(np.arange(9.0)), 9, resamples=30, progress=lambda done, total, text: seen.append((done, total)))
    assert seen[-1] == (30, 30)


def test_means_pass_over_what_is_not_finite():
    np.testing.assert_array_equal(mean_of_finite(np.array([[1.0, np.nan, 3.0], [np.nan] * 3])), [2.0, np.nan])
