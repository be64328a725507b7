"""SWAP: what volunteers together know of a yes-or-no question, each believed by how well they do on known subjects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import disk
from ..errors import BadCatalog, TreeError
from ..galaxy.catalog import Catalog
from ..galaxy.question import nearest
from ..galaxy.tree import Tree
from .account import Account, Rejects
from .clicks import Clicks, Progress, read_clicks
from .exports import BLOCK_BYTES, Export
from .tasks import TaskMap

Floats = NDArray[np.float64]
YES = ("lens", "yes", "true", "1", "positive", "sim")
NO = ("not", "no", "false", "0", "negative", "dud")


@dataclass(frozen=True)
class SwapChoice:
    """The numbers of SWAP; prior, thresholds and start are those of Space Warps (Marshall et al. 2016)."""

    prior: float = 2e-4  # the share of subjects that are expected to be positive
    accept: float = 0.95  # a posterior above this is a detection
    reject: float = 1e-7  # a posterior below this retires the subject
    start: float = 0.5  # what is assumed of a volunteer's skills before any training
    ceiling: float = 0.99  # nobody is believed more than this, so that no click settles a subject for good
    floor: float = 1e-12  # the smallest posterior, for the same reason

    def __post_init__(self) -> None:
        values = (self.floor, self.reject, self.prior, self.accept, 1.0)
        if not all(0 < one < two for one, two in pairwise(values)):
            raise ValueError(
                f"it has to be 0 < floor < reject < prior < accept < 1, not {', '.join(map(str, values[:-1]))}"
            )
        if not 0 < self.start <= self.ceiling < 1:
            raise ValueError(f"it has to be 0 < start <= ceiling < 1, not {self.start} and {self.ceiling}")


@dataclass(frozen=True)
class SwapSummary:
    """What came of an export: rows, and how many subjects are in which state. Paths of the three tables."""

    path: str
    volunteers: str
    rejected: str
    n_in: int
    n_done: int
    n_rejected: int
    n_subjects: int
    n_volunteers: int
    n_detected: int
    n_retired: int
    n_training: int
    account: Account

    def __str__(self) -> str:
        """The account as lines of text."""
        open_ = self.n_subjects - self.n_training - self.n_detected - self.n_retired
        states = f"{self.n_detected:,} detected, {self.n_retired:,} retired, {open_:,} undecided"
        lines = [*self.account.lines(), f"{self.n_subjects:,} subjects in '{self.path}': {states}"]
        lines[-1] += f", {self.n_training:,} for training"
        return "\n".join([*lines, f"skills of {self.n_volunteers:,} volunteers in '{self.volunteers}'"])


def updated(posterior: float, said_yes: bool, skill_yes: float, skill_no: float) -> float:
    """The probability that a subject is positive after one click (Marshall et al. 2016, section 3).

    With ``skill_yes`` = P("yes" | positive) and ``skill_no`` = P("no" | negative) of the volunteer, Bayes: said yes,
    ``p sY / (p sY + (1 - p)(1 - sN))``; said no, ``p (1 - sY) / (p (1 - sY) + (1 - p) sN)``.
    """
    if said_yes:
        one, other = posterior * skill_yes, (1 - posterior) * (1 - skill_no)
    else:
        one, other = posterior * (1 - skill_yes), (1 - posterior) * skill_no
    return one / (one + other)


def information(skill_yes: Floats, skill_no: Floats) -> Floats:
    """The bits that a volunteer's click is worth on a subject that is positive with probability 1/2: 0 to 1.

    The mutual information of the truth and the click: ``H(mean of sY and 1 - sN) - (H(sY) + H(sN)) / 2``, H(p) the
    entropy of a coin (Marshall et al. 2016, appendix). A coin tosser is worth 0; so is one who always says yes.
    """

    def entropy(p: Floats) -> Floats:
        safe = np.clip(p, 1e-300, 1 - 1e-16)
        return -(safe * np.log2(safe) + (1 - safe) * np.log2(1 - safe))

    yes, no = np.asarray(skill_yes, np.float64), np.asarray(skill_no, np.float64)
    return np.clip(entropy((yes + 1 - no) / 2) - (entropy(yes) + entropy(no)) / 2, 0, 1)


@dataclass(eq=False)
class Crowd:
    """The state of SWAP: a posterior per subject, and per volunteer what she got right of the known subjects.

    ``truth`` is 1, 0, or -1 where it is not known. ``n_before`` counts the clicks on a subject until it was retired or,
    if it was not, all of them; ``n_after`` those after that, which teach nothing about it.
    """

    choice: SwapChoice
    truth: NDArray[np.int8]
    posterior: list[float]
    retired: list[bool]
    n_before: list[int]
    n_after: list[int]
    skill_yes: list[float]
    skill_no: list[float]
    n_yes: list[int]
    n_no: list[int]
    n_clicks: list[int]

    @classmethod
    def of(cls, truth: NDArray[np.int8], volunteers: int, choice: SwapChoice) -> Crowd:
        """Before the first click."""
        n, m, start = len(truth), volunteers, choice.start
        return cls(choice, truth, [choice.prior] * n, [False] * n, [0] * n, [0] * n,
                   [start] * m, [start] * m, [0] * m, [0] * m, [0] * m)  # fmt: skip

    def hear(self, clicks: Iterable[tuple[int, int, bool]]) -> None:
        """Take in clicks (subject, volunteer, said yes), the oldest first: the subject learns, then the volunteer.

        A skill starts as if it had been seen 1 / ``start`` times and is the running share of right answers from there.
        Known subjects are never retired.
        """
        low, high, floor = self.choice.reject, self.choice.ceiling, self.choice.floor
        virtual = 1 / self.choice.start
        truth = self.truth.tolist()
        posterior, retired = self.posterior, self.retired
        for subject, who, yes in clicks:
            self.n_clicks[who] += 1
            known = truth[subject]
            if retired[subject]:
                self.n_after[subject] += 1
                continue
            self.n_before[subject] += 1
            p = max(floor, updated(posterior[subject], yes, self.skill_yes[who], self.skill_no[who]))
            posterior[subject] = p
            if known < 0:
                retired[subject] = p < low
            elif known:
                n = self.n_yes[who] + virtual
                self.skill_yes[who] = min(high, (self.skill_yes[who] * n + yes) / (n + 1))
                self.n_yes[who] += 1
            else:
                n = self.n_no[who] + virtual
                self.skill_no[who] = min(high, (self.skill_no[who] * n + (not yes)) / (n + 1))
                self.n_no[who] += 1


def swap(
    export: str | Path,
    out: str | Path,
    *,
    tree: Tree | str | Path,
    question: str,
    positive: str,
    gold: Catalog | str | Path,
    gold_column: str = "truth",
    map: Mapping[str, Any] | str | Path | None = None,
    choice: SwapChoice | None = None,
    id_key: str = "",
    workflow: str = "",
    block_bytes: int = BLOCK_BYTES,
    progress: Progress | None = None,
) -> SwapSummary:
    """Weigh the clicks on one binary question by each volunteer's skill; posteriors, retirements and skills to files.

    ``question`` of the ``tree`` is answered "yes" by its answer ``positive`` and "no" by any other. ``gold`` has the
    subjects whose truth is known (simulated lenses and duds): a row per id, in ``gold_column`` one of LENS, yes, true,
    1, positive, sim, or NOT, no, false, 0, negative, dud, in any case (empty or UNKNOWN: not known). Clicks are taken
    in the order in which they were made (``created_at``; of the same second, as the export has them), all other things
    as in :func:`~tuningfork.survey.zooniverse.from_zooniverse`. This is the online analysis of Marshall et al. 2016
    (MNRAS 455, 1171), with one difference: skills are numbers, where the paper draws 50 trajectories from the binomial
    uncertainty of each and takes their mean.

    ``out`` has a row per subject: id, posterior (float64), status ("detected", "rejected", "undecided"), retired,
    n_clicks (until retirement), n_after (later ones), kind ("training" or "test") and truth (1, 0, null).
    ``<out>.volunteers.parquet``: id, n_clicks, n_yes and n_no (known subjects seen), skill_yes, skill_no, information
    (bits per click). A volunteer without training stays at ``choice.start``, and at 0.5 moves no subject.

    Raises :class:`~tuningfork.errors.BadCatalog` where no click is on the question, the export has no volunteers or no
    times, or ``gold`` cannot be read as truth or shares no id with the export; :class:`TreeError` for names.
    """
    tree = tree if isinstance(tree, Tree) else Tree.load(tree)
    part, answers = tree.slices[tree.question(question).name], [one.name for one in tree.question(question).answers]
    if positive not in answers:
        raise TreeError(f"'{question}' has no answer '{positive}'{nearest(positive, answers)}: {', '.join(answers)}")
    place, account, tasks = Path(out), Account(), TaskMap(tree, map)
    gold = gold if isinstance(gold, Catalog) else Catalog.read(gold)
    known = dict(zip(gold.ids, (_truth(value, gold, gold_column) for value in gold[gold_column]), strict=True))
    rejected, people = (place.with_name(f"{place.stem}.{what}.parquet") for what in ("rejected", "volunteers"))
    spill = place.with_name(f".{place.stem}.clicks.parquet")
    try:
        with Export(export, block_bytes=block_bytes) as opened, Rejects(rejected, account) as rejects:
            if not opened.layout.user or not opened.layout.time:
                raise BadCatalog(f"'{export}' does not tell who clicked when: take the classification export")
            clicks = read_clicks(opened, spill, tasks, account, rejects, id_key=id_key, workflow=workflow, timed=True,
                                 progress=progress)  # fmt: skip
        crowd = _heard(clicks, known, part, part.start + answers.index(positive), choice or SwapChoice())
        clicks.close()
    finally:
        disk.remove(spill)
    account.n_clicks = sum(crowd.n_clicks)
    if not account.n_clicks or (crowd.truth < 0).all():
        what = "no click on" if not account.n_clicks else f"no subject of {gold.name} among those of"
        raise BadCatalog(f"'{export}' has {what} the question '{question}':\n" + "\n".join(account.lines()))
    return _written(place, people, rejected, clicks, crowd, account)


def _truth(value: Any, gold: Catalog, column: str) -> int:
    """1, 0 or -1 for what a gold table says."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return -1
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_))
    text = f"{value:g}" if number else str(value).strip().casefold()
    if text in YES or text in NO:
        return int(text in YES)
    if text in ("", "unknown", "test", "-1"):
        return -1
    raise BadCatalog(
        f"column '{column}' of {gold.name} says {value!r}; it may be {', '.join(YES)}, {', '.join(NO)} or unknown"
    )


