"""From the Zooniverse: a project's export of clicks becomes a catalogue of votes on the questions of a tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import disk
from ..errors import BadCatalog
from ..galaxy.catalog import Catalog
from ..galaxy.impossible import listed
from ..galaxy.tree import Tree
from .account import Account, Rejects
from .clicks import Clicks, Progress, read_clicks
from .consistency import Weights, weigh
from .exports import BLOCK_BYTES, Export
from .reductions import read_reductions
from .tasks import TaskMap

Weighting = Literal["none", "consistency"]


@dataclass(frozen=True)
class VoteSummary:
    """What became of an export: ``n_in`` rows = ``n_done`` + ``n_rejected``, always.

    ``path`` is the catalogue of votes, ``rejected`` the Parquet table of rows that were not used (row, reason, detail),
    ``volunteers`` that of the weights ("" without). ``account`` has the counts by reason, and what of the answers
    could not be used. ``impossible`` describes subjects whose votes the tree cannot explain (more votes on a question
    than led there), of which ``n_impossible`` there are: :func:`~tuningfork.galaxy.labels.find_votes` will refuse them.
    """

    path: str
    rejected: str
    volunteers: str
    n_in: int
    n_done: int
    n_rejected: int
    n_subjects: int
    n_volunteers: int
    n_clicks: int
    n_impossible: int
    impossible: str
    account: Account

    def __str__(self) -> str:
        """The account as lines of text."""
        lines = self.account.lines()
        who = f" of {self.n_volunteers:,} volunteers" if self.n_volunteers else ""
        lines.append(f"{self.n_clicks:,} votes{who} on {self.n_subjects:,} subjects in '{self.path}'")
        if self.volunteers:
            lines.append(f"weights of the volunteers in '{self.volunteers}'")
        if self.n_rejected:
            lines.append(f"rejected rows in '{self.rejected}'")
        if self.n_impossible:
            lines.append(f"{self.n_impossible:,} subjects have votes that the tree cannot explain: {self.impossible}")
        return "\n".join(lines)


def from_zooniverse(
    export: str | Path,
    out: str | Path,
    *,
    tree: Tree | str | Path,
    map: Mapping[str, Any] | str | Path | None = None,
    weighting: Weighting = "none",
    id_key: str = "",
    workflow: str = "",
    block_bytes: int = BLOCK_BYTES,
    progress: Progress | None = None,
) -> VoteSummary:
    """Turn a Zooniverse export into votes per question of ``tree``, in a catalogue file of any suffix.

    ``export`` is a CSV in one of the layouts of :func:`~tuningfork.survey.exports.find_layout`: Panoptes
    classifications, extracts, reductions, or a plain table of clicks. Which task is which question goes by the wording,
    or by ``map`` (a TOML file, see :class:`~tuningfork.survey.tasks.TaskMap`); what fits neither is counted and named.
    ``id_key`` names the field of the subjects' metadata that becomes the id (default: Zooniverse's number).
    ``workflow`` takes only the rows of that workflow.

    The catalogue has, for every answer, ``<question>_<answer>_count`` (int32) and ``_fraction`` (float32, of the votes
    on the question; null where it got none), and ``n_volunteers``. With ``weighting="consistency"`` also ``_weight``
    (the sum of the voters' weights) and ``_weighted_fraction`` (:func:`~tuningfork.survey.consistency.weigh`), and
    ``<out>.volunteers.parquet`` with each volunteer's kappa, weight and number of clicks. Rows that were not used are
    in ``<out>.rejected.parquet``. The spill ``.<out>.clicks.parquet`` is there only while this runs.

    Memory grows with subjects, volunteers and (by 12 bytes) rows, not with what is in them. Raises
    :class:`~tuningfork.errors.BadCatalog` for an export that is none, without any vote, or without volunteers where
    they are to be weighted; :class:`~tuningfork.errors.TreeError` for a map that does not fit the tree.
    """
    tree = tree if isinstance(tree, Tree) else Tree.load(tree)
    tasks, place = TaskMap(tree, map), Path(out)
    if weighting not in ("none", "consistency"):
        raise ValueError(f"the weighting is 'none' or 'consistency', not {weighting!r}")
    account = Account()
    rejected, people = (place.with_name(f"{place.stem}.{what}.parquet") for what in ("rejected", "volunteers"))
    with Export(export, block_bytes=block_bytes) as opened:
        _refuse_unknown(export, opened.layout.kind, weighting, id_key)
        if opened.layout.kind == "reductions":
            with Rejects(rejected, account) as rejects:
                subjects, counts = read_reductions(
                    opened, tasks, account, rejects, workflow=workflow, progress=progress
                )
            known, weights = None, None
        else:
            known, counts, weights = _counted(
                opened, place, tasks, account, rejected, id_key, workflow, weighting, progress
            )
            subjects = known.subjects
    account.n_clicks = int(counts.sum())
    if not account.n_clicks:
        raise BadCatalog(f"'{export}' has no vote on the tree '{tree.name}':\n" + "\n".join(account.lines()))
    _catalog(subjects, counts, tree, known, weights).write(place)
    if known is not None and weights is not None:
        _volunteers(known, weights).write(people)
    else:
        disk.remove(people)  # those of an earlier run are not of this one
    return _summary(place, rejected, people if weights is not None else "", subjects, counts, tree, known, account)


def _refuse_unknown(export: str | Path, layout: str, weighting: Weighting, id_key: str) -> None:
    """What an export does not hold cannot be asked of it."""
    if layout == "reductions" and weighting != "none":
        raise BadCatalog(f"'{export}' holds reductions, which know no volunteers: take the classification export")
    if layout != "classifications" and id_key:
        raise BadCatalog(f"'{export}' holds {layout}, without the subjects' metadata: take the classification export")


def _counted(
    export: Export,
    place: Path,
    tasks: TaskMap,
    account: Account,
    rejected: Path,
    id_key: str,
    workflow: str,
    weighting: Weighting,
    progress: Progress | None,
) -> tuple[Clicks, NDArray[np.int32], Weights | None]:
    """The clicks of an export, counted and, where asked for, weighted; the spill is gone afterwards."""
    spill = place.with_name(f".{place.stem}.clicks.parquet")
    try:
        with Rejects(rejected, account) as rejects:
            clicks = read_clicks(
                export, spill, tasks, account, rejects, id_key=id_key, workflow=workflow, progress=progress
            )
        counts = clicks.counts()
        weights = weigh(clicks, counts, progress=progress) if weighting == "consistency" else None
        clicks.close()
    finally:
        disk.remove(spill)
    return clicks, counts, weights


def _summary(
    place: Path,
    rejected: Path,
    people: Path | str,
    subjects: list[str],
    counts: NDArray[np.int32],
    tree: Tree,
    clicks: Clicks | None,
    account: Account,
) -> VoteSummary:
    impossible = tree.check_counts(counts)
    return VoteSummary(
        path=str(place),
        rejected=str(rejected),
        volunteers=str(people),
        n_in=account.n_in,
        n_done=account.n_done,
        n_rejected=account.n_rejected,
        n_subjects=len(subjects),
        n_volunteers=len(clicks.users) if clicks is not None else 0,
        n_clicks=account.n_clicks,
        n_impossible=len(impossible),
        impossible=listed(impossible[:3], subjects),
        account=account,
    )


def _catalog(
    subjects: list[str], counts: NDArray[np.int32], tree: Tree, clicks: Clicks | None, weights: Weights | None
) -> Catalog:
    columns: dict[str, Any] = {"id": pa.array(subjects, pa.string())}
    if clicks is not None:
        columns["n_volunteers"] = clicks.n_volunteers
    kinds = {"count": counts, "fraction": tree.fractions(counts).astype(np.float32)}
    if weights is not None:
        kinds["weight"] = weights.votes.astype(np.float32)
        kinds["weighted_fraction"] = tree.fractions(weights.votes).astype(np.float32)
    for number, column in enumerate(tree.columns):
        for kind, values in kinds.items():
            one = values[:, number]
            columns[f"{column}_{kind}"] = pa.array(one, from_pandas=True) if one.dtype.kind == "f" else pa.array(one)
    return Catalog(pa.table(columns))


def _volunteers(clicks: Clicks, weights: Weights) -> Catalog:
    kappa = pa.array(weights.kappa.astype(np.float32), from_pandas=True)
    table = {"id": pa.array(clicks.users, pa.string()), "n_clicks": weights.n_clicks, "kappa": kappa}
    return Catalog(pa.table({**table, "weight": weights.weight.astype(np.float32)}))
