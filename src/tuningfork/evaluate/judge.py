"""Judge a file of votes against the truth: all numbers, and the report that shows them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, disk, recipe
from ..errors import BadCatalog, BadVotes, DiskError, TuningforkError
from ..galaxy.catalog import Catalog
from ..galaxy.crossmatch import UnmatchedChoice
from ..galaxy.labels import LabelChoice
from ..galaxy.records import Source
from ..galaxy.source import open_source
from ..galaxy.tree import Tree
from ..galaxy.votes import Votes
from .attributehead import (
    attribute_sections,
    attribute_summary,
    attribute_walls,
    few_of_attributes,
    judge_attributes,
)
from .attributes import Reading
from .bootstrap import Estimate
from .classhead import class_sections, class_summary, class_walls, judge_classes
from .gallery import exhibits
from .joined import Joined, join
from .provenance import (
    account_line,
    data_section,
    learning_section,
    made_section,
    seen_in_training,
    temperature_of,
)
from .report import Page, Section, Text, Wall, render
from .votehead import FEW, few_galaxies, judge_votes, vote_sections, vote_summary, vote_walls

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Judgement:
    """What came out: ``n_in = n_done + n_rejected`` holds by id, and ``numbers`` holds everything the report shows.

    ``numbers`` is nested dictionaries of text, numbers and None (where no galaxy says anything), ready for JSON; what
    has an interval is ``{"value", "low", "high"}``. ``summary`` are the report's five lines, ``warnings`` what makes
    them mean less than they seem to, ``path`` is the report, "" where none was asked for.
    """

    n_in: int
    n_done: int
    n_rejected: int
    n_judged: int
    summary: tuple[str, ...]
    numbers: dict[str, Any]
    path: str = ""
    warnings: tuple[str, ...] = ()

    def text(self) -> str:
        """The summary and the warnings, one line each."""
        return "\n".join([*self.summary, *(f"warning: {line}" for line in self.warnings)])


def evaluate(
    votes: str | Path | Votes,
    truth: str | Path | Catalog,
    out: str | Path | None = None,
    *,
    choice: LabelChoice | None = None,
    changes: Mapping[str, Any] | None = None,
    votes_id: str | None = None,
    truth_id: str | None = None,
    radius_arcsec: float | None = None,
    images: Source | str | Path | None = None,
    unmatched: UnmatchedChoice = "refuse",
    readings: Sequence[Reading] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Judgement:
    """Judge ``votes`` (ours, or a rival's table) against ``truth`` and write the report to ``out``.

    Args:
        votes: a file of votes: our Parquet, or any table with ids and columns ``p_<class>`` or ``*_fraction``.
        truth: a catalogue with the true classes or the volunteers' votes, or a store (or another source of galaxies
            with a catalogue), whose own is taken.
        out: the report, one self-contained HTML page; None for the numbers alone.
        choice: how labels are made from the truth; by default as the model's card in the votes says, of a foreign
            table the column "class". Classes that it merges are summed in votes that still tell them apart.
        changes: what to change of that choice, by name: ``{"drop": "star", "merge": "spiral=cw+acw"}``.
        votes_id, truth_id: the columns of ids in the two files, where they are not guessed.
        radius_arcsec: join by position within this radius instead of by id.
        images: where the pictures of the galleries come from; by default where the votes came from, if still there.
        unmatched: "refuse" votes without a row of truth, or "drop" them; truth without votes is always fine.
        readings: which attributes are read as yes or no, and where; None as :func:`attributes.default_readings` says.
        bootstrap: resamples for the 95% intervals, 0 for none. ``seed``: of these, and of the halves of cross-fitting.

    The judged galaxies are sorted by id first, so that no number depends on the order of a file. Raises
    :class:`~tuningfork.errors.Unmatched`, :class:`LabelError` or :class:`BadVotes` where the two do not fit.
    """
    _check_writable(out)
    judged = votes if isinstance(votes, Votes) else _read_votes(votes, votes_id, choice, changes or {})
    catalog = truth if isinstance(truth, Catalog) else _read_truth(truth, truth_id)
    joined = join(judged, catalog, choice, changes=changes, radius_arcsec=radius_arcsec, unmatched=unmatched)
    found, lines, sections = _judged(joined, judged, readings, bootstrap, seed, progress, paged=out is not None)
    n = joined.account
    summary = (*lines, account_line(n))
    warnings = (
        *_itself(votes, truth),
        *seen_in_training(judged.metadata),
        *few_galaxies(found),
        *few_of_attributes(found),
    )
    notes = [*warnings, *joined.notes]
    numbers = plain({"head": joined.head, "account": asdict(n), **found, "notes": notes})
    if out is not None:
        asked = {"--id": votes_id, "--truth-id": truth_id, "--images": images} | _flags(choice, changes)
        command = _command(votes, truth, out, radius_arcsec, asked, unmatched)
        facts = _made(votes, truth, command, joined, bootstrap, seed)
        sections = _around(sections, joined, judged, catalog.name, images, facts)
        disk.write_text(out, render(_page(joined, judged, summary, notes, sections, found)))
    told = summary, numbers, "" if out is None else str(out), warnings
    return Judgement(n.n_in, n.n_done, n.n_rejected, n.n_judged, *told)


def _judged(
    joined: Joined,
    votes: Votes,
    readings: Sequence[Reading] | None,
    resamples: int,
    seed: int,
    progress: Progress | None,
    *,
    paged: bool,
) -> tuple[dict[str, Any], tuple[str, ...], tuple[Section, ...]]:
    """All numbers, the lines of the summary, and (for a page) the sections, of any kind of head."""
    temperature = temperature_of(votes.metadata)
    if joined.head == "classes":
        found = judge_classes(joined, temperature, resamples=resamples, seed=seed, progress=progress)
        sections = class_sections(joined, found, temperature, seed) if paged else ()
        return found, class_summary(found, len(joined.ids)), sections
    if joined.attributes:
        found = judge_attributes(joined, readings, resamples=resamples, seed=seed, progress=progress)
        sections = attribute_sections(joined, found) if paged else ()
        return found, attribute_summary(found, len(joined.ids)), sections
    found = judge_votes(joined, resamples=resamples, seed=seed, progress=progress)
    return found, vote_summary(found, len(joined.ids)), vote_sections(joined, found) if paged else ()


def _around(
    sections: tuple[Section, ...],
    joined: Joined,
    votes: Votes,
    truth_name: str,
    images: Source | str | Path | None,
    facts: list[tuple[str, Any]],
) -> tuple[Section, ...]:
    """The head's sections between those that every report has."""
    after = learning_section(votes.metadata), _galleries(joined, votes, images)
    return (
        data_section(joined, votes.metadata, truth_name),
        *sections,
        *after,
        made_section(facts, joined, votes.metadata),
    )


