"""What the reference models learn from: samples of real galaxies with labels, a simulated sky, simulated lenses."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.split import uniform
from ..errors import BadCatalog, RecipeError
from ..galaxy.catalog import Catalog
from ..galaxy.ingest import ingest
from ..galaxy.records import Source
from ..galaxy.store import Store
from ..galaxy.tablefile import read_table
from ..galaxy.tree import Tree
from ..galaxy.union import Union
from ..simulate.galaxies import simulate_galaxies
from ..simulate.lenses import simulate_lenses
from .experiments.choices import Sky

Progress = Callable[[int, int, str], None]
NO_GALAXY = "star_or_artefact"  # a class of the simulated sky
OTHER = "other"  # what the column "is_galaxy" calls it; all else is "galaxy"
EXAMPLES = "gz_examples"  # Galaxy Zoo's own pictures of its answers: index.csv and images/
SDSS = "sloan"  # the survey of those that are learnt from, as index.csv has it
ALIKE = 0.75  # of two wordings of one question, by difflib: surveys spell it otherwise
EXAMPLE_VOTES = 12  # that an example counts for its answer; whole when 2, 3, 4 or 6 answers share them


@dataclass(frozen=True)
class Sample:
    """One sample of real galaxies with labels, as it lies in the user's folder."""

    folder: str  # with images/ below it
    table: str  # of labels
    renamed: tuple[tuple[str, str], ...] = ()  # columns that are called otherwise among all samples
    test: float = 0.15  # share that judges
    validation: float = 0.1  # share that chooses the best epoch and calibrates


SAMPLES = {
    "gz1": Sample("gz1", "labels.csv", (("class", "gz1_class"),), test=0.2),
    "efigi": Sample("efigi", "labels.csv", test=0.2),
    "stripe82": Sample("gz2_stripe82", "votes.csv", test=0.5, validation=0.1),
}


def gather_samples(data: Path, out: Path, sky: Sky, lenses: int = 0, progress: Progress | None = None) -> Union:
    """All galaxies with a label as one source whose catalogue has the column "part"; stores lie in ``out``.

    A galaxy's part is that of a hash of its id within its sample, which nothing else changes; simulated galaxies, of
    which ``lenses`` are lenses and what looks like them, train and validate, and never judge; nor do Galaxy Zoo's SDSS
    examples of its answers, where ``data`` has them. Beside their own columns EFIGI's galaxies have "stage", and those
    of the simulated sky "is_galaxy" ("galaxy", "other").
    Raises :class:`RecipeError` for a sample that ``data`` does not hold.
    """
    sources: dict[str, Source] = {}
    parts: dict[str, str] = {}
    for name, sample in SAMPLES.items():
        table = data / sample.folder / sample.table
        if not table.is_file():
            raise RecipeError(f"'{data}' has no {sample.folder}/{sample.table}, from which the reference models learn")
        ingest(data / sample.folder / "images", out / name, labels=table, unmatched="drop", progress=progress)
        sources[name] = Store.open(out / name)
        parts |= _parts(name, sources[name], sample.test, sample.validation)
    renamed = {name: dict(sample.renamed) for name, sample in SAMPLES.items()}
    sources["efigi"] = _with_stage(sources["efigi"])
    if (data / EXAMPLES / "index.csv").is_file():
        labels = example_votes(data / EXAMPLES / "index.csv", SDSS)
        ingest(data / EXAMPLES / "images", out / "examples", labels=labels, unmatched="drop", progress=progress)
        sources["examples"] = Store.open(out / "examples")
        parts |= _parts("examples", sources["examples"], 0.0, 0.0)
    drawn = simulate_galaxies(
        sky.galaxies, out / "sky", survey=sky.survey, size=sky.size or None, seed=sky.seed, progress=progress,
        class_weights=dict.fromkeys(sky.classes, 1.0) or None,
    )  # fmt: skip
    assert drawn.catalog is not None
    kinds = [OTHER if one == NO_GALAXY else "galaxy" for one in drawn.catalog["class"].tolist()]
    sources["sky"] = drawn.with_catalog(drawn.catalog.with_columns({"is_galaxy": kinds}))
    renamed["sky"] = {"class": "sky_class"}
    if lenses:
        sources["lenses"] = simulate_lenses(lenses, out / "lenses", seed=sky.seed + 1, progress=progress)
        renamed["lenses"] = {"class": "lens_class"}
    for name in {"sky", "lenses"} & {*sources}:
        parts |= _parts(name, sources[name], 0.0, 0.05)
    union = Union(sources, renamed)
    assert union.catalog is not None
    return union.with_catalog(union.catalog.with_columns({"part": [parts[one] for one in union.ids]}))


