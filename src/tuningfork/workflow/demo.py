"""The demo: a simulated sky, a small network, galaxies that it never saw, and a report about how well it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..evaluate.judge import Judgement, evaluate
from ..galaxy.store import Store
from ..predict.predict import Prediction, predict
from ..simulate.galaxies import simulate_galaxies
from .training import train

Progress = Callable[[int, int, str], None]
STAGES = ("draw the sky", "train", "predict", "judge")
EPOCHS = 30

# Balanced enough that every class can be judged; a real sky has few mergers.
CHOICES = {
    "labels.column": "class",
    "labels.merge": {"spiral": ["spiral_clockwise", "spiral_anticlockwise"]},
    "split.method": "stratified",
    "split.test": 0.25,
    "model.backbone": "mobilenetv4_small",
    "train.balance": "sqrt",
}


@dataclass(frozen=True)
class Demo:
    """What the demo did; ``text`` is the five-line summary."""

    report: str
    n_drawn: int
    n_judged: int
    accuracy: dict[str, float]  # value, low and high: with the ends of the 95% interval
    majority: float  # accuracy of always answering the most frequent class
    seconds: dict[str, float]

    def text(self) -> str:
        """Five lines: the sky, the network, the predictions, the judgement, the report."""
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

    def timed(number: int, began: float) -> None:
        seconds[STAGES[number]] = time.monotonic() - began

    began = time.monotonic()
    sky = simulate_galaxies(galaxies, folder / "sky", survey="sdss", colour=True, seed=0, progress=staged(0))
    timed(0, began)
    began = time.monotonic()
    changes = {**CHOICES, "train.epochs": epochs or EPOCHS}
    train(sky, folder / "run", changes=changes, progress=staged(1))
    timed(1, began)
    began = time.monotonic()
    prediction: Prediction = predict(sky, folder / "run", folder / "votes.parquet", part="test", progress=staged(2))
    timed(2, began)
    began = time.monotonic()
    judgement = _judge(folder, sky, staged(3))
    timed(3, began)
    numbers = judgement.numbers
    return Demo(
        report=str(folder / "report.html"),
        n_drawn=len(sky),
        n_judged=prediction.n_done,
        accuracy=numbers["metrics"]["accuracy"],
        majority=numbers["baseline"]["accuracy"],
        seconds=seconds,
    )


def _judge(folder: Path, sky: Store, progress: Progress | None) -> Judgement:
    return evaluate(
        folder / "votes.parquet", folder / "sky" / "catalog.parquet", folder / "report.html", images=sky,
        progress=progress,
    )  # fmt: skip
