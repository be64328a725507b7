"""Models that see a galaxy alike, opened together: one picture for all, one pass of the encoder that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import recipe
from ..errors import BadWeights
from ..evaluate.strangeness import Strangeness
from ..galaxy.cutout import Record
from ..galaxy.display import Display, render, render_record
from ..model.card import CARD, TREE_HEADS, Card, find_model, shipped_models
from ..model.encoder import find_strangeness
from .answers import Head, averaged, certain
from .engine import Engines, open_engines
from .sight import Sight
from .views import margin, unmirror, view


@dataclass(frozen=True)
class Eye:
    """Some models with one display: ``bands`` and ``display`` say what they see, with ``margin`` px around it."""

    display: Display
    bands: tuple[str, ...]
    numbers: tuple[int, ...]  # of the views that are averaged
    margin: int
    heads: tuple[Head, ...]
    engines: Engines
    strangeness: Strangeness | None = None  # of the one encoder of all these models

    def shown(self, record: Record, sight: Sight) -> NDArray[np.uint8]:
        """What these models see of a galaxy, uint8 (bands, M, M), as train and predict do; raises BadImage."""
        if record.format == "jpeg" and not self.display.petrosian:  # which may decode it smaller
            return render_record(record, self.display, self.margin)
        return render(sight.cutout, self.display, self.margin)

    def ask(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """What each head says of images (N, bands, M, M): (N, K), averaged over the views."""
        return self.answer(images)[0]

    def answer(self, images: NDArray[np.uint8]) -> tuple[list[NDArray[np.float32]], NDArray[np.float64] | None]:
        """What :meth:`ask` gives, and how typical the galaxies are.

        The latter is :meth:`~tuningfork.evaluate.strangeness.Strangeness.share` (N,) of the image as it is; None where
        what is typical is not known.
        """
        known: dict[int, list[NDArray[np.float32]]] = {}
        typical = None
        if self.strangeness is not None:
            edge = slice(self.margin, images.shape[-1] - self.margin)
            features = self.engines.features(np.ascontiguousarray(images[..., edge, edge]))
            typical = self.strangeness.share(features)
            known[0] = self.engines.read(features)
        for number in self.numbers:
            if number not in known:
                known[number] = self.engines.run_all(view(images, number, self.display.size))
        answers = []
        for k, head in enumerate(self.heads):
            seen = np.stack([unmirror(known[number][k], head.names, number) for number in self.numbers])
            answers.append(certain(averaged(seen, head.kind, head.tree), head.calibration, head.tree))
        return answers, typical


def open_eyes(
    models: Sequence[str | Path] | None, numbers: tuple[int, ...], resize: bool, engine: str, threads: int
) -> tuple[Eye, ...]:
    """The models, those of one display and encoder together, each proved on its golden pair.

    ``models`` are what :func:`find_models` takes; ``numbers`` the views to average. Without ``resize``, displays that
    frame by the Petrosian radius show the whole shorter side. Raises :class:`BadWeights`.
    """
    folders = find_models(models)
    cards = [Card.load(folder) for folder in folders]
    names = [card.name for card in cards]
    if len(set(names)) < len(names):
        names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        raise BadWeights(f"two of the models have one name ({', '.join(names)}): ask them one after the other")
    groups: dict[tuple[Display, tuple[str, ...], str], list[int]] = {}
    for k in sorted(range(len(cards)), key=lambda k: _place(cards[k])):
        card = cards[k]
        display = recipe.from_mapping(Display, card.display)
        display = display if resize else replace(display, petrosian=0.0)
        groups.setdefault((display, card.bands, card.encoder_digest), []).append(k)
    return tuple(
        Eye(
            display,
            bands,
            numbers,
            margin(numbers, display.size),
            tuple(_head(names[k], cards[k]) for k in group),
            open_engines([folders[k] for k in group], engine, threads),
            _strangeness(folders[group[0]]),
        )
        for (display, bands, _), group in groups.items()
    )


def _head(name: str, card: Card) -> Head:
    return Head(name, card.head, card.names, card.load_tree(), card.calibration, card.rates, card.costs)


def _strangeness(folder: Path) -> Strangeness | None:
    arrays = find_strangeness(folder)
    return None if arrays is None else Strangeness.from_arrays(arrays)


def _place(card: Card) -> int:
    """Classes are told first, then attributes, then the way through a tree."""
    return 0 if not card.tree else 2 if card.head in TREE_HEADS else 1


def find_models(models: Sequence[str | Path] | None) -> list[Path]:
    """The folders of models that a user means: each by :func:`~tuningfork.model.card.find_model`, or a folder of some.

    A folder of some is a set that shares an encoder, or a run that made several (its ``models``). None means all that
    are shipped. Raises :class:`BadWeights` where there is none.
    """
    if models is None:
        shipped = list(shipped_models().values())
        if not shipped:
            raise BadWeights("no models are inside this package; name one with --model")
        return shipped
    found: list[Path] = []
    for one in models:
        path = Path(one)
        beside = [path / CARD, path / "model" / CARD]
        several = (
            [] if any(card.is_file() for card in beside) else [path.glob(f"*/{CARD}"), path.glob(f"models/*/{CARD}")]
        )
        inside = [card.parent for cards in several for card in sorted(cards)]
        found += inside or [find_model(one)]
    return list(dict.fromkeys(found))
