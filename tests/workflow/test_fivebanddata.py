"""Five bands from the user's FITS files: each layout opens, and a band that is missing costs its galaxy alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from tuningfork.errors import BadStore, LabelError, Reason
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.source import open_source
from tuningfork.galaxy.tree import Tree
from tuningfork.workflow.experiments.choices import Experiment
from tuningfork.workflow.experiments.desk import Desk
from tuningfork.workflow.experiments.fivebanddata import DES_BANDS, SDSS_BANDS, des_stack, five_bands

IDS = ("587722981736120347", "587722981741363294", "587722981741363323", "587722981741559888")


def plane(identifier: str, band: str, side: int = 20) -> np.ndarray:
    """Noise of the galaxy's and the band's own, so that no two planes of a test are alike."""
    seed = [int(identifier) % 2**32, ord(band)]
    return np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)


def write(path: Path, data: np.ndarray, **cards: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    hdu = fits.PrimaryHDU(data)
    hdu.header.update(cards)
    hdu.writeto(path)


def lay(folder: Path, pattern: str = "{id}_{band}.fits", ids: tuple[str, ...] = IDS) -> Path:
    for identifier in ids:
        for band in SDSS_BANDS:
            write(folder / "fits" / pattern.format(id=identifier, band=band), plane(identifier, band))
    return folder


def table(folder: Path, ids: tuple[str, ...] = IDS, name: str = "gz2_hart16.csv", ending: str = "_count") -> Path:
    """Ten volunteers of one mind: smooth, completely round, nothing odd."""
    columns = Tree.load("gz2").columns
    chosen = ("a01_smooth", "a16_completely_round", "a15_no")
    votes = [(10 if ending == "_count" else 1) * column.endswith(chosen) for column in columns]
    assert sum(vote > 0 for vote in votes) == 3
    lines = [",".join(["dr7objid", "ra", "dec", *(f"{column}{ending}" for column in columns)])]
    lines += [",".join([one, str(150 + row), "2", *map(str, votes)]) for row, one in enumerate(ids)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def desk(out: Path, data: Path | None) -> Desk[Experiment]:
    return Desk("s4-five-band", out, Experiment(), "toy", data)


@pytest.mark.parametrize(
    "pattern", ["{id}_{band}.fits", "{id}_{band}.fits.gz", "{id}_SDSS{band}.fits", "{band}/{id}.fits"]
)
def test_one_file_per_galaxy_and_band_in_every_layout(pattern: str, tmp_path: Path) -> None:
    store = five_bands(desk(tmp_path / "out", table(lay(tmp_path / "data", pattern))))
    assert store is not None and tuple(store.ids) == IDS and store.bands == SDSS_BANDS
    for identifier in IDS:
        wanted = np.stack([plane(identifier, band) for band in SDSS_BANDS])
        np.testing.assert_array_equal(store.record(identifier).cutout().pixels, wanted)
    assert store.catalog.ids == list(IDS)
    assert store.record(IDS[2]).ra == 152.0  # the table's, which the files do not tell


def test_a_missing_band_is_a_rejected_row_with_its_reason_and_costs_no_other_galaxy(tmp_path: Path) -> None:
    data = table(lay(tmp_path / "data"))
    (data / "fits" / f"{IDS[1]}_z.fits").unlink()
    (data / "fits" / f"{IDS[3]}_u.fits").write_bytes(b"<html>the service is down for a month</html>")
    at = desk(tmp_path / "out", data)
    store = five_bands(at)
    assert store is not None and list(store.ids) == [IDS[0], IDS[2]]
    assert {one.id: one.reason for one in store.rejected} == {
        IDS[1]: Reason.MISSING_BAND,
        IDS[3]: Reason.NOT_AN_IMAGE,
    }
    told = {one.id: one.detail for one in store.rejected}
    assert told[IDS[1]].startswith("no file for z; there are ") and told[IDS[3]].startswith("band u: ")
    assert len(store) + len(store.rejected) == len(IDS)
    assert any("4 galaxies in = 2 done + 2 rejected" in note for note in at.notes)
    assert store.catalog.ids == [IDS[0], IDS[2]]


def test_a_galaxy_without_votes_is_left_out_and_told(tmp_path: Path) -> None:
    at = desk(tmp_path / "out", table(lay(tmp_path / "data"), IDS[1:]))
    store = five_bands(at)
    assert store is not None and tuple(store.ids) == IDS[1:] and not store.rejected
    assert any("1 of 4 galaxies have no row in" in note for note in at.notes)


def test_cubes_of_five_planes_are_u_g_r_i_z_and_one_of_four_is_rejected(tmp_path: Path) -> None:
    for identifier in IDS:
        bands = SDSS_BANDS[:4] if identifier == IDS[2] else SDSS_BANDS
        cube = np.stack([plane(identifier, band) for band in bands])
        write(tmp_path / "data" / "fits" / f"{identifier}.fits", cube)
    store = five_bands(desk(tmp_path / "out", table(tmp_path / "data", name="votes.csv", ending="_fraction")))
    assert store is not None and store.bands == SDSS_BANDS and len(store) == 3
    assert [(one.id, one.reason) for one in store.rejected] == [(IDS[2], Reason.MISSING_BAND)]
    np.testing.assert_array_equal(store.record(IDS[3]).cutout().pixels[4], plane(IDS[3], "z"))


def test_what_a_data_folder_may_lack(tmp_path: Path) -> None:
    assert five_bands(desk(tmp_path / "a", None)) is None and des_stack(desk(tmp_path / "a", None)) is None
    (tmp_path / "data").mkdir()
    assert five_bands(desk(tmp_path / "b", tmp_path / "data")) is None
    assert five_bands(desk(tmp_path / "c", lay(tmp_path / "data"))) is None  # no table: nothing to learn
    (tmp_path / "data" / "one.csv").write_text("dr7objid,colour\n587722981736120347,red\n")
    with pytest.raises(LabelError, match=r"t01_smooth_or_features"):
        five_bands(desk(tmp_path / "d", tmp_path / "data"))
    (tmp_path / "data" / "two.csv").write_text("dr7objid,colour\n587722981736120347,red\n")
    with pytest.raises(BadStore, match=r"several tables \(one\.csv, two\.csv\) and none is called gz2_hart16\.csv"):
        five_bands(desk(tmp_path / "e", tmp_path / "data"))


def test_a_stack_per_band_is_one_store_of_five_bands(tmp_path: Path) -> None:
    stacks = {band: np.stack([plane(one, band) for one in IDS]) for band in DES_BANDS}
    for band, data in stacks.items():
        write(tmp_path / "data" / "fits" / f"des_{band}.fits", data)
    store = des_stack(desk(tmp_path / "out", tmp_path / "data"))
    assert store is not None and store.bands == DES_BANDS and len(store) == 4 and not store.rejected
    record = store.record("des_00002")
    np.testing.assert_array_equal(record.cutout().pixels, np.stack([stacks[band][2] for band in DES_BANDS]))
    assert record.pixel_scale == 0.263
    (tmp_path / "data" / "fits" / "des_Y.fits").unlink()
    with pytest.raises(BadStore, match="no file for the band Y; it has g, i, r, z"):
        des_stack(desk(tmp_path / "again", tmp_path / "data"))


# --- real galaxies ----------------------------------------------------------------------------------------------------


def test_the_real_des_stack_is_46_galaxies_of_five_bands(real_data: Path, tmp_path: Path) -> None:
    store = des_stack(desk(tmp_path / "out", real_data))
    assert store is not None and len(store) + len(store.rejected) == 46 and not store.rejected
    assert store.bands == DES_BANDS and store.pixel_scale == 0.263
    truth = fits.getdata(real_data / "fits" / "des_i.fits")
    np.testing.assert_array_equal(store.record("des_00007").cutout().pixels[2], truth[7].astype(np.float32))


def test_the_real_folder_has_no_table_of_votes_and_so_no_labelled_galaxies(real_data: Path, tmp_path: Path) -> None:
    assert five_bands(desk(tmp_path / "out", real_data)) is None


def test_other_real_fits_are_galaxies_of_their_bands(real_data: Path) -> None:
    folder = real_data / "fits"
    legacy = open_source(str(folder / "decals_grz_{id}.fits"))
    told = [record.cutout() for record in legacy.records() if isinstance(record, Record)]
    assert [one.bands for one in told] == [("g", "r", "z")] * 2 and {one.id for one in told} == {"a", "b"}
    hyper = open_source(folder / "hsc_cut.fits", bands=("g", "r", "i", "z", "y")).record("hsc_cut").cutout()
    assert hyper.bands == ("g", "r", "i", "z", "y") and hyper.pixels.shape == (5, 50, 50)
