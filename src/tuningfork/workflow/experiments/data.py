"""The user's own copies of real galaxies, in the layouts in which they were published, as stores."""

from __future__ import annotations

from pathlib import Path

from ...galaxy.store import Store
from ...published.delivery import fetch
from .desk import Desk

CHALLENGE = "the Galaxy Challenge (images_training_rev1/ and training_solutions_rev1.csv)"
GZ1_SAMPLE = "gz1/ with images/ and labels.csv (objid, class)"
STRIPE82 = "gz2_stripe82/ with images/, votes.csv and kaggle37.csv"


def challenge(desk: Desk, name: str = "challenge") -> Store | None:
    """The Galaxy Challenge's training set as a store with its 37 columns; None where the folder does not have it.

    It lies in the data folder itself or in its folder galaxy-challenge/: images_training_rev1/ (or the .zip) and
    training_solutions_rev1.csv (or .zip). Every row is held against the sums that its columns must have: raises
    :class:`~tuningfork.errors.ImpossibleVotes`, which lists the rows, and :class:`~tuningfork.errors.LabelError` for a
    column that is not there.
    """
    folder = _challenge_folder(desk)
    if folder is None:
        return None
    with desk.timed("ingest") as bar:
        done = fetch("galaxy-challenge", desk.out / name, own=folder, progress=bar)
    desk.notes += [f"{name}: {note}" for note in done.notes]
    return Store.open(desk.out / name / "store")


def _challenge_folder(desk: Desk) -> Path | None:
    tables = [f"training_solutions_rev1.{ending}" for ending in ("csv", "zip")]
    found = desk.place(*tables, *(f"galaxy-challenge/{one}" for one in tables))
    return None if found is None else found.parent


def gz1_sample(desk: Desk, name: str = "gz1") -> Store | None:
    """A sample of Galaxy Zoo 1 with one class per galaxy: gz1/images/<objid>.jpg and gz1/labels.csv; or None."""
    folder = desk.place("gz1/labels.csv")
    if folder is None:
        return None
    return desk.ingest(folder.parent / "images", name, labels=folder, unmatched="drop")


def stripe82(desk: Desk, name: str = "stripe82", table: str = "votes.csv") -> Store | None:
    """Galaxy Zoo 2's Stripe 82 coadds, gz2_stripe82/: pictures with the volunteers' votes (``table``); or None.

    "votes.csv" has counts and fractions of every answer, "kaggle37.csv" the Galaxy Challenge's 37 columns.
    """
    found = desk.place(f"gz2_stripe82/{table}")
    if found is None:
        return None
    return desk.ingest(found.parent / "images", name, labels=found, unmatched="drop")
