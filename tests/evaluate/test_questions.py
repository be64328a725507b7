"""Metrics of votes: the closed forms of the distributions, and draws from the prediction itself, which calibrate it."""

import numpy as np
import pytest
from scipy import stats

from tuningfork.evaluate import questions
from tuningfork.evaluate.bootstrap import estimate


def drawn(n=3000, votes=30, seed=0, sharp=1.0):
    """Votes drawn from Dirichlets; what is predicted are their concentrations, times ``sharp``."""
    generator = np.random.default_rng(seed)
    alpha = 0.5 + 8 * generator.dirichlet(np.ones(3), size=n)
    counts = np.array([generator.multinomial(votes, generator.dirichlet(a)) for a in alpha], dtype=float)
    return answers(alpha * sharp, counts)


def answers(alpha, counts, reached=None):
    total = alpha.sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        truth = counts / counts.sum(1, keepdims=True)
    low, high = stats.beta.ppf([[[0.05]], [[0.95]]], alpha, total - alpha)
    reached = np.ones(len(alpha)) if reached is None else reached
    return questions.Answers(("a", "b", "c")[: alpha.shape[1]], alpha / total, truth, reached, counts, alpha, low, high)


def values(statistic, n):
    return {name: found[0] for name, found in statistic(np.ones((1, n))).items()}


def test_two_answers_are_a_beta_binomial():
    a, b = np.array([2.0, 7.5]), np.array([3.0, 0.5])
    k, n = np.array([3, 0]), 8
    ours = questions.log_likelihood(np.stack([a, b], 1), np.stack([k, n - k], 1).astype(float))
    np.testing.assert_allclose(ours, stats.betabinom.logpmf(k, n, a, b), rtol=1e-10)


def test_the_likelihood_is_that_of_scipy_and_zero_without_votes():
    alpha, counts = np.array([[1.2, 3.4, 0.7], [2.0, 2.0, 2.0]]), np.array([[4.0, 0, 9], [0, 0, 0]])
    ours = questions.log_likelihood(alpha, counts)
    assert ours[0] == pytest.approx(stats.dirichlet_multinomial.logpmf([4, 0, 9], alpha[0], 13))
    assert ours[1] == 0.0


def test_the_constant_prediction_is_the_best_constant():
    one = drawn(400)
    best = questions.constant_alpha(one.counts)
    top = questions.log_likelihood(best, one.counts).sum()
    for factor in (0.7, 0.95, 1.05, 1.4):
        assert questions.log_likelihood(best * factor, one.counts).sum() < top
    np.testing.assert_allclose(best / best.sum(), one.counts.sum(0) / one.counts.sum())


def test_ranks_of_votes_are_the_cumulative_distribution():
    alpha, counts = np.array([[2.0, 5.0]]), np.array([[3.0, 9.0]])
    rank = questions.vote_ranks(alpha, alpha.sum(1), counts)[0]
    known = stats.betabinom(12, 2.0, 5.0)
    assert known.cdf(2) <= rank[0] <= known.cdf(3)
    assert known.cdf(2) == pytest.approx(1 - stats.betabinom(12, 5.0, 2.0).cdf(9))  # the other answer, mirrored
    assert 1 - known.cdf(3) <= rank[1] <= 1 - known.cdf(2)


def test_ranks_of_votes_from_the_prediction_are_uniform():
    one = drawn()
    ranks = questions.vote_ranks(one.alpha, one.alpha.sum(1), one.counts)
    assert stats.kstest(ranks[:, 0], "uniform").pvalue > 0.01
    assert np.isnan(questions.vote_ranks(np.ones((1, 2)), np.full(1, 2.0), np.zeros((1, 2)))).all()


def test_coverage_is_ninety_percent_if_calibrated_and_falls_if_too_sure():
    right, sure = drawn(), drawn(sharp=8.0)
    n = len(right.reached)
    calibrated, proud = (values(questions.likelihood_statistic(one), n) for one in (right, sure))
    assert calibrated["votes_covered"] == pytest.approx(0.9, abs=0.015)  # 3000 x 3 answers: sigma about 0.004
    assert proud["votes_covered"] < 0.8
    assert calibrated["fractions_covered"] < calibrated["votes_covered"]
    assert calibrated["log_likelihood_gain"] > 0
    assert proud["log_likelihood"] < calibrated["log_likelihood"]


def test_perfect_fractions():
    one = drawn(200)
    same = questions.Answers(one.names, one.truth, one.truth, one.reached)
    ours = values(questions.question_statistic(same), 200)
    assert ours["rmse"] == 0
    assert ours["explained"] == 1
    assert ours["accuracy"] == 1
    assert ours["macro_roc_auc"] > 0.95  # ties of leading fractions between galaxies keep it from 1
    np.testing.assert_array_equal(ours["bias"], 0)


def test_the_column_means_explain_nothing():
    one = drawn(300)
    mean = np.tile(one.truth.mean(0), (300, 1))
    ours = values(questions.question_statistic(questions.Answers(one.names, mean, one.truth, one.reached)), 300)
    assert ours["explained"] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(ours["roc_auc"], 0.5)
    assert questions.cumulative_rmse(mean, one.truth, np.ones((1, 300)))[0] == pytest.approx(
        questions.constant_rmse(one.truth, np.ones((1, 300)))[0]
    )


def test_the_challenge_rmse_by_hand():
    predicted, truth = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.7, 0.3], [1.0, 0.0]])
    assert questions.cumulative_rmse(predicted, truth, np.ones((1, 2)))[0] == pytest.approx(np.sqrt(2 * 0.04 / 4))


def test_merging_two_answers_sums_their_concentrations():
    one = drawn(100)
    into = np.array([[1.0, 0], [0, 1], [0, 1]])
    merged = answers(one.alpha @ into, one.counts @ into)
    before = values(questions.question_statistic(one), 100)
    after = values(questions.question_statistic(merged), 100)
    assert after["answer_rmse"][0] == pytest.approx(before["answer_rmse"][0])
    assert after["bias"][1] == pytest.approx(before["bias"][1:].sum())


def test_only_galaxies_that_were_led_to_the_question_count():
    one = drawn(100)
    reached = np.where(np.arange(100) < 40, 0.8, 0.2)
    part = answers(one.alpha, one.counts, reached)
    first = answers(one.alpha[:40], one.counts[:40])
    whole, alone = (values(questions.question_statistic(x), n) for x, n in ((part, 100), (first, 40)))
    for name in whole:
        np.testing.assert_allclose(whole[name], alone[name], err_msg=name)
    assert part.judged.sum() == 40


def test_a_question_that_nobody_reached_has_no_galaxies():
    one = answers(np.ones((5, 3)), np.zeros((5, 3)), np.zeros(5))
    found = estimate(questions.question_statistic(one), 5, resamples=10)
    assert str(found["rmse"]) == str(found["accuracy"]) == "no galaxies"
    assert str(estimate(questions.likelihood_statistic(one), 5, resamples=10)["log_likelihood"]) == "no galaxies"
