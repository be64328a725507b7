"""What a survey's service is: a request for one galaxy becomes one checked record, or one reason why not."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from .. import disk
from ..errors import BadImage, NetworkError, Reason, RecipeError
from ..galaxy.cutout import Record
from ..galaxy.decode import Image, decode
from ..network import Fetched, Limits, Network, ReplyError

JPEG = (b"\xff\xd8\xff",)
FITS = (b"SIMPLE  =",)
BLANK = 0.95  # the share of one and the same colour from which a picture shows no sky (real ones: up to 0.74)
LIMIT = 256_000_000  # bytes of one reply
MIRROR_TRIES = 3  # of one root before the next is asked

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_OFF = re.compile(
    r"(?:\bno(?! such)|not in|outside|\boff|beyond)\b[^.<>]{0,60}?\b(?:coverage|footprint|survey|overlap)|"
    r"\bno (?:images?|data|fields?|bricks?) (?:(?:was|were|are|is) )?(?:found|available|at|there)|"
    r"does not (?:cover|overlap)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Request:
    """One galaxy to be had: where it is (ICRS degrees), how wide a square around it (arcsec), in which bands.

    ``pixels`` is the side of the image wanted; 0 means the survey's own pixels. ``bands`` may be empty: all that the
    survey gives by default. ``columns`` holds other columns of the galaxy's catalogue row that a survey can make use of
    (run, camcol and field for SDSS frames).
    """

    id: str
    ra: float
    dec: float
    width_arcsec: float
    pixels: int = 0
    bands: tuple[str, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, compare=False)

    @property
    def pixel_scale(self) -> float:
        """arcsec per pixel of the image wanted; only where ``pixels`` is known."""
        return self.width_arcsec / self.pixels


@dataclass(frozen=True)
class Survey(ABC):
    """One service that gives images of one survey; see ``SURVEYS`` in ``surveys.py`` for those that exist.

    ``bands`` are those it gives by default, ``extra`` those that have to be asked for. ``pixel_scale`` is the native
    one (arcsec; 0 where it depends on what is asked for), ``units`` those of the pixels. ``roots`` are the addresses of
    the service, the first one first, the others mirrors that are asked where it fails; all are replaced by ``url`` of
    :meth:`fetch`. ``rate`` is the number of requests per second and host that we hold to be polite (no service
    publishes one). ``native`` surveys give their own pixels and nothing else: their requests leave ``pixels`` at 0.
    ``smallest`` and ``largest`` bound the side of an image. ``silence`` (s) is how long the service may work on a
    request without sending a byte.
    """

    name: str
    title: str
    bands: tuple[str, ...]
    pixel_scale: float
    units: str
    roots: tuple[str, ...]
    rate: float
    licence: str
    citation: str
    extra: tuple[str, ...] = ()
    native: bool = False
    smallest: int = 8
    largest: int = 4096
    silence: float = 30.0

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that may be asked: those of the roots."""
        return tuple(dict.fromkeys(urlsplit(root).hostname or "" for root in self.roots))

    def fetch(self, network: Network, request: Request, url: str | None = None) -> Record:
        """Get, prove and check one galaxy; ``url`` is the address of a mirror (or a stand-in) of the service.

        Raises :class:`BadImage` for whatever is this galaxy's own misfortune: UNREACHABLE (worth another run; the
        :class:`ReplyError` is its ``__cause__``), REFUSED, NO_COVERAGE, NOT_AN_IMAGE, WRONG_SCALE, WRONG_POSITION, the
        reasons of :func:`~tuningfork.galaxy.decode.decode`. Raises :class:`NetworkError` for an address that may not be
        asked at all, and :class:`RecipeError` for bands or sizes that the survey never gives: both concern every
        galaxy alike.
        """
        asked = self.complete(request)
        roots = (url.rstrip("/") + "/",) if url else self.roots
        try:
            return self._take(network, asked, roots)
        except ReplyError as error:
            raise refusal(error) from error

    def complete(self, request: Request) -> Request:
        """The request with its pixels and bands filled in; raises as :meth:`fetch`, before anything is asked."""
        bands = request.bands or self.bands
        known = (*self.bands, *self.extra)
        strange = [band for band in bands if known and band not in known]
        if strange or len(set(bands)) < len(bands):
            raise RecipeError(f"survey '{self.name}' has the bands {', '.join(known)}; asked for {', '.join(bands)}")
        if not bands:
            raise RecipeError(f"survey '{self.name}' has bands of many names: say which are wanted")
        if not (math.isfinite(request.width_arcsec) and request.width_arcsec > 0):
            raise BadImage(Reason.WRONG_SCALE, f"a field of view of {request.width_arcsec} arcsec")
        if not (0 <= request.ra <= 360 and -90 <= request.dec <= 90):
            raise BadImage(Reason.WRONG_POSITION, f"ra {request.ra}, dec {request.dec} is no place on the sky")
        if self.native and request.pixels:
            raise RecipeError(
                f"survey '{self.name}' gives its own pixels of {self.pixel_scale} arcsec, not {request.pixels} of "
                "another size: leave the number of pixels out, and let the display resample"
            )
        if not request.pixels and not self.pixel_scale:
            raise RecipeError(
                f"survey '{self.name}' has pixels of many sizes: say how many pixels each image shall have"
            )
        pixels = request.pixels or max(1, round(request.width_arcsec / self.pixel_scale))
        if pixels < self.smallest:
            detail = f"{request.width_arcsec:g} arcsec are {pixels} px; {self.name} gives at least {self.smallest}"
            raise BadImage(Reason.TOO_SMALL, detail)
        if pixels > self.largest:
            detail = f"{request.width_arcsec:g} arcsec are {pixels} px; {self.name} gives at most {self.largest}"
            raise BadImage(Reason.TOO_LARGE, detail)
        width = pixels * self.pixel_scale if self.native else request.width_arcsec
        return dataclasses.replace(request, pixels=pixels, bands=tuple(bands), width_arcsec=width)

    def of(self, argument: str) -> Survey:
        """This survey with what the user wrote after a colon ("skyview:DSS2 Red"); most surveys take nothing there."""
        raise RecipeError(f"survey '{self.name}' takes nothing after a colon; it was given '{argument}'")

    @abstractmethod
    def _take(self, network: Network, asked: Request, roots: tuple[str, ...]) -> Record:
        """The record of a complete request, from the service at ``roots``."""


