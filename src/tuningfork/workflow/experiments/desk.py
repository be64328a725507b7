"""The desk at which an experiment works: its folder, its data, and the package's verbs, timed and resumable."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic

from ... import disk
from ...errors import RecipeError, Stopped
from ...evaluate.bootstrap import Estimate
from ...evaluate.judge import Judgement, evaluate
from ...evaluate.report import Section
from ...galaxy.catalog import Catalog
from ...galaxy.ingest import ingest
from ...galaxy.source import Source
from ...galaxy.store import Store
from ...galaxy.votes import Votes
from ...predict.predict import predict
from ...simulate.galaxies import simulate_galaxies
from ...train.choices import TrainRecipe
from ...train.finish import TrainSummary
from ..training import train
from .choices import Choice, Sky

Progress = Callable[[int, int, str], None]
CLOCK = "seconds.json"


class Desk(Generic[Choice]):
    """Where an experiment of ``name`` works.

    ``out`` is its folder, ``data`` the folder of the user's galaxies (None: the simulated sky), ``recipe`` its choices
    in the ``size`` asked for. ``notes`` are lines for people, ``sections`` parts of its report, ``pages`` the names of
    further pages in ``out``. Every verb goes on where a killed experiment was; the seconds of each stage add up over
    attempts, and are kept in ``out``.
    """

    def __init__(
        self,
        name: str,
        out: Path,
        recipe: Choice,
        size: str,
        data: Path | None = None,
        progress: Progress | None = None,
        fallback: bool = False,
    ) -> None:
        self.name, self.out, self.recipe, self.size, self.data = name, disk.make_folder(out), recipe, size, data
        self.progress, self.fallback = progress, fallback
        self.notes: list[str] = []
        self.sections: list[Section] = []
        self.pages: list[str] = []
        path = self.out / CLOCK
        self.seconds: dict[str, float] = disk.read_json(path) if path.exists() else {}

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[Progress | None]:
        """Count the seconds of what is done inside as those of ``stage``; gives the bar that tells of it."""
        began, before = time.monotonic(), self.seconds.get(stage, 0.0)
        try:
            yield None if self.progress is None else self._bar(f"{self.name}, {stage}", self.progress)
        finally:
            self.seconds[stage] = before + time.monotonic() - began
            disk.write_json(self.out / CLOCK, self.seconds)

    @staticmethod
    def _bar(title: str, progress: Progress) -> Progress:
        return lambda done, total, live: progress(done, total, f"{title}: {live}")

    def sky(self, sky: Sky | None = None, name: str = "sky") -> Store:
        """The simulated galaxies of ``sky`` (by default the recipe's), as the store ``out``/``name``."""
        sky = self.recipe.sky if sky is None else sky
        with self.timed("simulate") as bar:
            return simulate_galaxies(
                sky.galaxies,
                self.out / name,
                survey=sky.survey,
                bands=sky.bands or None,
                size=sky.size or None,
                colour=sky.colour,
                seed=sky.seed,
                class_weights=dict.fromkeys(sky.classes, 1.0) or None,
                progress=bar,
            )

    def place(self, *names: str) -> Path | None:
        """The first of these files or folders (paths below it) that the user's data folder has, else None."""
        if self.data is None:
            return None
        return next((self.data / name for name in names if (self.data / name).exists()), None)

    def nothing_found(self, *layouts: str) -> None:
        """Say that the data folder holds nothing for this experiment, and what it may hold.

        Raises :class:`RecipeError`, unless the experiment is one of several for which the folder was given
        (``fallback``): then it is a note, and the caller goes on with the simulated sky.
        """
        held = sorted(one.name for one in self.data.iterdir())[:12] if self.data else []
        if self.data is None:
            return
        told = f"'{self.data}' has nothing that {self.name} could learn from; it looks for {'; or '.join(layouts)}"
        if not self.fallback:
            raise RecipeError(
                f"{told}. It holds: {', '.join(held) or 'nothing'}. Without --data it runs on a simulated sky"
            )
        self.notes.append(
            "the data folder has nothing to learn from, so this runs on a simulated sky; it would take "
            f"{'; or '.join(layouts)}"
        )

    def ingest(self, source: str | Path | Source, name: str, labels: Any = None, **choices: Any) -> Store:
        """The user's galaxies, checked, as the store ``out``/``name``; see :func:`~tuningfork.galaxy.ingest.ingest`."""
        with self.timed("ingest") as bar:
            done = ingest(source, self.out / name, labels=labels, progress=bar, **choices)
        if done.n_rejected:
            self.notes.append(f"{name}: {done}")
        return Store.open(self.out / name)

    def train(
        self, source: Source, recipe: TrainRecipe | None = None, name: str = "run", labels: Catalog | None = None
    ) -> TrainSummary:
        """A run in ``out``/``name``, by default by the recipe's own ``train``."""
        with self.timed("train") as bar:
            done = train(source, self.out / name, labels=labels, recipe=recipe or self.recipe.train, progress=bar)
        if done.stopped:
            raise Stopped(f"'{done.path}' keeps {done.epochs} epochs; run the same command again")
        return done

    def predict(
        self,
        source: Source,
        runs: str | Sequence[str],
        name: str,
        *,
        part: str | None = "test",
        ids: Sequence[str] | None = None,
        views: int | None = None,
    ) -> Votes:
        """Votes in ``out``/``name``.parquet from one run (a folder in ``out``), or from an ensemble of several."""
        folders = [self.out / one for one in ([runs] if isinstance(runs, str) else runs)]
        path = self.out / f"{name}.parquet"
        with self.timed("predict") as bar:
            predict(source, folders, path, part=part, ids=ids, views=views or self.recipe.views, progress=bar)
        return Votes.read(path)

    def judge(self, votes: Votes | Path, truth: Source | Catalog | None, name: str, **choices: Any) -> Judgement:
        """Judge votes against the truth (a source's own catalogue), with the page ``out``/``name``.html.

        ``choices`` are those of :func:`~tuningfork.evaluate.judge.evaluate`.
        """
        catalog = truth.catalog if isinstance(truth, Source) else truth
        assert catalog is not None
        with self.timed("judge") as bar:
            return evaluate(votes, catalog, self.page(name), bootstrap=self.recipe.bootstrap, progress=bar, **choices)

    def page(self, name: str) -> Path:
        """The path of a further page of the report, which is listed in it."""
        if f"{name}.html" not in self.pages:
            self.pages.append(f"{name}.html")
        return self.out / f"{name}.html"


def seen(summary: TrainSummary) -> float:
    """The pictures that a run's training saw, repeats counted: galaxies of its training part times epochs."""
    return float(summary.parts["train"] * summary.epochs)


def measured(judgement: Judgement, name: str) -> Estimate:
    """A metric of a judgement of classes, such as "accuracy", with its interval."""
    numbers = judgement.numbers["metrics"][name]
    return Estimate(*(float("nan") if numbers[key] is None else numbers[key] for key in ("value", "low", "high")))


def with_changes(recipe: TrainRecipe, **tables: Any) -> TrainRecipe:
    """A recipe with other labels, split, display and so on, given as whole dataclasses or as dictionaries of keys."""
    changes = {
        key: dataclasses.replace(getattr(recipe, key), **value) if isinstance(value, dict) else value
        for key, value in tables.items()
    }
    return dataclasses.replace(recipe, **changes)
