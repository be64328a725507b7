"""Reproduce: run a historic experiment by its recipe, and report the author's figure beside ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import __version__, disk
from .. import recipe as recipes
from ..errors import RecipeError
from ..evaluate.report import Block, Cell, Details, Links, Page, Section, Table, Text, render
from .experiments import EXPERIMENTS
from .experiments.choices import Experiment, Published, load_experiment
from .experiments.desk import Desk
from .experiments.outcome import RESULT, Outcome, markdown, minutes, share_seen

Progress = Callable[[int, int, str], None]
TABLE = "experiments.md"


def reproduce(
    name: str,
    out: str | Path,
    *,
    data: str | Path | None = None,
    size: str = "hour",
    changes: Mapping[str, Any] | None = None,
    fallback: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Run the experiment ``name`` in the folder ``out``; its report is ``out``/report.html.

    Args:
        data: a folder with the user's copy of real galaxies in their published layout; None: the simulated sky.
        size: "full" (the author's schedule), "hour" (minutes, on two cores), or "toy" (seconds: does it run?).
        changes: single choices of the recipe by dotted key, ``{"train.train.epochs": 20}``.
        fallback: whether data in which nothing is found for it means the simulated sky, with a note, or an error.

    The same call in the same folder goes on where a killed one was, and a finished experiment is told again. Raises
    :class:`RecipeError` for a name or size that is none, a folder that holds another experiment, and data in which
    nothing is found (with what was looked for); what reading the galaxies and training raise besides.
    """
    if name not in EXPERIMENTS:
        raise RecipeError(
            f"there is no experiment '{name}'{recipes.nearest(name, list(EXPERIMENTS))}; "
            f"there are {', '.join(EXPERIMENTS)}, and all"
        )
    cls, run = EXPERIMENTS[name]
    recipe: Experiment = recipes.replace(load_experiment(cls, name, size), dict(changes or {}))
    folder, place = Path(out), None if data is None else Path(data)
    if place is not None and not place.is_dir():
        raise RecipeError(f"'{data}' is no folder: --data is one with galaxies in the layout they were published in")
    with disk.lock(disk.make_folder(folder)):
        asked = {"name": name, "size": size, "data": None if place is None else str(place.resolve())}
        if _same(folder, asked | {"recipe": recipes.to_mapping(recipe)}) and (folder / RESULT).exists():
            return Outcome.load(folder)
        desk: Desk[Any] = Desk(name, folder, recipe, size, place, progress, fallback)
        findings = run(desk)
        theirs = recipe.published
        outcome = Outcome(
            name, recipe.title, size, theirs.author, findings, desk.seconds, theirs.images, theirs.images_from,
            tuple(dict.fromkeys(desk.notes)), tuple(desk.pages), str(folder / "report.html"),
        )  # fmt: skip
        disk.write_text(folder / "report.html", render(_page(outcome, recipe, tuple(desk.sections))))
        outcome.save(folder)
    return outcome


def reproduce_all(
    out: str | Path,
    *,
    data: str | Path | None = None,
    size: str = "hour",
    progress: Progress | None = None,
) -> tuple[Outcome, ...]:
    """Run every experiment, each in its folder of ``out``, and write the table of all as ``out``/experiments.md.

    An experiment for which ``data`` holds nothing runs on the simulated sky, and says so.
    """
    outcomes = tuple(
        reproduce(name, Path(out) / name, data=data, size=size, fallback=True, progress=progress)
        for name in EXPERIMENTS
    )
    disk.write_text(Path(out) / TABLE, markdown(outcomes))
    return outcomes


def _same(folder: Path, asked: dict[str, Any]) -> bool:
    """Whether the folder holds this very experiment, which is noted in one that holds none; another is refused."""
    path = folder / "asked.json"
    if not path.exists():
        disk.write_json(path, asked)
        return False
    held = disk.read_json(path)
    if held == asked:
        return True
    key = next(key for key in asked if held.get(key) != asked[key])
    was = f": {key} was {held.get(key)!r}, is {asked[key]!r}" if key != "recipe" else " of another recipe"
    raise RecipeError(f"'{folder}' holds another experiment{was}; name another folder with --out, or remove this one")


def _page(outcome: Outcome, recipe: Experiment, sections: tuple[Section, ...]) -> Page:
    times = tuple((stage, minutes(seconds)) for stage, seconds in outcome.seconds.items())
    pages = tuple((page, page.removesuffix(".html").replace("-", " ")) for page in outcome.pages)
    spelled = Details(f"{outcome.name}, size {outcome.size}, every choice spelled out", recipes.dump(recipe))
    return Page(
        title=outcome.title,
        subtitle=f"tuningfork reproduce {outcome.name} --size {outcome.size}; tuningfork {__version__}",
        summary=tuple(
            f"{one.what}: {one.ours.text(one.digits)} on {one.galaxies:,} galaxies ({one.data})"
            for one in outcome.findings
        ),
        sections=(
            Section("findings", "The author's figures, and ours", tuple(_findings(outcome, recipe.published))),
            *sections,
            *([Section("pages", "Further pages", (Links(pages),))] if pages else []),
            Section("time", f"Wall time: {minutes(outcome.wall)}", (Table(("stage", "wall time"), times, words=True),)),
            Section("recipe", "The recipe", (spelled,)),
        ),
    )


def _findings(outcome: Outcome, theirs: Published) -> Iterator[Block]:
    on = f", on {theirs.data}" if theirs.data else ""
    yield Text(f"{theirs.author}: {theirs.figure or 'no figure was reported'}{on}.")
    if theirs.images:
        yield Text(f"Images that the author's training saw: {theirs.images:,.0f} ({theirs.images_from}).")
    rows: list[tuple[Cell, ...]] = []
    for one in outcome.findings:
        images = share_seen(one.images, theirs.images)
        rows.append((one.what, one.data, one.published or "not reported", one.ours, one.galaxies, images))
    columns = ("what", "data", "author", "ours", "galaxies", "images seen (of the author's)")
    yield Table(columns, tuple(rows), "Ours with 95% bootstrap intervals over the galaxies judged.", words=True)
    told = [*(one.note for one in outcome.findings if one.note), *outcome.notes]
    yield from (Text(note, "note") for note in dict.fromkeys(told))
