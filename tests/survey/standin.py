"""A stand-in for every sky service: loopback HTTP that speaks their protocols, and fails as they do when told to.

``with StandIn() as sky: survey.fetch(network, request, url=sky.url)``. ``fault(service, asked, time)`` names, for the
request that came for the ``time``-th time (1, 2, ...), what goes wrong: one of FAULTS, or "" for nothing. The services
are told by their paths: "getjpeg", "frame", "runquery", "tempspace", "hips2fits", "fits-cutout", "jpeg-cutout",
"ps1filenames", "fitscut", "sesame", "sql". South of declination -60 nothing was ever observed.
"""

import bz2
import functools
import importlib.util
import io
import json
import math
import re
import sqlite3
import sys
import threading
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import simplejpeg
from astropy.io import fits


def _liar() -> Any:
    if "liar" not in sys.modules:
        spec = importlib.util.spec_from_file_location("liar", Path(__file__).parents[1] / "faults" / "liar.py")
        assert spec and spec.loader
        sys.modules["liar"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["liar"])
    return sys.modules["liar"]


liar = _liar()
Say, Asked = liar.Say, liar.Asked

FAULTS = (
    "html", "429", "503", "500", "404", "403", "drip", "cut", "reset", "empty", "garbage",  # of the transport
    "blank", "off", "clipped", "centre", "swapped", "scale", "mirrored", "turned", "one-band",  # of the image
)  # fmt: skip
EDGE = -60.0  # degrees of declination: south of it lies nothing
LOGIN = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in to continue.</body></html>"
NAMES = {"M51": (202.469575, 47.195258), "NGC1300": (49.920813, -19.411114), "NGC 4303": (185.478729, 4.473647)}
FRAME = (300, 400)  # rows, columns of a frame here; real ones have 1489 x 2048

Fault = Callable[[str, Any, int], str]


def _no_fault(service: str, asked: Any, time: int) -> str:
    return ""


class _Anywhere(dict[str, Any]):
    """One script for all paths."""

    def get(self, key: str, default: Any = None) -> Any:
        return self[""]


