"""The card: what a set of weights is, how galaxies are fed to it and what its answers mean; read without torch."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as safetensors_bytes

from .. import disk
from ..errors import BadWeights, TreeError
from ..galaxy.tree import TREES, Tree
from .calibration import check_calibration, check_costs, check_rates
from .entries import as_json, bad, entries, load_card, short

HEADS = ("classes", "dirichlet", "fractions", "sigmoid")
TREE_HEADS = ("dirichlet", "fractions")
LINKS = ("softmax", "divisive")
CARD, WEIGHTS, GOLDEN, ONNX = "card.json", "weights.safetensors", "golden.safetensors", "model.onnx"
GOLDEN_RTOL, GOLDEN_ATOL = 1e-4, 1e-6  # two float32 engines differ by the order of their sums: some 1e-6
SHIPPED = Path(__file__).parent / "shipped"

_FORMAT = 1
_LARGEST_CARD = (
    64_000_000  # bytes; a history of thousands of epochs and a tree of hundreds of answers take less than 1 MB
)
_LARGEST_GOLDEN = 256_000_000  # bytes
_LARGEST_SIDE = 4096  # px


@dataclass(frozen=True)
class Card:
    """Everything about a set of weights but the weights.

    What the network means (:attr:`MEANING`) is digested into the golden pair, so that an edited or swapped card is
    refused. Raises :class:`BadWeights` from :meth:`check`, :meth:`load` and :meth:`save`.
    """

    name: str  # how people call it
    bands: tuple[str, ...]  # in the order of the network's channels
    display: dict[str, Any]  # how a galaxy becomes the network's uint8 input: the fields of galaxy.display.Display
    head: str  # one of HEADS: what the answers are
    names: tuple[str, ...]  # of the answers: the classes, or the tree's columns, in the order of the network's outputs
    backbone: str  # a key of backbone.BACKBONES
    version: str = "1"  # of these weights
    link: str = "softmax"  # of a fractions head: "softmax", or "divisive" (the winner's normalised ReLU)
    dropout: float = 0.0  # before the last layer, in training
    tree: str = ""  # name of the decision tree, "" without one
    tree_digest: str = ""  # Tree.digest
    tree_toml: str = ""  # a tree that is not built in, whole
    mean: tuple[float, ...] = ()  # per band of the pixels in 0..1; subtracted inside the network
    std: tuple[float, ...] = ()  # per band; divided by inside the network
    temperature: float = 1.0  # of the softmax (or sigmoid): probabilities = softmax(z / temperature)
    precision: str = "float32"  # in which matrices and filters are stored: "float32" or "float16"
    parameters: int = 0  # number of trained weights
    labels: dict[str, Any] = field(default_factory=dict)  # the LabelChoice it learnt from
    split: dict[str, Any] = field(default_factory=dict)  # the Split that kept validation and test apart
    training: dict[str, Any] = field(default_factory=dict)  # data digest, galaxies per part, command, seconds ...
    history: tuple[dict[str, Any], ...] = ()  # one entry per epoch
    metrics: dict[str, Any] = field(default_factory=dict)  # on the validation part
    licence: str = ""
    citation: str = ""
    notes: str = ""
    measured: tuple[dict[str, Any], ...] = ()  # how good it is: one figure each, see :meth:`check`
    fails: tuple[str, ...] = ()  # where it is wrong or of no use, in sentences
    calibration: dict[str, Any] = field(default_factory=dict)  # of its answers: see :mod:`~.calibration`
    rates: dict[str, Any] = field(default_factory=dict)  # of classes, for words: see :mod:`~.calibration`
    costs: dict[str, Any] = field(default_factory=dict)  # of missing classes, where not 1: "class" is argmax cost p
    encoder: str = (
        ""  # folder beside the model's that holds all but the last layer; "" where weights.safetensors has all
    )
    encoder_digest: str = ""  # SHA-256 of its encoder.safetensors
    digest: str = ""  # SHA-256 of weights.safetensors
    onnx_digest: str = ""  # SHA-256 of model.onnx, "" before the export
    tuningfork: str = ""  # version of the package that made it
    format: int = _FORMAT  # of this card

    @property
    def size(self) -> int:
        """Side of the network's square input, px."""
        return int(self.display["size"])

    @property
    def meaning(self) -> str:
        """SHA-256 of what changes the numbers that go in or the sense of those that come out."""
        keys = (*_MEANING, *(key for key in ("encoder_digest", "calibration") if getattr(self, key)))
        values = {key: getattr(self, key) for key in keys}
        return disk.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode())

    def load_tree(self) -> Tree | None:
        """The tree of the answers, proved by its digest; None without one. Raises :class:`BadWeights`."""
        if not self.tree:
            return None
        if not self.tree_toml and self.tree not in TREES:  # never a path: a card may come from anywhere
            raise bad(
                "tree", f"is '{self.tree}', which is not built in, and the card does not carry it", self.tree, TREES
            )
        try:
            tree = Tree.from_toml(self.tree_toml, "the card") if self.tree_toml else Tree.load(self.tree)
        except TreeError as error:
            raise BadWeights(f"the card of '{self.name}' names a tree that cannot be had: {error}") from error
        if tree.digest != self.tree_digest:
            raise BadWeights(
                f"'{self.name}' was trained on another version of the tree '{self.tree}' (digest "
                f"{self.tree_digest[:12]}, here {tree.digest[:12]}), so that its answers would be misread: use the "
                f"tuningfork {self.tuningfork} that made it"
            )
        return tree

    def check(self) -> Tree | None:
        """Prove that the card fits together, and return its tree; raises :class:`BadWeights` that names the key.

        An entry of ``measured`` holds "what" was measured (accuracy, say) and "on" what, as texts, its "value", "low"
        and "high" as numbers, of which the last two bound the value and may be absent together, and whatever else
        tells of it: "level" of the interval, "galaxies", "command".
        """
        for key, allowed in (("head", HEADS), ("link", LINKS), ("precision", ("float32", "float16"))):
            if getattr(self, key) not in allowed:
                raise bad(
                    key, f"must be one of {', '.join(allowed)}, not '{getattr(self, key)}'", getattr(self, key), allowed
                )
        for key, limit in (("bands", 64), ("names", 100_000)):
            values = getattr(self, key)
            if not 1 <= len(values) <= limit or len(set(values)) != len(values) or "" in values:
                raise bad(key, f"must be 1 to {limit} names that differ, not {short(values)}")
        size = self.display.get("size")
        if type(size) is not int or not 8 <= size <= _LARGEST_SIDE:
            raise bad("display", f"must hold 'size', the input's side of 8 to {_LARGEST_SIDE} px, not {short(size)}")
        for key, floor in (("mean", -math.inf), ("std", 0.0)):
            values = getattr(self, key)
            if len(values) != len(self.bands) or not all(math.isfinite(v) and v > floor for v in values):
                above = " above 0" if key == "std" else ""
                raise bad(key, f"must be {len(self.bands)} finite numbers{above}, one per band, not {short(values)}")
        if not self.temperature > 0:
            raise bad("temperature", f"must be above 0, not {self.temperature}")
        if not 0 <= self.dropout < 1:
            raise bad("dropout", f"must be at least 0 and below 1, not {self.dropout}")
        if self.encoder and not disk.is_plain(self.encoder):  # never a path
            raise bad("encoder", f"must be the plain name of a folder beside the model's, not {short(self.encoder)}")
        for entry in self.measured:
            _check_measured(entry)
        for key, value in self.to_json().items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError) as error:
                raise bad(
                    key, f"holds what JSON cannot: {error}; plain and finite numbers, texts and lists only"
                ) from None
        tree = self._check_tree()
        check_calibration(self.calibration, self.head, self.names, tree)
        check_rates(self.rates, self.head, self.names)
        check_costs(self.costs, self.head, self.names)
        return tree

    def _check_tree(self) -> Tree | None:
        tree = self.load_tree()
        if self.head in TREE_HEADS and tree is None:
            raise bad("tree", f"is empty, but a {self.head} head answers the questions of a tree")
        if tree is not None and self.head != "classes" and self.names != tree.columns:
            wrong = [f"'{a}' for '{b}'" for a, b in zip(self.names, tree.columns, strict=False) if a != b]
            raise bad(
                "names",
                f"are {len(self.names)}, not the {len(tree.columns)} columns of the tree '{self.tree}': {wrong[:3]}",
            )
        return tree

    def to_json(self) -> dict[str, Any]:
        """The card as JSON holds it: every key, tuples as lists."""
        return as_json(self)

    @classmethod
    def from_json(cls, value: Any) -> Card:
        """A card from JSON; raises :class:`BadWeights` on unknown (nearest named), missing or mistyped keys.

        Older cards lack the keys of what came after them: they read as if these were empty.
        """
        card = cls(**entries(cls, value, _FORMAT, _LATER))
        card.check()
        return card

    @classmethod
    def load(cls, folder: str | Path) -> Card:
        """The card of a model folder; raises :class:`BadWeights` where it is absent, broken or contradicts itself."""
        absent = "name the folder of a model, or of a training run"
        return load_card(Path(folder) / CARD, cls.from_json, _LARGEST_CARD, absent)

    def save(self, folder: str | Path) -> None:
        """Check the card and write it to ``folder``/card.json."""
        self.check()
        disk.write_json(Path(folder) / CARD, self.to_json())