def _heard(clicks: Clicks, known: Mapping[str, int], part: slice, yes: int, choice: SwapChoice) -> Crowd:
    """SWAP over all clicks on one question, in the order of their times."""
    found: list[list[NDArray[Any]]] = [[], [], [], []]
    for entry, subject, user, column in clicks.batches():
        ours = (column >= part.start) & (column < part.stop)
        for values, one in zip(found, (entry, subject, user, column), strict=True):
            values.append(one[ours])
    entry, subject, user, column = (np.concatenate(values) if values else np.zeros(0, np.int64) for values in found)
    fresh = np.ones(len(entry), bool)  # of check boxes, one that says yes is a yes
    order = np.lexsort((column != yes, entry))
    fresh[order[1:]] = entry[order[1:]] != entry[order[:-1]]
    entry, subject, user, said = entry[fresh], subject[fresh], user[fresh], column[fresh] == yes
    assert clicks.time_of is not None
    order = np.argsort(clicks.time_of[entry], kind="stable")
    truth = np.array([known.get(name, -1) for name in clicks.subjects], np.int8)
    crowd = Crowd.of(truth, len(clicks.users), choice)
    for start in range(0, len(order), 1 << 18):
        some = order[start : start + (1 << 18)]
        crowd.hear(zip(subject[some].tolist(), user[some].tolist(), said[some].tolist(), strict=True))
    return crowd


