"""A colour picture of simulated counts, as Sloan's servers render theirs."""

from __future__ import annotations

import numpy as np

from ..errors import BandError
from ..galaxy.display import lupton_rgb
from .survey import SimulatedSurvey, find_survey

WEIGHTS = {"i": 0.852, "r": 1.0, "g": 1.613}
"""How red, green and blue are weighted. These, the softening and ``SDSS.white`` were fitted so that the quartiles of
colour and brightness in the core and the disk of simulated galaxies agree with those of 400 Galaxy Zoo 1 pictures."""

SOFTENING = 0.00142
BLACK = (-8e-5, -9e-5, -5e-5)  # of red, green and blue, in shares of ``white``: the sky is a very dark grey, not black


def picture(flux: np.ndarray, bands: tuple[str, ...], survey: str | SimulatedSurvey, pixel_scale: float) -> np.ndarray:
    """Counts (bands, height, width) as a colour picture (height, width, 3) uint8 with i, r, g as red, green, blue.

    The stretch is that of Lupton et al. (2004), absolute: brightness depends on flux per square arcsec, never on the
    other galaxies. Other survey bands may be there and are not used. Raises BandError where g, r or i is missing.
    """
    where = find_survey(survey)
    missing = [band for band in WEIGHTS if band not in bands]
    if missing:
        raise BandError(f"a colour picture needs bands g, r and i; {', '.join(missing)} not among {list(bands)}")
    unit = 10 ** (0.4 * (22.5 - where.zero_point)) / pixel_scale**2  # counts per pixel to nanomaggies per square arcsec
    planes = [flux[bands.index(band)] * np.float32(unit * weight) for band, weight in WEIGHTS.items()]
    return lupton_rgb(*planes, low=[share * where.white for share in BLACK], span=where.white, softening=SOFTENING)
