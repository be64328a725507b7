"""Several labels at once: what a galaxy does not say adds nothing, and each part becomes a model that answers alike."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tuningfork import recipe as recipes
from tuningfork.data.augment import centre
from tuningfork.errors import LabelError, RecipeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import LabelChoice, make_labels
from tuningfork.galaxy.tree import Tree
from tuningfork.model import export, weights
from tuningfork.model.card import Card
from tuningfork.train.choices import TrainRecipe
from tuningfork.train.finish import prior_shift
from tuningfork.train.loop import fit
from tuningfork.train.objective import make_objective, part_recipe, parts_of, strata, targets_of
from tuningfork.train.prepare import Joined

from .tiny import RECIPE, make_sky

PARTS = (
    LabelChoice(name="kind", column="class"),
    LabelChoice(name="votes", kind="counts", tree="gz2", weight=0.1),
    LabelChoice(name="looks", kind="fractions", tree="efigi", weight=0.5),
)


def catalog(n: int = 60) -> Catalog:
    """The tiny sky's classes for two galaxies of three, votes for the first half, EFIGI's attributes for the others."""
    generator, sky = np.random.default_rng(0), make_sky(n)
    assert sky.catalog is not None
    columns: dict[str, Any] = {"id": list(sky.ids)}
    columns["class"] = [None if i % 4 == 1 else str(one) for i, one in enumerate(sky.catalog["class"])]
    tree = Tree.load("gz2")
    smooth = generator.integers(1, 20, n)
    for column in tree.columns:
        votes = [int(v) if column.endswith(("a01_smooth", "a17_in_between", "a15_no")) else 0 for v in smooth]
        columns[f"{column}_count"] = [v if i < n // 2 else None for i, v in enumerate(votes)]
    for name in Tree.load("efigi").columns:
        values = generator.choice([0.0, 0.25, 0.5, 1.0], n)
        columns[name] = [v if i >= n // 2 else None for i, v in enumerate(values)]
    return Catalog(columns)


def choose(**changes: Any) -> TrainRecipe:
    labels = LabelChoice(kind="several", parts=PARTS)
    given = {**RECIPE, "split.method": "hash", **changes}
    return recipes.replace(recipes.replace(TrainRecipe(), given), {"labels": labels})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A run of two epochs, without the export, which takes longer than all the rest."""
    out = tmp_path_factory.mktemp("several") / "run"
    kept = export.export_onnx
    export.export_onnx = lambda folder: Path(folder)  # type: ignore[assignment]
    try:
        recipe = choose(**{"train.epochs": 2})
        summary = fit(make_sky(), out, recipe, labels=catalog())
    finally:
        export.export_onnx = kept
    return SimpleNamespace(out=out, summary=summary, recipe=recipe)


def test_columns_stand_side_by_side() -> None:
    labels = make_labels(catalog(), LabelChoice(kind="several", parts=PARTS))
    assert len(labels) == 60 and labels.values.shape == (60, 3 + 37 + 17)
    assert labels.names[0] == "kind:long" and labels.names[3].startswith("votes:t01_")
    known = [~np.isnan(part.values).all(axis=1) for part in parts_of(labels)]
    assert [int(one.sum()) for one in known] == [45, 30, 30]
    assert not (known[1] & known[2]).any()


@pytest.mark.parametrize("parts", [(), (LabelChoice(),), (LabelChoice(name="a"), LabelChoice(name="a"))])
def test_parts_need_names_of_their_own(parts: tuple[LabelChoice, ...]) -> None:
    with pytest.raises(LabelError, match="each with a name of its own"):
        make_labels(catalog(), LabelChoice(kind="several", parts=parts))


def test_a_part_that_nobody_labelled_is_named() -> None:
    few = catalog().select(list(catalog().ids[1::4]))  # those without a class
    with pytest.raises(LabelError, match=r"no galaxy of 15 has labels of \['kind'\]: leave these parts out"):
        make_labels(few, LabelChoice(kind="several", parts=PARTS))


