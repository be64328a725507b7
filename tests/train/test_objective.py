"""What is learnt, and how epochs are judged: heads by labels, weights of classes, scores, temperature."""

from typing import Any

import numpy as np
import pytest
import torch

from tuningfork import recipe as recipes
from tuningfork.errors import LabelError, RecipeError
from tuningfork.galaxy.labels import LabelChoice, Labels
from tuningfork.galaxy.tree import Tree
from tuningfork.model.head import make_head
from tuningfork.train.choices import Train, TrainRecipe, check
from tuningfork.train.judge import fit_temperature, is_better, judge
from tuningfork.train.objective import choose_head, choose_loss, in_a_mirror, make_objective, strata, targets_of


def labels(kind: str, n: int = 6, tree: Tree | None = None, names: tuple[str, ...] = ("a", "b", "c")) -> Labels:
    names = tree.columns if tree else names
    values = np.eye(len(names), dtype=np.float32)[np.arange(n) % len(names)]
    return Labels(tuple(f"g{i}" for i in range(n)), kind, names, values, tree, LabelChoice(), {})  # type: ignore[arg-type]


def choose(**changes: Any) -> TrainRecipe:
    return recipes.replace(TrainRecipe(), {key.replace("__", "."): value for key, value in changes.items()})


def test_labels_decide_the_head_and_the_head_the_loss() -> None:
    gz2 = Tree.load("gz2")
    cases = [
        (labels("classes"), choose(), "classes", "cross_entropy"),
        (labels("classes"), choose(train__loss="focal"), "classes", "focal"),
        (labels("classes"), choose(model__head="sigmoid"), "sigmoid", "binary_cross_entropy"),
        (labels("counts", tree=gz2), choose(), "dirichlet", "dirichlet"),
        (labels("fractions", tree=gz2), choose(), "fractions", "challenge"),
        (labels("fractions", tree=Tree.load("efigi")), choose(), "sigmoid", "binary_cross_entropy"),
    ]
    for given, recipe, head, loss in cases:
        assert choose_head(given, recipe) == head
        assert choose_loss(recipe, head) == loss
    with pytest.raises(LabelError, match="one class"):
        choose_head(labels("classes", names=("only",)), choose())
    with pytest.raises(RecipeError, match=r"'train.loss' is 'focl'; .*did you mean 'focal'"):
        choose_loss(choose(train__loss="focl"), "classes")


def test_balanced_weights_have_mean_one_and_equal_share_per_class() -> None:
    given = labels("classes")
    counted = np.repeat(np.eye(3, dtype=np.float32), [90, 9, 1], axis=0)
    objective = make_objective(
        given, choose(train__class_weights="balanced"), make_head("classes", given.names), counted
    )
    flat, targets = torch.zeros(100, 3), torch.from_numpy(counted)
    losses = objective.loss(flat, targets) / np.log(3)  # the weights, since every galaxy costs log 3
    assert losses.mean().item() == pytest.approx(1.0, rel=1e-5)
    assert [losses[targets[:, k] == 1].sum().item() for k in range(3)] == pytest.approx([100 / 3] * 3, rel=1e-5)
    assert torch.allclose(objective.plain(flat, targets), torch.tensor(np.log(3)).float())
    with pytest.raises(RecipeError, match="class_weights"):
        gz2 = Tree.load("gz2")
        votes = labels("counts", tree=gz2)
        head = make_head("dirichlet", gz2.columns, gz2.slices)
        make_objective(votes, choose(train__class_weights="balanced"), head, votes.values)


def test_label_smoothing_moves_the_best_answer() -> None:
    given = labels("classes")
    recipe = choose(train__label_smoothing=0.3)
    objective = make_objective(given, recipe, make_head("classes", given.names), given.values)
    best = torch.log(torch.tensor([[0.8, 0.1, 0.1]]))
    target = torch.tensor([[1.0, 0, 0]])
    assert objective.loss(best, target) < objective.loss(best * 1.1, target)
    assert objective.loss(best, target) < objective.loss(best * 0.9, target)


def test_challenge_targets_are_cumulative_and_keep_unknowns() -> None:
    tree = Tree.load("gz2")
    values = np.random.default_rng(0).dirichlet(np.ones(5), tree.n_answers)[: tree.n_answers, 0].astype(np.float32)
    given = labels("fractions", n=1, tree=tree)
    fractions = np.tile(values, (1, 1))
    for span in tree.slices.values():
        fractions[:, span] /= fractions[:, span].sum(axis=1, keepdims=True)
    given.values[:] = fractions
    assert np.allclose(targets_of(given, "challenge"), tree.cumulative(fractions), atol=1e-6)
    assert np.array_equal(targets_of(given, "squared_error"), fractions)


