"""Fit: a classical classifier learns the training part of a split, and its answers for another become Votes."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import __version__ as sklearn_version

from .. import __version__, disk
from .. import recipe as recipes
from ..data.split import PARTS
from ..errors import RecipeError, SplitError
from ..galaxy.catalog import Catalog
from ..galaxy.display import Display
from ..galaxy.records import Source
from ..galaxy.votes import VotesWriter
from ..model.card import Card, find_model
from .choices import GROUNDS, KINDS, BaselineChoice, BaselineRecipe, check
from .classifier import learn, probabilities
from .examples import Examples, find_examples
from .features import network_features
from .pixels import Rows, render_rows, settled

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Baseline:
    """What became of the galaxies of the part: ``n_in = n_done + n_rejected``; and what was learnt from how many.

    ``name`` says what was fitted, ``n_trained`` on how many galaxies (``n_train_rejected`` more could not be used),
    ``seconds`` all of it took, ``seconds_predicting`` the answers alone (from pixels or features).
    """

    path: str
    name: str
    n_in: int
    n_done: int
    n_rejected: int
    n_trained: int
    n_train_rejected: int
    seconds: float
    seconds_predicting: float
    notes: tuple[str, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)


def fit(
    source: Source,
    out: str | Path,
    recipe: BaselineRecipe | None = None,
    *,
    labels: Catalog | None = None,
    run: str | Path | None = None,
    part: str = "test",
    threads: int = 0,
    progress: Progress | None = None,
) -> Baseline:
    """Fit a baseline on the training part and write its class probabilities for ``part`` to the Votes file ``out``.

    Args:
        source: the galaxies. ``labels``: their catalogue, by default the source's own.
        out: a Votes file as predict writes it, with the recipe inside, so that evaluate judges both alike.
        recipe: labels, split, display and classifier; by default a decision tree on pixels.
        run: the folder of a training run whose split.parquet is taken in place of ``recipe.split``, so that network
            and baseline certainly learn from, and are judged on, the same galaxies.
        part: "test", "validation" or "train". The validation part has no say in a baseline.
        threads: for decoding; 0 = all cores.

    The same call gives the same file. Nothing fitted is stored: the recipe in the file's metadata fits it again.
    Raises :class:`~tuningfork.errors.RecipeError` for choices that cannot be, and what labels, split and model raise.
    """
    began = time.monotonic()
    recipe = BaselineRecipe() if recipe is None else recipe
    choice = recipe.baseline
    check(choice)
    if part not in PARTS:
        raise RecipeError(f"there is no part '{part}' of a split; it has {', '.join(PARTS)}")
    folder, card = _model(choice)
    catalog = source.catalog if labels is None else labels
    examples = find_examples(source, catalog, recipe.labels, recipe.split, run)
    for needed in ("train", part):
        if not examples.counts[needed]:
            raise SplitError(f"the {needed} part is empty: {examples.counts}; choose another part, or another split")
    display, notes = _display(source, recipe, card, examples)
    trained = render_rows(source, examples.ids("train"), display, threads=threads, progress=progress)
    asked = trained
    if part != "train":
        asked = render_rows(source, examples.ids(part), display, threads=threads, progress=progress)
    k = len(examples.labels.names)
    pipeline, heard = learn(choice, _numbers(trained, folder, progress), examples.labels.select(trained.ids).classes)
    unseen = [name for c, name in enumerate(examples.labels.names) if c not in pipeline.classes_]
    notes += heard + [f"no galaxy of class '{name}' could be trained on: its probability is 0" for name in unseen]
    rows = _numbers(asked, folder, progress)
    ready = time.monotonic()
    values = probabilities(pipeline, rows, k)
    took = time.monotonic() - ready
    told = _provenance(source, replace(recipe, display=display), examples, len(trained.ids), part, card, run)
    with VotesWriter(out, "classes", examples.labels.names, None, told) as writer:
        writer.write(asked.asked, asked.ra, asked.dec, values if len(values) else None, asked.rejected)
    reasons = dict(Counter(str(one.reason) for one in asked.rejected).most_common())
    sizes = (len(asked.asked), len(asked.ids), len(asked.rejected), len(trained.ids), len(trained.rejected))
    seconds = time.monotonic() - began
    return Baseline(str(out), told["model"]["name"], *sizes, seconds, took, tuple(notes), reasons)


def _model(choice: BaselineChoice) -> tuple[Path | None, Card | None]:
    if choice.on != "features":
        return None, None
    folder = find_model(choice.model)
    return folder, Card.load(folder)


def _display(
    source: Source, recipe: BaselineRecipe, card: Card | None, examples: Examples
) -> tuple[Display, list[str]]:
    """How galaxies become pixels: the network's own display for features, else the recipe's; and notes for people."""
    if card is None:
        wanted = replace(recipe.display, size=recipe.baseline.side)
    else:
        wanted = recipes.from_mapping(Display, card.display)
    display, notes = settled(source, wanted, examples.ids("train")), list(examples.notes)
    if display.stretch != wanted.stretch:
        notes.append(f"the galaxies are flux, which needs a stretch: '{display.stretch}' is taken (display.stretch)")
    return display, notes


def _numbers(rows: Rows, folder: Path | None, progress: Progress | None) -> NDArray[np.float32]:
    """One row of numbers per usable galaxy: pixels, or features of the network in ``folder``."""
    return rows.flat if folder is None else network_features(folder, rows.pixels, progress=progress)


def _provenance(
    source: Source,
    recipe: BaselineRecipe,
    examples: Examples,
    n_trained: int,
    part: str,
    card: Card | None,
    run: str | Path | None,
) -> dict[str, Any]:
    """The metadata of the votes: the same keys as predict's, with the recipe in place of weights."""
    mapping = recipes.to_mapping(recipe)
    choice = recipe.baseline
    network = {} if card is None else {"name": card.name, "digest": card.digest}
    ground = f"the features of {card.name}" if card is not None else GROUNDS[choice.on]
    learnt = disk.sha256(np.ascontiguousarray(examples.labels.values).tobytes())
    told = json.dumps([mapping, network], sort_keys=True)
    facts = [told, source.digest, learnt, *examples.labels.ids, *examples.parts]
    return {
        "part": part,
        "model": {"name": f"{KINDS[choice.kind]} on {ground}", "digest": disk.sha256("\n".join(facts).encode())},
        "card": {
            "labels": mapping["labels"],
            "split": {"parts of the run": str(run)} if run is not None else mapping["split"],
            "training": {"galaxies": examples.counts, "trained on": n_trained, "scikit-learn": sklearn_version},
            "backbone": f"scikit-learn: {choice.kind} on {choice.on}",
        },
        "baseline": mapping,
        "features": network,
        "source": source.path,
        "input_digest": source.digest,
        "version": __version__,
    }
