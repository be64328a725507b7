"""The columns of a table of predictions: their names, types and meaning, and what a row may not say."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import entr

from ..errors import BadVotes, Reason
from .beta import dirichlet_columns
from .tablefile import field
from .tree import Tree

HEADS = ("classes", "dirichlet", "fractions", "sigmoid")
LONGEST = 68  # characters that FITS takes in a column's name
EXACT = 1e-3  # how far from 1 our probabilities may add up (float32, an ensemble's mean)
ROUNDED = 0.05  # the same of a foreign table, which may have rounded many classes to two digits
_FIRST = 5


def column_name(text: str) -> str:
    """``text`` as a column's name: letters, digits and underscores, a letter first, for TOPCAT, FITS and Python.

    Accents are dropped, every run of other characters becomes one underscore, and an ``n`` goes before a name that
    would not begin with a letter: "edge-on" is edge_on, "3 arms" n3_arms. Raises :class:`BadVotes` where nothing is
    left, or more than 68 characters are.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_]+", "_", plain)
    name = name if name == plain else name.strip("_")
    if not re.search(r"[A-Za-z0-9]", name):
        raise BadVotes(f"{text!r} has no letter or digit, so that no column can be named after it; rename it")
    name = name if name[0].isalpha() else f"n{name}"
    if len(name) > LONGEST:
        raise BadVotes(f"the column '{name}' has {len(name)} characters; FITS takes {LONGEST}: shorten '{text}'")
    return name


def column_names(texts: Iterable[str]) -> list[str]:
    """:func:`column_name` of each; raises :class:`BadVotes` if two become one (FITS and TOPCAT do not see case)."""
    seen: dict[str, str] = {}
    names = []
    for text in texts:
        name = column_name(text)
        if name.lower() in seen:
            raise BadVotes(f"{seen[name.lower()]!r} and {text!r} would both be the column '{name}'; rename one")
        seen[name.lower()] = text
        names.append(name)
    return names


def interval_fields(column: str, level: float) -> list[pa.Field]:
    """The two columns beside ``column`` that hold the truth for a share ``level`` of galaxies: "_low" and "_high"."""
    share = f"for {level:.0%} of galaxies the truth is between"
    return [
        field(f"{column}_low", pa.float32(), "", f"{share} this and {column}_high"),
        field(f"{column}_high", pa.float32(), "", f"{share} {column}_low and this"),
    ]


