"""Pixels: the galaxies as rows of numbers, rendered by the one path that training and prediction share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, BandError, TrainingError
from ..galaxy.cutout import Record, Rejected
from ..galaxy.display import Display, render_record
from ..galaxy.records import Source

Progress = Callable[[int, int, str], None]

_AHEAD = 256  # records held undecoded at a time


@dataclass(frozen=True, eq=False)
class Rows:
    """Galaxies asked for: ``asked`` ids with ``ra`` and ``dec`` (None where unknown), in their order.

    ``pixels`` uint8 (n, bands, size, size) are of ``ids``, those of ``asked`` that could be used; the others are
    ``rejected``.
    """

    asked: tuple[str, ...]
    ra: tuple[float | None, ...]
    dec: tuple[float | None, ...]
    ids: tuple[str, ...]
    pixels: NDArray[np.uint8]
    rejected: tuple[Rejected, ...]

    @property
    def flat(self) -> NDArray[np.float32]:
        """The pixels as rows of numbers in 0..1, float32 (n, bands x size x size)."""
        return self.pixels.reshape(len(self.pixels), -1).astype(np.float32) / np.float32(255)


def settled(source: Source, display: Display, ids: Sequence[str]) -> Display:
    """The display with the bands of these galaxies where it names none, and asinh for flux without a stretch.

    Raises :class:`BandError` where the source lacks a band that the display names, :class:`TrainingError` where none
    of the galaxies can be decoded.
    """
    lacking = [band for band in display.bands if source.bands is not None and band not in source.bands]
    if lacking:
        raise BandError(f"'{source.path}' has the bands {', '.join(source.bands or ())}, but not {', '.join(lacking)}")
    bands = display.bands or source.bands or ()
    for identifier in ids:
        if bands:
            break
        try:
            bands = source.record(identifier).cutout().bands
        except BadImage:
            continue
    if not bands:
        raise TrainingError(f"none of {len(ids)} galaxies of '{source.path}' can be decoded: their bands are unknown")
    default = Display.for_bands(bands)
    stretch = default.stretch if display.stretch == "none" else display.stretch
    return replace(display, bands=tuple(bands), stretch=stretch)


def render_rows(
    source: Source, ids: Sequence[str], display: Display, *, threads: int = 0, progress: Progress | None = None
) -> Rows:
    """Decode and render the galaxies ``ids`` in threads (0 = all cores), in their order; bad ones are rejected."""

    def one(record: Record | Rejected) -> NDArray[np.uint8] | Rejected:
        if isinstance(record, Rejected):
            return record
        try:
            return render_record(record, display)
        except BadImage as bad:
            return Rejected(record.id, bad.reason, bad.detail, record.source)

    pixels = np.empty((len(ids), len(display.bands), display.size, display.size), np.uint8)
    kept: list[str] = []
    rejected: list[Rejected] = []
    places: list[tuple[float | None, float | None]] = []
    stream = iter(source.records(ids))
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        while chunk := list(islice(stream, _AHEAD)):
            for record, result in zip(chunk, pool.map(one, chunk), strict=True):
                places.append((None, None) if isinstance(record, Rejected) else (record.ra, record.dec))
                if isinstance(result, Rejected):
                    rejected.append(result)
                else:
                    pixels[len(kept)] = result
                    kept.append(record.id)
            if progress is not None:
                progress(len(places), len(ids), f"rendered, {len(rejected)} rejected")
    if len(places) != len(ids):
        raise TrainingError(f"'{source.path}' gave {len(places)} galaxies for {len(ids)} ids")
    ra, dec = tuple(place[0] for place in places), tuple(place[1] for place in places)
    return Rows(tuple(ids), ra, dec, tuple(kept), pixels[: len(kept)], tuple(rejected))
