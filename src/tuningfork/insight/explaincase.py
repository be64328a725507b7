"""What is to be explained: a model, the galaxies as it sees them, those they are compared with, and how thoroughly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import recipe
from ..errors import BadImage, BandError, Reason, RecipeError
from ..evaluate.bootstrap import Floats
from ..galaxy.cutout import Cutout, Record, Rejected
from ..galaxy.display import Display, render, render_record
from ..galaxy.frame import SourceFound, find_source
from ..galaxy.records import Source
from ..model.card import Card, find_model, load_golden
from ..model.net import GalaxyNet
from ..model.weights import answer, load
from ..predict.answers import Galaxy, Head, averaged, certain
from ..predict.inwords import way
from ..predict.sight import Portrait, portrait, seen_as
from .attribution import METHODS
from .exemplars import excited
from .folded import folded
from .layers import BATCH, Layer, find_layer, layers_of, outputs, spatial_hint
from .targets import Target, find_target

Progress = Callable[[int, int, str], None]
MOST_FILES = 12  # galaxies that are explained where files are given without a number
COMPARED = 400  # galaxies of a store with which those explained are compared
FEWEST = 8  # galaxies that make a store worth comparing with


@dataclass(frozen=True)
class Effort:
    """How much work each part does; :data:`EFFORTS` has the two that there are.

    ``stages`` of the randomisation test; ``removals``, steps of deletion and insertion; ``octaves`` and ``dreamt``
    steps of the dream; ``ascended`` steps of feature visualisation; ``units`` of the building blocks and of exemplars;
    ``questions`` that are explained of a tree or of attributes.
    """

    stages: int
    removals: int
    displaced: int
    octaves: int
    dreamt: int
    ascended: int
    units: int
    questions: int


EFFORTS = {
    "quick": Effort(1, 3, 20, 2, 8, 16, 4, 1),
    "thorough": Effort(5, 16, 20, 3, 20, 128, 6, 12),
}


@dataclass(frozen=True, eq=False)
class Seen:
    """One galaxy: ``pixels`` uint8 (bands, S, S) as the network sees it, its ``answers`` (K,) and these by name.

    Answers are means over quarter turns, as calibrated. ``cutout`` holds the pixels of the file, in the model's bands
    where it has others.
    """

    id: str
    pixels: NDArray[np.uint8]
    answers: NDArray[np.float32]
    said: dict[str, float]
    galaxy: Galaxy
    portrait: Portrait
    cutout: Cutout
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Case:
    """A network with its card, the galaxies to explain, and those compared with, ``pixels`` uint8 (N, bands, S, S)."""

    net: GalaxyNet
    card: Card
    folder: Path
    head: Head
    display: Display
    effort: Effort
    seed: int
    methods: tuple[str, ...]
    layers: tuple[Layer, ...]
    targets: tuple[str, ...]
    asked: frozenset[str] = frozenset()  # what the user named, of which nothing is left out: "parts", "methods"
    seen: tuple[Seen, ...] = ()
    ids: tuple[str, ...] = ()
    pixels: NDArray[np.uint8] = dataclasses.field(default_factory=lambda: np.zeros((0, 0, 0, 0), np.uint8))

    @property
    def compared(self) -> bool:
        """Whether there are galaxies enough to compare with."""
        return len(self.ids) >= FEWEST

    @cached_property
    def quicker(self) -> GalaxyNet:
        """The network without its batch norms, for all that asks it often and names no layer."""
        return folded(self.net)

    @cached_property
    def colours(self) -> NDArray[np.uint8]:
        """Galaxies whose colours pictures from noise take: those compared with, or a few with the golden ones."""
        if self.compared:
            return self.pixels
        golden, _ = load_golden(self.folder)
        return np.concatenate([golden, *(one.pixels[None] for one in self.seen)])

    def places(self) -> Layer:
        """The last layer whose units have places; raises :class:`RecipeError` where no layer has."""
        known = layers_of(self.net)
        found = [one for one in known if one.spatial and not one.attention]
        if not found:
            raise RecipeError(spatial_hint(self.net, known))
        return found[-1]

    @cached_property
    def excitement(self) -> dict[str, tuple[Floats, Floats, Floats]]:
        """By layer, those chosen and the last with places, how much each galaxy compared with excites each unit (N, U).

        At most, on average, and where (N, U, 2), as :func:`~.exemplars.excited`; one look at each galaxy for all.
        """
        layers = {one.name: one for one in self.layers}
        layers |= {one.name: one for one in [self.places()]}
        kept: dict[str, list[tuple[Floats, Floats, Floats]]] = {name: [] for name in layers}
        for start in range(0, len(self.pixels), BATCH):
            found = outputs(self.net, list(layers.values()), self.pixels[start : start + BATCH])
            for name, values in found.items():
                kept[name].append(excited(layers[name], values))
        joined = {name: [np.concatenate(part) for part in zip(*some, strict=True)] for name, some in kept.items()}
        return {name: (largest, mean, where) for name, (largest, mean, where) in joined.items()}

    @cached_property
    def compared_answers(self) -> NDArray[np.float32]:
        """The answers (N, K) to the galaxies compared with, as they stand."""
        return answers_to(self, self.pixels)

    def targets_of(self, one: Seen) -> tuple[Target, ...]:
        """The answers to explain of a galaxy: those asked for, else the likeliest class, or those of the questions on
        its way through the tree, or the first attributes, as many as the effort says."""
        names: Sequence[str | None] = self.targets or (None,)
        tree = self.head.tree
        if not self.targets and tree is not None and self.head.is_path:
            names = [
                question for question, _ in zip(_asked(self.head, one), range(self.effort.questions), strict=False)
            ]
        elif not self.targets and self.head.is_attributes:
            names = self.head.names[: self.effort.questions]
        found = []
        for name in names:
            try:
                found.append(find_target(self.net, self.card, name, answers=one.answers))
            except RecipeError as error:
                if "has no log odds" not in str(error):
                    raise
                found.append(find_target(self.net, self.card, name, scale="probability", answers=one.answers))
        return tuple(dict.fromkeys(found))


def _asked(head: Head, one: Seen) -> list[str]:
    """The questions on the likeliest way through a tree, in order."""
    assert head.tree is not None
    asked, question = [], head.tree.questions[0]
    for _ in way(head.tree, one.said):
        asked.append(question.name)
        columns = head.tree.columns[head.tree.slices[question.name]]
        best = max(range(len(columns)), key=lambda k: one.said[columns[k]])
        if not question.answers[best].next:
            break
        question = head.tree.question(question.answers[best].next)
    return asked


def open_case(
    model: str | Path,
    *,
    thorough: bool = False,
    seed: int = 0,
    methods: Sequence[str] = (),
    layers: Sequence[str | int] = (),
    targets: Sequence[str] = (),
) -> Case:
    """A model ready to be explained, without galaxies yet.

    Raises what loading a model raises, and :class:`RecipeError`, naming the nearest, for a method, layer or answer
    that does not exist.
    """
    wrong = [one for one in methods if one not in METHODS]
    if wrong:
        near = recipe.nearest(wrong[0], list(METHODS))
        raise RecipeError(f"there is no attribution '{wrong[0]}'{near}; there are {', '.join(METHODS)}")
    folder = find_model(model)
    net, card = load(folder)
    head = Head(card.name, card.head, card.names, card.load_tree(), card.calibration)
    for one in targets:
        find_target(net, card, one, scale="probability")
    chosen = tuple(find_layer(net, one) for one in layers) or usual_layers(net)
    effort = EFFORTS["thorough" if thorough else "quick"]
    display = recipe.from_mapping(Display, card.display)
    told = (tuple(methods) or tuple(METHODS), chosen, tuple(targets))
    asked = frozenset({"methods"} if methods else ())
    return Case(net, card, folder, head, display, effort, seed, *told, asked)


def usual_layers(net: GalaxyNet, most: int = 4) -> tuple[Layer, ...]:
    """A few layers that differ: of each size of map the last that is no part of a block, or some evenly spread."""
    known = [one for one in layers_of(net) if one.spatial and not one.attention]
    outermost: dict[int, Layer] = {}
    for one in known:
        if one.side not in outermost or one.name.count(".") <= outermost[one.side].name.count("."):
            outermost[one.side] = one
    found = sorted(outermost.values(), key=lambda one: one.number)
    if len(found) < 3:
        found = [known[k] for k in sorted({round(k) for k in np.linspace(0, len(known) - 1, 4)})] if known else []
    return tuple(found[-most:])


def look(case: Case, record: Record | Rejected) -> tuple[NDArray[np.uint8], Portrait, Cutout, Galaxy, tuple[str, ...]]:
    """What the network sees of a galaxy, as classify frames it, with its portrait; raises BadImage."""
    if isinstance(record, Rejected):
        raise BadImage(record.reason, record.detail)
    cutout = record.cutout()
    sight = seen_as(record, cutout, case.card.bands)
    source: SourceFound | None = None
    try:
        source = find_source(sight.cutout.pixels)
    except BadImage:
        if case.display.petrosian:
            raise
    if record.format == "jpeg" and not case.display.petrosian:  # which may decode it smaller
        pixels = render_record(record, case.display)
    else:
        pixels = render(sight.cutout, case.display)
    galaxy = Galaxy(record.id, ra=cutout.ra, dec=cutout.dec)
    galaxy = galaxy if source is None else galaxy.at(sight.stored(source))
    shown = portrait(record, sight, source, case.display)
    return pixels, shown, cutout, galaxy, (sight.note,) if sight.note else ()


def see(case: Case, record: Record | Rejected) -> Seen:
    """A galaxy with its answers, means over quarter turns; raises BadImage."""
    pixels, shown, cutout, galaxy, notes = look(case, record)
    answers = turned_answers(case, pixels)
    if not np.isfinite(answers).all():
        raise BadImage(Reason.NOT_FINITE, f"the network '{case.card.name}' answered with NaN or infinity")
    said = case.head.said(answers)
    galaxy.answers[case.head.name] = said
    if case.head.has_sets:
        galaxy.likely[case.head.name] = case.head.likely(said)
    return Seen(galaxy.id, pixels, answers, said, galaxy, shown, cutout, notes)


def turned_answers(case: Case, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The calibrated answers (K,) to a picture uint8 (bands, S, S), means over its four quarter turns."""
    turns = np.stack([np.rot90(pixels, k, (1, 2)) for k in range(4)])
    mean = averaged(answer(case.net, turns)[:, None], case.card.head, case.head.tree)
    return certain(mean, case.card.calibration, case.head.tree)[0]


