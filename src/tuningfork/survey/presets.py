"""SQL for the tables that morphology needs: Galaxy Zoo 1 and 2, and the sizes, magnitudes and redshifts of galaxies."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import RecipeError

PHOTOMETRY = {
    "ra": "deg",
    "dec": "deg",
    **{f"petroMag_{band}": "mag" for band in "ugriz"},
    **{f"extinction_{band}": "mag" for band in "ugriz"},
    **{f"{size}_r": "arcsec" for size in ("petroR50", "petroR90", "petroRad")},
}


@dataclass(frozen=True)
class Preset:
    """One query: its SELECT ... FROM ..., the column to page by, the id, the units, what is dropped of what comes."""

    title: str
    sql: str
    key: str
    id: str
    units: dict[str, str]
    page: int = 50_000
    form: str = "json"
    drop: str = ""
    needs_where: bool = False

    def select(self, where: str = "") -> str:
        """The SQL with the user's condition; raises RecipeError where one is needed and missing."""
        if self.needs_where and not where.strip():
            raise RecipeError(
                f"{self.title}: say which galaxies with where=, such as p.petroMag_r BETWEEN 14 AND 17.77"
            )
        return f"{self.sql} WHERE ({where})" if where.strip() else self.sql


_SIZES = "p.petroRad_r,p.petroR50_r,p.petroR90_r," + ",".join(f"p.petroMag_{band}" for band in "ugriz")
_SPECTRUM = (
    "OUTER APPLY (SELECT TOP 1 x.specObjID, x.z, x.zErr FROM SpecObj x "
    "WHERE x.bestObjID = {id} ORDER BY x.zWarning, x.specObjID) s"
)

# The names of the Galaxy Zoo tables and of their columns are as documented by the SkyServer, but unverified here.
PRESETS: dict[str, Preset] = {
    "galaxyzoo1": Preset(
        "Galaxy Zoo 1 with spectra (z: zooSpec)",
        "SELECT z.specobjid,z.objid,z.dr7objid,z.ra,z.dec,z.nvote,z.p_el,z.p_cw,z.p_acw,z.p_edge,z.p_dk,z.p_mg,z.p_cs,"
        "z.p_el_debiased,z.p_cs_debiased,z.spiral,z.elliptical,z.uncertain FROM zooSpec z",
        key="dr7objid",
        id="dr7objid",
        units={"ra": "deg", "dec": "deg"},
    ),
    "galaxyzoo1-nospec": Preset(
        "Galaxy Zoo 1 without spectra (z: zooNoSpec)",
        "SELECT z.objid,z.dr7objid,z.ra,z.dec,z.nvote,z.p_el,z.p_cw,z.p_acw,z.p_edge,z.p_dk,z.p_mg,z.p_cs "
        "FROM zooNoSpec z",
        key="dr7objid",
        id="dr7objid",
        units={"ra": "deg", "dec": "deg"},
    ),
    "galaxyzoo2": Preset(
        "Galaxy Zoo 2 main sample with spectra (z: zoo2MainSpecz, p: PhotoObjAll, s: SpecObj)",
        f"SELECT z.*,p.run,p.camcol,p.field,{_SIZES},s.z AS redshift FROM zoo2MainSpecz z "
        "LEFT JOIN PhotoObjAll p ON p.objid=z.dr8objid LEFT JOIN SpecObj s ON s.specobjid=z.specobjid",
        key="dr7objid",
        id="dr7objid",
        units=PHOTOMETRY,
        page=20_000,
        form="csv",  # 220 columns of numbers, whose names JSON would repeat in each row
        drop=r"_(weight|weighted_fraction|flag)$|^(ra|dec)string$",
    ),
    "photometry": Preset(
        "photometry of primary galaxies (p: Galaxy, s: SpecObj)",
        f"SELECT p.objid,p.ra,p.dec,p.run,p.camcol,p.field,{_SIZES},"
        + ",".join(f"p.extinction_{band}" for band in "ugriz")
        + ",s.specObjID AS specobjid,s.z AS redshift,s.zErr AS redshift_error FROM Galaxy p "
        + _SPECTRUM.format(id="p.objid"),
        key="objid",
        id="objid",
        units=PHOTOMETRY,
        needs_where=True,
    ),
}
