"""Space Warps' metadata: which subjects are lenses, which are not, and which nobody knows, explained by a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import BadCatalog, LabelError
from .catalog import Catalog
from .labels import LabelChoice, Labels

__all__ = ["COLUMNS", "FLAVOURS", "LENS", "NOT_LENS", "SpaceWarps"]

COLUMNS = ("category", "kind", "truth", "flavor", "stage", "alpha")
FLAVOURS = ("lensed galaxy", "lensing cluster", "lensed quasar")
LENS, NOT_LENS = "lens", "not lens"  # the two classes
# kind -> (category, truth, flavours): what a subject of this kind can only be
_KINDS = {
    "sim": ("training", "lens", FLAVOURS),
    "dud": ("training", "not", ("dud",)),
    "test": ("test", "unknown", ("test",)),
}
# what becomes of a row: reason -> class ("" = left out)
REASONS = {
    "lens, drawn (alpha 1)": LENS,
    "lens, not drawn (alpha 0)": NOT_LENS,
    "known not to be a lens": NOT_LENS,
    "lens, drawn in part (alpha between 0 and 1)": "",
    "truth unknown": "",
}
_FIRST = 5

Words = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class SpaceWarps:
    """A Space Warps catalogue (Marshall et al. 2016, MNRAS 455, 1171) whose every row is understood.

    ``catalog`` is as it came; ``reasons`` (N,) is for each row a key of :data:`REASONS`, ``flavours`` (N,) and
    ``stages`` (N,) are its flavor in lower case and its stage, 1 or 2. A subject is a lens where its truth is LENS and
    its alpha 1; not a lens where its truth is NOT, or LENS with alpha 0 (the picture without the simulated lens drawn
    on it). A subject of unknown truth is nobody's example, and least of all a negative one.
    """

    catalog: Catalog
    reasons: Words
    flavours: Words
    stages: NDArray[np.int64]

    @classmethod
    def read(cls, catalog: Catalog) -> SpaceWarps:
        """Understand a catalogue with the columns of :data:`COLUMNS`; words are read without regard to case.

        Raises :class:`BadCatalog`, which lists the rows (counted from 1), for a column that is not there, a value that
        does not exist (stages are 1 and 2, alpha of a lens lies in [0, 1] and is not empty), and a combination that
        cannot be: a sim is training and truth LENS of a lens' flavor, a dud is training and truth NOT, a test subject
        is of category test and truth UNKNOWN.
        """
        lacking = [name for name in COLUMNS if name not in catalog]
        if lacking:
            raise BadCatalog(
                f"{catalog.name} has no column {', '.join(map(repr, lacking))}, without which lenses cannot be told "
                f"from pictures whose lens was not drawn: Space Warps' metadata has {', '.join(COLUMNS)}; here are "
                f"{', '.join(catalog.columns[:20])}"
            )
        category, kind, truth, flavour = (_words(catalog[name]) for name in COLUMNS[:4])
        stage, alpha = (_numbers(catalog, name) for name in COLUMNS[4:])
        _refuse(catalog, ~np.isin(kind, list(_KINDS)), f"kind is none of {', '.join(_KINDS)}", kind)
        _refuse(catalog, ~np.isin(truth, ["lens", "not", "unknown"]), "truth is none of LENS, NOT, UNKNOWN", truth)
        _refuse(catalog, ~np.isin(stage, [1, 2]), "stage is neither 1 nor 2", stage)
        for name, (its_category, its_truth, flavours) in _KINDS.items():
            here = kind == name
            allowed = f"a {name} has category {its_category}, truth {its_truth.upper()}, flavor {' or '.join(flavours)}"
            wrong = here & ((category != its_category) | (truth != its_truth) | ~np.isin(flavour, flavours))
            _refuse(catalog, wrong, allowed, category, kind, truth, flavour)
        lens = truth == "lens"
        _refuse(catalog, lens & ~((alpha >= 0) & (alpha <= 1)), "alpha of a lens lies between 0 and 1", truth, alpha)
        drawn, not_drawn, known, partly, unknown = REASONS
        cases = [lens & (alpha == 1), lens & (alpha == 0), lens, truth == "not"]
        reasons = np.select(cases, [drawn, not_drawn, partly, known], unknown).astype(object)
        return cls(catalog, reasons, flavour, stage.astype(np.int64))

    def classes(self, by: Literal["lens", "flavor"] = "lens") -> Words:
        """The class of each row, (N,), "" where it has none: lens and not lens, or the flavor in place of lens."""
        found = np.array([REASONS[reason] for reason in self.reasons], dtype=object)
        return np.where(found == LENS, self.flavours, found) if by == "flavor" else found

    def labels(self, stage: int = 0, *, by: Literal["lens", "flavor"] = "lens") -> Labels:
        """Labels of one stage (0 = both), one-hot: "not lens" first, then "lens", or by flavor its three names.

        ``dropped`` counts the rows of that stage that are left out, by reason. Raises :class:`LabelError` where a stage
        has no row, or no lens, or nothing else.
        """
        if stage not in (0, 1, 2) or by not in ("lens", "flavor"):
            raise LabelError(f"stage is {stage} and by is '{by}': stage is 0 (both), 1 or 2, by is 'lens' or 'flavor'")
        rows = self.stages == stage if stage else np.ones(len(self.stages), bool)
        found = self.classes(by)
        kept = np.flatnonzero(rows & (found != ""))
        names = (NOT_LENS, *((LENS,) if by == "lens" else FLAVOURS))
        lenses = int((found[kept] != NOT_LENS).sum())
        if not 0 < lenses < len(kept):
            where = f"stage {stage}" if stage else "both stages"
            raise LabelError(
                f"{self.catalog.name} has {lenses} lenses and {len(kept) - lenses} others in {where}: nothing to tell "
                f"apart\n{self.table()}"
            )
        number = np.array([names.index(name) for name in found[kept]])
        reasons = Counter(self.reasons[rows].tolist())
        dropped = {reason: reasons[reason] for reason, name in REASONS.items() if not name}
        ids = tuple(self.catalog.ids[row] for row in kept.tolist())
        values = np.eye(len(names), dtype=np.float32)[number]
        return Labels(ids, "classes", names, values, None, LabelChoice(), dropped)

    def labelled(self, stage: int = 0, *, by: Literal["lens", "flavor"] = "lens") -> Catalog:
        """The rows that have a label, with it in the column "class" (replaced if there was one), to train on."""
        labels = self.labels(stage, by=by)
        names = [labels.names[number] for number in labels.classes.tolist()]
        return self.catalog.select(labels.ids).with_columns({"class": names})

    def counts(self) -> dict[int, dict[str, int]]:
        """Rows per stage and reason: ``counts()[2]["truth unknown"]``; every reason is there, also with 0."""
        found = {}
        for stage in (1, 2):
            seen = Counter(self.reasons[self.stages == stage].tolist())
            found[stage] = {reason: seen[reason] for reason in REASONS}
        return found

    def table(self) -> str:
        """The counts explained, as text: for each stage what became of every row, and the lenses by flavor."""
        counts = self.counts()
        lines: list[tuple[str, str, str, str]] = [("", "used as", "stage 1", "stage 2")]
        lines += [
            (reason, name or "left out", f"{counts[1][reason]:,}", f"{counts[2][reason]:,}")
            for reason, name in REASONS.items()
        ]
        found = self.classes("flavor")

        def row(label: str, count: Callable[[NDArray[np.bool_]], int]) -> tuple[str, str, str, str]:
            first, second = (f"{count(self.stages == stage):,}" for stage in (1, 2))
            return label, "", first, second

        lines.append(row("rows in all", lambda here: int(here.sum())))
        lines.append(row("rows with a label", lambda here: int((found[here] != "").sum())))
        shares = []
        for stage in (1, 2):
            here = found[(self.stages == stage) & (found != "")]
            shares.append(f"{100 * np.mean(here != NOT_LENS):.1f}%" if len(here) else "-")
        lines.append(("lenses among these", "", shares[0], shares[1]))
        lines += [
            row(f"lenses: {one}", lambda here, one=one: int((found[here] == one).sum()))  # type: ignore[misc]
            for one in FLAVOURS
        ]
        widths = [max(len(line[column]) for line in lines) for column in range(4)]
        return "\n".join(
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip() for a, b, c, d in lines
        )


def _words(values: NDArray[Any]) -> Words:
    texts = [one.decode() if isinstance(one, bytes) else "" if one is None else str(one) for one in values]
    return np.array([" ".join(text.casefold().split()) for text in texts], dtype=object)


def _numbers(catalog: Catalog, name: str) -> NDArray[np.float64]:
    """A column as numbers, NaN where it is empty; a text that is no number is refused."""
    texts = _words(catalog[name])
    numbers = np.full(len(texts), np.nan)
    wrong = np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        if text in ("", "none", "nan", "null", "--"):
            continue
        try:
            numbers[row] = float(text)
        except ValueError:
            wrong[row] = True
    _refuse(catalog, wrong, f"{name} is no number", texts)
    return numbers


def _refuse(catalog: Catalog, wrong: NDArray[np.bool_], rule: str, *shown: NDArray[Any]) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        told = [
            f"  row {row + 1} (id {catalog.ids[row]}): {', '.join(repr(str(one[row])) for one in shown)}"
            for row in rows[:_FIRST].tolist()
        ]
        more = [f"  ... and {len(rows) - _FIRST} more"] if len(rows) > _FIRST else []
        raise BadCatalog(
            "\n".join([f"{len(rows)} rows of {catalog.name} cannot be in Space Warps; {rule}:", *told, *more])
        )