def test_the_loss_is_the_weighted_sum_of_the_parts() -> None:
    from tuningfork.model.head import SeveralHead, make_head

    labels = make_labels(catalog(), LabelChoice(kind="several", parts=PARTS))
    recipe = choose(**{"train.class_weights": "balanced", "train.label_smoothing": 0.1})
    slices = Tree.load("gz2").slices
    heads = {
        "kind": make_head("classes", labels.parts[0].names),
        "votes": make_head("dirichlet", labels.parts[1].names, slices),
        "looks": make_head("sigmoid", labels.parts[2].names),
    }
    head = SeveralHead(heads)
    table = targets_of(labels, "several")
    targets = torch.from_numpy(table)
    z = torch.randn(60, head.n_outputs, generator=torch.Generator().manual_seed(1), requires_grad=True)
    whole = make_objective(labels, recipe, head, table).loss(z, targets)
    expected = torch.zeros(60)
    for part, (name, span) in zip(parts_of(labels), head.slices.items(), strict=True):
        own = make_objective(part, part_recipe(recipe, part), heads[name], table[:, span])
        known = ~targets[:, span].isnan().all(dim=1)
        expected[known] += part.choice.weight * own.loss(z[known, span], targets[known, span]).detach()
    assert torch.allclose(whole, expected, rtol=1e-5) and bool((whole > 0).all())
    (slope,) = torch.autograd.grad(whole.sum(), z)
    silent = targets[:, head.slices["votes"]].isnan().all(dim=1)
    assert bool((slope[silent][:, head.slices["votes"]] == 0).all()) and not slope.isnan().any()


def test_every_galaxy_has_a_stratum_and_classes_come_first() -> None:
    labels = make_labels(catalog(), LabelChoice(kind="several", parts=PARTS))
    found = strata(labels)
    known = ~np.isnan(labels.values[:, :3]).any(axis=1)
    assert (found >= 0).all() and found[known].max() == 2 and (found[~known] > 2).all()
    assert np.array_equal(found[known], labels.values[known, :3].argmax(axis=1))


def test_a_run_becomes_as_many_models_with_one_backbone(done: SimpleNamespace) -> None:
    assert done.summary.n_in == 60 and not (done.out / "model").exists()
    models = {name: weights.load(done.out / "models" / name) for name in ("kind", "votes", "looks")}
    assert {name: (card.head, len(card.names)) for name, (_, card) in models.items()} == {
        "kind": ("classes", 3), "votes": ("dirichlet", 37), "looks": ("sigmoid", 17),
    }  # fmt: skip
    states = [net.state_dict() for net, _ in models.values()]
    for key in states[0]:
        if key.startswith("backbone."):
            assert all(torch.equal(states[0][key], other[key]) for other in states[1:])
    pictures = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features = [net.features(centre(pictures, 8)) for net, _ in models.values()]
    assert torch.equal(features[0], features[1]) and torch.equal(features[0], features[2])
    assert {"accuracy of kind", "rmse of looks"} <= set(done.summary.best)
    assert "models:" in done.summary.text()
    assert Card.load(done.out / "models" / "looks").tree == "efigi"


def test_the_same_run_again_is_told_again_and_others_are_refused(done: SimpleNamespace) -> None:
    assert fit(make_sky(), done.out, done.recipe, labels=catalog()) == done.summary
    with pytest.raises(RecipeError):
        fit(make_sky(), done.out, choose(**{"train.epochs": 3}), labels=catalog())
    with pytest.raises(RecipeError, match="leave both at 'auto'"):
        fit(make_sky(), done.out.parent / "other", choose(**{"train.loss": "focal"}), labels=catalog())


def test_prior_goes_back_to_the_shares_that_classes_have() -> None:
    counts = [60, 30, 10]
    words = [word for word, n in zip("abc", counts, strict=True) for _ in range(n)]
    ids = [f"g{i}" for i in range(100)]
    labels = make_labels(Catalog({"id": ids, "class": words}), LabelChoice(column="class"))
    joined = Joined(labels, np.array(["train"] * 100), "", 0, 0)
    own = torch.tensor([0.6, 0.3, 0.1]).log()

    def shift(balance: str, prior: float) -> torch.Tensor:
        return prior_shift(joined, ids, labels, {"recipe": {"train": {"balance": balance, "prior": prior}}})

    assert torch.allclose(shift("balanced", 1.0), own + math.log(3), atol=1e-6)  # each had a third of the epoch
    half = shift("sqrt", 0.5)  # it left the square roots of the shares
    assert torch.allclose(half - half[0], 0.25 * (own - own[0]), atol=1e-6)
    assert not shift("sqrt", 0.0).any() and not shift("none", 1.0).any()
