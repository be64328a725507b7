"""Judge from files: a classical rival of a network, several votes side by side, and a machine beside people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import recipe as recipes
from ..baseline import fit as fitting
from ..baseline.choices import BaselineRecipe
from ..evaluate import compare as comparing
from ..evaluate import humans as holding
from ..evaluate.joined import default_choice
from ..evaluate.judge import Judgement
from ..galaxy.catalog import Catalog
from ..galaxy.display import Display
from ..galaxy.labels import LabelChoice
from ..galaxy.source import Source, open_source
from ..galaxy.votes import Votes
from ..model.card import Card, find_model
from .training import find_labels

_NO_SHARES = ("column", "counts", "fractions")  # kinds of labels that are not made of the shares of one question


def baseline(
    source: str | Path | Source,
    out: str | Path,
    *,
    labels: str | Path | Catalog | None = None,
    run: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
    **choices: Any,
) -> fitting.Baseline:
    """Fit a classical rival on the galaxies of ``source`` and write its votes to ``out``.

    ``labels`` are as for :func:`~tuningfork.workflow.training.train`. ``run`` is a finished training run, whose split,
    labels and display are taken, so that the votes can be compared with the network's. ``changes`` are choices of a
    :class:`~tuningfork.baseline.choices.BaselineRecipe` by dotted key, which win over those of the run; a column alone
    means labels of kind "column", a tree alone "largest". ``choices`` (part, threads, progress) are those of
    :func:`~tuningfork.baseline.fit.fit`. Raises what that, and opening source, labels and run, raise.
    """
    opened = open_source(source) if isinstance(source, (str, Path)) else source
    recipe = BaselineRecipe() if run is None else _beside(run)
    catalog, column = find_labels(opened, labels)
    changed = dict(changes or {}) | ({"labels.column": column} if column else {})
    if "labels.kind" not in changed and "labels.column" in changed:
        changed["labels.kind"] = "column"
    elif "labels.kind" not in changed and "labels.tree" in changed and recipe.labels.kind in _NO_SHARES:
        changed["labels.kind"] = "largest"
    return fitting.fit(opened, out, recipes.replace(recipe, changed), labels=catalog, run=run, **choices)


def _beside(run: str | Path) -> BaselineRecipe:
    """The labels and the display of a network, for a rival of it."""
    card = Card.load(find_model(run))
    told = recipes.from_mapping(LabelChoice, card.labels, "labels.")
    return BaselineRecipe(labels=told, display=recipes.from_mapping(Display, card.display, "display."))


def compare(
    votes: Sequence[str | Path],
    truth: str | Path,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    **choices: Any,
) -> comparing.Comparison:
    """Judge several files of votes on the galaxies that all have, and write one page to ``out``.

    ``truth`` is a table, or a store whose catalogue is taken. Labels are made as the card in the first votes says, with
    ``changes`` by name (``{"drop": "star"}``). ``choices`` (names, unmatched, bootstrap, seed, progress) are those of
    :func:`tuningfork.evaluate.compare.compare`, which is called, and raises what that raises.
    """
    catalog = _truth(truth)
    choice = default_choice(Votes.read(votes[0]), catalog, changes) if changes and votes else None
    return comparing.compare(votes, catalog, out, choice=choice, **choices)


def humans(
    votes: str | Path,
    truth: str | Path,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    **choices: Any,
) -> Judgement:
    """Hold votes against volunteers' shares where these were unsure, and write one page to ``out``.

    ``truth`` is a table with the volunteers' votes, or a store whose catalogue is taken. Classes are made of them as
    the card in the votes says, with ``changes`` by name (``{"tree": "gz1"}``); where it learnt a column, counts or
    fractions, they are those of kind "largest", merged and dropped as it says. ``choices`` (unsure, images,
    radius_arcsec, unmatched, bootstrap, seed, progress) are those of :func:`tuningfork.evaluate.humans.humans`, which
    is called, and raises what that raises.
    """
    read, catalog = Votes.read(votes), _truth(truth)
    choice = default_choice(read, catalog, changes)
    if choice.kind in _NO_SHARES and "kind" not in (changes or {}):
        choice = replace(choice, kind="largest")
    return holding.humans(read, catalog, out, choice=choice, **choices)


def _truth(path: str | Path) -> Catalog:
    """A table, or the catalogue that a source of galaxies brings."""
    return find_labels(open_source(path), None)[0] if Path(path).is_dir() else Catalog.read(path)