def _with_stage(efigi: Source) -> Source:
    """EFIGI with the column "stage": its T types by twos, as classes, which balance an epoch and help to learn T."""
    assert efigi.catalog is not None
    types = np.asarray(efigi.catalog["T"], dtype=np.float64)
    return efigi.with_catalog(efigi.catalog.with_columns({"stage": [f"{2 * math.floor(t / 2):+d}" for t in types]}))


def _parts(name: str, source: Source, test: float, validation: float) -> dict[str, str]:
    u = uniform(list(source.ids), 0)
    words = np.select([u < test, u < test + validation], ["test", "validation"], "train")
    return {f"{name}:{one}": str(word) for one, word in zip(source.ids, words, strict=True)}


@dataclass(frozen=True)
class Example:
    """One of Galaxy Zoo's example pictures: ``answer`` is the number of its answer within ``question`` (tree gz2)."""

    id: str
    survey: str
    question: str
    answer: int


def read_examples(index: Path) -> list[Example]:
    """Galaxy Zoo's examples of its answers, of all surveys, by the questions of Galaxy Zoo 2's tree.

    ``index`` is a CSV with the columns file, survey, question and answer_text. Surveys word one question otherwise: the
    nearest wording is taken. Left out are rows whose question or answer is not the tree's. Raises :class:`BadCatalog`
    where columns are missing.
    """
    table = read_table(index, lambda names: names)
    if missing := {"file", "survey", "question", "answer_text"} - {*table.column_names}:
        raise BadCatalog(f"'{index}' has no column {', '.join(sorted(missing))}: it is no index of examples")
    tree = Tree.load("gz2")
    asked = {question.text: question.name for question in tree.questions}
    examples = []
    for row in table.select(["file", "survey", "question", "answer_text"]).to_pylist():
        near = difflib.get_close_matches(row["question"] or "", asked, 1, ALIKE)
        words = [answer.text.lower() for answer in tree.question(asked[near[0]]).answers] if near else []
        if (said := (row["answer_text"] or "").lower()) in words:
            examples.append(Example(Path(row["file"]).stem, row["survey"], asked[near[0]], words.index(said)))
    return examples


def example_votes(index: Path, survey: str) -> Catalog:
    """Galaxy Zoo's examples of its answers, of one survey, as votes in the columns of Galaxy Zoo 2's tree.

    ``index`` is that of :func:`read_examples`. An example counts as :data:`EXAMPLE_VOTES` votes for its answer, and for
    what led to its question: where several answers of one question do, they share these evenly. Of other questions it
    says nothing. Left out are rows whose question follows on several ("is anything odd?"), or is not the tree's: other
    surveys ask otherwise. Raises :class:`BadCatalog` where columns are missing.
    """
    tree = Tree.load("gz2")
    ids, votes = [], []
    for one in read_examples(index):
        above = _above(tree, one.question) if one.survey == survey else None
        if above is None:
            continue
        counts = EXAMPLE_VOTES * above
        counts[tree.slices[one.question].start + one.answer] = EXAMPLE_VOTES
        ids.append(one.id)
        votes.append(counts)
    columns = np.array(votes).reshape(len(ids), tree.n_answers)
    named = {f"{name}_count": columns[:, k].tolist() for k, name in enumerate(tree.columns)}
    return Catalog({"id": ids, **named}, "id", name=f"'{index}'")


def _above(tree: Tree, question: str) -> NDArray[np.float64] | None:
    """The shares (A,) of the answers that lead to a question, or None where those of several questions do."""
    shares = np.zeros(tree.n_answers)
    while parents := tree.parents(question):
        above = {name for name, span in tree.slices.items() if any(span.start <= one < span.stop for one in parents)}
        if len(above) > 1:
            return None
        shares[list(parents)] = 1 / len(parents)
        question = above.pop()
    return shares
