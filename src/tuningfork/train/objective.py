"""What is learnt: from labels and a recipe to the head, the targets, and one loss per galaxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import LabelError, RecipeError
from ..galaxy.labels import Labels
from ..galaxy.mirror import complemented, mirrored
from ..galaxy.tree import Tree
from ..model.head import Head, SeveralHead
from ..recipe import nearest
from . import loss as losses
from .choices import TrainRecipe

# loss -> the heads that it can train
LOSSES: dict[str, tuple[str, ...]] = {
    "cross_entropy": ("classes",),
    "focal": ("classes",),
    "binary_cross_entropy": ("sigmoid",),
    "dirichlet": ("dirichlet",),
    "challenge": ("fractions",),
    "squared_error": ("fractions", "sigmoid"),
}
_AUTO = {
    "classes": "cross_entropy",
    "sigmoid": "binary_cross_entropy",
    "dirichlet": "dirichlet",
    "fractions": "challenge",
}
_HEADS = {"classes": ("classes", "sigmoid"), "counts": ("dirichlet",), "fractions": ("fractions", "sigmoid")}


@dataclass(frozen=True, eq=False)
class Objective:
    """``loss(z, targets)``: one number per galaxy (N,) from raw outputs (N, K) and targets (N, K).

    ``plain`` is the same without class weights and label smoothing: what validation reports. ``raw`` is what the first
    ``train.raw_epochs`` learn by: the same of outputs z clipped to 0..1 instead of divided by their sum.
    """

    head: str
    loss: Callable[[Tensor, Tensor], Tensor]
    plain: Callable[[Tensor, Tensor], Tensor]
    raw: Callable[[Tensor, Tensor], Tensor]


def choose_head(labels: Labels, recipe: TrainRecipe) -> str:
    """The head for these labels: "classes", "dirichlet" for counts of votes, "fractions" or, for attributes, "sigmoid".

    Raises :class:`RecipeError` where the recipe names one that does not fit, :class:`LabelError` for a single class.
    """
    if labels.kind == "several":
        if (recipe.model.head, recipe.train.loss) != ("auto", "auto"):
            raise RecipeError("labels of kind 'several' have heads and losses of their own: leave both at 'auto'")
        return "several"
    kind, wanted = labels.kind, recipe.model.head
    allowed = _HEADS[kind]
    if kind == "fractions" and (labels.tree is None or labels.tree.kind == "attributes"):
        allowed = ("sigmoid",)
    if wanted not in ("auto", *allowed):
        raise RecipeError(
            f"'model.head' is '{wanted}', but labels of kind '{kind}' train: auto, {', '.join(allowed)}"
            f"{nearest(wanted, allowed)}"
        )
    if kind == "classes" and len(labels.names) < 2:
        raise LabelError(f"all {len(labels.ids)} galaxies are of one class, {labels.names}: nothing can be learnt")
    return allowed[0] if wanted == "auto" else wanted


def choose_loss(recipe: TrainRecipe, head: str) -> str:
    """The name of the loss, "auto" resolved; raises :class:`RecipeError` where it does not fit the head."""
    if head == "several":
        return head
    name = _AUTO[head] if recipe.train.loss == "auto" else recipe.train.loss
    fitting = [key for key, heads in LOSSES.items() if head in heads]
    if name not in fitting:
        raise RecipeError(f"'train.loss' is '{name}'; a {head} head takes {', '.join(fitting)}{nearest(name, fitting)}")
    return name


def targets_of(labels: Labels, loss: str) -> NDArray[np.float32]:
    """The labels as the loss wants them, (N, K): cumulative down the tree for "challenge", else as they are.

    A fraction of a question that was asked and that nobody answered stays NaN, which the losses leave out.
    """
    if loss == "several":
        return np.hstack([targets_of(part, _AUTO[choose_head(part, TrainRecipe())]) for part in parts_of(labels)])
    if loss != "challenge":
        return labels.values.astype(np.float32)
    tree = _tree(labels)
    asked = np.repeat(tree.reach(labels.values) > 0, [len(q.answers) for q in tree.questions], axis=1)  # (N, A)
    return np.where(np.isnan(labels.values) & asked, np.nan, tree.cumulative(labels.values)).astype(np.float32)


def parts_of(labels: Labels) -> list[Labels]:
    """The parts of labels of kind "several", each with all their galaxies: rows of NaN where it says nothing."""
    found, start = [], 0
    for part in labels.parts:
        span = slice(start, start := start + len(part.names))
        found.append(replace(part, ids=labels.ids, values=labels.values[:, span]))
    return found


def part_recipe(recipe: TrainRecipe, part: Labels) -> TrainRecipe:
    """The recipe as it is for one part: with its labels, and what is for classes alone where it has classes."""
    classes = part.kind == "classes"
    weights, smoothing = (recipe.train.class_weights, recipe.train.label_smoothing) if classes else ("none", 0.0)
    return replace(
        recipe, labels=part.choice, train=replace(recipe.train, class_weights=weights, label_smoothing=smoothing)
    )


def _several(labels: Labels, recipe: TrainRecipe, head: SeveralHead, trained: NDArray[np.float32]) -> Objective:
    """The sum of the parts' losses, each times its weight; a galaxy about which a part says nothing adds 0 to it."""
    members = []
    for part in parts_of(labels):
        span = head.slices[part.choice.name]
        own = make_objective(part, part_recipe(recipe, part), head.heads[part.choice.name], trained[:, span])
        members.append((span, part.choice.weight, own))

    def total(kind: str) -> Callable[[Tensor, Tensor], Tensor]:
        def loss(z: Tensor, targets: Tensor) -> Tensor:
            found = z.new_zeros(len(z), dtype=torch.float32)
            for span, weight, own in members:
                known = ~targets[:, span].isnan().all(dim=1)  # (N,)
                if known.any():
                    one = getattr(own, kind)(z[known, span], targets[known, span])
                    found = found.index_put((known.nonzero()[:, 0],), weight * one.float(), accumulate=True)
            return found

        return loss

    return Objective("several", total("loss"), total("plain"), total("raw"))


