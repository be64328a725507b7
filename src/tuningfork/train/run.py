"""One run: all that its loop works with, started anew or from the state that an earlier attempt stored."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning_fabric
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import disk
from .. import recipe as recipes
from ..data.augment import principal_components
from ..data.dataset import Cache
from ..data.sampling import order
from ..errors import TrainingError
from ..galaxy.records import Source
from ..model.backbone import BACKBONES
from ..model.card import Card
from ..model.net import GalaxyNet, net_from_card
from . import several
from . import state as states
from .choices import STORAGE, Train, TrainRecipe
from .finish import draft_card
from .logs import Curves
from .objective import Objective, choose_head, choose_loss, make_objective, strata, targets_of
from .origin import begin
from .prepare import Joined, Say, render_parts, settle
from .stages import Stage, depths, free, stage_at
from .steady import mixed


@dataclass(eq=False)
class Run:
    """Everything that one run works with."""

    out: Path
    recipe: TrainRecipe
    joined: Joined
    identity: dict[str, Any]
    card: Card
    caches: tuple[Cache, Cache]  # train, validation
    targets: tuple[Tensor, Tensor]  # (n, K) each
    classes: NDArray[np.int64]  # (n train,)
    colours: Tensor | None  # (C, C)
    objective: Objective
    fabric: Any
    module: Any  # the net as Fabric runs it
    state: states.TrainState
    curves: Curves
    saved: tuple[float, int]  # when (monotonic seconds), and at which step
    began: float

    @property
    def device(self) -> torch.device:
        """Where the net is."""
        return next(self.state.net.parameters()).device

    @property
    def judged(self) -> GalaxyNet:
        """The net whose weights are judged and kept: the average."""
        net = self.state.average.net
        assert isinstance(net, GalaxyNet)
        return net

    @property
    def steps(self) -> int:
        """Steps of the optimiser per epoch."""
        return math.ceil(len(self.caches[0]) / (self.recipe.train.batch * self.recipe.train.accumulate))

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """The rows of each step of an epoch: every one in a batch, batches of equal size up to one galaxy."""
        train = self.recipe.train
        rows = order(len(self.caches[0]), epoch, train.seed, classes=self.classes, balance=train.balance)
        return np.array_split(rows, self.steps)

    @property
    def stage(self) -> Stage | None:
        """The stage at hand."""
        return self.recipe.stages[self.state.progress.stage] if self.recipe.stages else None

    def enter(self, epoch: int) -> None:
        """Go on to the stage of ``epoch``, unless it is at hand: other weights learn, under a new optimiser."""
        number = stage_at(epoch, self.recipe.stages)
        if number != self.state.progress.stage:
            self.state.progress.stage = number
            self.state.optimizer = _optimizer(self.state.net, self.recipe, number)

    def due(self) -> bool:
        """Whether it is time to store the state."""
        train = self.recipe.train
        by_steps = train.save_steps > 0 and self.state.progress.step - self.saved[1] >= train.save_steps
        return by_steps or time.monotonic() - self.saved[0] >= 60 * train.save_minutes

    def save(self) -> None:
        """Store the state."""
        now = time.monotonic()
        self.state.progress.seconds += now - self.began
        self.began, self.saved = now, (now, self.state.progress.step)
        states.save(self.state, self.out / "state", self.identity)

    def tell(self, progress: Say | None) -> None:
        """One line about where the run is."""
        if progress is not None:
            now, epochs = self.state.progress, self.recipe.train.epochs
            epoch = min((now.step - 1) // self.steps + 1, epochs)
            loss = now.losses / now.galaxies if now.galaxies else now.history[-1]["train_loss"] if now.history else 0.0
            text = f"epoch {epoch}/{epochs} loss {loss:.3f}"
            if now.history:
                last = now.history[-1]
                text += "".join(f" val {key} {last[key]:.3f}" for key in ("accuracy", "rmse") if key in last)
            progress(now.step, epochs * self.steps, text)

    def close(self) -> None:
        """Close the logs and remove scratch files."""
        self.curves.close()
        for cache in self.caches:
            cache.close()


def start(
    source: Source, out: Path, recipe: TrainRecipe, joined: Joined, identity: dict[str, Any], progress: Say | None
) -> Run:
    """Prepare a run in ``out``: pictures rendered, network built, and the stored state put back if there is one.

    Raises :class:`~tuningfork.errors.RecipeError` if that state belongs to another run (``identity``).
    """
    labels, train = joined.labels, recipe.train
    head = choose_head(labels, recipe)
    for folder in (out, out / "state", out / "model"):
        disk.sweep(folder)
    stored = states.load(out / "state", identity)  # refuses before any work
    if stored is not None:
        _same_ground(stored[1], joined.notes)
    display = settle(source, recipe.display, labels.ids, joined.notes)
    recipes.save(recipe, out / "recipe.toml")
    caches = render_parts(source, joined, replace(recipe, display=display), out, progress)
    table = targets_of(labels, choose_loss(recipe, head))
    targets = tuple(torch.from_numpy(joined.values(cache.ids, table)) for cache in caches)
    fabric = _fabric(train)
    _note_precision(recipe, joined, fabric)
    card = draft_card(recipe.model.name or out.resolve().name, labels, display, recipe, head, caches[0])
    torch.manual_seed(mixed(train.seed, -1))
    net = several.network(labels, card) if head == "several" else net_from_card(card)
    for number in reversed(range(len(recipe.stages))):
        free(net, recipe.stages[number])  # refuses what names no weight before any work; the first stays
    origin = begin(net, card, recipe) if stored is None else stored[1].origin
    joined.notes.extend(origin)
    net.to(fabric.device)
    optimizer = _optimizer(net, recipe, 0 if stored is None else stored[1].stage)
    state = states.TrainState(net, states.Average(net, train.ema), optimizer)
    state.progress.origin = origin
    state.progress.torch, state.progress.threads = str(torch.__version__), torch.get_num_threads()
    module, _ = fabric.setup(net, optimizer)
    module.mark_forward_method("features")
    if stored is not None:
        state.restore(stored[0])
        state.progress = stored[1]
    step, clock = state.progress.step, time.monotonic()
    return Run(
        out, recipe, joined, identity, card, caches, (targets[0], targets[1]),
        joined.values(caches[0].ids, strata(labels)),  # type: ignore[arg-type]
        principal_components(caches[0].pixels) if recipe.augment.colour else None,
        make_objective(labels, recipe, net.head, targets[0].numpy()),
        fabric, module, state, Curves(out / "tensorboard", step), (clock, step), clock,
    )  # fmt: skip


def _optimizer(net: nn.Module, recipe: TrainRecipe, stage: int) -> torch.optim.Optimizer:
    """AdamW, or SGD with momentum, for the weights of a stage; biases and the scales of norms do not decay.

    The rate of a group is its ``share`` of the run's: ``train.layer_decay`` to the power of its depth (Howard & Ruder
    2018, ULMFiT, section 3.2; Bao et al. 2022, BEiT).
    """
    train = recipe.train
    if recipe.stages:
        free(net, recipe.stages[stage])
    depth = depths(net) if train.layer_decay < 1 else {}
    found: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, weight in net.named_parameters():
        if weight.requires_grad:
            found.setdefault((depth.get(name, 0), weight.ndim <= 1 or name.endswith("bias")), []).append(weight)
    groups: list[dict[str, Any]] = [
        {"params": some, "weight_decay": 0.0 if vectors else train.weight_decay, "share": train.layer_decay**level}
        for (level, vectors), some in sorted(found.items(), key=lambda entry: entry[0])
    ]
    if train.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=train.rate)
    nesterov = train.nesterov and train.momentum > 0
    return torch.optim.SGD(groups, lr=train.rate, momentum=train.momentum, nesterov=nesterov)


_LATER = {"train.layer_decay": 1.0, "train.prior": 0.0, "train.agree": 0.0}  # choices that runs begun before them lack


def identity_of(recipe: TrainRecipe, joined: Joined) -> dict[str, Any]:
    """What two starts must share to be one run: every choice that changes what is learnt, and the galaxies.

    Pretrained weights count by their content, wherever their file lies.
    """
    mapping = recipes.to_mapping(recipe)
    mapping["model"]["pretrained"] = states.by_content(recipe.model.pretrained)
    for key in STORAGE:
        section, name = key.split(".")
        del mapping[section][name]
    for key, before in _LATER.items():
        section, name = key.split(".")
        if mapping[section][name] == before:
            del mapping[section][name]
    return {"recipe": mapping, "galaxies": joined.digest}


def _fabric(train: Train) -> Any:
    for name in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    accelerator = {"gpu": "cuda"}.get(train.device, train.device)
    precision = "bf16-mixed" if train.precision == "bf16" else "32-true"
    try:
        fabric = lightning_fabric.Fabric(accelerator=accelerator, devices=1, precision=precision)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"'train.device' is '{train.device}', which is not to be had here: {error}") from error
    return fabric


def _note_precision(recipe: TrainRecipe, joined: Joined, fabric: Any) -> None:
    slow = recipe.train.precision == "bf16" and fabric.device.type == "cpu"
    if slow and not BACKBONES[recipe.model.backbone].bf16:
        joined.notes.append(f"on a CPU '{recipe.model.backbone}' trains about twice as slowly in bf16 as in 32")


def _same_ground(before: states.Progress, notes: list[str]) -> None:
    """Take as many threads as the earlier attempt had (sums depend on it); note another torch."""
    torch.set_num_threads(before.threads or torch.get_num_threads())
    if before.torch != str(torch.__version__):
        notes.append(f"the run began under torch {before.torch} and goes on under {torch.__version__}: bits may differ")
        before.torch = str(torch.__version__)