def _check_writable(out: str | Path | None) -> None:
    """Say before minutes of work that the report cannot be written where it should."""
    if out is not None and Path(out).is_dir():
        raise DiskError(f"'{out}' is a folder: name the file of the report, for instance '{Path(out) / 'report.html'}'")
    if out is not None and any(one.exists() and not one.is_dir() for one in Path(out).parents):
        raise DiskError(f"'{out}' cannot be written: a part of its path is a file, not a folder")


def _read_votes(
    path: str | Path, id_column: str | None, choice: LabelChoice | None, changes: Mapping[str, Any]
) -> Votes:
    """The votes in a file; of another program's, on the tree that the labels are of."""
    kind = changes.get("kind") or ("" if choice is None else choice.kind)
    name = changes.get("tree") or ("" if choice is None else choice.tree)
    on_tree = name and (kind in ("counts", "fractions") or (not kind and "column" not in changes))
    read = Votes.read(path, tree=Tree.load(name) if on_tree else None, id=id_column)
    if id_column not in (None, "id") and read.metadata.get("format"):
        raise BadVotes(f"'{path}' are votes of tuningfork, whose ids are in the column 'id', not '{id_column}'")
    return read


def _read_truth(truth: str | Path, id_column: str | None) -> Catalog:
    """A table, or the catalogue that a source of galaxies brings."""
    path = Path(truth)
    if not path.is_dir() and path.suffix.lower() not in (".h5", ".hdf5"):
        return Catalog.read(truth, id=id_column)
    catalog = open_source(truth).catalog
    if catalog is None:
        raise BadCatalog(f"'{truth}' holds galaxies without a catalogue: name a table of their true classes")
    return catalog if id_column is None else Catalog(catalog.table, id_column, name=catalog.name)


def _itself(votes: Any, truth: Any) -> tuple[str, ...]:
    """A warning where the votes and the truth are one file, or copies of one."""
    files = [Path(one) for one in (votes, truth) if isinstance(one, str | Path) and Path(one).is_file()]
    if len(files) < 2 or (files[0].stat().st_size != files[1].stat().st_size):
        return ()
    if not files[0].samefile(files[1]) and disk.sha256(files[0]) != disk.sha256(files[1]):
        return ()
    return ("The votes and the truth are the same file: the numbers compare it with itself.",)


def plain(value: Any) -> Any:
    """Nested numbers as JSON takes them: estimates as dictionaries, NaN as None, NumPy's numbers as Python's."""
    if isinstance(value, Estimate):
        return value.as_dict()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _named(thing: Any) -> str:
    if isinstance(thing, str | Path):
        return str(thing)
    return str(getattr(thing, "path", "") or getattr(thing, "name", "") or type(thing).__name__).strip("'")


