"""Predictions at rest: one row for every galaxy that came in, done or rejected, with where they come from."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import __version__, disk
from ..errors import BadCatalog, BadVotes, TreeError
from .beta import dirichlet_columns
from .catalog import ID_NAMES, Catalog, guess
from .rival import bad_votes, recognise
from .tablefile import KEY, metadata, read_table, with_metadata, write_table
from .tree import Tree
from .votelayout import ROUNDED, Layout, check_table, column_name

if TYPE_CHECKING:
    from .cutout import Rejected

__all__ = ["FORMAT", "ROW_GROUP", "Votes", "VotesWriter", "column_name", "dirichlet_columns"]

FORMAT = "tuningfork votes 1"
ROW_GROUP = 16384  # rows held in memory before they are written


class VotesWriter:
    """Write predictions as they come, in constant memory, to one Parquet file that is whole or absent.

    ``head``, ``names``, ``tree`` and ``costs`` are those of :class:`Layout`; ``metadata`` (a JSON object: the model's
    name and digest, the input's digest, ...) goes into the file beside the version and the tree itself. If it has
    ``n_in``, closing checks that as many rows came. ``further`` are columns after those of the layout, such as
    :func:`~.votelayout.interval_fields`. Use it as a context manager: an error inside leaves no file behind.
    """

    def __init__(
        self,
        path: str | Path,
        head: str,
        names: Sequence[str],
        tree: Tree | None,
        metadata: Mapping[str, Any],
        further: Sequence[pa.Field] = (),
        costs: Sequence[float] = (),
    ) -> None:
        self.path = Path(path)
        self.layout = Layout(head, tuple(names), tree, tuple(costs))
        ours: dict[str, Any] = {"format": FORMAT, "head": head, "names": list(names), "tree": tree.name if tree else ""}
        if costs:
            ours |= {"costs": list(costs)}
        if tree:
            ours |= {"tree_digest": tree.digest, "tree_toml": tree.to_toml()}
        changed = [key for key in ours if key in metadata and metadata[key] != ours[key]]
        if changed:
            raise BadVotes(f"the metadata's {changed[0]!r} is kept for {ours[changed[0]]!r}; give it another key")
        self.metadata = {"version": __version__, **metadata, **ours}
        try:
            told = {KEY: json.dumps(self.metadata, allow_nan=False)}
            self._schema = pa.schema([*self.layout.schema, *further], metadata=told)
        except (TypeError, ValueError) as error:
            raise BadVotes(f"the metadata must be JSON without NaN: {error}") from error
        self._further = tuple(further)
        self.n_done = self.n_rejected = 0
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0

    @property
    def n_in(self) -> int:
        """The rows so far: ``n_done + n_rejected``."""
        return self.n_done + self.n_rejected

    def __enter__(self) -> Self:
        disk.sweep_dead(self.path)
        self._stack = contextlib.ExitStack()
        part = self._stack.enter_context(disk.atomic(self.path))
        try:
            self._file = pq.ParquetWriter(part, self._schema, compression="zstd")
        except BaseException:
            if not self._stack.__exit__(*sys.exc_info()):
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._flush()
                self._file.close()
                wanted = self.metadata.get("n_in", self.n_in)
                if wanted != self.n_in:
                    raise BadVotes(f"'{self.path}' was to have {wanted} rows, but {self.n_in} came: nothing is written")
            else:
                with contextlib.suppress(Exception):
                    self._file.close()
        except BaseException:
            self._stack.__exit__(*sys.exc_info())
            raise
        self._stack.__exit__(kind, error, trace)

    def write(
        self,
        ids: Sequence[str],
        ra: Sequence[float | None] | NDArray[np.float64] | None,
        dec: Sequence[float | None] | NDArray[np.float64] | None,
        values: NDArray[Any] | None,
        rejected: Iterable[Rejected] = (),
        further: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Add galaxies in the order of ``ids``; ``ra`` and ``dec`` (ICRS degrees) may be None, as a whole or in part.

        ``values`` (n, K) has one row for each of the ``ids`` that is not among ``rejected``: probabilities,
        concentrations or fractions; None where all are rejected. Rejected galaxies that are not among ``ids`` follow
        as rows of their own. ``further`` holds the further columns of the galaxies that ``values`` has, (n,) each.
        Raises :class:`BadVotes`, as :meth:`Layout.check`, before anything is written.
        """
        why = {one.id: str(one.reason) for one in rejected}
        order = [*ids, *(one for one in why if one not in set(ids))]
        if len(set(order)) < len(order):
            twice = [one for one, number in Counter(order).items() if number > 1]
            raise BadVotes(f"{len(twice)} id{'s' * (len(twice) > 1)} came twice in one call, such as {twice[:5]}")
        reasons = [why.get(one) for one in order]
        n_done = reasons.count(None)
        if values is None:
            values = np.empty((0, len(self.layout.names)), np.float32)
        sky = [_padded(axis, len(ids), len(order)) for axis in (ra, dec)]
        table = self.layout.table(order, sky[0], sky[1], np.asarray(values), reasons)
        done = np.array([one is None for one in reasons], bool)
        for one in self._further:
            column = np.zeros(len(order))
            column[done] = (further or {})[one.name] if n_done else ()
            table = table.append_column(one, pa.array(column, one.type, mask=~done))
        self.n_done += n_done
        self.n_rejected += len(order) - n_done
        self._waiting.append(table)
        self._n_waiting += len(order)
        if self._n_waiting >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._n_waiting:
            self._file.write_table(pa.concat_tables(self._waiting).cast(self._schema), row_group_size=self._n_waiting)
        self._waiting, self._n_waiting = [], 0


class Votes:
    """Predictions in memory, one row per input galaxy: columns as :class:`Layout` says, further columns after them.

    ``table`` is the Arrow table, ``metadata`` what was written beside it, ``layout`` (and ``head``, ``names``,
    ``tree``) what its columns mean. ``n_in = n_done + n_rejected``. Raises :class:`BadVotes` if the table breaks the
    schema: see :func:`~tuningfork.galaxy.votelayout.check_table`.
    """

    def __init__(self, table: pa.Table, layout: Layout, name: str = "the table") -> None:
        check_table(table, layout, name, ROUNDED)
        self.layout, self.name = layout, name
        self.metadata = metadata(table)
        wanted = self.metadata.get("n_in", len(table))
        if wanted != len(table):
            raise BadVotes(f"{name} has {len(table)} rows, but its metadata says that {wanted} galaxies came in")
        further = [column for column in table.column_names if column not in layout.schema.names]
        plain = table.select(layout.schema.names).cast(layout.schema)
        for column in further:
            plain = plain.append_column(table.schema.field(column), table.column(column))
        self.table = plain.replace_schema_metadata(table.schema.metadata)

    @classmethod
    def read(cls, path: str | Path, *, tree: Tree | None = None, id: str | None = None) -> Votes:
        """Read predictions: ours in any of the five formats, or another program's, known by its columns.

        ``tree`` and ``id`` (the column of ids) are for another program's; :func:`~tuningfork.galaxy.rival.recognise`
        says what is known. A CSV of ours has no metadata and is read as another program's. Raises :class:`BadVotes`.
        """
        name = f"'{path}'"
        try:
            table = read_table(path, lambda names: [one for one in [guess(names, ID_NAMES)] if one])
            kept = metadata(table)
            if kept.get("format") is None:
                foreign, layout = recognise(Catalog.read(path, id=id), tree)
                return cls(foreign, layout, name)
            return cls(table, _layout_of(kept, name), name)
        except BadCatalog as error:
            raise bad_votes(error) from error

    @property
    def head(self) -> str:
        """What the values are: "classes", "dirichlet", "fractions" or "sigmoid"."""
        return self.layout.head

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the K outputs: classes, or the columns of the tree."""
        return self.layout.names

    @property
    def tree(self) -> Tree | None:
        """The tree of a vote head, as it was when the votes were written."""
        return self.layout.tree

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return (
            f"Votes({self.n_in} in = {self.n_done} done + {self.n_rejected} rejected; {self.head}: {len(self.names)})"
        )

    @cached_property
    def ids(self) -> list[str]:
        """The ids, in the order of the rows."""
        return self.table.column("id").to_pylist()

    @cached_property
    def done(self) -> NDArray[np.bool_]:
        """Which rows have predictions, (N,)."""
        return pc.equal(self.table.column("status"), "done").to_numpy()

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """Probabilities, concentrations or fractions, (N, K) float32 in the order of ``names``; NaN where rejected."""
        return self.layout.values(self.table)

    @cached_property
    def fractions(self) -> NDArray[np.float32]:
        """The expected fraction of every answer, (N, A), NaN where rejected; of other heads, ``values``."""
        if self.head in ("classes", "sigmoid"):
            return self.values
        columns = [self.table.column(column_name(f"{name}_fraction")).to_numpy() for name in self.names]
        return np.column_stack(columns).astype(np.float32)

    @property
    def ra(self) -> NDArray[np.float64]:
        """Right ascension in ICRS degrees, NaN where unknown."""
        return self.table.column("ra").to_numpy()

    @property
    def dec(self) -> NDArray[np.float64]:
        """Declination in ICRS degrees, NaN where unknown."""
        return self.table.column("dec").to_numpy()

    @property
    def n_in(self) -> int:
        """How many galaxies came in."""
        return len(self.table)

    @property
    def n_done(self) -> int:
        """How many have predictions."""
        return int(self.done.sum())

    @property
    def n_rejected(self) -> int:
        """How many were rejected."""
        return self.n_in - self.n_done

    def reasons(self) -> dict[str, int]:
        """How many galaxies were rejected for each reason, the most frequent first."""
        return dict(Counter(one for one in self.table.column("reason").to_pylist() if one).most_common())

    def catalog(self) -> Catalog:
        """The same rows as a catalogue, to be joined with others."""
        return Catalog(self.table, name=self.name)

    def export(self, path: str | Path) -> None:
        """Write as .fits, .vot, .ecsv, .csv or .parquet, for TOPCAT and others; :meth:`read` reads any of them back.

        Null is NaN or an empty string in FITS, and the metadata is one JSON text: FITS keyword TFORKMET, VOTable
        PARAM "tuningfork", ECSV meta "tuningfork". CSV keeps the columns alone.
        """
        table = self.table
        if not self.metadata.get("format"):
            mine = {"format": FORMAT, "head": self.head, "names": list(self.names), "version": __version__}
            mine |= {"tree": self.tree.name, "tree_toml": self.tree.to_toml()} if self.tree else {"tree": ""}
            table = with_metadata(table, {**self.metadata, **mine})
        write_table(table, path)


def _padded(axis: Any, given: int, wanted: int) -> NDArray[np.float64]:
    values = np.full(wanted, np.nan)
    if axis is not None:
        known = np.array([np.nan if one is None else one for one in axis], np.float64)
        if known.shape != (given,):
            raise BadVotes(f"{known.size} positions for {given} ids")
        values[:given] = known
    return values


def _layout_of(kept: dict[str, Any], where: str) -> Layout:
    """The layout that metadata tells; the tree travels whole in it."""
    if kept["format"] != FORMAT:
        raise BadVotes(f"{where} says that its format is {kept['format']!r}; this version reads {FORMAT!r}")
    try:
        tree = Tree.from_toml(kept["tree_toml"], where) if kept.get("tree_toml") else None
        layout = Layout(kept["head"], tuple(kept["names"]), tree, tuple(kept.get("costs", ())))
    except (KeyError, TypeError, TreeError) as error:
        raise BadVotes(f"the metadata of {where} is damaged: {type(error).__name__}: {error}") from error
    if tree is not None and kept.get("tree_digest", tree.digest) != tree.digest:
        raise BadVotes(f"the tree '{tree.name}' in {where} is not the one that its digest was taken of")
    return layout
