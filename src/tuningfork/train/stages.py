"""Stages: which weights of a network learn, for how long and how fast, one round of unfreezing after another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from ..errors import RecipeError
from ..recipe import nearest

_LAST = re.compile(r"last ([0-9]+)(?: blocks?)?")
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Stage:
    """One round of training, with an optimiser, a warm-up and a schedule of its own.

    ``unfreeze``: each is "last N blocks" (or "last N"; see :func:`blocks`), or a pattern of names of weights, in which
    * stands for anything; the name of a layer means all its weights: "last", "backbone.layer4", "backbone.conv*".
    """

    unfreeze: tuple[str, ...] = ("*",)  # the weights that learn; all others stay as they are
    rate: float = 1.0  # times train.rate
    epochs: int = 1
    frozen_statistics: bool = True  # batch norms whose weights stay as they are keep their mean and variance too


def s1_rounds(epochs: int = 1) -> tuple[Stage, ...]:
    """The seven rounds of convnet-galaxies, ``epochs`` each: from the last layer down, then all at a tenth of the rate.

    With its net "s1" they free last; + fc5; + fc4; + conv3; + conv2; all; all at 0.1. How many epochs a round took its
    author does not tell.
    """
    rounds = [Stage((f"last {n} blocks",), epochs=epochs) for n in range(1, 6)]
    return (*rounds, Stage(epochs=epochs), Stage(rate=0.1, epochs=epochs))


def check_stages(stages: Sequence[Stage], epochs: int, patience: int) -> None:
    """Raise :class:`RecipeError` for stages that cannot be: empty ones, or others than the run's epochs in all."""
    for number, stage in enumerate(stages):
        if not stage.unfreeze:
            raise RecipeError(f"'stages[{number}].unfreeze' is empty: name weights that learn, or \"*\" for all")
        if stage.epochs < 1:
            raise RecipeError(f"'stages[{number}].epochs' is {stage.epochs}; it must be 1 or more")
        if not 0 < stage.rate < float("inf"):
            raise RecipeError(f"'stages[{number}].rate' is {stage.rate}; it is a factor above 0, such as 0.1")
    total = sum(stage.epochs for stage in stages)
    if stages and total != epochs:
        raise RecipeError(f"'train.epochs' is {epochs}, but the {len(stages)} stages take {total}: set it to {total}")
    if stages and patience:
        raise RecipeError(f"'train.patience' is {patience}, which would end a run between its stages: set it to 0")


def stage_at(epoch: int, stages: Sequence[Stage]) -> int:
    """The number of the stage to which an epoch (counted from 0) belongs; 0 where there are none."""
    for number, stage in enumerate(stages):
        if (epoch := epoch - stage.epochs) < 0:
            return number
    return max(len(stages) - 1, 0)


def blocks(net: nn.Module) -> list[str]:
    """The names of a network's blocks in the order in which they are defined, that is, from the picture to the answers.

    A block is a layer with weights of the backbone, or of the network beside it; an ``nn.Sequential`` or
    ``nn.ModuleList`` counts as its members. "s1" has conv1, conv2, conv3, fc4, fc5 and last; "resnet18" has conv1, bn1,
    eight pairs of convolutions and last.
    """
    found = []
    for name, child in net.named_children():
        inner = blocks(child) if name == "backbone" else []
        if isinstance(child, (nn.Sequential, nn.ModuleList)):
            inner = [key for key, member in child.named_children() if _weighs(member)]
        if inner:
            found += [f"{name}.{key}" for key in inner]
        elif _weighs(child):
            found.append(name)
    return found


def depths(net: nn.Module) -> dict[str, int]:
    """How many layers lie between each weight, by name, and the answers: 0 for the last layer, 1 for the one before it.

    A layer is one of :func:`blocks`; one that holds vectors alone (a norm) counts with the block that it follows.
    """
    levels: list[tuple[str, int]] = []
    for name in blocks(net):
        follows = bool(levels) and all(weight.ndim <= 1 for weight in net.get_submodule(name).parameters())
        levels.append((name, (levels[-1][1] if levels else -1) + (not follows)))
    top = levels[-1][1]
    return {
        f"{block}.{name}": top - level
        for block, level in levels
        for name, _ in net.get_submodule(block).named_parameters()
    }


def _weighs(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def free(net: nn.Module, stage: Stage) -> list[str]:
    """Let the weights of ``stage.unfreeze`` learn and no others, and return their names.

    Raises :class:`RecipeError` for a pattern that names no weight, with the nearest block, and for more blocks than the
    network has.
    """
    names, found = [name for name, _ in net.named_parameters()], blocks(net)
    chosen: set[str] = set()
    for pattern in stage.unfreeze:
        last = _LAST.fullmatch(pattern)
        if last and not 1 <= int(last[1]) <= len(found):
            raise RecipeError(f"'{pattern}' is among the stages, but the network has {len(found)} blocks: {found}")
        wanted = found[-int(last[1]) :] if last else [pattern]
        matched = {n for n in names if any(fnmatchcase(n, one) or fnmatchcase(n, f"{one}.*") for one in wanted)}
        if not matched:
            raise RecipeError(
                f"'{pattern}' is among the stages, but the network has no such weights{nearest(pattern, found)}; "
                f"its blocks are {', '.join(found)}"
            )
        chosen |= matched
    for name, weight in net.named_parameters():
        weight.requires_grad_(name in chosen)
        weight.grad = None  # one of the stage before would count in the norm of the gradient
    return [name for name in names if name in chosen]


def set_training(net: nn.Module, stage: Stage | None) -> None:
    """Put a network into training mode, but for batch norms that the stage leaves as they are."""
    net.train()
    if stage is None or not stage.frozen_statistics:
        return
    for module in net.modules():
        if isinstance(module, _NORMS) and _weighs(module) and not any(p.requires_grad for p in module.parameters()):
            module.eval()
