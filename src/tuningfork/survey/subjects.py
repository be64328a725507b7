"""To the Zooniverse: galaxies become pictures and a manifest, as panoptes-client uploads a subject set."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from .. import disk
from ..errors import BadCatalog, BadImage, BadStore, Reason
from ..galaxy.cutout import Record, Rejected
from ..galaxy.display import to_picture
from ..galaxy.source import Source, open_source

MANIFEST, REJECTED = "manifest.csv", "rejected.parquet"
MOST_BYTES = 1_000_000  # the Zooniverse's limit for one picture
HIDDEN = "#"  # the prefix of metadata that volunteers are not shown


@dataclass(frozen=True)
class SubjectSummary:
    """What became of the galaxies: ``n_in`` = ``n_done`` + ``n_rejected``; ``path`` is the manifest."""

    path: str
    n_in: int
    n_done: int
    n_rejected: int
    rejected: tuple[Rejected, ...] = ()

    def __str__(self) -> str:
        """The account as lines of text, and the command that uploads them."""
        lines = [f"{self.n_in:,} galaxies in = {self.n_done:,} done + {self.n_rejected:,} rejected: '{self.path}'"]
        for reason, number in Counter(str(item.reason) for item in self.rejected).most_common():
            first = [item.id for item in self.rejected if item.reason == reason][:3]
            lines.append(f"  {reason}: {number} ({', '.join(first)}{', ...' if number > 3 else ''})")
        lines.append(f"upload them with: panoptes subject-set upload-subjects SUBJECT_SET_ID {self.path}")
        return "\n".join(lines)


def to_zooniverse(
    source: Source | str | Path,
    out: str | Path,
    *,
    hidden: Sequence[str] = (),
    visible: Sequence[str] = (),
    format: Literal["png", "jpeg"] = "png",
    side: int = 0,
    flip: bool = False,
    most_bytes: int = MOST_BYTES,
    progress: Callable[[int, int, str], None] | None = None,
) -> SubjectSummary:
    """Write one picture per galaxy and ``manifest.csv`` into the new folder ``out``, for ``panoptes-client``.

    Pictures stay as they are; flux becomes a colour picture by :func:`~tuningfork.galaxy.display.to_picture`. ``side``
    enlarges or reduces them to that many pixels on the longer side (0: as they are); ``flip`` turns rows upside down,
    for sources that store the southernmost first. Files have names that any file system takes.

    The manifest has a row per subject: ``image``, then metadata: ``#id`` (from which
    :func:`~tuningfork.survey.zooniverse.from_zooniverse` takes ids back, with ``id_key="id"``), ``#ra`` and ``#dec``
    where known, the columns of the source's catalogue that are named in ``hidden`` (as ``#name``, which volunteers are
    not shown) and in ``visible``. It is written last: a folder with a manifest is whole.

    Galaxies that are no usable image are rejected with their reason, as are pictures above ``most_bytes`` (too_large),
    and listed in ``rejected.parquet``. Raises :class:`~tuningfork.errors.BadStore` where ``out`` has files of something
    else or a manifest already, :class:`~tuningfork.errors.BadCatalog` for a column that is not there.
    """
    source = source if isinstance(source, Source) else open_source(source)
    if format not in ("png", "jpeg"):
        raise ValueError(f"the format is 'png' or 'jpeg', not {format!r}")
    columns = _metadata(source, hidden, visible)
    place = Path(out)
    with disk.lock(place):
        _refuse_others(place, format)
        disk.sweep(place)
        rows: list[list[str]] = []
        rejected: list[Rejected] = []
        for number, item in enumerate(source.records()):
            done = _pictured(item, format, side, flip, most_bytes)
            if isinstance(done, Rejected):
                rejected.append(done)
            else:
                name = f"{disk.safe_name(item.id)}.{_SUFFIX[format]}"
                disk.write_bytes(place / name, done)
                rows.append([name, item.id, *_position(item), *(values[number] for values in columns.values())])
            if progress is not None:
                progress(number + 1, len(source), f"{len(rejected)} rejected")
        _write_rejected(place / REJECTED, rejected)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([["image", f"{HIDDEN}id", f"{HIDDEN}ra", f"{HIDDEN}dec", *columns], *rows])
        disk.write_text(place / MANIFEST, text.getvalue())
    n = len(rows) + len(rejected)
    return SubjectSummary(str(place / MANIFEST), n, len(rows), len(rejected), tuple(rejected))


_SUFFIX = {"png": "png", "jpeg": "jpg"}


def _metadata(source: Source, hidden: Sequence[str], visible: Sequence[str]) -> dict[str, list[str]]:
    """The columns of the manifest beside id and position, as text, in the source's order."""
    if not hidden and not visible:
        return {}
    if source.catalog is None:
        raise BadCatalog(f"'{source.path}' has no catalogue to take {', '.join([*hidden, *visible])} from")
    catalog = source.catalog.select(source.ids)
    wanted = {**{f"{HIDDEN}{name}": name for name in hidden}, **{name: name for name in visible}}
    return {shown: ["" if one is None else str(one) for one in _cells(catalog[name])] for shown, name in wanted.items()}


def _cells(values: NDArray[Any]) -> list[Any]:
    return [None if isinstance(one, float) and np.isnan(one) else one for one in values.tolist()]


def _refuse_others(place: Path, format: str) -> None:
    """Only pictures that a killed run of this command left may be there."""
    names = [path.name for path in place.iterdir() if not path.name.startswith(".")]
    if MANIFEST in names:
        raise BadStore(f"'{place}' has a manifest already; choose another folder, or remove this one")
    others = [name for name in names if name != REJECTED and not name.endswith(f".{_SUFFIX[format]}")]
    if others:
        raise BadStore(f"'{place}' is no folder of subjects: it has '{sorted(others)[0]}'; choose an empty one")


def _position(item: Record | Rejected) -> list[str]:
    if not isinstance(item, Record):
        return ["", ""]
    return ["" if value is None else repr(float(value)) for value in (item.ra, item.dec)]


def _pictured(item: Record | Rejected, format: str, side: int, flip: bool, most_bytes: int) -> bytes | Rejected:
    """The bytes of a galaxy's picture, or why there are none."""
    if isinstance(item, Rejected):
        return item
    try:
        pixels = to_picture(item.cutout())
    except BadImage as error:
        return Rejected(item.id, error.reason, error.detail, item.source)
    picture = Image.fromarray(np.ascontiguousarray(pixels[::-1] if flip else pixels))
    if side:
        scale = side / max(picture.size)
        width, height = (max(1, round(length * scale)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, format=format, **({"quality": 92, "subsampling": 0} if format == "jpeg" else {}))
    data = stream.getvalue()
    if len(data) > most_bytes:
        detail = f"{len(data):,} bytes as {format}, more than {most_bytes:,}; choose jpeg, or a smaller side"
        return Rejected(item.id, Reason.TOO_LARGE, detail, item.source)
    return data


def _write_rejected(path: Path, rejected: Sequence[Rejected]) -> None:
    names = ("id", "reason", "detail", "source")
    table = pa.table({name: pa.array([str(getattr(one, name)) for one in rejected], pa.string()) for name in names})
    with disk.atomic(path) as part:
        pq.write_table(table, part)