def test_strata_are_classes_or_the_first_question() -> None:
    assert strata(labels("classes")).tolist() == [0, 1, 2, 0, 1, 2]
    tree = Tree.load("gz2")
    first = next(iter(tree.slices.values()))
    given = labels("counts", n=3, tree=tree)
    assert strata(given).tolist() == [0, 1, 2][: first.stop]
    assert set(strata(labels("fractions", tree=Tree.load("efigi")))) == {0}


def test_an_epoch_of_classes_is_judged_by_hand_counted_numbers() -> None:
    given = labels("classes", n=4)
    objective = make_objective(given, choose(), make_head("classes", given.names), given.values)
    z = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]))
    numbers = judge(None, objective, z, torch.from_numpy(given.values), None)  # type: ignore[arg-type]
    assert numbers["accuracy"] == 0.5  # classes 0, 1, 2, 0 guessed as 0, 1, 0, 1
    assert numbers["balanced_accuracy"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert numbers["loss"] == pytest.approx(-np.log([0.5, 0.6, 0.25, 0.25]).mean(), rel=1e-6)


def test_the_better_epoch() -> None:
    old = {"loss": 0.5, "accuracy": 0.8}
    assert is_better({"loss": 9.0, "accuracy": 0.0}, None, "loss")
    assert is_better({"loss": 0.4, "accuracy": 0.7}, old, "loss")
    assert not is_better({"loss": 0.5, "accuracy": 0.9}, old, "loss")
    assert is_better({"loss": 0.6, "accuracy": 0.9}, old, "score")
    assert is_better({"loss": 0.4, "accuracy": 0.8}, old, "score")
    assert not is_better({"loss": 0.4, "accuracy": 0.7}, old, "score")
    assert is_better({"loss": 0.6, "rmse": 0.1}, {"loss": 0.5, "rmse": 0.2}, "score")


def test_a_temperature_is_found_again() -> None:
    generator = np.random.default_rng(0)
    z = generator.normal(0, 2, (40_000, 3))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    drawn = (generator.random((len(z), 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    targets = np.eye(3, dtype=np.float32)[drawn]
    for scale in (0.5, 1.0, 3.0):  # overconfident outputs need a temperature above 1
        found = fit_temperature((z * scale).astype(np.float32), targets)
        assert found == pytest.approx(scale, rel=0.03)  # 40,000 draws: about 1% of chance
        assert fit_temperature((z * scale).astype(np.float32), p.astype(np.float32)) == pytest.approx(scale, rel=1e-3)
    sure = np.eye(3, dtype=np.float32)  # always right: the surest that is allowed
    assert fit_temperature(sure * 2, sure) == pytest.approx(0.2, rel=1e-3)


def test_mirrored_views_are_learnt_with_mirrored_labels() -> None:
    names = ("elliptical", "spiral_clockwise", "spiral_anticlockwise", "Arm_Rotation")
    targets = torch.tensor([[0.0, 1.0, 0.0, 0.25], [0.5, 0.2, 0.3, torch.nan]])
    flags = torch.tensor([True, False])
    seen = in_a_mirror(targets, flags, names)
    assert seen[0].tolist() == [0.0, 0.0, 1.0, 0.75]
    assert torch.equal(seen[1].nan_to_num(-1), targets[1].nan_to_num(-1))
    twice = in_a_mirror(in_a_mirror(targets, ~flags, names), ~flags, names)
    assert torch.equal(twice.nan_to_num(-1), targets.nan_to_num(-1))
    alike = targets[:, :1]
    assert in_a_mirror(alike, flags, names[:1]) is alike  # nothing to do, nothing done


@pytest.mark.parametrize(
    "key, value",
    [("epochs", 0), ("rate", 0.0), ("rate", float("nan")), ("ema", 1.0), ("momentum", 1.0), ("schedule", "cosin"),
     ("clip", -1.0), ("precision", "16"), ("balance", "even"), ("save_minutes", -1.0)],
)  # fmt: skip
def test_a_choice_that_cannot_be_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(RecipeError, match=f"train.{key}"):
        check(recipes.replace(TrainRecipe(), {f"train.{key}": value}))
    check(TrainRecipe(train=Train(gamma=1.0)))