class StandIn:
    """The server; ``asked`` counts the requests of each service, ``requests`` holds them all."""

    def __init__(
        self,
        fault: Fault = _no_fault,
        *,
        cap: int = 500_000,
        two_steps: bool = False,
        crpix: float = 0.5,
        tables: dict[str, tuple[list[str], list[tuple[Any, ...]]]] | None = None,
        sesame: dict[str, str] | None = None,
    ) -> None:
        self.fault, self.cap, self.two_steps, self.crpix = fault, cap, two_steps, crpix
        self.sesame = sesame or {}
        self.asked: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._made: dict[str, bytes] = {}
        self._tables = tables or {}
        self._server = liar.Liar(_Anywhere({"": self._answer}), most_requests=200_000)

    def __enter__(self) -> Self:
        self._server.__enter__()
        self.url: str = self._server.url + "/"
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    @property
    def requests(self) -> list[Any]:
        """Every request, in order."""
        return list(self._server.log)

    def _answer(self, asked: Any, _: int) -> Any:
        service = _service(asked.path)
        query = "&".join(f"{key}={value}" for key, value in sorted(asked.query.items()))
        with self._guard:
            self.asked[service] += 1
            self._seen[f"{asked.path}?{query}"] += 1
            time = self._seen[f"{asked.path}?{query}"]
        fault = self.fault(service, asked, time)
        assert fault in ("", *FAULTS), fault
        if fault in _SAID:
            return _SAID[fault]
        try:
            say = getattr(self, "_" + service.replace("-", "_"))(asked, fault)
        except (KeyError, ValueError) as error:
            return Say(f"<html><body>Bad request: {error}</body></html>".encode(), 400)
        if fault == "garbage":
            return replace(say, body=say.body[:2000] + b"\x00" * max(0, len(say.body) - 2000))
        if fault == "cut":
            return replace(say, cut=len(say.body) // 2)
        if fault == "reset":
            return replace(say, cut=len(say.body) // 2, reset=True)
        return replace(say, drip=0.5) if fault == "drip" else say

    def _nothing(self, asked: Any, fault: str) -> Any:
        return Say(b"no such thing", 404)

    # --- pictures -----------------------------------------------------------------------------------------------------

    def _getjpeg(self, asked: Any, fault: str) -> Any:
        width, height = int(asked.query["width"]), int(asked.query["height"])
        if not (64 <= width <= 2048 and 64 <= height <= 2048):
            width, height = min(max(width, 64), 2048), min(max(height, 64), 2048)  # silently
        return self._jpeg(asked, width, fault)

    def _jpeg_cutout(self, asked: Any, fault: str) -> Any:
        return self._jpeg(asked, min(int(asked.query["size"]), 3000), fault)

    def _jpeg(self, asked: Any, side: int, fault: str) -> Any:
        ra, dec = float(asked.query["ra"]), float(asked.query["dec"])
        side = side // 2 if fault == "clipped" else side
        if dec < EDGE or fault in ("off", "blank"):
            image = np.zeros((side, side, 3), np.uint8)
            if fault != "blank":  # a placeholder: a line of something in the middle of nothing
                image[side // 2, side // 4 : side // 2] = 200
        else:
            image = np.clip(40 + 6 * scene(ra, dec, side, "gri").transpose(1, 2, 0), 0, 255).astype(np.uint8)
        return Say(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=90), headers=_mime("image/jpeg"))

    # --- FITS ---------------------------------------------------------------------------------------------------------

    def _runquery(self, asked: Any, fault: str) -> Any:
        query = {key.lower(): value for key, value in asked.query.items()}
        survey = query["survey"]
        if not re.fullmatch(r"SDSS[ugriz]|DSS2 Red", survey):
            return Say(f"<html><body>Error: survey {survey} not found</body></html>".encode(), 404)
        ra, dec = (float(part) for part in query["position"].split(","))
        side, width = int(query.get("pixels", 300)), float(query.get("size", 0.1)) * 3600
        data = self._image(ra, dec, side, width / side, survey, fault, empty=0.0)
        if not self.two_steps or query.get("return") != "FITS":
            return Say(data, headers=_mime("image/fits"))
        with self._guard:
            name = f"skv{len(self._made) + 1:013d}_1.fits"
            self._made[name] = data
        page = f"<html><body><a href='../tempspace/fits/{name}'>FITS</a> <a href=/help>Help</a></body></html>"
        return Say(page.encode(), headers=_mime("text/html"))

    def _tempspace(self, asked: Any, fault: str) -> Any:
        return Say(self._made[asked.path.rsplit("/", 1)[1]], headers=_mime("image/fits"))

    def _hips2fits(self, asked: Any, fault: str) -> Any:
        query = asked.query
        if query["hips"].count("/") < 2 or "unknown" in query["hips"]:
            said = {"title": "Bad Request", "description": f"No HiPS found for {query['hips']}"}
            if "unknown" in query["hips"]:
                return Say(json.dumps(said).encode(), 400, headers=_mime("application/json"))
            query["hips"] = "CDS/P/allWISE/W4"  # several match: one at random
        side = int(query["width"])
        ra, dec = float(query["ra"]), float(query["dec"])
        if query["format"] == "jpg":
            return self._jpeg(asked, side, fault)
        scale = float(query["fov"]) * 3600 / side
        data = self._image(ra, dec, side, scale, query["hips"], fault, empty=math.nan, crpix=self.crpix - 0.5)
        return Say(data, headers=_mime("image/fits"))

    def _fits_cutout(self, asked: Any, fault: str) -> Any:
        query = asked.query
        if "ra" not in query or "dec" not in query:
            return Say(b"Need ra,dec keywords", 400)
        ra, dec, side = float(query["ra"]), float(query["dec"]), min(int(query.get("size", 256)), 3000)
        scale, bands = float(query.get("pixscale", 0.262)), query.get("bands", "griz")
        if dec < EDGE or fault == "off":
            return Say(b"no overlap", headers=_mime("text/html"))
        bands = bands[:-1] if fault == "one-band" else bands
        side = side // 2 if fault == "clipped" else side
        header = _header(ra, dec, side, scale, fault)
        header["BANDS"] = bands
        header.update({f"BAND{number}": band for number, band in enumerate(bands)})
        flux = 0.01 * scene(ra, dec, side, bands)
        weight = np.full_like(flux, 400.0)
        if fault == "blank":
            flux[:], weight[:] = 0.0, 0.0
        hdus = [("IMAGE", flux)] + ([("INVVAR", weight)] if "invvar" in query else [])
        if "maskbits" in query:
            hdus.append(("MASKBITS", np.where(flux[0] > 0.05, 2, 0).astype(np.int32)))
        made = []
        for kind, plane in hdus:
            cards = header.copy()
            cards["IMAGETYP"] = kind
            plane = plane[0] if plane.ndim == 3 and len(plane) == 1 else plane
            made.append((fits.ImageHDU if made else fits.PrimaryHDU)(plane, cards))
        return Say(_bytes(made), headers=_mime("image/fits"))

    def _ps1filenames(self, asked: Any, fault: str) -> Any:
        ra, dec = float(asked.query["ra"]), float(asked.query["dec"])
        lines = ["projcell subcell ra dec filter mjd type filename shortname badflag"]
        if dec > EDGE and fault != "off":
            for band in asked.query["filters"][: -1 if fault == "one-band" else None]:
                name = f"/rings.v3.skycell/1234/056/rings.v3.skycell.1234.056.stk.{band}.unconv.fits"
                lines.append(f"1234 56 {ra} {dec} {band} 0 stack {name} {name[-20:]} 0")
        return Say("\n".join(lines).encode() + b"\n", headers=_mime("text/plain"))

    def _fitscut(self, asked: Any, fault: str) -> Any:
        ra, dec, side = float(asked.query["ra"]), float(asked.query["dec"]), int(asked.query["size"])
        turned = fault if fault != "turned" else ""  # skycells are turned anyway
        data = self._image(ra, dec, side, 0.25, asked.query["red"], turned, empty=math.nan, turn=3.0)
        return Say(data, headers=_mime("image/fits"))

    def _image(
        self, ra: float, dec: float, side: int, scale: float, name: str, fault: str, empty: float, **how: Any
    ) -> bytes:
        side = side // 2 if fault == "clipped" else side
        plane = scene(ra, dec, side, name[-1:])[0]
        if dec < EDGE or fault in ("off", "blank"):
            plane[:] = empty
        return _bytes([fits.PrimaryHDU(plane, _header(ra, dec, side, scale, fault, **how))])

    def _frame(self, asked: Any, fault: str) -> Any:
        found = re.fullmatch(r"frame-([ugriz])-(\d{6})-(\d)-(\d{4})\.fits\.bz2", asked.path.rsplit("/", 1)[1])
        if not found:
            return Say(b"404 Not Found", 404)
        return Say(frame(found[1], int(found[2]), int(found[3]), int(found[4]), fault))

    # --- names and tables ---------------------------------------------------------------------------------------------

    def _sesame(self, asked: Any, fault: str) -> Any:
        name = urllib.parse.unquote(next(iter(asked.query)))
        if name in self.sesame:
            return Say(self.sesame[name].encode(), headers=_mime("text/xml"))
        known = NAMES.get(name)
        inside = "<INFO>*** Nothing found ***</INFO>"
        if known:
            inside = (
                f"<INFO>from cache</INFO><otype>G</otype><jradeg>{known[0]}</jradeg><jdedeg>{known[1]}</jdedeg>"
                f"<oname>{name[:1]}  {name[1:]}</oname>"
            )
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Sesame xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
            f'<Target option="SNV"><name>{name}</name>\n<Resolver name="S=Simbad (via url)">{inside}</Resolver>'
            "</Target>\n</Sesame>\n"
        )
        return Say(text.encode(), headers=_mime("text/xml"))

    def _sql(self, asked: Any, fault: str) -> Any:
        command, form = asked.query["cmd"], asked.query.get("format", "csv")
        near = re.search(r"fGetNearestObjEq\(([-\d.]+),([-\d.]+),", command)
        if near:
            ra, dec = float(near[1]), float(near[2])
            names, rows = ["run", "camcol", "field"], [] if dec < EDGE else [field_at(ra, dec)]
        else:
            try:
                names, rows = self._select(command)
            except sqlite3.Error as error:
                page = f"<html><head><title>SkyServer Error</title></head><body><h3>{error}</h3></body></html>"
                return Say(page.encode(), headers=_mime("text/html"))
        rows = rows[: self.cap]
        if form == "json":
            listed = [dict(zip(names, row, strict=True)) for row in rows]
            return Say(
                json.dumps([{"TableName": "Table1", "Rows": listed}]).encode(), headers=_mime("application/json")
            )
        text = "#Table1\n" + ",".join(names) + "\n"
        text += "".join(",".join("null" if v is None else str(v) for v in row) + "\n" for row in rows)
        return Say(text.encode(), headers=_mime("text/csv"))

    def _select(self, command: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The command, as SQLite understands it."""
        apply = r"OUTER APPLY \(SELECT TOP 1 .*? ORDER BY x\.zWarning, x\.specObjID\) s"
        command = re.sub(apply, "LEFT JOIN SpecObj s ON s.bestObjID = p.objid", command)
        top = re.match(r"SELECT TOP (\d+) (.*)", command, re.DOTALL)
        command = f"SELECT {top[2]} LIMIT {top[1]}" if top else command
        base = sqlite3.connect(":memory:")
        try:
            for table, (names, rows) in self._tables.items():
                base.execute(f"CREATE TABLE {table} ({','.join(names)})")
                base.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(names))})", rows)
            found = base.execute(command)
            return [column[0] for column in found.description], found.fetchall()
        finally:
            base.close()


_SAID = {
    "html": Say(LOGIN, headers=(("Content-Type", "text/html"),)),
    "429": Say(b"Too many requests", 429, headers=(("Retry-After", "1"),)),
    "503": Say(b"<html>503 Service Unavailable: maintenance</html>", 503),
    "500": Say(b"<html>500 Internal Server Error</html>", 500),
    "404": Say(b"<html>404 Not Found</html>", 404),
    "403": Say(b"Forbidden", 403),
    "empty": Say(b""),
}


def _service(path: str) -> str:
    for part, service in (
        ("getjpeg", "getjpeg"), ("/frames/", "frame"), ("runquery", "runquery"), ("tempspace", "tempspace"),
        ("hips2fits", "hips2fits"), ("fits-cutout", "fits-cutout"), ("jpeg-cutout", "jpeg-cutout"),
        ("ps1filenames", "ps1filenames"), ("fitscut", "fitscut"), ("nph-sesame", "sesame"), ("SqlSearch", "sql"),
    ):  # fmt: skip
        if part in path:
            return service
    return "nothing"


def _mime(kind: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", kind),)


def scene(ra: float, dec: float, side: int, bands: str) -> np.ndarray:
    """(bands, side, side) float32: a galaxy off to the upper right of its middle, on noise, different everywhere."""
    seed = [int(ra * 3600) % 2**31, int((dec + 90) * 3600), sum(map(ord, bands))]
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    spread = side / 12
    galaxy = np.exp(-0.5 * (x**2 + (1.5 * y) ** 2) / spread**2)
    arm = 0.3 * np.exp(-0.5 * ((x - 2 * spread) ** 2 + (y - spread) ** 2) / spread**2)
    brightness = np.array([20 + 3 * (ord(band) % 5) for band in bands])[:, None, None]
    tile = generator.normal(size=(len(bands), min(side, 256), min(side, 256)))
    repeats = -(-side // 256)
    noise = np.tile(tile, (1, repeats, repeats))[:, :side, :side]
    return (brightness * (galaxy + arm) + noise).astype(np.float32)


def _header(
    ra: float, dec: float, side: int, scale: float, fault: str = "", turn: float = 0.0, crpix: float = 0.0
) -> fits.Header:
    """A tangent plane around a position, north up, unless told otherwise."""
    ra, dec = (dec % 360, min(max(ra, -90), 90)) if fault == "swapped" else (ra, dec)
    dec = dec + (3 * scale + 5) / 3600 if fault == "centre" else dec
    step = scale * (2 if fault == "scale" else 1) / 3600
    angle = math.radians(turn + (90 if fault == "turned" else 0))
    mirror = -1 if fault == "mirrored" else 1
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CRPIX1"], header["CRPIX2"] = (side + 1) / 2 + crpix, (side + 1) / 2 + crpix
    header["CD1_1"], header["CD1_2"] = -step * math.cos(angle) * mirror, step * math.sin(angle)
    header["CD2_1"], header["CD2_2"] = step * math.sin(angle) * mirror, step * math.cos(angle)
    return header


def _bytes(hdus: list[Any]) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(hdus).writeto(stream)
    return stream.getvalue()


def field_at(ra: float, dec: float) -> tuple[int, int, int]:
    """(run, camcol, field) of a position on the stand-in's strips of sky."""
    return 1000 + int(dec + 90), 1 + int((dec + 90) % 1 * 6), 11 + int(ra * 10)


@functools.lru_cache(maxsize=64)
def frame(band: str, run: int, camcol: int, field: int, fault: str = "") -> bytes:
    """A corrected frame as SDSS writes it: x grows to the north, y to the east, after bzip2; a few pixels are 2.0.

    The header is shaped after that of run 3970 (CD1_2 and CD2_1 of 1.1e-4, the others near zero).
    """
    rows, columns = FRAME
    ra, dec = (field - 11 + 0.5) / 10, run - 1000 - 90 + (camcol - 1 + 0.5) / 6
    generator = np.random.default_rng([run, camcol, field, ord(band)])
    plane = np.round(generator.normal(0.0, 0.02, (rows, columns)), 2).astype(np.float32)
    shift = "ugriz".index(band)  # the bands of one field do not lie exactly on each other
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    header["CRVAL1"], header["CRVAL2"] = (ra, dec) if fault != "swapped" else (dec % 360, min(ra, 90))
    header["CRPIX1"], header["CRPIX2"] = columns / 2 + 0.5 + shift, rows / 2 + 0.5 - shift
    scale = 0.396127 / 3600 * (2 if fault == "scale" else 1)
    mirror = -1 if fault == "mirrored" else 1
    header["CD1_1"], header["CD1_2"] = 1.57e-6, scale * mirror
    header["CD2_1"], header["CD2_2"] = scale, -1.59e-6 * mirror
    header["RUN"], header["CAMCOL"], header["FILTER"] = run, camcol, band
    header["BUNIT"] = "nanomaggy"
    y, x = np.mgrid[:rows, :columns]
    middle = (header["CRPIX1"] - 1, header["CRPIX2"] - 1)  # where CRVAL lies: a galaxy, with a companion to the north
    plane += np.exp(-0.5 * ((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / 4.0**2).astype(np.float32)
    plane += 0.5 * np.exp(-0.5 * ((x - middle[0] - 12) ** 2 + (y - middle[1]) ** 2) / 2.0**2).astype(np.float32)
    if fault == "blank":
        plane[:] = 0
    return bz2.compress(_bytes([fits.PrimaryHDU(np.round(plane, 2), header)]), 1)
