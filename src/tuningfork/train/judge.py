"""How good a network is after an epoch, on validation galaxies it was not trained on; and how sure it may be."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import Tensor

from ..data.augment import centre
from ..data.dataset import Cache
from ..errors import RecipeError
from ..galaxy.tree import Tree
from ..model.head import SeveralHead
from ..model.net import GalaxyNet
from .objective import Objective

LOWEST, HIGHEST = 0.2, 5.0  # of a temperature


def outputs(net: GalaxyNet, cache: Cache, batch: int, device: torch.device) -> Tensor:
    """Raw outputs z (N, K), float32 on the CPU, of all galaxies of a cache, in its order and without augmentation."""
    was_training = net.training
    net.eval()
    with torch.inference_mode():
        z = [
            net(centre(cache.batch(rows).to(device), net.size)).float().cpu()
            for rows in np.array_split(np.arange(len(cache)), -(-len(cache) // batch))
        ]
    net.train(was_training)
    return torch.cat(z)


def judge(net: GalaxyNet, objective: Objective, z: Tensor, targets: Tensor, tree: Tree | None) -> dict[str, float]:
    """Numbers of one epoch from raw outputs z (N, K) and targets (N, K): "loss" and, by the head,

    classes: "accuracy" (share of galaxies whose first class is the label's) and "balanced_accuracy" (mean over the
    classes present of the share found). Others: "rmse", the root mean square over known columns of the expected
    fraction minus that of the votes (Dirichlet: alpha / A, where the question got a vote; fractions: cumulative where
    the targets are).
    """
    plain = objective.plain
    with torch.inference_mode():
        loss = float(plain(z, targets).double().mean())
        if objective.head == "several":
            assert isinstance(net.head, SeveralHead)
            return {"loss": loss, **_judge_several(net.head, z, targets)}
        if objective.head == "classes":
            truth, guess = targets.argmax(dim=1), z.argmax(dim=1)
            right = (truth == guess).double()
            found = [float(right[truth == k].mean()) for k in truth.unique()]
            return {"loss": loss, "accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(found))}
        answers = net.answers(z.to(next(net.parameters()).device)).cpu()
        if objective.head == "dirichlet" and tree is not None:
            answers, targets = (_fractions(values, tree) for values in (answers, targets))
        if objective.head == "fractions":
            return {"loss": loss, "rmse": loss**0.5}
        return {"loss": loss, "rmse": float((answers - targets).square().nanmean().sqrt())}


def _judge_several(head: SeveralHead, z: Tensor, targets: Tensor) -> dict[str, float]:
    """Per head, on the galaxies that it knows: "accuracy of NAME" of classes, else "rmse of NAME" of what it answers.

    The latter is of attributes as they are scaled, of votes of their fractions where somebody voted.
    """
    numbers = {}
    for name, span in head.slices.items():
        own, known = head.heads[name], ~targets[:, span].isnan().all(dim=1)
        if not known.any():
            continue
        truth, answers = targets[known, span], own.answers(z[known, span])
        if own.kind == "classes":
            numbers[f"accuracy of {name}"] = float((truth.argmax(1) == answers.argmax(1)).double().mean())
        elif own.kind != "dirichlet":
            numbers[f"rmse of {name}"] = float((answers - truth).square().nanmean().sqrt())
    return numbers


def _fractions(values: Tensor, tree: Tree) -> Tensor:
    """Each question's numbers over their sum; NaN where that is 0."""
    parts = [values[:, span] for span in tree.slices.values()]
    return torch.cat(
        [p / p.sum(dim=1, keepdim=True).where(p.sum(dim=1, keepdim=True) > 0, torch.nan) for p in parts], 1
    )


def is_better(new: dict[str, float], best: dict[str, float] | None, select: str) -> bool:
    """Whether an epoch's numbers beat the best so far: by "loss" (smaller), or by "score", equal scores by loss."""
    if select not in ("loss", "score"):
        raise RecipeError(f"'train.select' is '{select}'; it may be loss or score")
    if best is None or not np.isfinite(best["loss"]):
        return True

    def rank(numbers: dict[str, float]) -> tuple[float, float]:
        signs = {"accuracy": -1.0, "rmse": 1.0}  # of several labels each has its own
        score = sum(signs[key.split()[0]] * value for key, value in numbers.items() if key.split()[0] in signs)
        return (score if select == "score" else 0.0, numbers["loss"])

    return bool(np.isfinite(new["loss"])) and rank(new) < rank(best)


def fit_temperature(z: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    """The T in [0.2, 5] with the least mean of -sum_k t_k log softmax(z / T)_k over validation galaxies.

    Guo et al. 2017 (arXiv:1706.04599, section 4.2), for soft labels too. Where every galaxy is right the likelihood
    has no maximum inside and T is 0.2; the bounds keep a small validation part from claiming certainty.
    """
    z64, t64 = z.astype(np.float64), targets.astype(np.float64)

    def cost(log_t: float) -> float:
        return float(-(t64 * log_softmax(z64 / np.exp(log_t), axis=1)).sum(axis=1).mean())

    found = minimize_scalar(cost, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(found.x)), 6)
