"""Where on the sky an image lies, and how large its pixels are, by the world coordinates of its header."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame

from .strict import locked

WIDEST = 1800.0  # arcsec; a header without CD, CDELT or PC means one degree a pixel to wcslib

Place = tuple[float | None, float | None, float | None]


def place(header: Any) -> Place:
    """(pixel scale in arcsec, ra, dec of the image's centre in ICRS degrees) by a FITS header; None where it is silent.

    The scale is the square root of the area of the central pixel, so it holds for rotated and distorted (SIP, TPV)
    frames, and for a CD matrix whose diagonal is nearly zero. The centre is pixel (NAXIS1 + 1) / 2, (NAXIS2 + 1) / 2.
    A header without celestial axes, or with ones that wcslib refuses, gives three None: a galaxy is no worse for it.
    """
    if not any(str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2)):
        return None, None, None
    if not all(isinstance(header.get(f"{word}{axis}"), int | float) for word in ("CRVAL", "CRPIX") for axis in (1, 2)):
        return None, None, None  # wcslib would put 0 in the place of what is missing or no number
    try:
        with locked(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _place(header)
    except Exception:
        return None, None, None


def _place(header: Any) -> Place:
    if "A_ORDER" in header and not str(header.get("CTYPE1", "")).strip().endswith("-SIP"):
        header = header.copy()  # resampled images keep the coefficients of their raw frames: without -SIP they are void
        for keyword in ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER"):
            header.remove(keyword, ignore_missing=True)
    sky = WCS(header, naxis=2)
    if not sky.has_celestial:
        return None, None, None
    x, y = (header["NAXIS1"] - 1) / 2, (header["NAXIS2"] - 1) / 2
    # Half a pixel to each side: the local Jacobian, whatever the projection and its distortion.
    around = np.array([[x, y], [x - 0.5, y], [x + 0.5, y], [x, y - 0.5], [x, y + 0.5]])
    lon, lat = sky.all_pix2world(around, 0).T if sky.wcs.lng == 0 else sky.all_pix2world(around, 0).T[::-1]
    across = np.array([(lon[2] - lon[1] + 180) % 360 - 180, lon[4] - lon[3]])
    across[1] = (across[1] + 180) % 360 - 180
    along = np.array([lat[2] - lat[1], lat[4] - lat[3]])
    area = abs(across[0] * along[1] - across[1] * along[0]) * math.cos(math.radians(lat[0]))
    scale = 3600 * math.sqrt(area)
    ra, dec = float(lon[0]) % 360, float(lat[0])
    frame = wcs_to_celestial_frame(sky)
    if frame.name not in ("icrs", "fk5"):  # FK5 at J2000 is ICRS to 0.03 arcsec
        centre = SkyCoord(lon[0], lat[0], unit="deg", frame=frame).icrs
        ra, dec = float(centre.ra.deg), float(centre.dec.deg)
    good = math.isfinite(scale) and 0 < scale < WIDEST and math.isfinite(ra) and -90 <= dec <= 90
    return (scale, ra, dec) if good else (None, None, None)
