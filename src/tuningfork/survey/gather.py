"""Gather: a list of positions becomes a checked store of cutouts, whatever the services do; killed, it goes on."""

from __future__ import annotations

import contextlib
import functools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import disk
from ..errors import BadImage, RecipeError
from ..galaxy.catalog import Catalog
from ..galaxy.cutout import Rejected
from ..galaxy.store import StoreWriter
from ..network import Network
from .field import Field
from .gathering import GIVE_UP, Gathering
from .ledger import OK, TRANSIENT, Ledger
from .origin import Origin, open_network, open_origin
from .service import Request, Survey
from .stop import Stop, Stopped
from .targets import Targets

__all__ = ["Summary", "gather"]

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Summary:
    """What became of the galaxies: ``n_in`` = ``n_done`` + ``n_rejected``, always.

    ``n_in`` counts the galaxies accounted for; ``n_left`` those that nobody has asked for yet, which there are only
    where the run was ``stopped`` (by SIGTERM, or because the service is down): then no store is made, and the same call
    goes on. ``rejected`` has one entry, with its reason, for each galaxy turned away; "unreachable" ones are asked for
    again by the same call.
    """

    path: str
    n_in: int
    n_done: int
    n_rejected: int
    rejected: tuple[Rejected, ...] = ()
    notes: tuple[str, ...] = ()
    stopped: bool = False
    n_left: int = 0

    def __str__(self) -> str:
        """The account as lines of text: what came in, what was done, why not."""
        lines = [f"{self.n_in:,} galaxies in = {self.n_done:,} done + {self.n_rejected:,} rejected: '{self.path}'"]
        for reason, number in Counter(str(item.reason) for item in self.rejected).most_common():
            first = [item.id for item in self.rejected if item.reason == reason][:3]
            lines.append(f"  {reason}: {number} ({', '.join(first)}{', ...' if number > 3 else ''})")
        if self.stopped:
            lines.append(f"stopped with {self.n_left} galaxies still to ask for: run the same command again")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def gather(
    catalog: Catalog | str | Path,
    survey: str | Survey,
    out: str | Path,
    *,
    width: str | float,
    pixels: int | None = None,
    bands: tuple[str, ...] | None = None,
    url: str | None = None,
    images: str | None = None,
    weights: str | None = None,
    masks: str | None = None,
    partial: bool = False,
    workers: int = 8,
    rate: float | None = None,
    retry_rejected: bool = False,
    shard_size: int = 4096,
    network: Network | None = None,
    now: Callable[[], float] = time.time,
    progress: Progress | None = None,
) -> Summary:
    """Fetch a cutout of each galaxy of a catalogue from a survey, prove each, and put them into a store.

    ``survey`` is a name of ``SURVEYS``, or "mosaic", which cuts from the user's own tiles ``images`` (with ``weights``,
    ``masks`` and ``partial`` as in :class:`~tuningfork.survey.mosaic.Mosaic`). ``width`` is the field of view: an angle
    with its unit ("60arcsec"; a number is arcsec) or a multiple of a column of sizes ("0.02*petroR90_r*424").
    ``pixels`` is the side of the images wanted, by default in the survey's own pixels; ``bands`` by default all that it
    gives. ``url`` is a mirror, or a stand-in, of the service. ``workers`` galaxies are asked for at a time, no faster
    than ``rate`` requests per second and host (default: the survey's), all processes of this user together.

    Every galaxy ends as stored or as rejected, with its reason, in the catalogue's order; the store has the catalogue's
    columns. Killed at any moment, the same call goes on where it was, asks again for no galaxy but those in flight, and
    ends with the same rows. Galaxies that were unreachable are asked for again by the next call, other rejected ones
    with ``retry_rejected``. SIGTERM ends the run early and safely. Until the store is made, the galaxies need its size
    on the disk a second time. What was asked, when and how often is in ``gather/ledger.jsonl``. ``network`` and ``now``
    (Unix time, s) are for tests. ``progress`` is called as (galaxies accounted for, of how many, text).

    Raises RecipeError for a choice that the survey does not have, BadCatalog without positions, BadStore for a folder
    that holds anything else (or the result of another choice), NetworkError where nobody answers, Locked, DiskFull.
    """
    if workers < 1:
        raise RecipeError(f"at least one worker is needed, not {workers}")
    catalog = catalog if isinstance(catalog, Catalog) else Catalog.read(catalog)
    targets, stop = Targets(catalog, Field.parse(width), pixels or 0, tuple(bands or ())), Stop()
    origin = open_origin(
        survey, url, images, weights, masks, partial, bands, lambda s: network or open_network(s, url, rate, stop)
    )
    _check(targets, origin)
    plan = {"command": "gather", "version": 1, **targets.plan(), **origin.plan()}
    writer = functools.partial(StoreWriter, out, catalog=catalog, plan=plan, shard_size=shard_size)
    with contextlib.suppress(Stopped), writer():
        raise Stopped  # the folder is ours now, with its plan in it; anybody else's was refused
    with disk.lock(Path(out) / "gather"), stop.on_sigterm():
        ledger = Ledger(Path(out) / "gather", targets.ids, now)
        gathering = Gathering(Path(out), targets, origin, ledger, writer, stop, progress)
        finished = gathering.through(workers, retry_rejected)
        return _summary(gathering, finished)


def _summary(gathering: Gathering, finished: bool) -> Summary:
    outcomes = [gathering.ledger.outcomes.get(identifier) for identifier in gathering.targets.ids]
    known = [outcome for outcome in outcomes if outcome is not None]
    rejected = tuple(outcome.rejected for outcome in known if outcome.state != OK)
    notes = gathering.origin.notes()
    if gathering.silent >= GIVE_UP:
        last = max((outcome for outcome in known if outcome.state == TRANSIENT), key=lambda outcome: outcome.time)
        said = f"the service seems to be down: {gathering.silent} galaxies in a row got no answer"
        notes += (f"{said}; run the same command again later (the last: {last.detail})",)
    n_done, n_left = len(known) - len(rejected), len(outcomes) - len(known)
    path = str(gathering.out)
    return Summary(path, len(known), n_done, len(rejected), rejected, notes, not finished, n_left)


def _check(targets: Targets, origin: Origin) -> None:
    """Refuse what the survey never gives before anything is asked or written."""
    for request in targets.requests(range(min(len(targets), 100))):
        if isinstance(request, Request):
            with contextlib.suppress(BadImage):
                return origin.check(request)
