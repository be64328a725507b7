"""The table of surveys by name, and how a name with an argument is read."""

from __future__ import annotations

import difflib

from ..errors import RecipeError
from ..galaxy.cutout import COLOUR
from .hips import Hips
from .legacy import INVVAR, MASK, LegacyFits, LegacyPicture
from .panstarrs import PanStarrs
from .sdss import LICENCE, SCIENCE_ARCHIVE, SKYSERVER, SdssFrames, SdssPicture
from .service import Survey
from .skyview import SkyView

_SDSS = "York et al. 2000, AJ 120, 1579; Abdurro'uf et al. 2022, ApJS 259, 35 (DR17)"
_LEGACY = "Dey et al. 2019, AJ 157, 168"
_LEGACY_LICENCE = "public; acknowledgement at legacysurvey.org/acknowledgment"
_VIEWER = ("https://www.legacysurvey.org/",)
_HIPS = ("https://alasky.cds.unistra.fr/", "https://alaskybis.cds.unistra.fr/")
_HIPS_PAPER = "Fernique et al. 2015, A&A 578, A114 (HiPS), and the survey's own"
_HIPS_LICENCE = "that of the survey whose HiPS it is (its properties at aladin.cds.unistra.fr/hips/list)"
_COLOUR_UNITS = "uint8 colour"

SURVEYS: dict[str, Survey] = {
    survey.name: survey
    for survey in (
        SdssPicture(
            "sdss", "SDSS colour pictures (SkyServer getjpeg)", COLOUR, 0.396127, _COLOUR_UNITS, (SKYSERVER,), 2.0,
            LICENCE, _SDSS, smallest=64, largest=2048,
        ),
        SdssFrames(
            "sdss-frames", "SDSS corrected frames", tuple("ugriz"), 0.396127, "nanomaggy",
            (SCIENCE_ARCHIVE, SKYSERVER), 1.0, LICENCE, _SDSS, native=True, largest=1489,
        ),
        SkyView(
            "skyview", "SkyView; by default SDSS u, g, r, i, z", tuple("ugriz"), 0.396127, "nanomaggy",
            ("https://skyview.gsfc.nasa.gov/current/",), 1.0, "that of the survey chosen",
            "McGlynn, Scollick & White 1998, IAU Symp. 179, 465, and the survey's own", largest=2048, silence=180.0,
        ),
        LegacyFits(
            "legacy", "DESI Legacy Imaging Surveys, flux with inverse variance and mask",
            (*"griz", *(f"{band}{INVVAR}" for band in "griz"), MASK), 0.262,
            "nanomaggy; 1/nanomaggy^2 of *_invvar; bits of mask", _VIEWER, 2.0, _LEGACY_LICENCE, _LEGACY,
            largest=3000, silence=90.0,
        ),
        LegacyPicture(
            "legacy-jpeg", "DESI Legacy Imaging Surveys, colour pictures", COLOUR, 0.262, _COLOUR_UNITS, _VIEWER, 2.0,
            _LEGACY_LICENCE, _LEGACY, largest=3000,
        ),
        Hips(
            "hips", "any HiPS by CDS hips2fits, as FITS", (), 0.0, "as the HiPS's", _HIPS, 3.0, _HIPS_LICENCE,
            _HIPS_PAPER, largest=5000,
        ),
        Hips(
            "hips-jpeg", "any colour HiPS by CDS hips2fits, as pictures", COLOUR, 0.0, _COLOUR_UNITS, _HIPS, 3.0,
            _HIPS_LICENCE, _HIPS_PAPER, largest=5000, jpeg=True,
        ),
        PanStarrs(
            "panstarrs", "Pan-STARRS1 3 pi stacks", tuple("grizy"), 0.25,
            "counts, AB zero point 25 + 2.5 log10(EXPTIME)", ("https://ps1images.stsci.edu/",), 2.0,
            "public; acknowledgement at panstarrs.stsci.edu", "Chambers et al. 2016, arXiv:1612.05560",
            native=True, largest=6000,
        ),
    )
}  # fmt: skip


def find_survey(name: str) -> Survey:
    """The survey of a name, with what follows a colon: "sdss", "skyview:DSS2 Red", "hips:CDS/P/SDSS9/{band}".

    Raises :class:`RecipeError` for a name that does not exist, with the nearest that does.
    """
    plain, colon, argument = name.partition(":")
    survey = SURVEYS.get(plain.strip())
    if survey is None:
        near = difflib.get_close_matches(plain.strip(), SURVEYS, 1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise RecipeError(f"there is no survey '{name}'{hint}; there are {', '.join(SURVEYS)}")
    return survey.of(argument) if colon else survey
