"""Every error that tuningfork raises, and the closed list of reasons for which a galaxy is rejected.

TuningforkError
├── DiskError            a file could not be written, locked or trusted
│   ├── DiskFull         no space (or no quota) left for a write
│   └── Locked           another run holds the folder
├── NetworkError         bytes that could not be had, or are not those that were asked for
│   └── ReplyError       (in network/reply.py) with the server's address, status and words
├── RecipeError          a choice that does not exist, or cannot be
├── TreeError            a decision tree that is not one, or an answer that is not in it
├── BadCatalog           a table that cannot be trusted
│   ├── DuplicateIds     one id on several rows
│   ├── ImpossibleVotes  negative, fractional, or more votes than were asked for
│   └── Unmatched        rows of a join without a partner
├── BadImage             one galaxy's bytes are no usable image; carries its Reason
├── BadStore             a store, or another source of cutouts, that cannot be opened or fails its digests
├── BandError            the galaxies have other bands than the model
├── BadVotes             a table of predictions that breaks its schema
├── LabelError           labels that cannot be made from these votes
├── SplitError           an empty part, or one galaxy on both sides of a split
├── BadWeights           weights that do not fit their card, or fail their golden pair
├── TrainingError        training cannot start, or cannot go on
├── Stopped              SIGTERM ended the work between two pieces of it; the same command goes on
└── MissingExtra         an optional library is not installed
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path


class TuningforkError(Exception):
    """The root: ``except TuningforkError`` catches whatever tuningfork raises on purpose."""


class DiskError(TuningforkError):
    """A file could not be written, locked or trusted."""


class DiskFull(DiskError):
    """No space is left for a write; nothing that was complete has been harmed."""


class Locked(DiskError):
    """Another process works in this folder; the message names it."""


class NetworkError(TuningforkError):
    """Bytes could not be had from a server, or are not those that were asked for; names the address and the remedy."""


class RecipeError(TuningforkError):
    """A key or value of a recipe that does not exist or cannot be; names the nearest that does."""


class TreeError(TuningforkError):
    """A decision tree that is not one, or a question or answer that is not in it."""


class BadCatalog(TuningforkError):
    """A table that cannot be trusted; the message lists the rows."""


class DuplicateIds(BadCatalog):
    """One id stands on several rows."""


class ImpossibleVotes(BadCatalog):
    """Votes that nobody can have cast: negative, fractional counts, or more below a question than reached it."""


class Unmatched(BadCatalog):
    """A join left rows without a partner, and nobody said that this is fine."""


class Reason(StrEnum):
    """Why a galaxy was rejected: the closed list that stands in every ``reason`` column."""

    MISSING = "missing"  # the file or row is not there
    UNREADABLE = "unreadable"  # the operating system refused to read it
    EMPTY = "empty"  # zero bytes
    NOT_AN_IMAGE = "not_an_image"  # no image format known here (an HTML page, say)
    TRUNCATED = "truncated"  # the bytes end before the image does
    CORRUPT = "corrupt"  # the format is known, its content is broken
    TOO_LARGE = "too_large"  # beyond the budget of pixels or bytes, refused before allocation
    TOO_SMALL = "too_small"  # fewer pixels than a galaxy needs
    WRONG_SHAPE = "wrong_shape"  # not (height, width), (bands, height, width) or (height, width, 3)
    MISSING_BAND = "missing_band"  # a band that the others have is not there
    NO_SIGNAL = "no_signal"  # every pixel has the same value
    NO_COVERAGE = "no_coverage"  # no (or hardly any) pixel has a finite value
    SATURATED = "saturated"  # hardly a pixel below the largest value
    DIGEST_MISMATCH = "digest_mismatch"  # the bytes are not those that were stored
    DUPLICATE_ID = "duplicate_id"  # a second galaxy came under an id that is taken
    WRONG_POSITION = "wrong_position"  # the image's WCS is centred, or turned, otherwise than was asked for
    WRONG_SCALE = "wrong_scale"  # the image has another pixel scale or size than was asked for
    UNREACHABLE = "unreachable"  # the server failed, or kept silent, at every try: worth another run later
    REFUSED = "refused"  # the server said no (404, 403, ...): trying again will not help
    NO_SOURCE = "no_source"  # nothing rises above the sky: blank sky, noise, one value everywhere
    TRUNCATED_SOURCE = "truncated_source"  # the galaxy is cut off by the edge of its picture
    NOT_FINITE = "not_finite"  # the network answered with NaN or infinity
    TOO_SLOW = "too_slow"  # it took longer than the time given to one galaxy
    FAILED = "failed"  # the work on it failed, or its process was killed, as for want of memory


class BadImage(TuningforkError):
    """One galaxy's bytes are no usable image.

    ``reason`` is one of :class:`Reason`; ``detail`` says what arrived, in at most 200 characters.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = Reason(reason)
        self.detail = " ".join(detail.split())[:200]
        super().__init__(f"{self.reason}: {self.detail}" if self.detail else str(self.reason))

    def __reduce__(self) -> tuple[type[BadImage], tuple[Reason, str]]:
        return type(self), (self.reason, self.detail)


class BadStore(TuningforkError):
    """A store, or another source of cutouts, that cannot be opened or fails its digests."""


class BandError(TuningforkError):
    """The galaxies have other bands than the model was trained on."""


class BadVotes(TuningforkError):
    """A table of predictions that breaks its schema."""


class LabelError(TuningforkError):
    """Labels that cannot be made from these votes."""


class SplitError(TuningforkError):
    """A part of a split is empty, or one galaxy stands on both sides."""


class BadWeights(TuningforkError):
    """Weights that do not fit their card, or that fail to reproduce their golden pair."""


class TrainingError(TuningforkError):
    """Training cannot start, or cannot go on; the message names the galaxies or the choice at fault."""


class Stopped(TuningforkError):
    """SIGTERM asked the work to end, and it has, between two pieces of it; the message says what is kept.

    The same call goes on from there. The command line prints it and ends with exit code 75 (EX_TEMPFAIL).
    """


class MissingExtra(TuningforkError, ImportError):
    """An optional library is not installed; the message gives the command that installs it."""

    def __init__(self, library: str, extra: str) -> None:
        self.library, self.extra = library, extra
        super().__init__(f"this needs {library}, which is not installed: pip install 'tuningfork[{extra}]'")

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        return type(self), (self.library, self.extra)


def describe(path: str | Path) -> str:
    """A path as an error message shows it: quoted, as the user wrote it."""
    return f"'{path}'"