def answers_to(case: Case, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The calibrated answers (N, K) to pictures uint8 (N, bands, S, S) as they stand."""
    some = [answer(case.net, pictures[start : start + 64]) for start in range(0, len(pictures), 64)]
    return certain(np.concatenate(some), case.card.calibration, case.head.tree)


def read(case: Case, target: Target, answers: NDArray[np.float32]) -> Floats:
    """The probability, expected share or value of an answer, of answers (..., K)."""
    p = answers[..., target.column].astype(np.float64)
    if case.card.head == "dirichlet":
        p = p / answers[..., target.first : target.last].sum(axis=-1)
    return np.asarray(target.low + p * (target.high - target.low))


def choose(
    opened: Sequence[Source], ids: Sequence[str], n: int, compare: int, seed: int
) -> tuple[list[str], list[str], str]:
    """The ids to explain, those to compare with (these included), and a note where a limit has left some out.

    Of a source of many galaxies the first ``n`` are explained (0: 1); of single files all, at most :data:`MOST_FILES`.
    Those compared with are drawn at random. Raises :class:`RecipeError` for an id that is not there.
    """
    known = {one: None for source in opened for one in source.ids}
    missing = [one for one in ids if one not in known]
    if missing:
        near = recipe.nearest(missing[0], list(known)[:10_000])
        raise RecipeError(f"no galaxy is called '{missing[0]}'{near}; the first are {', '.join(list(known)[:3])}")
    singles = all(len(source) == 1 for source in opened)
    most = n or (MOST_FILES if singles else 1)
    chosen = list(dict.fromkeys(ids)) or list(known)[:most]
    note = ""
    if not ids and singles and len(known) > len(chosen):
        note = f"{len(known) - len(chosen)} of {len(known)} files are not explained: --n {len(known)} takes all"
    rest = [one for one in known if one not in set(chosen)]
    room = max(min(compare - len(chosen), len(rest)), 0)
    rows = np.sort(np.random.default_rng(seed).choice(max(len(rest), 1), room, replace=False))
    return chosen, [*chosen, *(rest[row] for row in rows)] if compare else [], note


def refuse_other_bands(rejected: Sequence[Rejected], path: str) -> None:
    """Raise :class:`BandError` where every galaxy was rejected since it has other bands than the model."""
    if rejected and all(one.reason is Reason.MISSING_BAND for one in rejected):
        raise BandError(f"no galaxy of '{path}' can be seen by this model: {rejected[0].detail}")
