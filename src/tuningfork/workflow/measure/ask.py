"""Ask models about galaxies that lie anywhere: answers as arrays, with the reasons of those that have none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...data.split import PARTS, uniform
from ...errors import BadImage, BadWeights, Reason, RecipeError
from ...evaluate.bootstrap import Bools, Floats
from ...galaxy.cutout import Record, Rejected
from ...galaxy.records import Source
from ...predict.ahead import ahead
from ...predict.answers import Head
from ...predict.eyes import Eye, find_models, open_eyes
from ...predict.sight import Sight, seen_as
from ...predict.views import chosen_views

BATCH = 32  # galaxies per call of the network
WAYS = {True: "framed by the source", False: "the whole picture"}  # how a picture is seen, by `resize` of classify
Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
_Item = Record | Rejected
_Seen = list[tuple[str, list[NDArray[np.uint8] | BadImage]]]  # by galaxy: what each eye sees, or why it sees nothing


@dataclass(frozen=True, eq=False)
class Asked:
    """The answers of ``heads`` to galaxies ``ids`` (N), in the order they came.

    ``values`` holds by head what the network gives, (N, K) float32, NaN throughout for a galaxy without an answer;
    ``reasons`` by id the reason why a galaxy has no answer of at least one of the heads.
    """

    ids: tuple[str, ...]
    heads: dict[str, Head]
    values: dict[str, NDArray[np.float32]]
    reasons: dict[str, str]

    def __contains__(self, name: object) -> bool:
        return name in self.heads

    def answered(self, name: str) -> Bools:
        """Which galaxies the head ``name`` has an answer to, (N,)."""
        return np.asarray(np.isfinite(self.values[name]).all(axis=1))

    def said(self, name: str) -> Floats:
        """The answers (N, K) of a head as :meth:`~tuningfork.predict.answers.Head.said` tells them, without bounds."""
        head, values = self.heads[name], self.values[name]
        rows = [[told[answer] for answer in head.names] for told in map(head.said, values)]
        return np.array(rows, np.float64).reshape(len(values), len(head.names))

    def column(self, name: str, answer: str) -> Floats:
        """One answer (N,) of :meth:`said`."""
        return self.said(name)[:, self.heads[name].names.index(answer)]


def open_heads(
    models: str | Path | Sequence[str | Path],
    names: Collection[str] | None = None,
    *,
    views: int = 1,
    resize: bool = True,
    threads: int = 0,
) -> tuple[Eye, ...]:
    """Those of some models (as ``classify`` takes them) whose folders have one of these names; None = all.

    A name that is not there is passed over, so that sets with fewer heads can be measured: () where none is. A head is
    called as its folder. Raises :class:`BadWeights` where ``models`` are none.
    """
    found = find_models([models] if isinstance(models, (str, Path)) else models)
    folders = {folder.name: folder for folder in found}
    if len(folders) < len(found):
        raise BadWeights(f"two of the models have one name: {', '.join(folder.name for folder in found)}")
    chosen = [folder for name, folder in folders.items() if names is None or name in names]
    if not chosen:
        return ()
    eyes = open_eyes(chosen, chosen_views(views), resize, "auto", threads)
    if len(chosen) == 1:
        return tuple(replace(eye, heads=(replace(eye.heads[0], name=chosen[0].name),)) for eye in eyes)
    return eyes


def ask(records: Iterable[_Item], eyes: Sequence[Eye], threads: int = 2) -> Asked:
    """Show galaxies to models and keep their answers; a bad galaxy becomes its reason. Memory grows by answers only."""
    heads = {head.name: head for eye in eyes for head in eye.heads}
    ids, reasons = list[str](), dict[str, str]()
    kept: dict[str, list[NDArray[np.float32]]] = {name: [] for name in heads}
    with ThreadPoolExecutor(threads) as pool:
        for batch in ahead(pool, lambda chunk: _look(chunk, eyes), records, BATCH, threads + 1):
            ids += [name for name, _ in batch]
            for k, eye in enumerate(eyes):
                shown = [(row, one[k]) for row, (_, one) in enumerate(batch)]
                rows = [row for row, image in shown if not isinstance(image, BadImage)]
                images = [image for _, image in shown if not isinstance(image, BadImage)]
                reasons |= {batch[row][0]: str(bad.reason) for row, bad in shown if isinstance(bad, BadImage)}
                answers = eye.ask(np.stack(images)) if rows else []
                for number, head in enumerate(eye.heads):
                    whole = np.full((len(batch), len(head.names)), np.nan, np.float32)
                    if rows:
                        whole[rows] = answers[number]
                    kept[head.name].append(whole)
    values = {
        name: np.concatenate([np.zeros((0, len(heads[name].names)), np.float32), *arrays])
        for name, arrays in kept.items()
    }
    return Asked(tuple(ids), heads, values, reasons)


def shown_images(records: Iterable[_Item], eye: Eye) -> tuple[list[str], NDArray[np.uint8]]:
    """The ids that an eye can see and what it sees of them, uint8 (N, bands, M, M)."""
    seen = [(name, images[0]) for name, images in _look(list(records), [eye])]
    good = [(name, image) for name, image in seen if not isinstance(image, BadImage)]
    side = eye.display.size + 2 * eye.margin
    empty = np.zeros((0, len(eye.bands), side, side), np.uint8)
    return [name for name, _ in good], np.stack([image for _, image in good]) if good else empty


def _look(chunk: list[_Item], eyes: Sequence[Eye]) -> _Seen:
    seen: _Seen = []
    for record in chunk:
        if isinstance(record, Rejected):
            seen.append((record.id, [BadImage(record.reason, record.detail)] * len(eyes)))
            continue
        images: list[NDArray[np.uint8] | BadImage] = []
        for eye in eyes:
            try:
                sight: Sight = seen_as(record, record.cutout(), eye.bands)
                images.append(eye.shown(record, sight))
            except BadImage as bad:
                images.append(bad)
        seen.append((record.id, images))
    return seen


def ids_of_part(union: Source, sample: str, most: int = 0, part: str = PARTS[2]) -> list[str]:
    """The galaxies of a sample that lie in one part of :func:`~tuningfork.workflow.samples.gather_samples`.

    ``most`` > 0 takes so many at most, by a hash of their ids. Raises :class:`RecipeError` for a source without parts.
    """
    catalog = union.catalog
    if catalog is None or not {"sample", "part"} <= {*catalog.columns}:
        raise RecipeError(f"'{union.path}' has no columns 'sample' and 'part': gather the samples first")
    here = (np.asarray(catalog["sample"]) == sample) & (np.asarray(catalog["part"]) == part)
    ids = [one for one, judges in zip(catalog.ids, here.tolist(), strict=True) if judges]
    return some(ids, most)


def some(ids: Sequence[str], most: int) -> list[str]:
    """At most so many of these ids (0 = all), chosen by a hash of each, in their order."""
    if not 0 < most < len(ids):
        return list(ids)
    chosen = set(np.argsort(uniform(list(ids), 1), kind="stable")[:most].tolist())
    return [one for row, one in enumerate(ids) if row in chosen]


def changed(records: Iterable[_Item], change: Change) -> Iterator[_Item]:
    """Pictures whose pixels went through ``change`` (uint8 (height, width, bands) to the same), without loss.

    What cannot be read stays a reason, and flux becomes one: of it, 8 bits would be left.
    """
    for record in records:
        if isinstance(record, Rejected):
            yield record
            continue
        try:
            cutout = record.cutout()
        except BadImage as bad:
            yield Rejected(record.id, bad.reason, bad.detail, record.source)
            continue
        if not cutout.is_picture:
            yield Rejected(record.id, Reason.MISSING_BAND, "flux, of which no picture was made", record.source)
            continue
        shown = np.moveaxis(np.asarray(cutout.pixels, np.uint8), 0, 2)
        pixels = np.moveaxis(change(shown), 2, 0)
        yield Record.from_pixels(record.id, pixels, cutout.bands, source=record.source)
