"""The demo: a simulated sky, a small network, galaxies that it never saw, and a report about how well it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from .. import disk
from ..errors import NetworkError
from ..evaluate.judge import evaluate
from ..galaxy.store import Store
from ..galaxy.votes import Votes
from ..model.card import find_model, shipped_models
from ..predict.classify import classify
from ..predict.portraits import MOST_DRAWN, save_figure
from ..predict.predict import predict
from ..simulate.galaxies import simulate_galaxies
from ..survey.gather import gather
from ..survey.origin import rates
from ..survey.service import check_reachable, connect
from ..survey.surveys import find_survey
from ..survey.wellknown import well_known
from .training import train

Progress = Callable[[int, int, str], None]
Result = TypeVar("Result")
STAGES = ("draw the sky", "train", "predict", "judge", "classify")
EPOCHS = 30
PICTURES = 2  # of each class, which the models inside the package classify
FAMOUS = "hips-jpeg:CDS/P/DSS2/color"  # the one colour survey of the whole sky

# Balanced enough that every class can be judged; a real sky has few mergers.
CHOICES = {
    "labels.column": "class",
    "labels.merge": {"spiral": ["spiral_clockwise", "spiral_anticlockwise"]},
    "split.method": "stratified",
    "split.test": 0.25,
    "model.name": "the demo",
    "model.backbone": "mobilenetv4_small",
    "train.balance": "sqrt",
}


@dataclass(frozen=True)
class Demo:
    """What the demo did; ``text`` is its summary.

    ``classified`` is the figure of what the models inside the package say of some of the galaxies; "" without any.
    """

    report: str
    classified: str
    n_drawn: int
    n_judged: int
    accuracy: dict[str, float]  # value, low and high: with the ends of the 95% interval
    majority: float  # accuracy of always answering the most frequent class
    seconds: dict[str, float]

    def text(self) -> str:
        """Lines: the sky, the network, the predictions, the judgement, the report, and the models at hand."""
        times = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in self.seconds.items())
        a = self.accuracy
        return "\n".join(
            [
                f"{self.n_drawn:,} galaxies drawn, with known shapes and the votes of simulated volunteers",
                f"{self.n_judged:,} of them kept apart, classified by a network that never saw them",
                f"accuracy {a['value']:.3f} [{a['low']:.3f}, {a['high']:.3f}] (95% bootstrap); "
                f"always the commonest class: {self.majority:.3f}",
                times,
                f"report: {self.report}",
                *([f"and what the models inside the package say: {self.classified}"] if self.classified else []),
            ]
        )


def demo(
    out: str | Path = "demo", *, galaxies: int = 3000, epochs: int | None = None, progress: Progress | None = None
) -> Demo:
    """Simulate, train, predict and judge in the folder ``out``; the report is ``out/report.html``.

    ``galaxies`` are drawn by seed 0, so that two demos of one version see the same sky. Called again, it goes on where
    it was stopped: a finished sky and a finished network are kept. Needs the extras ``train`` and ``simulate``.
    """
    folder = Path(out)
    seconds: dict[str, float] = {}

    def staged(number: int) -> Progress | None:
        title = f"{number + 1}/{len(STAGES)} {STAGES[number]}"
        return None if progress is None else lambda done, total, live: progress(done, total, f"{title}: {live}")

    def timed(number: int, work: Callable[[Progress | None], Result]) -> Result:
        began = time.monotonic()
        result = work(staged(number))
        seconds[STAGES[number]] = time.monotonic() - began
        return result

    run, votes, report = folder / "run", folder / "votes.parquet", folder / "report.html"
    changes = {**CHOICES, "train.epochs": epochs or EPOCHS}
    sky = timed(0, lambda say: simulate_galaxies(galaxies, folder / "sky", survey="sdss", seed=0, progress=say))
    timed(1, lambda say: train(sky, run, changes=changes, progress=say))
    prediction = timed(2, lambda say: predict(sky, run, votes, part="test", progress=say))
    truth = folder / "sky" / "catalog.parquet"
    judgement = timed(3, lambda say: evaluate(votes, truth, report, images=sky, progress=say))
    drawn = timed(4, lambda say: _classified(sky, folder, say)) if shipped_models() else ""
    numbers = judgement.numbers
    return Demo(
        report=str(report),
        classified=drawn,
        n_drawn=len(sky),
        n_judged=prediction.n_done,
        accuracy=numbers["metrics"]["accuracy"],
        majority=numbers["baseline"]["accuracy"],
        seconds=seconds,
    )


def _classified(sky: Store, folder: Path, progress: Progress | None) -> str:
    """Some galaxies of each class as JPEGs in ``folder``/pictures, classified out of the box: the figure's path."""
    assert sky.catalog is not None
    kinds, pictures = np.asarray(sky.catalog["class"]), disk.make_folder(folder / "pictures")
    for kind in np.unique(kinds):
        for identifier in np.asarray(sky.ids)[kinds == kind][:PICTURES].tolist():
            disk.write_bytes(pictures / f"{kind}-{identifier}.jpg", sky.record(identifier).data)
    figure = folder / "classified.png"
    save_figure(classify(pictures, views=8, portraits=MOST_DRAWN, progress=progress), figure)
    return str(figure)


def check_sky(url: str | None = None) -> None:
    """Raise :class:`NetworkError` at once where the pictures of well-known galaxies cannot be had."""
    survey = find_survey(FAMOUS)
    roots = (url,) if url else survey.roots
    with connect(rates(), survey, url) as network:
        for number, root in enumerate(roots, 1):
            try:
                return check_reachable(network, root)
            except NetworkError:
                if number == len(roots):
                    raise


def demo_real(
    out: str | Path = "demo", *, url: str | None = None, rate: float | None = None, progress: Progress | None = None
) -> str:
    """Gather sixty well-known galaxies and classify them with the demo's network; returns a table as text.

    Their positions are in the package; the pictures are the colour Digitized Sky Survey's, from CDS hips2fits (``url``
    asks a mirror). The network learnt on simulated galaxies alone, so that its answers show how far these carry, and
    no more. Raises :class:`NetworkError` at once where there is no network, and :class:`BadWeights` where ``demo`` has
    not been run before.
    """
    folder = Path(out)
    find_model(folder / "run")
    sky, votes = folder / "well-known", folder / "well-known.parquet"
    done = gather(well_known(), FAMOUS, sky, width="1.0*width", pixels=128, url=url, rate=rate, progress=progress)
    predict(sky, folder / "run", votes, views=4, progress=progress)
    answers = Votes.read(votes)
    best = answers.values.max(axis=1)
    rows = zip(answers.ids, answers.table["class"].to_pylist(), best, answers.done, strict=True)
    lines = [f"{name:12} {kind:18} {share:.2f}" for name, kind, share, known in rows if known]
    return "\n".join([*lines, str(done), f"votes: '{votes}'"])