def _written(place: Path, people: Path, rejected: Path, clicks: Clicks, crowd: Crowd, account: Account) -> SwapSummary:
    posterior, retired, training = np.array(crowd.posterior), np.array(crowd.retired), crowd.truth >= 0
    high, low = posterior > crowd.choice.accept, (posterior < crowd.choice.reject) | retired
    subjects = {
        "id": pa.array(clicks.subjects, pa.string()),
        "posterior": posterior,
        "status": np.where(high, "detected", np.where(low, "rejected", "undecided")).tolist(),
        "retired": retired,
        "n_clicks": np.array(crowd.n_before, np.int32),
        "n_after": np.array(crowd.n_after, np.int32),
        "kind": np.where(training, "training", "test").tolist(),
        "truth": pa.array(crowd.truth, mask=~training),
    }
    Catalog(pa.table(subjects)).write(place)
    skills = {"skill_yes": np.array(crowd.skill_yes), "skill_no": np.array(crowd.skill_no)}
    counted = {"n_clicks": crowd.n_clicks, "n_yes": crowd.n_yes, "n_no": crowd.n_no}
    volunteers = {"id": pa.array(clicks.users, pa.string()), **{k: np.array(v, np.int32) for k, v in counted.items()}}
    worth = information(skills["skill_yes"], skills["skill_no"])
    Catalog(pa.table({**volunteers, **skills, "information": worth})).write(people)
    return SwapSummary(
        path=str(place),
        volunteers=str(people),
        rejected=str(rejected),
        n_in=account.n_in,
        n_done=account.n_done,
        n_rejected=account.n_rejected,
        n_subjects=len(clicks.subjects),
        n_volunteers=len(clicks.users),
        n_detected=int((high & ~training).sum()),
        n_retired=int((retired & ~training).sum()),
        n_training=int(training.sum()),
        account=account,
    )