def connect(
    folder: str | Path, survey: Survey, url: str | None = None, *, rate: float | None = None, **settings: Any
) -> Network:
    """A :class:`Network` that may ask the hosts of ``survey`` (or ``url`` alone), no faster than is polite.

    ``folder`` holds the rates that all processes share; ``rate`` (requests per second and host) replaces the survey's;
    ``settings`` are those of :class:`Network`; its ``limits`` are by default those of a service that may keep silent
    for as long as this one while it works.
    """
    return open_network(folder, survey.hosts, survey.rate if rate is None else rate, survey.silence, url, **settings)


def open_network(
    folder: str | Path, hosts: Sequence[str], rate: float, silence: float, url: str | None = None, **settings: Any
) -> Network:
    """As :func:`connect`, for the hosts and manners of a service that gives no images (names, SQL)."""
    settings.setdefault("limits", Limits(idle=silence, total=max(60.0, 2 * silence)))
    if url is None:
        return Network(folder, allow=hosts, rates=dict.fromkeys(hosts, rate), **settings)
    return Network(folder, mirrors=[url], rates={urlsplit(url).netloc.lower(): rate}, **settings)


def check_reachable(network: Network, address: str) -> None:
    """Raise :class:`NetworkError` at once, without retries, if nobody answers at ``address``; any answer will do."""
    try:
        network.fetch(address, tries=1, max_bytes=1_000_000)
    except ReplyError as error:
        if error.cause in ("connection", "timeout", "address"):
            raise NetworkError(
                f"no network, or no such server: {error}. Without it nothing can be gathered; nothing was changed"
            ) from error


def refusal(error: ReplyError) -> BadImage:
    """What a failed request means for the galaxy; an address that may not be asked, or trusted, is raised as it is."""
    if error.cause == "address" or (error.cause == "connection" and error.kind == "permanent"):
        raise error  # our own rules, or a certificate: the same for every galaxy
    said = f"{error} {error.text}"
    if error.kind == "permanent" and error.cause in ("status", "content") and _OFF.search(error.text):
        return BadImage(Reason.NO_COVERAGE, said)
    if error.kind == "transient":
        return BadImage(Reason.UNREACHABLE, said)
    reasons = {"content": Reason.NOT_AN_IMAGE, "limit": Reason.TOO_LARGE}
    return BadImage(reasons.get(error.cause, Reason.REFUSED), said)


@contextlib.contextmanager
def refuse_unknown(pattern: re.Pattern[str], what: str) -> Iterator[None]:
    """Where a server says (400 or 404, words that ``pattern`` finds) that it lacks the survey itself: RecipeError."""
    try:
        yield
    except ReplyError as error:
        if error.status in (400, 404) and pattern.search(error.text) and not _OFF.search(error.text):
            raise RecipeError(f"the server does not know {what}: {error.text[:300]}") from error
        raise


