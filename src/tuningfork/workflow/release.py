"""The set of models that is shipped: what their cards tell, the licence, who trained and who judges, and how large."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import disk
from .. import recipe as recipes
from ..data.split import PARTS
from ..errors import RecipeError
from ..galaxy.catalog import Catalog
from ..galaxy.labels import LabelChoice, make_labels
from ..model.card import Card
from .info import list_shipped

LICENCE = "BSD-3-Clause"
LICENCE_TEXT = Path(__file__).resolve().parents[1] / "model" / "reference-licence.txt"
MANIFEST = "split.parquet"  # as a run has it: `predict --part test` finds it beside the models
LARGEST = 24_000_000  # bytes of the whole set
EFFICIENTNET = "Tan & Le 2019 (EfficientNet)"
Told = Mapping[str, Mapping[str, Any]]  # by model, entries of its card


@dataclass(frozen=True)
class Head:
    """What the card of one model tells of where it comes from."""

    on: str  # what it learnt from
    citation: str
    notes: str
    judges: tuple[str, str]  # the sample, and the part of it, on which it is judged
    rates: dict[str, Any] = field(default_factory=dict)  # of classes that are not as frequent as in the training
    costs: dict[str, float] = field(default_factory=dict)  # of missing classes that are rare and looked for


# RingFinder found 330 candidates among 640,000 early-type galaxies of the CFHTLS and kept a quarter of the lenses
# (completeness .25 after inspection): 1 in 1,900 found, 1 in 490 there, were all candidates lenses.
LENS_RATES = {
    "shares": {"lens": 0.001, "not_lens": 0.999},
    "learnt": {"lens": 0.5, "not_lens": 0.5},
    "source": "1 in 1,000 galaxies: between the 1 in 1,900 early-type galaxies of the CFHTLS that are candidates of "
    "RingFinder and the 1 in 490 that its completeness makes of them (Gavazzi et al. 2014, ApJ 785, 144)",
}

HEADS = {
    "gz1": Head(
        "Galaxy Zoo 1",
        f"Lintott et al. 2008, 2011; {EFFICIENTNET}",
        "Elliptical, spiral by direction, edge-on, merger: what most volunteers said of an SDSS picture.",
        ("gz1", PARTS[2]),
        costs={"merger": 12.0},  # the best balanced accuracy on validation galaxies (benchmarks/prior.py)
    ),
    "efigi": Head(
        "EFIGI",
        f"Baillard et al. 2011; {EFFICIENTNET}",
        "Hubble stage T and 16 attributes of nearby galaxies, as astronomers judged them.",
        ("efigi", PARTS[2]),
    ),
    "gz2": Head(
        "Galaxy Zoo 2 (Stripe 82, and examples of its answers)",
        f"Willett et al. 2013; {EFFICIENTNET}",
        "The votes of volunteers on each question of Galaxy Zoo 2's tree, as Dirichlet distributions.",
        ("stripe82", PARTS[2]),
    ),
    "galaxy-or-not": Head(
        "a simulated sky",
        f"tuningfork; {EFFICIENTNET}",
        "Whether a picture shows a galaxy, or a star or an artefact. It learnt from simulated pictures alone.",
        ("sky", PARTS[1]),
    ),
    "lens": Head(
        "simulated gravitational lenses and what looks like them",
        f"tuningfork; {EFFICIENTNET}",
        "Whether a picture shows a strong gravitational lens. It learnt from simulated pictures alone.",
        ("lenses", PARTS[1]),
        LENS_RATES,
    ),
    "sky": Head(
        "a simulated sky",
        f"tuningfork; {EFFICIENTNET}",
        "The kinds of the simulated sky. It learnt from simulated pictures alone.",
        ("sky", PARTS[1]),
    ),
}


@dataclass(frozen=True)
class Release:
    """A set of models as it lies in ``path``; ``rows`` tell of each, with the figures of its own card."""

    path: str
    bytes: int
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """A table for people: the models, their first figures, the size of all."""
        keys = ("name", "answers", "measured", "size")
        cells = [[str(row.get(key, "")) for key in keys] for row in ({key: key for key in keys}, *self.rows)]
        widths = [max(len(row[k]) for row in cells) for k in range(len(keys))]
        lines = ["  ".join(one.ljust(width) for one, width in zip(row, widths, strict=True)).rstrip() for row in cells]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join([*lines, f"{len(self.rows)} models, {self.bytes / 1e6:.1f} MB in all: '{self.path}'"])


def told_of(
    folders: Mapping[str, Path], catalog: Catalog, choice: LabelChoice, weights: str, heads: Mapping[str, Head] = HEADS
) -> Told:
    """By model the entries of its card that tell where it comes from; nothing in them names a place on one machine.

    ``folders`` are those of the trained models, ``catalog`` is what they learnt from, with the column "part", by the
    labels of ``choice``; ``weights`` says what the encoder began from, ``heads`` the rest. "training" counts the
    galaxies of each part with a label of that model.
    """
    parts = dict(zip(catalog.ids, catalog["part"].tolist(), strict=True))
    counted = {one.choice.name: Counter(parts[name] for name in one.ids) for one in make_labels(catalog, choice).parts}
    told = {}
    for name, folder in folders.items():
        head, training = heads[name], dict(Card.load(folder).training)
        galaxies = {part: counted[name][part] for part in PARTS}
        training |= {"on": head.on, "galaxies": galaxies, "began": weights}
        training["origin"] = [_without_place(line) for line in training.get("origin", [])]
        if "recipe" in training:
            model = dict(training["recipe"]["model"])
            training["recipe"] = {**training["recipe"], "model": model | {"pretrained": _name(model["pretrained"])}}
        told[name] = {
            "licence": LICENCE, "citation": head.citation, "notes": head.notes, "training": training,
            "rates": head.rates, "costs": head.costs,
        }  # fmt: skip
    return told


def _without_place(line: str) -> str:
    """A line in which paths in quotes are file names only."""
    return re.sub(r"'([^']*[\\/][^']*)'", lambda found: f"'{_name(found[1])}'", line)


def _name(path: str) -> str:
    return re.split(r"[\\/]", path)[-1]


def accompany(out: Path, catalog: Catalog, recipe: Any) -> None:
    """Write what lies beside the models of the set ``out``: licence, recipe, and the part of every galaxy by its id.

    ``recipe`` is the dataclass that made them. Ids are "sample:id". Raises :class:`RecipeError` for a set of more than
    :data:`LARGEST` bytes.
    """
    disk.write_text(out / "LICENSE", LICENCE_TEXT.read_text(encoding="utf-8"))
    recipes.save(recipe, out / "recipe.toml")
    Catalog({"id": list(catalog.ids), "part": catalog["part"].tolist()}).write(out / MANIFEST)
    if (size := bytes_of(out)) > LARGEST:
        raise RecipeError(
            f"the models in '{out}' take {size / 1e6:.1f} MB, and are shipped up to {LARGEST / 1e6:.0f} MB: choose a "
            "smaller backbone (train.model.backbone) or fewer heads"
        )


def bytes_of(folder: Path) -> int:
    """The bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def settle(folder: Path, told: Mapping[str, Any]) -> Card:
    """The card of a shipped model with what was ``measured`` and where it ``fails``; nothing else of it changes."""
    card = replace(Card.load(folder), measured=tuple(told.get("measured", ())), fails=tuple(told.get("fails", ())))
    card.save(folder)
    return card


def release(out: Path, names: Mapping[str, Path], notes: tuple[str, ...] = ()) -> Release:
    """What the set in ``out`` is, by the cards of its models."""
    return Release(str(out), bytes_of(out), tuple(list_shipped(names)), notes)
