"""The hips2fits service of the CDS, with its mirror: cutouts of a thousand surveys, resampled from HiPS tiles."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from ..errors import RecipeError
from ..galaxy.cutout import COLOUR, Record
from ..network import Fetched, Network
from .flux import PLACEHOLDER, bands_of, one_band
from .service import FITS, JPEG, Request, Survey, get, picture, refuse_unknown, stacked

_FULL = re.compile(r"(?:ivo://)?[A-Za-z0-9.\-]+(?:/[^/\s?#]+){2,}")
_UNKNOWN = re.compile(r"(?i)hips")


@dataclass(frozen=True)
class Hips(Survey):
    """hips2fits: FITS of one-band HiPS (NaN off the survey), or pictures of colour HiPS, north up.

    ``hips`` is the full id ("CDS/P/DSS2/red"), or a pattern with ``{band}`` ("CDS/P/SDSS9/{band}" with bands u, g, r,
    i, z): where several HiPS match a short name the service chooses one at random, so a short name is refused. A HiPS
    has been resampled twice: good for shapes, not for photometry. That pixels off the survey are NaN, and the ids
    above, are as documented but unverified here; the list is at aladin.cds.unistra.fr/hips/list.
    """

    hips: str = ""
    jpeg: bool = False

    def of(self, argument: str) -> Hips:
        """The same service for one HiPS, or a pattern of one for each band; raises RecipeError for a short name."""
        identifier = argument.strip()
        if not _FULL.fullmatch(identifier):
            raise RecipeError(
                f"'{identifier}' is no full HiPS id: where several match, the service takes one at random. Write it "
                "whole, such as hips:CDS/P/DSS2/red, hips:CDS/P/SDSS9/{band} or hips-jpeg:CDS/P/DSS2/color"
            )
        if self.jpeg and PLACEHOLDER in identifier:
            raise RecipeError(f"a picture is of one HiPS: '{identifier}' names several; leave {PLACEHOLDER} out")
        return dataclasses.replace(
            self, name=f"{self.name}:{identifier}", hips=identifier, bands=COLOUR if self.jpeg else bands_of(identifier)
        )

    def complete(self, request: Request) -> Request:
        """As :meth:`Survey.complete`; without a HiPS id nothing can be asked."""
        if not self.hips:
            raise RecipeError(f"survey '{self.name}' wants the full id of a HiPS, such as {self.name}:CDS/P/DSS2/color")
        return super().complete(request)

    def _take(self, network: Network, asked: Request, roots: tuple[str, ...]) -> Record:
        if self.jpeg:
            fetched = self._image(network, asked, roots, self.hips)
            return picture(asked, fetched.data, fetched.url)
        planes, sources = [], []
        for band in asked.bands:
            fetched = self._image(network, asked, roots, self.hips.replace(PLACEHOLDER, band))
            planes.append(one_band(fetched.data, asked, band))
            sources.append(fetched.url)
        return stacked(asked, planes, asked.bands, sources)

    def _image(self, network: Network, asked: Request, roots: tuple[str, ...], hips: str) -> Fetched:
        wanted: dict[str, str | int | float] = {
            "hips": hips,
            "ra": asked.ra,
            "dec": asked.dec,
            "fov": asked.width_arcsec / 3600,
            "width": asked.pixels,
            "height": asked.pixels,
            "projection": "TAN",
            "coordsys": "icrs",
            "rotation_angle": 0,
            "format": "jpg" if self.jpeg else "fits",
        }
        with refuse_unknown(_UNKNOWN, f"HiPS '{hips}'"):
            return get(network, roots, "hips-image-services/hips2fits", wanted, accept=JPEG if self.jpeg else FITS)
