"""S2: spiral or elliptical, a small CNN against a decision tree, a MLP with one hidden layer, and features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ...baseline.choices import BaselineChoice, BaselineRecipe
from ...baseline.fit import fit
from ...evaluate.bootstrap import Estimate
from ...evaluate.compare import Comparison, compare
from ...galaxy.labels import LabelChoice
from ...galaxy.store import Store
from ...galaxy.votes import Votes
from ...train.choices import TrainRecipe
from .choices import Experiment, Sky
from .data import CHALLENGE, GZ1_SAMPLE, challenge, gz1_sample
from .desk import Desk, seen, with_changes
from .outcome import Finding

GZ1 = LabelChoice(
    merge={"spiral": ("spiral_clockwise", "spiral_anticlockwise", "edge_on")}, drop=("merger", "dont_know")
)
FIGURES = {"CNN": ".7854", "decision tree": ".6887"}  # what the author reported of each


@dataclass(frozen=True)
class SpiralRecipe(Experiment):
    """What S2 chooses besides: its rivals, and the network on whose frozen features the last of them stands.

    ``features`` is trained on ``features_sky``, a simulated one that shares no galaxy with the experiment's. With
    ``features.model.pretrained`` (ImageNet weights of its backbone; the author took Inception-V3) only its last layer
    is, so that the features are ImageNet's.
    """

    rivals: tuple[BaselineChoice, ...] = ()
    features: TrainRecipe = field(default_factory=TrainRecipe)
    features_sky: Sky = field(default_factory=lambda: Sky(seed=1))
    features_classifier: BaselineChoice = field(default_factory=lambda: BaselineChoice("logistic"))


def run(desk: Desk[SpiralRecipe]) -> tuple[Finding, ...]:
    """Train the CNN and its rivals on one split, and judge all of them on the same test galaxies."""
    store, recipe, told = _galaxies(desk)
    summary = desk.train(store, recipe)
    votes = {"CNN": desk.predict(store, "run", "votes-cnn")}
    for choice in desk.recipe.rivals:
        name = {"tree": "decision tree", "mlp": "one-hidden-layer MLP"}.get(choice.kind, choice.kind)
        votes[name] = _rival(desk, store, recipe, choice, name)
    images = {"CNN": seen(summary)}
    name, images[name] = _features(desk)
    votes[name] = _rival(
        desk,
        store,
        recipe,
        replace(desk.recipe.features_classifier, on="features", model=str(desk.out / "features")),
        name,
    )
    with desk.timed("judge") as bar:
        comparison = compare(
            list(votes.values()),
            store.catalog,  # type: ignore[arg-type]
            desk.page("rivals"),
            names=list(votes),
            bootstrap=desk.recipe.bootstrap,
            progress=bar,
        )
    desk.judge(votes["CNN"], store, "cnn", images=store)
    return tuple(_finding(comparison, name, told, images.get(name, 0.0)) for name in votes)


def _galaxies(desk: Desk[SpiralRecipe]) -> tuple[Store, TrainRecipe, str]:
    """The galaxies, the CNN's recipe with the labels that they have, and how the table calls them."""
    recipe = desk.recipe.train
    if (store := challenge(desk)) is not None:
        return store, with_changes(recipe, display={"crop": 207.0}), "Galaxy Challenge"
    if (store := gz1_sample(desk)) is not None:
        return store, with_changes(recipe, labels=GZ1, display={"crop": 212.0}), "gz1, real"
    desk.nothing_found(CHALLENGE, GZ1_SAMPLE)
    return desk.sky(), recipe, "simulated sky"


def _rival(desk: Desk[SpiralRecipe], store: Store, recipe: TrainRecipe, choice: BaselineChoice, name: str) -> Votes:
    """The votes of a classical rival, learnt and judged on the CNN's own split."""
    path = desk.out / f"votes-{choice.kind}-{choice.on}.parquet"
    asked = BaselineRecipe(recipe.labels, recipe.split, recipe.display, choice)
    with desk.timed("rivals") as bar:
        done = fit(store, path, asked, run=desk.out / "run", progress=bar)
    desk.notes += done.notes
    return Votes.read(path)


def _features(desk: Desk[SpiralRecipe]) -> tuple[str, float]:
    """Train the network of the features; what the classifier on them is called, and the images that it saw."""
    recipe = desk.recipe.features
    summary = desk.train(desk.sky(desk.recipe.features_sky, "features-sky"), recipe, "features")
    if recipe.model.pretrained:
        return f"classifier on frozen ImageNet features ({recipe.model.backbone})", 0.0
    return f"classifier on frozen galaxy features ({recipe.model.backbone})", seen(summary)


def _finding(comparison: Comparison, name: str, told: str, images: float) -> Finding:
    numbers = comparison.numbers["votes"][name]["metrics"]["accuracy"]
    majority = comparison.numbers["baseline"]["accuracy"]
    galaxies = comparison.n_judged
    note = (
        f"S2: always the commonest class is right in {majority:.3f}; the page rivals.html has every confusion matrix "
    )
    note += "and all ROC curves in one plot"
    if name.startswith("classifier on frozen galaxy"):
        note = (
            "S2: the author's features were Inception-V3's from ImageNet, whose weights could not be had here; these "
        )
        note += "are of a network that learnt simulated galaxies alone, from random initial weights"
    value = Estimate(**{key: numbers[key] for key in ("value", "low", "high")})
    return Finding(f"{name}, accuracy", told, value, galaxies, FIGURES.get(name, ""), images, note)
