"""The first epochs of a divisive head: clipped instead of divided, for as long as was asked, resumed bit for bit."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from tuningfork import recipe as recipes
from tuningfork.errors import RecipeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import LabelChoice, Labels
from tuningfork.galaxy.tree import Tree
from tuningfork.model.head import make_head
from tuningfork.train import finish
from tuningfork.train.choices import TrainRecipe, check
from tuningfork.train.loop import fit
from tuningfork.train.objective import Objective, make_objective, targets_of

TREE = Tree.load("gz2")
WINNER = {"model.link": "divisive", "labels.kind": "fractions", "labels.tree": "gz2"}


@pytest.fixture(autouse=True)
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish.export, "export_onnx", lambda folder: None)


def fractions(n: int) -> np.ndarray:
    values = np.random.default_rng(0).random((n, TREE.n_answers)).astype(np.float32) + 0.05
    return TREE.fractions(values).astype(np.float32)


def objective(**changes: Any) -> tuple[Objective, torch.Tensor, torch.Tensor]:
    """The objective, fractions (4, 37) and the challenge's targets made of them."""
    known = fractions(4)
    labels = Labels(tuple("abcd"), "fractions", TREE.columns, known, TREE, LabelChoice(), {})
    recipe = recipes.replace(TrainRecipe(), {**WINNER, "train.raw_epochs": 1.0, **changes})
    head = make_head("fractions", TREE.columns, TREE.slices, link="divisive")
    made = make_objective(labels, recipe, head, known)
    return made, torch.from_numpy(known), torch.from_numpy(targets_of(labels, "challenge"))


def test_where_the_outputs_are_fractions_both_are_right() -> None:
    made, right, targets = objective()
    assert torch.allclose(made.raw(right, targets), torch.zeros(4), atol=1e-10)
    assert torch.allclose(made.loss(right, targets), torch.zeros(4), atol=1e-10)


def test_raw_outputs_are_clipped_and_their_scale_matters() -> None:
    made, right, targets = objective()
    assert torch.allclose(made.loss(right / 2, targets), made.loss(right, targets), atol=1e-10), "divided by their sum"
    assert (made.raw(right / 2, targets) > 1e-3).all()
    assert torch.equal(made.raw(right * 0 + 7, targets), made.raw(right * 0 + 1, targets)), "cut to 1"
    assert torch.equal(made.raw(right * 0 - 7, targets), targets.square().mean(dim=1)), "cut to 0"
    assert torch.equal(made.plain(right / 2, targets), made.loss(right / 2, targets)), "validation always divides"


def votes(sky: Any) -> Catalog:
    values = fractions(len(sky.ids))
    return Catalog({"id": sky.ids, **{f"{c}_fraction": values[:, k] for k, c in enumerate(TREE.columns)}})


def test_a_raw_start_is_another_run_and_resumes_bit_for_bit(tiny: ModuleType, tmp_path: Path) -> None:
    sky = tiny.make_sky()
    labels = votes(sky)
    base = {**WINNER, "split.method": "hash", "augment.flip": False}
    recipe = tiny.make_recipe({**base, "train.raw_epochs": 1.4})
    fit(sky, tmp_path / "whole", recipe, labels=labels)
    for stop in (2, 7, 9):  # within the raw part, at its last step or near it, and behind it
        assert fit(sky, tmp_path / f"{stop}", recipe, labels=labels, stop_after_steps=stop).stopped
        fit(sky, tmp_path / f"{stop}", recipe, labels=labels)
        assert tiny.weights(tmp_path / f"{stop}") == tiny.weights(tmp_path / "whole")
    fit(sky, tmp_path / "never", tiny.make_recipe(base), labels=labels)
    fit(sky, tmp_path / "longer", tiny.make_recipe({**base, "train.raw_epochs": 2.0}), labels=labels)
    three = {tiny.weights(tmp_path / name) for name in ("whole", "never", "longer")}
    assert len(three) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model.link": "softmax", "train.raw_epochs": 1.0}, "'train.raw_epochs' is 1, but the link 'softmax'"),
        ({"train.raw_epochs": -1.0}, "'train.raw_epochs' is -1.0"),
        ({"train.raw_epochs": float("inf")}, "'train.raw_epochs' is inf"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        check(recipes.replace(TrainRecipe(), {**WINNER, **changes}))
    check(recipes.replace(TrainRecipe(), {**WINNER, "train.raw_epochs": 0.5}))


def test_a_head_that_divides_nothing_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a classes head divides nothing"):
        fit(tiny.make_sky(), tmp_path, tiny.make_recipe({"model.link": "divisive", "train.raw_epochs": 1.0}))
