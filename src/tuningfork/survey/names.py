"""Names of galaxies become positions: CDS Sesame, which asks SIMBAD, NED and VizieR."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from ..errors import BadCatalog, MissingExtra, NetworkError
from ..galaxy.catalog import Catalog
from ..network import Network

SESAME = ("https://cds.unistra.fr/", "https://vizier.cfa.harvard.edu/")
HOSTS = ("cds.unistra.fr", "vizier.cfa.harvard.edu")
RATE = 3.0  # requests per second
SILENCE = 30.0  # s without a byte
_PATHS = {SESAME[0]: "cgi-bin/nph-sesame", SESAME[1]: "viz-bin/nph-sesame"}
MOST = 1_000_000  # bytes of one reply


@dataclass(frozen=True)
class Found:
    """Where Sesame finds a name: ICRS degrees, the database that knew it, and the name it has there."""

    ra: float
    dec: float
    resolver: str
    known_as: str


def resolve(network: Network, names: Iterable[str], *, url: str | None = None) -> Catalog:
    """A catalogue of names: id is the name as it was written, ra and dec ICRS degrees, then resolver and known_as.

    ``network`` is best ``open_network(folder, HOSTS, RATE, SILENCE, url)``. ``url`` replaces the CDS and its mirror at
    Harvard. Raises :class:`BadCatalog` that lists all names which nobody
    knows, :class:`NetworkError` where Sesame cannot be had or says something else, :class:`MissingExtra` without
    defusedxml.
    """
    wanted = [name.strip() for name in names]
    if not wanted or not all(wanted):
        raise BadCatalog("names of galaxies are wanted, separated by commas: M51,NGC1300")
    found, unknown = [], []
    for name in wanted:
        place = ask(network, name, url)
        found.append(place)
        if place is None:
            unknown.append(name)
    if unknown:
        listed = ", ".join(f"'{name}'" for name in unknown)
        raise BadCatalog(
            f"SIMBAD, NED and VizieR do not know {listed}; the other {len(wanted) - len(unknown)} are known"
        )
    places = [place for place in found if place is not None]
    columns: dict[str, Any] = {
        "id": pa.array(wanted, pa.string()),
        "ra": [place.ra for place in places],
        "dec": [place.dec for place in places],
        "resolver": [place.resolver for place in places],
        "known_as": [place.known_as for place in places],
    }
    return Catalog(columns, name="the names")


def ask(network: Network, name: str, url: str | None = None) -> Found | None:
    """Where one name is, or None if nobody knows it."""
    roots = (url.rstrip("/") + "/",) if url else SESAME
    for number, root in enumerate(roots):
        address = f"{root}{_PATHS.get(root, 'cgi-bin/nph-sesame')}/-oxp/SNV?{quote(name, safe='')}"
        try:
            fetched = network.fetch(
                address,
                check=lambda data: b"<Sesame" in data,
                max_bytes=MOST,
                tries=None if number == len(roots) - 1 else 3,
            )
            return parse(fetched.data, name)
        except NetworkError:
            if number == len(roots) - 1:
                raise
    raise AssertionError("there is at least one root")


def parse(data: bytes, name: str = "") -> Found | None:
    """The position in Sesame's XML: that of the first resolver which has one; None where nothing was found.

    Entities and external references are refused (defusedxml). Raises :class:`NetworkError` for what is no such XML or
    has a position off the sphere.
    """
    try:
        from defusedxml import ElementTree  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtra("defusedxml", "sky") from None
    try:
        root = ElementTree.fromstring(data)
        targets = list(root.iter("Target"))
        if root.tag != "Sesame" or len(targets) != 1:
            raise ValueError(f"<{root.tag}> with {len(targets)} targets")
        for resolver in targets[0].iter("Resolver"):
            ra, dec = resolver.findtext("jradeg"), resolver.findtext("jdedeg")
            if ra is not None and dec is not None:
                return _found(float(ra), float(dec), resolver)
    except (ValueError, ElementTree.ParseError) as error:  # defusedxml's refusals are ValueErrors
        said = " ".join(data[:300].decode("utf-8", "replace").split())
        raise NetworkError(f"Sesame's answer for '{name}' cannot be read ({error}): {said}") from error
    return None


def _found(ra: float, dec: float, resolver: Any) -> Found:
    if not (math.isfinite(ra) and math.isfinite(dec) and 0 <= ra <= 360 and -90 <= dec <= 90):
        raise ValueError(f"{ra} {dec} is no place on the sky")
    who = str(resolver.get("name", "")).partition("=")[2].partition(" ")[0]
    return Found(ra % 360, dec, who, " ".join((resolver.findtext("oname") or "").split()))
