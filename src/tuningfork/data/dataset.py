"""The galaxies of one part as the network sees them: every picture decoded and rendered once, kept as uint8."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .. import disk
from ..errors import BadImage, DiskFull, TrainingError
from ..galaxy.cutout import Record, Rejected
from ..galaxy.display import Display, render_record
from ..galaxy.records import Source

Progress = Callable[[int, int, str], None]

_AHEAD = 256  # records held undecoded at a time


@dataclass(frozen=True, eq=False)
class Cache:
    """Rendered galaxies: ``pixels`` uint8 (N, bands, M, M) with the ``ids`` of their rows, and those ``rejected``.

    M is the display's size + 2 ``margin``. ``file`` is the scratch file behind ``pixels``, None if they are in memory.
    """

    ids: tuple[str, ...]
    pixels: NDArray[np.uint8]
    rejected: tuple[Rejected, ...] = ()
    file: Path | None = field(default=None)

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: ArrayLike) -> torch.Tensor:
        """The galaxies of some rows, in that order, as a uint8 tensor (n, bands, M, M)."""
        return torch.from_numpy(self.pixels[np.asarray(rows)])

    def moments(self, size: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per band of the central ``size`` px in 0..1, over at most 4,096 galaxies.

        The galaxies are evenly spaced in the cache. A band without any variation gets the deviation 1.
        """
        some = self.pixels[:: max(1, len(self) // 4096)]
        cut = (some.shape[-1] - size) // 2
        some = some[..., cut : cut + size, cut : cut + size]
        levels = np.arange(256) / 255
        counts = np.stack([np.bincount(some[:, band].ravel(), minlength=256) for band in range(some.shape[1])])
        mean = counts @ levels / counts.sum(axis=1)
        variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / counts.sum(axis=1)
        deviation = np.where(variance > 0, np.sqrt(variance), 1.0)
        return tuple(round(float(m), 7) for m in mean), tuple(round(float(s), 7) for s in deviation)

    def close(self) -> None:
        """Remove the scratch file, if there is one; the cache must not be used afterwards."""
        if self.file is not None:
            disk.remove(self.file)


def render_all(
    source: Source,
    ids: Sequence[str],
    display: Display,
    margin: int = 0,
    *,
    scratch: Path,
    memory_limit: float = 4e9,
    threads: int = 0,
    progress: Progress | None = None,
) -> Cache:
    """Decode and render the galaxies ``ids`` of ``source`` once, in threads, keeping their order.

    The same :func:`~tuningfork.galaxy.display.render_record` as in predict. More than ``memory_limit`` bytes go to the
    file ``scratch``, mapped into memory. ``threads``: 0 = all cores. A galaxy that cannot be used is listed in
    ``rejected`` and has no row. Raises :class:`TrainingError` if none can, :class:`DiskFull` if ``scratch`` cannot fit.
    """
    side, bands = display.size + 2 * margin, len(display.bands)
    shape = (len(ids), bands, side, side)
    if np.prod(shape, dtype=float) <= memory_limit:
        pixels = np.empty(shape, dtype=np.uint8)
        kept, rejected = _fill(pixels, source, ids, display, margin, threads, progress)
        return Cache(kept, pixels[: len(kept)], rejected)
    need, free = int(np.prod(shape, dtype=float)), shutil.disk_usage(disk.make_folder(scratch.parent)).free
    if need >= free:  # asked before, because a map into a full disk ends the process without a word
        raise DiskFull(
            f"'{scratch}' needs {need / 1e9:.2f} GB for rendered galaxies, {free / 1e9:.2f} GB are free: free some "
            f"space, or raise train.memory_gb above {need / 1e9:.1f} to keep them in memory"
        )
    with disk.atomic(scratch) as part:
        mapped = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        kept, rejected = _fill(mapped, source, ids, display, margin, threads, progress)
        mapped.flush()
        del mapped
    return Cache(kept, np.load(scratch, mmap_mode="r")[: len(kept)], rejected, scratch)


def _fill(
    pixels: NDArray[np.uint8],
    source: Source,
    ids: Sequence[str],
    display: Display,
    margin: int,
    threads: int,
    progress: Progress | None,
) -> tuple[tuple[str, ...], tuple[Rejected, ...]]:
    """Render into the first rows of ``pixels``; gives the ids of these rows, and the rejected."""

    def one(record: Record | Rejected) -> NDArray[np.uint8] | Rejected:
        if isinstance(record, Rejected):
            return record
        try:
            return render_record(record, display, margin)
        except BadImage as error:
            return Rejected(record.id, error.reason, error.detail, record.source)

    kept: list[str] = []
    rejected: list[Rejected] = []
    wanted, stream = iter(ids), iter(source.records(ids))
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        while chunk := list(islice(stream, _AHEAD)):
            for identifier, result in zip(islice(wanted, len(chunk)), pool.map(one, chunk), strict=True):
                if isinstance(result, Rejected):
                    rejected.append(result)
                else:
                    pixels[len(kept)] = result
                    kept.append(identifier)
            if progress:
                progress(len(kept) + len(rejected), len(ids), f"rendered, {len(rejected)} rejected")
    if len(kept) + len(rejected) != len(ids):
        raise TrainingError(f"'{source.path}' gave {len(kept) + len(rejected)} galaxies for {len(ids)} ids")
    if ids and not kept:
        first = rejected[0]
        raise TrainingError(
            f"none of {len(ids)} galaxies can be used, first '{first.id}': {first.reason} ({first.detail})"
        )
    return tuple(kept), tuple(rejected)
