"""Metrics of classes: against scikit-learn, which computes them by other means, and by what must always hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as independent

from tuningfork.evaluate import metrics

ONE = np.ones((1, 400))


def draws(seed=0, n=400, k=4, ties=False):
    generator = np.random.default_rng(seed)
    truth = generator.integers(k, size=n)
    z = generator.normal(size=(n, k))
    z[np.arange(n), truth] += 1.0
    p = np.exp(z)
    if ties:
        p = np.round(p, 0) + 0.5
    return truth, p / p.sum(1, keepdims=True)


def values(truth, p, weights=None):
    weights = np.ones((1, len(truth))) if weights is None else weights
    return {name: value[0] for name, value in metrics.class_statistic(truth, p)(weights).items()}


@pytest.mark.parametrize("ties", [False, True])
def test_everything_agrees_with_scikit_learn(ties):
    truth, p = draws(ties=ties)
    guess = p.argmax(1)
    ours = values(truth, p)
    purity, found, score, _ = independent.precision_recall_fscore_support(truth, guess)
    onehot = np.eye(4)[truth]
    same = pytest.approx
    assert ours["accuracy"] == same(independent.accuracy_score(truth, guess))
    assert ours["balanced_accuracy"] == same(independent.balanced_accuracy_score(truth, guess))
    assert ours["macro_f1"] == same(independent.f1_score(truth, guess, average="macro"))
    assert ours["log_loss"] == same(independent.log_loss(truth, p))
    assert ours["brier"] == same(((p - onehot) ** 2).sum(1).mean())
    assert ours["macro_roc_auc"] == same(independent.roc_auc_score(truth, p, multi_class="ovr"))
    np.testing.assert_allclose(ours["precision"], purity)
    np.testing.assert_allclose(ours["recall"], found)
    np.testing.assert_allclose(ours["f1"], score)
    for k in range(4):
        assert ours["average_precision"][k] == same(independent.average_precision_score(truth == k, p[:, k]))


def test_weights_are_those_of_scikit_learn():
    truth, p = draws(3, ties=True)
    weights = np.random.default_rng(1).integers(0, 4, size=(1, 400)).astype(float)
    ours = values(truth, p, weights)
    told = {"sample_weight": weights[0]}
    assert ours["accuracy"] == pytest.approx(independent.accuracy_score(truth, p.argmax(1), **told))
    assert ours["macro_f1"] == pytest.approx(independent.f1_score(truth, p.argmax(1), average="macro", **told))
    for k in range(4):
        score = p[:, k]
        assert ours["roc_auc"][k] == pytest.approx(independent.roc_auc_score(truth == k, score, **told))
        assert ours["average_precision"][k] == pytest.approx(
            independent.average_precision_score(truth == k, score, **told)
        )


def test_a_weight_of_two_is_the_galaxy_twice():
    truth, p = draws(2, n=60)
    weights = np.random.default_rng(0).integers(0, 3, size=60)
    rows = np.repeat(np.arange(60), weights)
    twice, weighted = values(truth[rows], p[rows]), values(truth, p, weights[None].astype(float))
    for name in twice:
        np.testing.assert_allclose(weighted[name], twice[name], rtol=1e-12, err_msg=name)


def test_perfect_predictions():
    truth = np.array([0, 1, 2, 2])
    ours = values(truth, np.eye(3)[truth])
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc", "macro_average_precision"):
        assert ours[name] == 1.0, name
    assert ours["log_loss"] == 0.0
    assert ours["brier"] == 0.0


def test_a_constant_prediction_knows_nothing():
    truth, _ = draws()
    shares = np.bincount(truth) / len(truth)
    ours = values(truth, np.tile(shares, (400, 1)))
    assert ours["balanced_accuracy"] == pytest.approx(1 / 4)
    np.testing.assert_allclose(ours["roc_auc"], 0.5)
    np.testing.assert_allclose(ours["average_precision"], shares)
    assert ours["log_loss"] == pytest.approx(-(shares * np.log(shares)).sum())  # the entropy of the shares
    assert ours["brier"] == pytest.approx(1 - (shares**2).sum())
    baseline = metrics.majority_baseline(truth, 4)
    assert baseline["class"] == shares.argmax()
    assert baseline["accuracy"] == shares.max()
    assert baseline["log_loss"] == pytest.approx(ours["log_loss"])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), ties=st.booleans())
def test_the_order_of_rows_does_not_matter(seed, ties):
    truth, p = draws(seed % 97, n=50, ties=ties)
    rows = np.random.default_rng(seed).permutation(50)
    before, after = values(truth, p), values(truth[rows], p[rows])
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-12, err_msg=name)


def test_merging_classes_adds_rows_and_columns_of_the_confusion():
    truth, p = draws(9)
    matrix = metrics.confusion(truth, p.argmax(1), 4, ONE)[0]
    merge = np.array([0, 1, 1, 2])
    merged = metrics.confusion(merge[truth], merge[p.argmax(1)], 3, ONE)[0]
    into = np.eye(3)[merge]
    np.testing.assert_array_equal(merged, into.T @ matrix @ into)
    assert merged.sum() == 400
    assert metrics.accuracy(merged[None])[0] >= metrics.accuracy(matrix[None])[0]


def test_a_class_without_galaxies_is_nan_and_left_out_of_the_means():
    truth = np.array([0, 0, 1, 1])
    p = np.array([[0.8, 0.1, 0.1], [0.2, 0.1, 0.7], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    ours = values(truth, p)
    assert np.isnan([ours[name][2] for name in ("recall", "f1", "roc_auc", "average_precision")]).all()
    assert ours["precision"][2] == 0.0  # one galaxy was given to it, wrongly
    assert ours["balanced_accuracy"] == 0.75
    assert ours["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


def test_no_galaxies_at_all():
    ours = values(np.zeros(0, np.int64), np.zeros((0, 3)))
    assert np.isnan(ours["accuracy"])
    assert np.isnan(ours["macro_roc_auc"])
    assert np.isnan(metrics.majority_baseline(np.zeros(0, np.int64), 3)["accuracy"])


def test_a_certain_and_wrong_guess_costs_a_finite_loss():
    assert metrics.log_losses(np.array([1]), np.array([[1.0, 0.0]]))[0] == pytest.approx(15 * np.log(10))
