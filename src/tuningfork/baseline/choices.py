"""The choices of a baseline: which classifier, on what numbers, for which labels and on which split."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..data.split import Split
from ..errors import RecipeError
from ..galaxy.display import Display
from ..galaxy.labels import LabelChoice
from ..recipe import nearest

KINDS = {
    "tree": "decision tree",
    "forest": "random forest",
    "mlp": "MLP",
    "svm": "linear SVM",
    "logistic": "logistic regression",
}
GROUNDS = {"pixels": "pixels", "pca": "principal components", "features": "a network's features"}


@dataclass(frozen=True)
class BaselineChoice:
    """Which classifier on what; a fitted one is never stored, but fitted again from these choices."""

    kind: str = "tree"  # "tree", "forest", "mlp", "svm" or "logistic"
    on: str = "pixels"  # "pixels" (0..1), "pca" (of the pixels), or "features" (of the network `model`)
    model: str = ""  # for "features": the folder of a run or a model, or a shipped model's name
    side: int = 32  # px: pixels are those of a picture of this side, in place of display.size
    components: int = 50  # for "pca": how many, at most as many as there are galaxies or pixels
    depth: int = 0  # of a tree, or of a forest's; 0 = until the leaves are pure or small
    leaf: int = 5  # least galaxies in a leaf
    trees: int = 200  # of a forest
    hidden: int = 100  # units of the mlp's one hidden layer
    epochs: int = 100  # of the mlp, at most; iterations of svm and logistic are 20 times as many
    strength: float = 1.0  # C of svm and logistic (large = little regularisation); alpha of the mlp is 1e-4 / C
    balanced: bool = False  # weigh classes by N / (K n_k); not for the mlp, which has no such weights
    seed: int = 0  # of everything that draws lots


@dataclass(frozen=True)
class BaselineRecipe:
    """Everything that decides a baseline, besides the galaxies. ``split`` and ``labels`` are as in training."""

    labels: LabelChoice = field(default_factory=LabelChoice)
    split: Split = field(default_factory=Split)
    display: Display = field(default_factory=Display)  # at baseline.side; for "features" the network's own is taken
    baseline: BaselineChoice = field(default_factory=BaselineChoice)


_LEAST = {"side": 8, "components": 1, "depth": 0, "leaf": 1, "trees": 1, "hidden": 1, "epochs": 1}


def check(choice: BaselineChoice) -> None:
    """Raise :class:`RecipeError`, naming the key and what it may be, for a choice that cannot be."""
    for key, allowed in (("kind", KINDS), ("on", GROUNDS)):
        value = getattr(choice, key)
        if value not in allowed:
            raise RecipeError(
                f"'baseline.{key}' is '{value}'; it may be {', '.join(allowed)}{nearest(value, tuple(allowed))}"
            )
    for key, least in _LEAST.items():
        if getattr(choice, key) < least:
            raise RecipeError(f"'baseline.{key}' is {getattr(choice, key)}; it must be {least} or more")
    if not 0 < choice.strength < math.inf:
        raise RecipeError(f"'baseline.strength' is {choice.strength}; it is a positive number")
    if (choice.on == "features") != bool(choice.model):
        raise RecipeError(
            f"'baseline.on' is '{choice.on}' and 'baseline.model' is '{choice.model}': features come from a model "
            "(name its folder), and nothing else does"
        )
    if choice.kind == "mlp" and choice.balanced:
        raise RecipeError("'baseline.balanced' is true, but an mlp has no class weights: set it to false")