def _flags(choice: LabelChoice | None, changes: Mapping[str, Any] | None) -> dict[str, str]:
    """The flags of the command line that change the labels as was asked for."""
    default, asked = recipe.to_mapping(LabelChoice()), dict(changes or {})
    told = {} if choice is None else recipe.to_mapping(choice)
    asked = {key: value for key, value in told.items() if value != default[key] or key == "kind"} | asked
    names = {"kind": "--as", "column": "--column", "merge": "--merge", "drop": "--drop", "tree": "--tree"}
    return {flag: _as_flag(asked[key]) for key, flag in names.items() if key in asked}


def _as_flag(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{new}={'+'.join(olds)}" for new, olds in value.items()) or "none"
    return str(value) if isinstance(value, str) else ",".join(map(str, value)) or "none"


def _command(
    votes: Any, truth: Any, out: Any, radius: float | None, asked: Mapping[str, Any], unmatched: UnmatchedChoice
) -> str:
    words = ["tuningfork", "evaluate", _named(votes), "--truth", _named(truth), "--out", str(out)]
    words += ["--radius", f"{radius:g}arcsec"] if radius is not None else []
    for flag, value in asked.items():
        words += [flag, _named(value)] if value not in (None, "") else []
    words += ["--unmatched", unmatched] if unmatched != "refuse" else []
    return shlex.join(words)


def _made(votes: Any, truth: Any, command: str, joined: Joined, resamples: int, seed: int) -> list[tuple[str, Any]]:
    choice = joined.labels.choice
    told = {key: value for key, value in asdict(choice).items() if value != getattr(LabelChoice(), key)}
    facts: list[tuple[str, Any]] = [("command", command), ("labels", {"kind": choice.kind} | told)]
    for name, thing in (("votes", votes), ("truth", truth)):
        if isinstance(thing, str | Path) and Path(thing).is_file():
            facts.append((f"{name} (SHA-256)", f"{Path(thing).name}: {disk.sha256(Path(thing))}"))
    facts += [
        ("judged by", f"tuningfork {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("bootstrap", f"{resamples} resamples of {len(joined.ids)} galaxies, seed {seed}"),
    ]
    return facts


def _galleries(joined: Joined, votes: Votes, images: Source | str | Path | None) -> Section:
    """The walls of pictures; where there are no pictures, the reason instead."""
    source, why_not = _source(votes, images)
    if not joined.ids:
        return Section("galleries", "Galleries", (Text("No galaxy was judged."),))
    make = attribute_walls if joined.attributes else class_walls if joined.head == "classes" else vote_walls
    walls = make(joined)
    blocks: list[Text | Wall] = []
    if source is None:
        blocks.append(Text(f"There are no pictures: {why_not}.", "warning"))
    else:
        blocks.append(
            Text(f"Pictures: the central square of each image in {source.path}, whole, not as the model crops.")
        )
    for title, text, index, captions in walls:
        shown = exhibits([joined.ids[i] for i in index], captions, source, why_not)
        blocks.append(Wall(title, text, tuple(shown)))
    return Section("galleries", "Galleries", tuple(blocks))


def _source(votes: Votes, images: Source | str | Path | None) -> tuple[Source | None, str]:
    """Where the pictures are, or why there are none; a source that the user named must open."""
    if isinstance(images, Source):
        return images, ""
    if images is not None:
        return open_source(images), ""
    told = votes.metadata.get("source")
    if not told:
        return None, "the votes do not say where their pictures are; name it with --images (in Python images=)"
    try:
        return open_source(str(told)), ""
    except TuningforkError as error:
        return None, f"'{told}', where the votes came from, does not open ({error}); name it with --images"


def _page(
    joined: Joined,
    votes: Votes,
    summary: tuple[str, ...],
    notes: list[str],
    sections: tuple[Section, ...],
    found: dict[str, Any],
) -> Page:
    model = votes.metadata.get("model")
    name = model.get("name", "") if isinstance(model, dict) else ""
    kind = "attributes" if joined.attributes else "classes" if joined.head == "classes" else "votes"
    what = kind if kind == "classes" else f"{kind} {'of' if joined.attributes else 'on'} the tree {found['tree']}"
    warnings = list(notes)
    if joined.head == "classes":
        few = [f"“{key}” ({row['galaxies']})" for key, row in found["classes"].items() if row["galaxies"] < FEW]
        if few:
            warnings.append(f"Classes with fewer than {FEW} galaxies, whose numbers rest on little: {', '.join(few)}.")
    return Page(
        title=f"How good are the {kind} of {name or 'these votes'}?",
        subtitle=f"Predicted {what} against the truth of {len(joined.ids):,} galaxies",
        summary=summary,
        sections=sections,
        warnings=tuple(warnings),
        footer=f"Made by tuningfork {__version__}. Every picture and style is inside this file; it loads nothing.",
    )