def get(
    network: Network,
    roots: tuple[str, ...],
    path: str,
    params: Mapping[str, str | int | float] | None = None,
    *,
    accept: tuple[bytes, ...] = (),
    check: Callable[[bytes], bool] | None = None,
) -> Fetched:
    """The reply of the first of the roots that gives a good one; the others are asked where it fails, not where it
    refuses."""
    for root in roots[:-1]:
        try:
            return network.fetch(
                root + path, params=params, accept=accept, check=check, max_bytes=LIMIT, tries=MIRROR_TRIES
            )
        except ReplyError as error:
            if error.kind == "permanent" and error.cause != "content":
                raise
    return network.fetch(roots[-1] + path, params=params, accept=accept, check=check, max_bytes=LIMIT)


def picture(asked: Request, data: bytes, source: str) -> Record:
    """The record of a JPEG as it came, once it is proven: size as asked, and not blank."""
    image = decoded(data)
    check_size(image.pixels, asked)
    check_picture(image.pixels)
    return Record(
        asked.id, data, "jpeg", image.bands, asked.pixel_scale, asked.ra, asked.dec, source, disk.sha256(data)
    )


def decoded(data: bytes, bands: tuple[str, ...] = ()) -> Image:
    """:func:`decode`, where a tile of one single value is called what it is in a survey: no coverage."""
    try:
        return decode(data, bands=bands)
    except BadImage as error:
        raise blank(error) from error


def blank(error: BadImage) -> BadImage:
    """NO_SIGNAL and SATURATED of a whole tile mean that the survey has nothing there."""
    if error.reason in (Reason.NO_SIGNAL, Reason.SATURATED):
        return BadImage(Reason.NO_COVERAGE, f"a blank tile: {error.detail}")
    return error


def check_size(pixels: NDArray[Any], asked: Request) -> None:
    """Raise WRONG_SCALE unless the last two axes are what was asked for; services clip without a word."""
    height, width = pixels.shape[-2:]
    if (height, width) != (asked.pixels, asked.pixels):
        detail = f"{height} x {width} px came where {asked.pixels} x {asked.pixels} were asked for"
        raise BadImage(Reason.WRONG_SCALE, detail)


def check_picture(pixels: NDArray[Any]) -> None:
    """Raise NO_COVERAGE where nearly all of a picture (3, H, W), or the middle of it, shows no sky.

    Nearly all: more than 95% of its pixels have one colour, as in a placeholder with a line of text. The middle: the
    central ninth is black, as beyond the edge of a survey.
    """
    colours = pixels.astype(np.uint32)
    values, counts = np.unique((colours[0] << 16 | colours[-1] << 8 | colours[len(colours) // 2]), return_counts=True)
    share = counts.max() / counts.sum()
    if share > BLANK:
        detail = f"{100 * share:.1f}% of the picture has the one colour #{values[counts.argmax()]:06x}"
        raise BadImage(Reason.NO_COVERAGE, f"a blank tile: {detail}")
    if not middle(pixels).any():
        raise BadImage(Reason.NO_COVERAGE, "the middle of the picture is black")


def check_flux(plane: NDArray[np.float32], band: str) -> None:
    """Raise NO_COVERAGE where a plane (H, W) of flux has one value, or its central ninth none but NaN or 0."""
    finite = plane[np.isfinite(plane)]
    if not finite.size or finite.min() == finite.max():
        what = "no finite value" if not finite.size else f"the one value {finite[0]:g}"
        raise BadImage(Reason.NO_COVERAGE, f"band {band} has {what}")
    if not np.nan_to_num(middle(plane)).any():
        raise BadImage(Reason.NO_COVERAGE, f"band {band} has no data in the middle")


def middle(pixels: NDArray[Any]) -> NDArray[Any]:
    """The central ninth of the last two axes: what a galaxy covers, at least."""
    height, width = pixels.shape[-2:]
    return pixels[..., height // 3 : height - height // 3, width // 3 : width - width // 3]


def stacked(asked: Request, planes: Sequence[NDArray[Any]], bands: Iterable[str], sources: Iterable[str]) -> Record:
    """One record of format "npy" from one plane (H, W) a band; its source is every address that gave one, in order."""
    pixels = np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])
    source = " ".join(dict.fromkeys(sources))
    record = Record.from_pixels(asked.id, pixels, tuple(bands), asked.pixel_scale, asked.ra, asked.dec, source)
    return dataclasses.replace(record, sha256=disk.sha256(record.data))