def make_objective(labels: Labels, recipe: TrainRecipe, head: Head, trained: NDArray[np.float32]) -> Objective:
    """The loss of a run. ``trained``: (N, K) targets of the training part, from which class weights are counted.

    With "balanced" class weights w_k = N / (K n_k), where n_k is the (soft) number of training galaxies of class k and
    K counts classes that have any, the weighted loss has the mean weight 1; a class without galaxies has weight 0.
    """
    kind = choose_head(labels, recipe)
    if kind == "several":
        assert isinstance(head, SeveralHead)
        return _several(labels, recipe, head, trained)
    name = choose_loss(recipe, kind)
    weights: Tensor | None = None
    if recipe.train.class_weights == "balanced":
        if kind != "classes":
            raise RecipeError(f"'train.class_weights' is 'balanced', but a {kind} head has no classes: use 'none'")
        counts = np.nansum(trained, axis=0, dtype=np.float64)  # (K,)
        balanced = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1e-9))
        weights = torch.from_numpy(np.where(counts > 0, balanced, 0.0).astype(np.float32))
    smoothing = recipe.train.label_smoothing
    if smoothing and kind != "classes":
        raise RecipeError(f"'train.label_smoothing' is {smoothing}, but a {kind} head has no classes: use 0")
    if recipe.train.raw_epochs and kind != "fractions":
        raise RecipeError(
            f"'train.raw_epochs' is {recipe.train.raw_epochs:g}, but a {kind} head divides nothing: use 0"
        )

    def plain(z: Tensor, targets: Tensor) -> Tensor:
        return _loss(name, labels.tree, head, z, targets, None)

    def raw(z: Tensor, targets: Tensor) -> Tensor:
        return _loss(name, labels.tree, _Clipped(head.names), z, targets, None)

    def full(z: Tensor, targets: Tensor) -> Tensor:
        if smoothing:
            targets = targets * (1 - smoothing) + smoothing / targets.shape[1]
        return _loss(name, labels.tree, head, z, targets, None if weights is None else weights.to(z.device))

    return Objective(kind, full, plain, raw)


class _Clipped(Head):
    """Outputs as fractions without the division by their sum: f = min(max(z, 0), 1)."""

    def answers(self, z: Tensor) -> Tensor:
        """Fractions (N, K), each within 0..1; a question's need not sum to 1."""
        return z.float().clamp(0, 1)


def _loss(name: str, tree: Tree | None, head: Head, z: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    if name == "cross_entropy":
        return losses.cross_entropy(z, targets, weights)
    if name == "focal":
        return losses.focal(z, targets, class_weights=weights)
    if name == "binary_cross_entropy":
        return losses.binary_cross_entropy(z, targets)
    if name == "squared_error":
        return losses.squared_error(head.answers(z), targets)
    assert tree is not None  # choose_head has seen to it
    if name == "dirichlet":
        return losses.dirichlet_multinomial(head.answers(z), targets, tree.slices)
    return losses.challenge(head.answers(z), targets, losses.TreePlan.of(tree))


def _tree(labels: Labels) -> Tree:
    if labels.tree is None:
        raise LabelError("fractions of votes need their decision tree: set labels.tree, or --tree NAME")
    return labels.tree


def in_a_mirror(targets: Tensor, flags: Tensor, names: Sequence[str]) -> Tensor:
    """Targets (N, K) of views of which some are mirrored (bool (N,)), with these as a mirror calls them.

    There clockwise is anticlockwise and EFIGI's arms turn the other way (:mod:`~tuningfork.galaxy.mirror`). Targets of
    answers that know no sense come back as they are.
    """
    order, ends = mirrored(names), complemented(names)
    if order == tuple(range(len(names))) and not any(ends):
        return targets
    other = targets[:, list(order)]
    return torch.where(flags[:, None], torch.where(torch.tensor(ends), 1 - other, other), targets)


def strata(labels: Labels) -> NDArray[np.int64]:
    """A class number per galaxy, for stratified splits and balanced sampling: (N,).

    The class itself; of several labels that of the first which says something; for votes the answer to the first
    question that most people gave (for attributes there are no classes, and all galaxies get 0).
    """
    if labels.kind == "several":
        found, offset = np.full(len(labels), -1, np.int64), 0
        for part in parts_of(labels):
            here = (found < 0) & ~np.isnan(part.values).all(axis=1)
            own = strata(replace(part, values=np.nan_to_num(part.values)))
            found[here] = offset + own[here]
            offset += int(own.max(initial=0)) + 1
        return found
    if labels.kind == "classes":
        return np.asarray(labels.values.argmax(axis=1), dtype=np.int64)
    if labels.tree is None or labels.tree.kind == "attributes":
        return np.zeros(len(labels.ids), dtype=np.int64)
    first = next(iter(labels.tree.slices.values()))
    return np.asarray(np.nan_to_num(labels.values[:, first], nan=-1.0).argmax(axis=1), dtype=np.int64)
