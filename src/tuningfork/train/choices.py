"""The choices of a training run: what is learnt, by which network, how; every key refused by name if it cannot be."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..data import augment as augmentation
from ..data.augment import Augment
from ..data.sampling import BALANCES
from ..data.split import Split
from ..errors import RecipeError
from ..galaxy.display import Display
from ..galaxy.labels import LabelChoice
from ..recipe import nearest
from .stages import Stage, check_stages


@dataclass(frozen=True)
class ModelChoice:
    """Which network."""

    backbone: str = "resnet18"  # a key of tuningfork.model.backbone.BACKBONES
    dropout: float = 0.2  # of the features, before the last layer
    head: str = "auto"  # "auto" (by the labels), "classes", "sigmoid", "dirichlet" or "fractions"
    link: str = "softmax"  # of a fractions head: "softmax" or "divisive"
    name: str = ""  # of the model, on its card; "" = the run folder's
    pretrained: str = ""  # a safetensors file from which the backbone starts; "" = random weights


@dataclass(frozen=True)
class Train:
    """How it is trained. The last three keys change how a run is stored and never what it learns."""

    epochs: int = 20  # passes over the training part
    batch: int = 64  # galaxies per forward pass
    accumulate: int = 1  # forward passes per step of the optimiser
    rate: float = 1e-3  # largest learning rate
    layer_decay: float = 1.0  # times the rate for every layer further from the answers; 1 = one rate for all
    optimizer: str = "adamw"  # "adamw" or "sgd"
    momentum: float = 0.9  # of sgd
    nesterov: bool = True  # of sgd
    weight_decay: float = 0.02  # of matrices and filters; biases and norms have none
    warmup: float = 1.0  # epochs in which the rate rises linearly from 0
    schedule: str = "cosine"  # after that: "cosine" (to 0), "steps" or "constant"
    milestones: tuple[float, ...] = ()  # epochs after which "steps" multiplies the rate by gamma
    gamma: float = 0.1
    precision: str = "32"  # "32" or "bf16" (mixed)
    ema: float = 0.995  # decay of the moving average of the weights, which is what is judged and kept; 0 = off
    patience: int = 0  # stop after so many epochs without a better one; 0 = never
    select: str = "loss"  # the best epoch by validation "loss", or "score" (accuracy of classes, RMSE of votes)
    balance: str = "none"  # classes per epoch: "none" (as they are), "sqrt" or "balanced"
    agree: float = 0.0  # weight in the loss of the disagreement between features of two views of a galaxy; 0 = one view
    prior: float = 0.0  # how far classes' answers go back from the shares that balance gave them to their own: 0 to 1
    class_weights: str = "none"  # in the loss: "none" or "balanced" (N / (K n_k))
    loss: str = "auto"  # "auto" or a key of tuningfork.train.objective.LOSSES that fits the head
    label_smoothing: float = 0.0  # share of every class label that is spread over all classes
    raw_epochs: float = 0.0  # epochs at the start in which a "divisive" head's numbers are clipped, and not divided
    clip: float = 1.0  # largest norm of the gradient; 0 = off
    seed: int = 0
    device: str = "auto"  # "auto", "cpu", "gpu" or "mps"
    threads: int = 0  # of the CPU; 0 = torch's own choice
    save_minutes: float = 5.0  # store the state so often
    save_steps: int = 0  # and after so many steps; 0 = by minutes alone
    memory_gb: float = 4.0  # rendered galaxies beyond this go to a file in the run folder


@dataclass(frozen=True)
class TrainRecipe:
    """Everything that decides a run, besides the galaxies and their labels."""

    labels: LabelChoice = field(default_factory=LabelChoice)
    split: Split = field(default_factory=Split)
    display: Display = field(default_factory=Display)
    augment: Augment = field(default_factory=Augment)
    model: ModelChoice = field(default_factory=ModelChoice)
    train: Train = field(default_factory=Train)
    start: str = ""  # a model (folder, run folder or name) whose weights it starts from; "" = random weights
    stages: tuple[Stage, ...] = ()  # rounds of unfreezing, one after the other; none = all weights learn all the time


STORAGE = ("train.save_minutes", "train.save_steps", "train.memory_gb")

_WORDS = {
    "optimizer": ("adamw", "sgd"),
    "schedule": ("cosine", "steps", "constant"),
    "precision": ("32", "bf16"),
    "select": ("loss", "score"),
    "balance": BALANCES,
    "class_weights": ("none", "balanced"),
    "device": ("auto", "cpu", "gpu", "mps"),
}
_LEAST = {"epochs": 1, "batch": 1, "accumulate": 1, "patience": 0, "save_steps": 0, "threads": 0}
_RANGES = {
    "rate": (0.0, math.inf),
    "momentum": (0.0, 1.0),
    "weight_decay": (0.0, math.inf),
    "warmup": (0.0, math.inf),
    "gamma": (0.0, 1.0),
    "ema": (0.0, 1.0),
    "agree": (0.0, math.inf),
    "prior": (0.0, 1.0),
    "label_smoothing": (0.0, 1.0),
    "raw_epochs": (0.0, math.inf),
    "clip": (0.0, math.inf),
    "layer_decay": (0.0, 1.0),
    "save_minutes": (0.0, math.inf),
    "memory_gb": (0.0, math.inf),
}

_WHOLE = ("gamma", "layer_decay")  # of these, 1 is among the values


def check(recipe: TrainRecipe) -> None:
    """Raise :class:`RecipeError`, naming the key and what it may be, for a choice that cannot be."""
    train = recipe.train
    for key, words in _WORDS.items():
        value = getattr(train, key)
        if value not in words:
            raise RecipeError(f"'train.{key}' is '{value}'; it may be {', '.join(words)}{nearest(value, words)}")
    for key, least in _LEAST.items():
        if getattr(train, key) < least:
            raise RecipeError(f"'train.{key}' is {getattr(train, key)}; it must be {least} or more")
    for key, (low, high) in _RANGES.items():
        value = getattr(train, key)
        if not low <= value <= high or not math.isfinite(value) or (high == 1.0 and key not in _WHOLE and value == 1.0):
            raise RecipeError(f"'train.{key}' is {value}; it lies between {low:g} and {high:g}")
    if train.rate == 0:
        raise RecipeError("'train.rate' is 0: nothing would be learnt")
    if train.layer_decay == 0:
        raise RecipeError("'train.layer_decay' is 0: only the last layer would learn. Free it alone instead (stages)")
    if train.agree and train.ema == 0:
        raise RecipeError(
            f"'train.agree' is {train.agree:g}, but 'train.ema' is 0: the second view is looked at by the average of "
            "the weights, which is then the network itself: use 0.995, say"
        )
    if train.raw_epochs and recipe.model.link != "divisive":
        raise RecipeError(
            f"'train.raw_epochs' is {train.raw_epochs:g}, but the link '{recipe.model.link}' divides nothing that "
            "could be left undivided: use 0, or 'model.link' = 'divisive'"
        )
    if not 0 <= recipe.model.dropout < 1:
        raise RecipeError(f"'model.dropout' is {recipe.model.dropout}; it lies between 0 and 1")
    if recipe.split.validation == 0:
        raise RecipeError("'split.validation' is 0, but the best epoch is chosen on validation galaxies: give 0.1, say")
    augmentation.check(recipe.augment)
    check_stages(recipe.stages, train.epochs, train.patience)
