"""Mosaic against tiles drawn from one sky: the right pixels, one reading a tile, edges turned away."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from numpy.typing import NDArray

from tuningfork.errors import BadImage, BadStore, Reason, RecipeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.store import Store
from tuningfork.survey import mosaic
from tuningfork.survey.field import Field
from tuningfork.survey.gather import Summary, gather
from tuningfork.survey.mosaic import Mosaic, crop
from tuningfork.survey.service import Request

SCALE = 0.5  # arcsec/px
SIDE = 120


def wcs_at(ra: float, dec: float, angle: float = 0.0, side: int = SIDE, mirror: bool = False) -> WCS:
    turn = np.radians(angle)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [(side + 1) / 2] * 2
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.cd = SCALE / 3600 * rotation @ np.diag([1.0 if mirror else -1.0, 1.0])
    wcs.wcs.set()
    return wcs


def pixels_of(seed: int, side: int = SIDE) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(10, 1, (side, side)).astype(np.float32)


def write(path: Path, pixels: NDArray[Any], wcs: WCS | None, **cards: Any) -> None:
    header = fits.Header() if wcs is None else wcs.to_header()
    header.update(cards)
    fits.PrimaryHDU(pixels, header).writeto(path)


def at(wcs: WCS, *places: tuple[float, float]) -> Catalog:
    """Galaxies at pixel positions (x, y), counted from 0."""
    ra, dec = wcs.all_pix2world(np.array(places, dtype=float), 0).T
    return Catalog({"id": [f"g{i}" for i in range(len(places))], "ra": ra, "dec": dec})


def run(out: Path, catalog: Catalog, images: Path | str, **more: Any) -> Summary:
    return gather(catalog, "mosaic", out, images=str(images), **({"width": "16arcsec"} | more))


def cut(store: Path, identifier: str) -> NDArray[Any]:
    return Store.open(store).record(identifier).cutout().pixels


@pytest.mark.parametrize(("angle", "mirror"), [(0, False), (31, False), (200, True)])
def test_pixels_are_those_of_astropys_cutout(tmp_path: Path, angle: float, mirror: bool) -> None:
    wcs, pixels = wcs_at(150.1, -33.0, angle, mirror=mirror), pixels_of(1)
    write(tmp_path / "tile1.fits", pixels, wcs, FILTER="r", BUNIT="nanomaggy")
    catalog = at(wcs, (60.2, 40.4), (30.49, 80.4), (15.6, 15.6), (103.2, 59.7))
    done = run(tmp_path / "s", catalog, tmp_path / "tile*.fits")
    assert (done.n_done, done.n_rejected) == (4, 0)
    for identifier, place in zip(catalog.ids, ((60.2, 40.4), (30.49, 80.4), (15.6, 15.6), (103.2, 59.7)), strict=True):
        expected = Cutout2D(pixels, place, 32, mode="strict").data
        np.testing.assert_array_equal(cut(tmp_path / "s", identifier)[0], expected)
    record = Store.open(tmp_path / "s").record("g0")
    assert record.bands == ("r",) and record.source == "tile1.fits[46:77,26:57]"
    assert record.pixel_scale == pytest.approx(SCALE, rel=1e-6)  # at the centre of a tangent plane
    assert "nanomaggy" in done.notes[0] and "0.5 arcsec/px" in done.notes[0]


def test_the_section_in_the_source_gives_the_same_pixels(tmp_path: Path) -> None:
    wcs = wcs_at(10.0, 0.0)
    write(tmp_path / "tile1.fits", pixels_of(2), wcs, FILTER="g")
    run(tmp_path / "s", at(wcs, (60, 50)), tmp_path / "tile1.fits", width=10.0)
    section = Store.open(tmp_path / "s").record("g0").source.partition("[")[2].rstrip("]")
    columns, lines = (tuple(map(int, part.split(":"))) for part in section.split(","))
    with fits.open(tmp_path / "tile1.fits") as hdus:
        part = hdus[0].section[lines[0] - 1 : lines[1], columns[0] - 1 : columns[1]]
    np.testing.assert_array_equal(cut(tmp_path / "s", "g0")[0], part)


def test_edges_are_turned_away_or_filled(tmp_path: Path) -> None:
    wcs, pixels = wcs_at(0.0, 60.0), pixels_of(3)
    write(tmp_path / "a.fits", pixels, wcs, FILTER="r")
    write(tmp_path / "a.wht.fits", np.ones_like(pixels), wcs)
    catalog = at(wcs, (60, 60), (15, 60), (60, 110), (-5, 60), (300, 300))
    weights = str(tmp_path / "*.wht.fits")
    done = run(tmp_path / "s", catalog, tmp_path / "*.fits", weights=weights)
    assert [(r.id, r.reason) for r in done.rejected] == [(f"g{i}", Reason.NO_COVERAGE) for i in (1, 2, 3, 4)]
    assert "over the edge" in done.rejected[0].detail and "on no tile" in done.rejected[3].detail
    done = run(tmp_path / "p", catalog, tmp_path / "*.fits", weights=weights, partial=True)
    assert [r.id for r in done.rejected] == ["g3", "g4"]
    flux, weight = cut(tmp_path / "p", "g1")
    assert np.isnan(flux[:, 0]).all() and np.isfinite(flux[:, 1:]).all()  # as astropy.nddata cuts
    assert (weight[:, 0] == 0).all() and (weight[:, 1:] == 1).all()


def test_overlaps_give_the_tile_where_the_galaxy_is_farthest_from_the_edge(tmp_path: Path) -> None:
    left, right = wcs_at(20.0, 0.0), wcs_at(20.0 - 60 * SCALE / 3600, 0.0)
    write(tmp_path / "tile_left.fits", pixels_of(1), left, FILTER="r")
    write(tmp_path / "tile_right.fits", pixels_of(2), right, FILTER="r")
    catalog = at(left, (70, 60), (95, 60), (110, 60), (40, 60))
    run(tmp_path / "s", catalog, tmp_path / "tile*.fits")
    sources = [r.source.partition("[")[0] for r in Store.open(tmp_path / "s").records() if isinstance(r, Record)]
    assert sources == ["tile_left.fits", "tile_right.fits", "tile_right.fits", "tile_left.fits"]


def test_bands_weights_and_masks_come_together_and_each_file_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [(30.0 + 5 * i, 60.0) for i in range(8)]
    centres = [wcs_at(40.0, 10.0), wcs_at(41.0, 10.0)]
    for number, wcs in enumerate(centres):
        for place, band in enumerate("rg"):
            name = tmp_path / f"tile{number}_{band}.fits"
            write(name, pixels_of(10 * number + place), wcs)
            write(name.with_suffix(".wht.fits"), np.full((SIDE, SIDE), 0.5 + place, np.float32), wcs)
        write(tmp_path / f"tile{number}.msk.fits", np.arange(SIDE * SIDE, dtype=np.int32).reshape(SIDE, SIDE), None)
    first, second = (at(wcs, *places) for wcs in centres)
    catalog = Catalog(
        {"id": [f"g{i}" for i in range(16)], "ra": np.append(first["ra"], second["ra"])[::-1].copy(),
         "dec": np.append(first["dec"], second["dec"])[::-1].copy()}
    )  # fmt: skip
    read: list[int] = []
    planes = mosaic.read_planes
    monkeypatch.setattr(mosaic, "read_planes", lambda data, budget: read.append(len(data)) or planes(data, budget))
    done = run(
        tmp_path / "s", catalog, tmp_path / "tile*_{band}.fits", bands=("g", "r"),
        weights=str(tmp_path / "tile*_{band}.wht.fits"), masks=str(tmp_path / "tile*.msk.fits"),
    )  # fmt: skip
    store = Store.open(tmp_path / "s")
    assert done.n_done == 16 and len(read) == 10 and store.ids == catalog.ids
    assert store.bands == ("g", "r", "g_weight", "r_weight", "mask")
    flux_g, flux_r, weight_g, weight_r, mask = cut(tmp_path / "s", "g15")  # tile 0, at (30, 60)
    box = slice(44, 76), slice(14, 46)
    np.testing.assert_array_equal(flux_g, pixels_of(1)[box])
    np.testing.assert_array_equal(flux_r, pixels_of(0)[box])
    assert (weight_g == 1.5).all() and (weight_r == 0.5).all()
    np.testing.assert_array_equal(mask, np.arange(SIDE * SIDE).reshape(SIDE, SIDE)[box])
    assert store.record("g15").source.count("tile0") == 5


def test_holes_in_the_data_and_in_the_weight_are_no_coverage(tmp_path: Path) -> None:
    wcs, pixels = wcs_at(40.0, 10.0), pixels_of(1)
    weight = np.ones_like(pixels)
    pixels[20:50, 20:50] = np.nan
    weight[70:100, 70:100] = 0
    write(tmp_path / "a_r.fits", pixels, wcs, FILTER="r")
    write(tmp_path / "a_w.fits", weight, wcs)
    done = run(
        tmp_path / "s", at(wcs, (35, 35), (85, 85), (85, 35)), tmp_path / "a_r.fits", weights=str(tmp_path / "a_w.fits")
    )
    assert [(r.id, r.reason) for r in done.rejected] == [("g0", Reason.NO_COVERAGE), ("g1", Reason.NO_COVERAGE)]
    assert "r_weight" not in done.rejected[0].detail and "weight is 0" in done.rejected[1].detail


def test_compressed_tiles_cubes_and_other_frames(tmp_path: Path) -> None:
    wcs, pixels = wcs_at(40.0, 10.0), np.round(pixels_of(1) * 50)
    fits.HDUList(
        [fits.PrimaryHDU(), fits.CompImageHDU(pixels.astype(np.int32), wcs.to_header(), compression_type="RICE_1")]
    ).writeto(tmp_path / "c1.fits.fz")
    run(tmp_path / "c", at(wcs, (60, 60)), tmp_path / "c*.fz", bands=("i",))
    np.testing.assert_array_equal(cut(tmp_path / "c", "g0")[0], pixels[44:76, 44:76])
    cube = np.stack([pixels_of(1), pixels_of(2), pixels_of(3)])
    write(tmp_path / "cube.fits", cube, wcs, BANDS="grz")
    run(tmp_path / "d", at(wcs, (60, 60)), tmp_path / "cube.fits", bands=("z", "g"))
    np.testing.assert_array_equal(cut(tmp_path / "d", "g0"), cube[[2, 0], 44:76, 44:76])
    galactic = wcs_at(120.0, 30.0)
    galactic.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    galactic.wcs.radesys = ""
    write(tmp_path / "gal.fits", pixels_of(5), galactic, FILTER="r")
    sky = galactic.pixel_to_world(70, 50).icrs
    catalog = Catalog({"id": ["g0"], "ra": [sky.ra.deg], "dec": [sky.dec.deg]})
    run(tmp_path / "g", catalog, tmp_path / "gal.fits")
    np.testing.assert_array_equal(cut(tmp_path / "g", "g0")[0], pixels_of(5)[34:66, 54:86])


def test_the_pole_and_the_meridian_are_ordinary_places(tmp_path: Path) -> None:
    for number, (ra, dec) in enumerate([(0.0, 0.0), (123.0, 90.0), (359.999, -45.0)]):
        wcs = wcs_at(ra, dec)
        write(tmp_path / f"t{number}.fits", pixels_of(number), wcs, FILTER="r")
        done = run(tmp_path / f"s{number}", at(wcs, (50, 70), (75, 45)), tmp_path / f"t{number}.fits")
        assert done.n_done == 2
        np.testing.assert_array_equal(cut(tmp_path / f"s{number}", "g1")[0], pixels_of(number)[29:61, 59:91])


def test_a_tile_that_breaks_takes_only_its_own_galaxies_with_it(tmp_path: Path) -> None:
    write(tmp_path / "t1.fits", pixels_of(1), wcs_at(40.0, 10.0), FILTER="r")
    write(tmp_path / "t2.fits", pixels_of(2), wcs_at(50.0, 10.0), FILTER="r")
    write(tmp_path / "t3.fits", pixels_of(3), wcs_at(60.0, 10.0), FILTER="r")
    tiles = Mosaic(str(tmp_path / "t*.fits"))
    (tmp_path / "t2.fits").unlink()
    (tmp_path / "t3.fits").write_bytes((tmp_path / "t3.fits").read_bytes()[:20_000])
    found: dict[str, Any] = {}
    for request, take in tiles.jobs([Request(str(ra), ra, 10.0, 16.0) for ra in (60.0, 50.0, 40.0)]):
        try:
            found[request.id] = take().format
        except BadImage as error:
            assert f"t{request.ra / 10 - 3:.0f}.fits" in error.detail
            found[request.id] = error.reason
    assert found == {"40.0": "npy", "50.0": Reason.UNREADABLE, "60.0": Reason.TRUNCATED}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: None, "no file fits"),
        (lambda d: write(d / "t1.fits", pixels_of(1), None, FILTER="r"), "no usable world coordinates"),
        (lambda d: write(d / "t1.fits", pixels_of(1), wcs_at(1, 1)), "name the bands"),
        (lambda d: (d / "t1.fits").write_bytes(b"<html>" * 999), "cannot be read"),
        (lambda d: fits.PrimaryHDU().writeto(d / "t1.fits"), "no image"),
    ],
)
def test_tiles_that_cannot_be_used_are_named(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path)
    with pytest.raises(BadStore, match=words):
        run(tmp_path / "s", Catalog({"id": ["a"], "ra": [1.0], "dec": [1.0]}), tmp_path / "t*.fits")
    assert not (tmp_path / "s").exists()


def test_files_of_one_tile_have_to_lie_alike_and_be_complete(tmp_path: Path) -> None:
    write(tmp_path / "t1_g.fits", pixels_of(1), wcs_at(1, 1))
    write(tmp_path / "t1_r.fits", pixels_of(2), wcs_at(1, 1 + 0.2 / 3600))
    with pytest.raises(BadStore, match="lies elsewhere"):
        Mosaic(str(tmp_path / "t*_{band}.fits"))
    (tmp_path / "t1_r.fits").unlink()
    write(tmp_path / "t2_g.fits", pixels_of(1), wcs_at(2, 1))
    write(tmp_path / "t2_r.fits", pixels_of(2), wcs_at(2, 1))
    with pytest.raises(BadStore, match="tile '1' has no image of band 'r'"):
        Mosaic(str(tmp_path / "t*_{band}.fits"))
    assert Mosaic(str(tmp_path / "t*_{band}.fits"), bands=("g",)).bands == ("g",)


def test_a_mosaic_gives_its_own_pixels_only(tmp_path: Path) -> None:
    write(tmp_path / "t1.fits", pixels_of(1), wcs_at(1, 1), FILTER="r")
    catalog = Catalog({"id": ["a"], "ra": [1.0], "dec": [1.0]})
    with pytest.raises(RecipeError, match="own pixels"):
        run(tmp_path / "s", catalog, tmp_path / "t*.fits", pixels=64)
    with pytest.raises(RecipeError, match="--images"):
        gather(catalog, "mosaic", tmp_path / "s", width="16arcsec")


def test_places_agree_with_a_search_over_all_tiles() -> None:
    """The same as asking every tile for every galaxy, though only near ones are asked."""
    random = np.random.default_rng(0)

    class Bare(Mosaic):
        def __init__(self, tiles: list[Any]) -> None:
            self.partial, self.tiles = False, tiles

    from tuningfork.survey.tiles import _placed

    centres = [(200 + random.uniform(-0.02, 0.02), 50 + random.uniform(-0.02, 0.02)) for _ in range(12)]
    tiles = [_placed(str(i), Path("x"), _header(wcs_at(*c, angle=30 * i)), (SIDE, SIDE)) for i, c in enumerate(centres)]
    asked = [
        Request(str(i), 200 + random.uniform(-0.04, 0.04), 50 + random.uniform(-0.04, 0.04), 10.0) for i in range(300)
    ]
    found = Bare(tiles).places(asked)
    assert 20 < sum(place.tile >= 0 for place in found) < 280
    for request, place in zip(asked, found, strict=True):
        best, where = 0.0, -1
        for number, tile in enumerate(tiles):
            x, y = tile.wcs.all_world2pix(request.ra, request.dec, 0)
            if 9.5 <= x < SIDE - 10.5 and 9.5 <= y < SIDE - 10.5:
                distance = min(x + 0.5, y + 0.5, SIDE - 0.5 - x, SIDE - 0.5 - y)
                best, where = max((best, where), (distance, number))
        assert place.tile == where or abs(place.distance - best) < 1e-6


def _header(wcs: WCS) -> fits.Header:
    header = wcs.to_header()
    header["NAXIS1"] = header["NAXIS2"] = SIDE
    return header


def test_crop_fills_what_is_beyond() -> None:
    plane = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(crop(plane, (1, 1, 2), 0), [[5, 6], [9, 10]])
    np.testing.assert_array_equal(crop(plane, (-1, 3, 2), -1), [[-1, -1], [3, -1]])
    assert np.isnan(crop(plane, (9, 9, 2), np.nan)).all()


# --- the field of view ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "width"),
    [("60arcsec", 60), ("1.5 arcmin", 90), ("0.01deg", 36), ('2"', 2), (42.5, 42.5), ("8.48*r", 16.96),
     ("0.02*r*424", 16.96), ("r * 2", 4), ("1e1*r", 20)],
)  # fmt: skip
def test_fields_of_view_are_read(text: str | float, width: float) -> None:
    catalog = Catalog({"id": ["a"], "r": [2.0]})
    np.testing.assert_allclose(Field.parse(text).widths(catalog), [width], rtol=1e-12)


@pytest.mark.parametrize(
    "text", ["", "60", "r", "0*r", "-2*r", "2*r*r", "2**r", "*", "2*", "2*3", "nan*r", "1e999*r", "-3arcsec"]
)
def test_fields_of_view_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="field of view"):
        Field.parse(text)


def test_nothing_in_a_field_of_view_is_ever_evaluated() -> None:
    field = Field.parse("2*__import__('os').getpid()")
    assert field.column == "__import__('os').getpid()"


def test_a_column_has_its_own_unit() -> None:
    catalog = Catalog({"id": ["a", "b"]}).with_columns(
        {"r": [0.5, np.nan], "f": [1.0, 2.0]}, {"r": "arcmin", "f": "Jy"}
    )
    np.testing.assert_allclose(Field.parse("2*r").widths(catalog), [60, np.nan])
    with pytest.raises(RecipeError, match="no angle"):
        Field.parse("2*f").widths(catalog)
    with pytest.raises(RecipeError, match="no sizes"):
        Field.parse("2*c").widths(catalog.with_columns({"c": ["x", "y"]}))