@dataclass(frozen=True, eq=False)
class Layout:
    """What a table of predictions holds: the head's kind, the names of its K outputs, and the tree of a vote head.

    ``head`` is "classes" (``names`` are the classes as the astronomer writes them), "dirichlet" or "fractions"
    (``names`` are ``tree.columns``; a foreign table of fractions may have no tree), or "sigmoid", K numbers in [0, 1]
    that need not sum to 1: of a tree of attributes one column ``<attribute>`` each, on the tree's own scale
    (``low + x (high - low)``); without a tree ``p_<class>``, and with a tree of votes ``<answer>_fraction``.
    ``costs`` (K,) are what it costs to miss each class (:meth:`chosen`); none: all the same.
    Raises :class:`BadVotes` for names that cannot be columns, or that are not the tree's.
    """

    head: str
    names: tuple[str, ...]
    tree: Tree | None = None
    costs: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise BadVotes(f"there is no head '{self.head}'; it is one of {', '.join(HEADS)}")
        if not self.names:
            raise BadVotes(f"a {self.head} head needs the names of its outputs; there are none")
        if self.tree is not None and self.names != self.tree.columns:
            odd = [pair for pair in zip(self.names, self.tree.columns, strict=False) if pair[0] != pair[1]]
            shown = f"'{odd[0][0]}' is '{odd[0][1]}' there" if odd else f"{len(self.names)}, not {self.tree.n_answers}"
            raise BadVotes(f"the outputs are not the columns of the tree '{self.tree.name}', in its order: {shown}")
        if self.head == "dirichlet" and (self.tree is None or self.tree.kind != "votes"):
            raise BadVotes("a dirichlet head needs the tree of questions that its concentrations belong to")
        if self.head == "classes" and self.tree is not None:
            raise BadVotes("a class head has no tree")
        fitting = self.head == "classes" and len(self.costs) == len(self.names)
        if self.costs and not (fitting and all(0 < one < np.inf for one in self.costs)):
            raise BadVotes(f"costs are of classes, a number above 0 each, not {list(self.costs)} of {self.names}")
        _ = self.fields

    @cached_property
    def value_columns(self) -> list[str]:
        """The columns that hold the K outputs, in their order: probabilities, concentrations or fractions."""
        shape = {"classes": "p_{}", "dirichlet": "{}_concentration"}.get(self.head, "{}_fraction")
        if self.head == "sigmoid":
            shape = "p_{}" if self.tree is None else "{}" if self._attributes else shape
        return column_names(shape.format(name) for name in self.names)

    def chosen(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """The class that each row of probabilities (N, K) is given: argmax of c_k p_k with the costs c.

        The choice that costs least where a galaxy of class k that is called something else costs c_k, and one that is
        called right nothing (Elkan 2001, IJCAI-01, eq. 1): with a rare class at a high cost fewer of it are missed.
        """
        weighed = values * np.array(self.costs) if self.costs else values
        return np.asarray(weighed.argmax(axis=1), np.int64) if len(values) else np.zeros(0, np.int64)

    @property
    def _attributes(self) -> bool:
        return self.head == "sigmoid" and self.tree is not None and self.tree.kind == "attributes"

    def _scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where each attribute's scale begins, and how long it is."""
        asked = self.tree.questions if self.tree is not None else ()
        return np.array([one.low for one in asked]), np.array([one.high - one.low for one in asked])

    def outputs(self, columns: NDArray[Any]) -> NDArray[np.float64]:
        """The K outputs from what :attr:`value_columns` hold, (N, K): attributes go from their own scale to [0, 1]."""
        values = np.asarray(columns, np.float64)
        if self._attributes:
            low, length = self._scale()
            values = (values - low) / length
        return values

    def _written(self) -> list[tuple[str, pa.DataType, str]]:
        """The columns of a sigmoid head."""
        if self._attributes and self.tree is not None:
            told = [f"{one.text or one.name}, from {one.low:g} to {one.high:g}" for one in self.tree.questions]
        elif self.tree is None:
            told = [f"probability of {name}, whatever the others are" for name in self.names]
        else:
            told = [f"expected fraction of {name}, whatever the others are" for name in self.names]
        return [(name, pa.float32(), words) for name, words in zip(self.value_columns, told, strict=True)]

    @cached_property
    def fields(self) -> list[pa.Field]:
        """Every column that depends on the head, in order, each with a line that says what it is."""
        made: list[tuple[str, pa.DataType, str]] = []
        if self.head == "classes":
            dear = ", ".join(f"{n} {c:g}" for n, c in zip(self.names, self.costs, strict=False) if c != 1)
            times = f" times what missing it costs ({dear}; else 1)" if dear else ""
            made.append(("class", pa.string(), f"the class of largest probability{times}"))
            made += [(f"p_{name}", pa.float32(), f"probability of class {name}") for name in self.names]
            made.append(("entropy", pa.float32(), "-sum p ln p of the probabilities, in nats"))
        elif self.head == "sigmoid":
            made += self._written()
        elif self.tree is None or self.tree.kind == "attributes":
            made += [(f"{name}_fraction", pa.float32(), f"predicted {name}, in [0, 1]") for name in self.names]
        else:
            for question in self.tree.questions:
                made.append((f"{question.name}_reached", pa.float32(), f"probability that {question.name} is asked"))
                for name in self.names[self.tree.slices[question.name]]:
                    made.append((f"{name}_fraction", pa.float32(), "expected fraction of votes, if asked"))
                    if self.head == "dirichlet":
                        made.append((f"{name}_low", pa.float32(), "fraction: 5% quantile of the Beta marginal"))
                        made.append((f"{name}_high", pa.float32(), "fraction: 95% quantile of the Beta marginal"))
                        made.append((f"{name}_concentration", pa.float32(), "Dirichlet concentration"))
        names = column_names([*_ALWAYS, *(name for name, _, _ in made)])[len(_ALWAYS) :]
        return [field(name, kind, "", words) for name, (_, kind, words) in zip(names, made, strict=True)]

    @cached_property
    def schema(self) -> pa.Schema:
        """The whole table's columns: id, ra, dec, status, reason, and those of the head."""
        return pa.schema(
            [
                field("id", pa.string(), "", "as in the input"),
                field("ra", pa.float64(), "deg", "right ascension, ICRS"),
                field("dec", pa.float64(), "deg", "declination, ICRS"),
                field("status", pa.string(), "", "done or rejected"),
                field("reason", pa.string(), "", "why the galaxy was rejected"),
                *self.fields,
            ]
        )

    def table(
        self,
        ids: Sequence[str],
        ra: NDArray[np.float64],
        dec: NDArray[np.float64],
        values: NDArray[Any],
        reasons: Sequence[str | None],
        tolerance: float = EXACT,
    ) -> pa.Table:
        """The table of N galaxies: one row of ``values`` for each whose reason is None; the others are rejected.

        NaN in ``ra`` and ``dec`` becomes null. Raises :class:`BadVotes` as :meth:`check` does.
        """
        done = np.array([reason is None for reason in reasons], bool)
        self.check(values, [one for one, fine in zip(ids, done, strict=True) if fine], tolerance)
        columns: dict[str, pa.Array] = {
            "id": pa.array(ids, pa.string()),
            "ra": pa.array(ra, pa.float64(), mask=np.isnan(ra)),
            "dec": pa.array(dec, pa.float64(), mask=np.isnan(dec)),
            "status": pa.array(["done" if fine else "rejected" for fine in done], pa.string()),
            "reason": pa.array(reasons, pa.string()),
        }
        index = np.where(done, np.cumsum(done) - 1, 0)
        for name, column in self._columns(values).items():
            spread = column[index] if done.any() else np.full(len(done), None if column.dtype == object else 0)
            columns[name] = pa.array(spread, self.schema.field(name).type, mask=~done)
        return pa.Table.from_arrays([columns[name] for name in self.schema.names], schema=self.schema)

    def _columns(self, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The head's columns for galaxies that are done."""
        made: dict[str, NDArray[Any]] = {}
        if self.head == "classes":
            made["class"] = np.array(self.names, object)[self.chosen(values)]
            made["entropy"] = entr(np.clip(values, 0, 1).astype(np.float64)).sum(axis=1).astype(np.float32)
        parts: dict[str, NDArray[Any]] = {}
        if self.head == "dirichlet":
            assert self.tree is not None
            parts = dirichlet_columns(values, self.tree)
        elif self.head == "fractions":
            parts = {"fraction": values}
            if self.tree is not None and self.tree.kind == "votes":
                parts["reached"] = self.tree.reach(values)
        if "reached" in parts and self.tree is not None:
            reached = parts.pop("reached")
            for number, question in enumerate(self.tree.questions):
                made[column_name(f"{question.name}_reached")] = reached[:, number].astype(np.float32)
        for what, array in parts.items():
            for number, name in enumerate(self.names):
                made[column_name(f"{name}_{what}")] = array[:, number].astype(np.float32)
        low, length = self._scale() if self._attributes else (np.zeros(len(self.names)), np.ones(len(self.names)))
        for number, name in enumerate(self.value_columns):
            made[name] = (low[number] + length[number] * np.asarray(values[:, number], np.float64)).astype(np.float32)
        return made

    def values(self, table: pa.Table) -> NDArray[np.float32]:
        """The K outputs of each row as (N, K) float32, NaN where rejected."""
        columns = [table.column(name).to_numpy() for name in self.value_columns]
        return (
            self.outputs(np.column_stack(columns)).astype(np.float32)
            if len(table)
            else np.empty((0, len(columns)), np.float32)
        )

    def check(self, values: NDArray[Any], ids: Sequence[str], tolerance: float = EXACT) -> None:
        """Raise :class:`BadVotes`, naming the first galaxies, for outputs that cannot be.

        These are a wrong shape; NaN or infinity; concentrations that are not positive; probabilities and fractions
        outside [0, 1]; probabilities that do not add up to 1 within ``tolerance``.
        """
        if values.ndim != 2 or values.shape != (len(ids), len(self.names)):
            raise BadVotes(
                f"predictions of shape {values.shape} for {len(ids)} galaxies and the {len(self.names)} outputs of a "
                f"{self.head} head"
            )
        _refuse(~np.isfinite(values).all(axis=1), ids, "have NaN or infinity (reject them as 'not_finite')", values)
        if self.head == "dirichlet":
            _refuse(~(values > 0).all(axis=1), ids, "have a concentration that is not positive", values)
            return
        slack = 1e-6  # float32 beside 1
        outside = (values < -slack) | (values > 1 + slack)
        _refuse(outside.any(axis=1), ids, "have values outside [0, 1]", values)
        if self.head == "classes":
            off = np.abs(values.sum(axis=1, dtype=np.float64) - 1) > tolerance
            _refuse(off, ids, "have class probabilities that do not sum to 1", values)


_ALWAYS = ("id", "ra", "dec", "status", "reason")


def _refuse(wrong: Any, ids: Sequence[str], what: str, values: NDArray[Any]) -> None:
    if wrong.any():
        rows = np.flatnonzero(wrong)
        shown = [
            f"row {r + 1} (id {ids[r]}): {np.round(values[r][:6].astype(float), 4).tolist()}" for r in rows[:_FIRST]
        ]
        raise BadVotes(f"{rows.size} of {len(ids)} predictions {what}:" + "".join(f"\n  {line}" for line in shown))


def check_table(table: pa.Table, layout: Layout, where: str, tolerance: float) -> None:
    """Raise :class:`BadVotes` unless every row of the table keeps the schema.

    One row for each id; ``status`` done or rejected; a reason of :class:`Reason` if and only if it is rejected;
    a done row without nulls, a rejected one without values; and what :meth:`Layout.check` asks of the values.
    """
    lacking = [name for name in layout.schema.names if name not in table.column_names]
    if lacking:
        raise BadVotes(f"{where} has no column {', '.join(map(repr, lacking[:8]))} ({len(lacking)} are missing)")
    ids = table.column("id").to_pylist()
    if None in ids:
        raise BadVotes(f"{where} has no id in row {ids.index(None) + 1}")
    if len(set(ids)) < len(ids):
        unique, counts = np.unique(np.array(ids, object), return_counts=True)
        raise BadVotes(f"{where} has ids on several rows, such as {unique[counts > 1][:_FIRST].tolist()}")
    status = np.array(table.column("status").to_pylist(), object)
    reasons = table.column("reason").to_pylist()
    known = {None, *map(str, Reason)}
    for row, (one, reason) in enumerate(zip(status, reasons, strict=True)):
        if one not in ("done", "rejected") or reason not in known or (one == "done") != (reason is None):
            raise BadVotes(
                f"{where}, row {row + 1} (id {ids[row]}): status {one!r} with reason {reason!r}; a row is done without "
                f"a reason, or rejected for one of: {', '.join(map(str, Reason))}"
            )
    done = status == "done"
    for column in layout.fields:
        missing = table.column(column.name).is_null().to_numpy()
        wrong = np.flatnonzero(missing == done)
        if wrong.size:
            row = int(wrong[0])
            words = "is done but has no value" if done[row] else "is rejected but has a value"
            raise BadVotes(
                f"{where}, row {row + 1} (id {ids[row]}) {words} in column '{column.name}', and {wrong.size - 1} more"
            )
    layout.check(layout.values(table)[done], [one for one, fine in zip(ids, done, strict=True) if fine], tolerance)
