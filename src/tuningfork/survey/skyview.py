"""SkyView of NASA: any survey it offers, resampled to the size asked for."""

from __future__ import annotations

import dataclasses
import html
import re
from dataclasses import dataclass
from urllib.parse import urljoin

from ..errors import RecipeError
from ..galaxy.cutout import Record
from ..network import Fetched, Network
from .flux import PLACEHOLDER, bands_of, one_band
from .service import FITS, Request, Survey, get, refuse_unknown, stacked

_LINK = re.compile(rb"""href\s*=\s*["']?([^"'\s>]*tempspace/fits/[^"'\s>]+\.fits)""", re.IGNORECASE)
_UNKNOWN = re.compile(
    r"(?i)(?:unknown|no such|invalid|not found)[^.]{0,40}survey|survey[^.]{0,60}(?:not (?:found|known)|unknown)"
)


@dataclass(frozen=True)
class SkyView(Survey):
    """SkyView's query service: float images in the units of the survey, north up, tangent projection.

    ``survey`` is SkyView's own name of it ("DSS2 Red", "2MASS-K", "WISE 3.4"), or a pattern with ``{band}``
    ("SDSS{band}", the default, with bands u, g, r, i, z). The images are resampled: good for shapes, not for
    photometry. The service answers with the FITS file or, as its form does, with a page that links to it; the link is
    followed. A field of view is always sent, since SkyView's default would be taken otherwise. That ``Return=FITS``
    gives the file at once is remembered, not verified; both ways are tested against a stand-in.
    """

    survey: str = "SDSS{band}"

    def of(self, argument: str) -> SkyView:
        """The same service with another survey: a SkyView name, or a pattern with {band} (its bands are then asked)."""
        if not argument.strip():
            raise RecipeError("skyview: wants the name of a survey, such as 'skyview:DSS2 Red'")
        name = argument.strip()
        return dataclasses.replace(
            self,
            name=f"{self.name}:{name}",
            survey=name,
            bands=bands_of(name),
            pixel_scale=0.0,
            units="as the survey's",
        )

    def _take(self, network: Network, asked: Request, roots: tuple[str, ...]) -> Record:
        planes, sources = [], []
        for band in asked.bands:
            name = self.survey.replace(PLACEHOLDER, band)
            with refuse_unknown(_UNKNOWN, f"SkyView survey '{name}'"):
                fetched = self._image(network, asked, roots, name)
            planes.append(one_band(fetched.data, asked, band))
            sources.append(fetched.url)
        return stacked(asked, planes, asked.bands, sources)

    def _image(self, network: Network, asked: Request, roots: tuple[str, ...], name: str) -> Fetched:
        wanted: dict[str, str | int | float] = {
            "Position": f"{asked.ra:.7f},{asked.dec:.7f}",
            "survey": name,
            "coordinates": "J2000",
            "projection": "Tan",
            "size": f"{asked.width_arcsec / 3600:.9f}",
            "pixels": asked.pixels,
            "Return": "FITS",
        }
        fetched = get(
            network, roots, "cgi/runquery.pl", wanted, check=lambda data: _is_fits(data) or bool(_linked(data))
        )
        if _is_fits(fetched.data):
            return fetched
        address = urljoin(fetched.url, _linked(fetched.data))
        image = get(network, (address,), "", accept=FITS)
        return dataclasses.replace(image, url=fetched.url)  # what is in tempspace has another name each time


def _is_fits(data: bytes) -> bool:
    return data.startswith(FITS)


def _linked(data: bytes) -> str:
    """The address of the FITS file that a page links to, or nothing."""
    found = _LINK.search(data[:1_000_000])
    return html.unescape(found.group(1).decode("ascii", "replace")) if found else ""