# keys that cards may lack, as older ones do
_LATER = ("measured", "fails", "calibration", "rates", "costs", "encoder", "encoder_digest")
_MEANING = (
    *("bands", "display", "head", "link", "names", "tree", "tree_digest", "backbone"),
    *("mean", "std", "temperature", "digest"),
)


def _check_measured(entry: dict[str, Any]) -> None:
    """Refuse a figure that does not say what was measured on what, or whose interval does not hold it."""
    texts = all(isinstance(entry.get(key), str) and entry[key] for key in ("what", "on"))
    bounds = [entry[key] for key in ("low", "value", "high") if key in entry]
    numbers = "value" in entry and all(type(one) in (int, float) and math.isfinite(one) for one in bounds)
    if not texts or not numbers or len(bounds) == 2 or bounds != sorted(bounds):
        raise bad(
            "measured",
            "holds figures such as {'what': 'accuracy', 'value': 0.91, 'low': 0.9, 'high': 0.92, 'on': 'the test part "
            f"of gz1'}}, not {short(entry)}",
        )


def tree_entries(tree: Tree | None) -> dict[str, str]:
    """The card's entries about a tree: name and digest, and the whole tree where it is not built in."""
    if tree is None:
        return {"tree": "", "tree_digest": "", "tree_toml": ""}
    built_in = tree.name in TREES and Tree.load(tree.name).digest == tree.digest
    return {"tree": tree.name, "tree_digest": tree.digest, "tree_toml": "" if built_in else tree.to_toml()}


