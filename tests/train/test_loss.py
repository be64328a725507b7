"""Losses against the statistics and trees of independent code, and the identities that they must obey."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tuningfork.errors import TreeError
from tuningfork.galaxy.tree import TREES, Tree
from tuningfork.model.head import make_head
from tuningfork.train import loss

GZ2 = Tree.load("gz2")
VOTE_TREES = [name for name in TREES if Tree.load(name).kind == "votes"]
ONE = {"q": slice(0, 3)}


def _random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def _fractions(seed, tree, n=5):
    z = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, tree.n_answers)) * 2).float()
    return make_head("fractions", tree.columns, tree.slices).answers(z)


# Dirichlet-multinomial


def test_the_dirichlet_multinomial_is_scipys():
    random = np.random.default_rng(0)
    alpha = 1 + 100 * random.random((50, 37))
    counts = random.poisson(8, (50, 37)).astype(float)
    expected = sum(
        -scipy.stats.dirichlet_multinomial.logpmf(
            counts[:, s].astype(int), alpha[:, s], counts[:, s].sum(1).astype(int)
        )
        for s in GZ2.slices.values()
    )
    got = loss.dirichlet_multinomial(torch.from_numpy(alpha), torch.from_numpy(counts), GZ2.slices)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-10)  # both in float64; terms of 1e3 cancel to 1e1
    single = loss.dirichlet_multinomial(torch.from_numpy(alpha).float(), torch.from_numpy(counts).float(), GZ2.slices)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-5)  # the concentrations were rounded, 6e-8 each


def test_nobody_asked_is_exactly_no_loss_and_no_gradient():
    alpha = (1 + 100 * _random(1, 4, 37)).float().requires_grad_()
    counts = torch.zeros(4, 37)
    counts[2, 0] = 5
    per_galaxy = loss.dirichlet_multinomial(alpha, counts, GZ2.slices)
    per_galaxy.sum().backward()
    assert (per_galaxy[[0, 1, 3]] == 0).all() and (alpha.grad[[0, 1, 3]] == 0).all()
    assert per_galaxy[2] > 0 and (alpha.grad[2, 3:] == 0).all() and (alpha.grad[2, :3] != 0).all()


@given(
    alpha=arrays(np.float32, (2, 3), elements=st.floats(1, 101, width=32)),
    counts=arrays(np.float32, (2, 3), elements=st.integers(0, 10**6).map(float)),
)
def test_loss_and_gradient_are_finite_at_extremes(alpha, counts):
    concentrations = torch.from_numpy(alpha).requires_grad_()
    per_galaxy = loss.dirichlet_multinomial(concentrations, torch.from_numpy(counts), ONE)
    per_galaxy.sum().backward()
    assert per_galaxy.isfinite().all() and (per_galaxy >= -1e-3).all()  # a probability is at most 1
    assert concentrations.grad.isfinite().all()


@settings(max_examples=30)
@given(alpha=arrays(np.float64, 3, elements=st.floats(0.5, 50)), n=st.integers(1, 6))
def test_probabilities_of_all_votes_sum_to_one_and_merged_answers_sum_their_concentrations(alpha, n):
    votes = [k for k in itertools.product(range(n + 1), repeat=3) if sum(k) == n]
    probability = torch.exp(
        -loss.dirichlet_multinomial(torch.from_numpy(alpha).expand(len(votes), 3), torch.tensor(votes), ONE)
    )
    assert probability.sum().item() == pytest.approx(1, rel=1e-9)
    merged_alpha = torch.tensor([[alpha[0] + alpha[1], alpha[2]]])
    for k in range(n + 1):
        split = sum(p.item() for p, v in zip(probability, votes, strict=True) if v[0] + v[1] == k)
        merged = loss.dirichlet_multinomial(merged_alpha, torch.tensor([[k, n - k]]), {"q": slice(0, 2)})
        assert math.exp(-merged.item()) == pytest.approx(split, rel=1e-9)


def test_the_merge_of_a_tree_gives_the_loss_of_the_merged_concentrations():
    tree, add_up = GZ2.merge("t11_arms_number", ["a33_3", "a34_4"], "three_or_four")
    alpha, counts = 1 + 9 * _random(2, 3, 37), torch.floor(9 * _random(3, 3, 37))
    merged = loss.dirichlet_multinomial(
        torch.from_numpy(add_up(alpha.numpy())), torch.from_numpy(add_up(counts.numpy())), tree.slices
    )
    others = {q: s for q, s in GZ2.slices.items() if q != "t11_arms_number"}
    elsewhere = loss.dirichlet_multinomial(alpha, counts, others)
    a, k = (add_up(v.numpy())[:, tree.slices["t11_arms_number"]] for v in (alpha, counts))
    expected = -scipy.stats.dirichlet_multinomial.logpmf(k.astype(int), a, k.sum(1).astype(int))
    assert a.shape == (3, 5)
    np.testing.assert_allclose((merged - elsewhere).numpy(), expected, rtol=1e-9)


def test_impossible_votes_show_in_the_loss_of_their_galaxy_alone():
    counts = torch.ones(3, 3)
    counts[1, 0] = -1
    per_galaxy = loss.dirichlet_multinomial(torch.full((3, 3), 2.0), counts, ONE)
    assert per_galaxy.isfinite().tolist() == [True, False, True]


def test_the_gradient_of_the_dirichlet_multinomial_is_right():
    alpha = (1 + 20 * _random(4, 2, 3)).requires_grad_()
    counts = torch.tensor([[3.0, 0, 1], [0, 40, 2.5]])
    assert torch.autograd.gradcheck(lambda a: loss.dirichlet_multinomial(a, counts, ONE), alpha)


# Classes


def test_cross_entropy_is_torchs_and_takes_soft_targets_and_weights():
    z, targets = _random(5, 6, 4).float() * 10, torch.softmax(_random(6, 6, 4).float() * 3, dim=1)
    expected = torch.nn.functional.cross_entropy(z, targets, reduction="none")
    torch.testing.assert_close(loss.cross_entropy(z, targets), expected)
    weights = torch.tensor([1.0, 2.0, 0.5, 0.0])
    expected = torch.nn.functional.cross_entropy(z, targets, weights, reduction="none")
    torch.testing.assert_close(loss.cross_entropy(z, targets, weights), expected)


def test_cross_entropy_is_the_entropy_at_its_minimum():
    targets = torch.tensor([[0.5, 0.25, 0.25]])
    z = targets.log().requires_grad_()
    value = loss.cross_entropy(z, targets)
    value.sum().backward()
    assert value.item() == pytest.approx(1.5 * math.log(2), rel=1e-6) and z.grad.abs().max() < 1e-6


@given(z=arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32)), gamma=st.floats(0, 5))
def test_focal_is_at_most_cross_entropy_and_equal_at_gamma_zero(z, gamma):
    outputs, targets = torch.from_numpy(z).requires_grad_(), torch.eye(4)[:3]
    entropy = loss.cross_entropy(outputs, targets)
    torch.testing.assert_close(loss.focal(outputs, targets, 0.0), entropy, rtol=0, atol=0)
    value = loss.focal(outputs, targets, gamma)
    value.sum().backward()
    assert (value <= entropy).all() and (value >= 0).all() and outputs.grad.isfinite().all()


def test_focal_is_the_papers_formula():
    p = torch.tensor([0.9, 0.1])
    value = loss.focal(p.log()[None], torch.tensor([[1.0, 0.0]]), 2.0, torch.tensor([3.0, 1.0]))
    assert value.item() == pytest.approx(3 * 0.1**2 * -math.log(0.9), rel=1e-5)


def test_binary_cross_entropy_leaves_unknown_answers_out():
    z = torch.tensor([[0.0, 5.0], [1e4, -1e4], [3.0, 3.0]], requires_grad=True)
    targets = torch.tensor([[1.0, float("nan")], [1.0, 0.0], [float("nan")] * 2])
    value = loss.binary_cross_entropy(z, targets)
    value.sum().backward()
    torch.testing.assert_close(value, torch.tensor([math.log(2), 0.0, 0.0]))
    assert z.grad.isfinite().all() and z.grad[0, 1] == 0 and (z.grad[2] == 0).all()


# Trees


@pytest.mark.parametrize("name", VOTE_TREES)
def test_products_down_the_tree_are_those_of_the_tree(name):
    tree = Tree.load(name)
    fractions = _fractions(7, tree)
    got = loss.cumulative(fractions, loss.TreePlan.of(tree))
    np.testing.assert_allclose(got.numpy(), tree.cumulative(fractions.numpy()), rtol=1e-5, atol=1e-7)  # float32


def test_products_of_votes_are_zero_where_nobody_came_and_unknown_where_nobody_answered():
    counts = 1 + np.floor(6 * np.random.default_rng(1).random((20, 37)))
    counts[:10, 1] = counts[5:15, 5] = 0  # nobody saw a disk; nobody saw a bar
    counts[15:, GZ2.slices["t02_edgeon"]] = 0  # disks were seen, and nobody said whether edge-on
    fractions = GZ2.fractions(counts)
    got = loss.cumulative(torch.from_numpy(fractions), loss.TreePlan.of(GZ2)).numpy()
    known = np.isfinite(got)
    np.testing.assert_allclose(got[known], GZ2.cumulative(fractions)[known], rtol=1e-12)
    assert known[:15].all() and (got[:10, 3:5] == 0).all() and not known[15:, 3:5].any() and known[15:, :3].all()


def test_the_challenges_sixth_question_can_count_as_always_asked():
    fractions = _fractions(8, GZ2)
    got = loss.cumulative(fractions, loss.TreePlan.of(GZ2, always=("t06_odd",)))
    expected = GZ2.to_challenge(fractions.numpy(), q6="as_published")
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-7)
    with pytest.raises(TreeError, match="t06_od'"):
        loss.TreePlan.of(GZ2, always=("t06_od",))


def test_the_challenges_score_is_zero_at_the_truth_and_the_plain_formula_elsewhere():
    plan = loss.TreePlan.of(GZ2)
    mine, truth = _fractions(9, GZ2), loss.cumulative(_fractions(10, GZ2), plan)
    assert loss.challenge(_fractions(10, GZ2), truth, plan).max() == 0
    errors = loss.challenge(mine, truth, plan)
    expected = np.sqrt(np.mean((GZ2.cumulative(mine.numpy()) - truth.numpy()) ** 2))
    assert errors.shape == (5,) and loss.rmse(errors).item() == pytest.approx(expected, rel=1e-5)


def test_a_gradient_flows_through_every_answer_of_the_tree():
    z = torch.randn(2, 37, generator=torch.Generator().manual_seed(0), requires_grad=True)
    head, plan = make_head("fractions", GZ2.columns, GZ2.slices), loss.TreePlan.of(GZ2)
    loss.challenge(head.answers(z), torch.full((2, 37), 0.3), plan).sum().backward()
    assert z.grad.isfinite().all() and (z.grad != 0).all()


def test_a_networks_nan_shows_in_the_loss_of_its_galaxy_alone():
    fractions = _fractions(11, GZ2, 3).clone()
    fractions[1, 30] = float("nan")
    per_galaxy = loss.challenge(fractions, torch.zeros(3, 37), loss.TreePlan.of(GZ2))
    assert per_galaxy.isfinite().tolist() == [True, False, True]


def test_columns_without_a_target_are_left_out_of_the_squared_error():
    predicted = torch.tensor([[0.5, 0.5], [0.5, 0.5]], requires_grad=True)
    value = loss.squared_error(predicted, torch.tensor([[0.0, float("nan")], [float("nan")] * 2]))
    value.sum().backward()
    assert value.tolist() == [0.25, 0.0]
    assert predicted.grad.tolist() == [[1.0, 0.0], [0.0, 0.0]]
