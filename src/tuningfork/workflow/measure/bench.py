"""What is measured of the reference models, in the order in which it stands on their cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import disk
from ...errors import RecipeError
from ...evaluate.bootstrap import Estimate
from ...galaxy.catalog import Catalog
from ...galaxy.union import Union
from ..calibrate import auc_of_strangeness
from ..samples import EXAMPLES
from .border import borders, false_alarms
from .findings import Findings
from .headline import headline
from .noise import ceiling
from .shift import shifted
from .zoom import zoomed

Progress = Callable[[int, int, str], None]
Told = Mapping[str, Mapping[str, Any]]
CHALLENGE = "gz2_stripe82/kaggle37.csv"  # the Galaxy Challenge's 37 columns of Stripe 82, in the user's folder
SPACE_WARPS = "spacewarps"
ZOOMED = 400  # galaxies of each sample that are shown at other scales


@dataclass(frozen=True, eq=False)
class Bench:
    """What models are measured with: the galaxies, the models by name, and where pages and figures are written."""

    data: Path  # the user's folder
    union: Union  # of all samples
    models: Mapping[str, Path]
    out: Path
    views: int
    resamples: int
    command: str = ""  # that measures it again
    progress: Progress | None = None

    @property
    def folders(self) -> list[Path]:
        """The models' folders."""
        return list(self.models.values())


def good(bench: Bench) -> Told:
    """How good the models are on the test parts; raises :class:`RecipeError` without the 37 columns of Stripe 82."""
    path = bench.data / CHALLENGE
    if not path.is_file():
        raise RecipeError(f"'{bench.data}' has no {CHALLENGE}, by which votes are judged as in the Galaxy Challenge")
    return _told(
        bench,
        headline(
            bench.folders, bench.union, Catalog.read(path), views=bench.views, resamples=bench.resamples,
            command=bench.command,
        ),
    )  # fmt: skip


def candid(bench: Bench) -> Told:
    """Lenses, stars and artefacts of a sky that taught nothing, real lens candidates, and what a border gives away."""
    place = bench.data / SPACE_WARPS
    real = place if (place / "index.csv").is_file() else None
    found = borders(bench.folders, spacewarps=real, views=bench.views, resamples=bench.resamples, command=bench.command)
    alarms = false_alarms(bench.folders, bench.union, views=bench.views, command=bench.command)
    return _told(bench, found.join(alarms))


def scaled(bench: Bench) -> Told:
    """The same galaxies at half to twice the scale."""
    found = zoomed(bench.folders, bench.union, most=ZOOMED, resamples=bench.resamples, command=bench.command)
    return _told(bench, found)


def elsewhere(bench: Bench) -> Told:
    """Other surveys, files and redshifts."""
    return _told(bench, shifted(bench.folders, bench.data, resamples=bench.resamples, command=bench.command))


def strange(bench: Bench) -> Told:
    """How well the encoder's strangeness tells other surveys, stars and noise from ordinary galaxies."""
    found, examples = Findings(bench.command), bench.data / EXAMPLES
    if "gz1" in bench.models and (examples / "index.csv").is_file():
        for name, told in auc_of_strangeness(bench.union, bench.models["gz1"], examples).items():
            on, n = f"{name}, against the test part of Galaxy Zoo 1", int(told["galaxies"])  # type: ignore[arg-type]
            for key, what in (("roc_auc", "ROC AUC of strangeness"), ("flagged", "share called unusual (p < .01)")):
                value = told[key]
                assert isinstance(value, Estimate)
                found.add("gz1", what, on, value, n)
    return _told(bench, found)


def limits(bench: Bench) -> Told:
    """What the labels' own noise allows, and the galaxies about which labels and network disagree most."""
    found, doubtful = ceiling(
        bench.folders, bench.union, views=bench.views, resamples=bench.resamples, command=bench.command
    )
    disk.write_json(bench.out / "disagreements.json", [vars(one) for one in doubtful])
    return _told(bench, found)


def _told(bench: Bench, found: Findings) -> Told:
    for name, figure in found.figures.items():
        with disk.atomic(bench.out / f"{name}.png") as part:
            figure.savefig(part, dpi=120, format="png")
    return found.tell(bench.models)


MEASURES: tuple[Callable[[Bench], Told], ...] = (good, candid, scaled, elsewhere, strange, limits)