def load_golden(folder: str | Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The golden pair of a model folder: galaxies as the network sees them, and what it must answer.

    Returns uint8 (N, bands, size, size) and float32 (N, answers); whoever runs the network proves itself on it
    (relative tolerance 1e-4). Raises :class:`BadWeights` if the pair is absent, broken, or belongs to another card.
    """
    folder = Path(folder)
    card, path = Card.load(folder), folder / GOLDEN
    found, metadata = load_arrays(path, ("input", "output"), _LARGEST_GOLDEN, "the golden pair")
    images, answers = found["input"], found["output"]
    n = images.shape[0] if images.ndim else 0
    shape = (n, len(card.bands), card.size, card.size)
    if not n or images.dtype != np.uint8 or images.shape != shape:
        raise BadWeights(
            f"golden input of '{folder}' is {images.dtype} {images.shape}, the card wants uint8 (N, {shape[1]}, "
            f"{card.size}, {card.size}) with N at least 1"
        )
    if answers.dtype != np.float32 or answers.shape != (n, len(card.names)) or not np.isfinite(answers).all():
        raise BadWeights(
            f"golden output of '{folder}' is {answers.dtype} {answers.shape}, the card wants finite float32 "
            f"({n}, {len(card.names)})"
        )
    if metadata.get("meaning") != card.meaning:
        raise BadWeights(
            f"the card of '{folder}' is not the one that its golden pair was made with ({', '.join(_MEANING)}): "
            "it was edited or swapped; take the model folder whole from where it came"
        )
    return images, answers


def load_arrays(
    path: Path, names: tuple[str, ...], largest: int, what: str
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays and the metadata of a safetensors file of at most ``largest`` bytes that holds ``names`` alone.

    Raises :class:`BadWeights`, which calls the file ``what``, where it is absent, too large, or holds anything else.
    """
    try:
        if path.stat().st_size > largest:
            raise BadWeights(f"'{path}' has {path.stat().st_size} bytes: {what} is never that large")
        with safe_open(path, framework="np") as file:
            if set(file.keys()) != {*names}:
                wanted = " and ".join(f"'{name}'" for name in names)
                raise BadWeights(f"'{path}' holds {short(sorted(file.keys()))}, not {wanted}")
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise BadWeights(f"{what} '{path}' cannot be read: {error}") from error


def arrays_as_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The safetensors file of some arrays, for :func:`load_arrays`."""
    return safetensors_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def find_onnx(folder: str | Path) -> Path:
    """The exported network of a model folder, proved by the card's digest; raises :class:`BadWeights`."""
    path, card = Path(folder) / ONNX, Card.load(folder)
    if not path.is_file():
        raise BadWeights(
            f"'{folder}' holds no {ONNX}: export it (tuningfork.model.export.export_onnx), or use engine 'torch'"
        )
    if disk.sha256(path) != card.onnx_digest:
        raise BadWeights(f"'{path}' is not the file that its card tells of (SHA-256 differs): export the weights again")
    return path


def find_model(model: str | Path) -> Path:
    """The model folder that a user means: itself, the ``model`` folder of a training run, or a shipped model by name.

    Raises :class:`BadWeights`, which names what was looked for and the shipped models, or says that the run is not
    finished (:func:`is_unfinished`).
    """
    path = Path(model)
    if path.name == CARD:
        path = path.parent
    for folder in (path, path / "model"):
        if (folder / CARD).is_file():
            return folder
    shipped = shipped_models()
    if str(model) in shipped:
        return shipped[str(model)]
    if is_unfinished(path):
        raise BadWeights(f"'{model}' is a run that is unfinished: run train again, the same command goes on")
    near = difflib.get_close_matches(str(model), shipped, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"models by name: {', '.join(shipped) or 'none are installed'}"
    raise BadWeights(f"'{model}' is no model: neither it nor '{path / 'model'}' holds a {CARD}; {hint}")


def is_unfinished(folder: str | Path) -> bool:
    """Whether a folder is that of a training run which was stopped, or killed, before it had its model."""
    folder = Path(folder)
    traces = (".lock", "state", "split.parquet", "run.json")  # a recipe alone may be a user's
    began = (folder / "recipe.toml").is_file() and any((folder / trace).exists() for trace in traces)
    return began and not any((place / CARD).is_file() for place in (folder, folder / "model"))


def shipped_models() -> dict[str, Path]:
    """The models inside the package: name -> folder, sorted."""
    if not SHIPPED.is_dir():
        return {}
    return {p.name: p for p in sorted(SHIPPED.iterdir()) if re.fullmatch(r"[\w.-]+", p.name) and (p / CARD).is_file()}
