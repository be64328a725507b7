"""Sources: whatever holds galaxies opens, streams in order, and says clearly what is wrong with it."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from PIL import Image

from tuningfork.errors import BadImage, BadStore, DuplicateIds, Reason, Unmatched
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import COLOUR, Record, Rejected
from tuningfork.galaxy.source import open_source
from tuningfork.galaxy.store import StoreWriter


def picture(seed: int = 0, side: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)


def flux(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def png(seed: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(seed)).save(stream, "PNG")
    return stream.getvalue()


def lay(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(number) if name.lower().endswith(("png", "jpg")) else b"text")
    return folder


# --- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_is_galaxies_by_stem_in_order_and_the_rest_is_passed_by(tmp_path: Path) -> None:
    lay(tmp_path, "b.png", "sub/deep/a.b.PNG", "c.jpg", "labels.csv", "sub/README", ".hidden.png", ".dir/x.png")
    source = open_source(tmp_path)
    assert source.kind == "folder of images" and list(source.ids) == ["b", "c", "a.b"]
    assert source.others == ("labels.csv", "sub/README") and source.catalog is None and source.bands is None
    records = [r for r in source.records() if isinstance(r, Record)]
    assert [(r.id, r.format, r.source) for r in records] == [
        ("b", "png", "b.png"), ("c", "jpeg", "c.jpg"), ("a.b", "png", "sub/deep/a.b.PNG"),
    ]  # fmt: skip
    np.testing.assert_array_equal(np.moveaxis(records[0].cutout().pixels, 0, 2), picture(0))
    assert source.record("a.b").data == records[2].data
    assert [r.id for r in source.records(["c", "b", "c"])] == ["c", "b", "c"]


def test_class_folders_make_a_catalogue(tmp_path: Path) -> None:
    lay(tmp_path, "spiral/1.png", "spiral/2.png", "elliptical/3.png", "notes.txt")
    source = open_source(tmp_path)
    assert source.kind == "folder of class folders"
    assert source.catalog is not None
    assert dict(zip(source.catalog.ids, source.catalog["class"], strict=True)) == {
        "1": "spiral", "2": "spiral", "3": "elliptical",
    }  # fmt: skip
    assert list(source.ids) == source.catalog.ids


@pytest.mark.parametrize(
    "names", [("images/1.png", "images/2.png"), ("a/1.png", "b/2.png", "3.png"), ("a/x/1.png", "b/y/2.png")]
)
def test_other_layouts_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    source = open_source(lay(tmp_path, *names))
    assert source.kind == "folder of images" and source.catalog is None and len(source) == len(names)


@pytest.mark.parametrize(
    "names", [("a.jpg", "a.png"), ("x/1.jpg", "y/1.jpg"), ("A.jpg", "a.jpg"), ("p/deep/1.png", "1.fits")]
)
def test_two_files_with_one_id_are_refused_and_listed(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(DuplicateIds) as told:
        open_source(lay(tmp_path, *names, "other.png"))
    assert all(name in str(told.value) for name in names) and "rename" in str(told.value)
    assert "other" not in str(told.value)


def test_only_the_first_five_duplicates_are_listed(tmp_path: Path) -> None:
    lay(tmp_path, *(f"{folder}/{n}.png" for folder in "xy" for n in range(8)))
    with pytest.raises(DuplicateIds, match=r"^8 ids .*\n(  '\d'.*\n){5}  ... and 3 more"):
        open_source(tmp_path)


def test_a_folder_without_images_is_an_error_that_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(BadStore, match=r"is empty: there are no images in it \(looked for \.jpg"):
        open_source(tmp_path)
    lay(tmp_path, "labels.csv", "README")
    with pytest.raises(BadStore, match=r"no images .* among its 2 files \(README, labels\.csv\)"):
        open_source(tmp_path)


def test_a_path_that_is_not_there_names_its_neighbour(tmp_path: Path) -> None:
    lay(tmp_path, "galaxies/1.png")
    with pytest.raises(BadStore, match=r"'.*galaxise' does not exist; did you mean '.*galaxies'\?"):
        open_source(tmp_path / "galaxise")
    with pytest.raises(BadStore, match="there is no folder"):
        open_source(tmp_path / "no" / "such")
    with pytest.raises(BadStore, match="no source of galaxies by its suffix"):
        open_source(lay(tmp_path, "labels.csv") / "labels.csv")


def test_a_file_that_goes_away_is_one_rejected_galaxy(tmp_path: Path) -> None:
    lay(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "4.png").symlink_to(tmp_path / "nowhere.png")
    source = open_source(tmp_path)
    (tmp_path / "2.png").unlink()
    items = list(source.records())
    assert [(i.id, i.reason) for i in items if isinstance(i, Rejected)] == [
        ("2", Reason.MISSING),
        ("4", Reason.MISSING),
    ]
    assert [i.id for i in items] == ["1", "2", "3", "4"]
    with pytest.raises(BadImage, match="missing"):
        source.record("2")


def test_an_id_that_is_not_there(tmp_path: Path) -> None:
    source = open_source(lay(tmp_path, "1.png"))
    with pytest.raises(BadStore, match="no galaxy '7'"):
        source.record("7")
    (item,) = source.records(["7"])
    assert isinstance(item, Rejected) and item.reason is Reason.MISSING


def test_a_name_that_is_no_utf8_is_still_text(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/g\xff.png"))).write_bytes(png())
    source = open_source(tmp_path)
    assert list(source.ids) == ["g\\xff"]
    assert isinstance(next(source.records()), Record)


def test_the_digest_tells_of_every_change_and_of_nothing_else(tmp_path: Path) -> None:
    lay(tmp_path, "1.png", "2.png", "notes.txt")
    first = open_source(tmp_path).digest
    (tmp_path / "notes.txt").write_text("more")
    assert open_source(tmp_path).digest == first and len(first) == 64
    (tmp_path / "2.png").rename(tmp_path / "3.png")
    renamed = open_source(tmp_path).digest
    (tmp_path / "3.png").write_bytes(png(9))
    os.utime(tmp_path / "3.png", ns=(1, 1))
    changed = open_source(tmp_path).digest
    (tmp_path / "4.png").write_bytes(png(4))
    assert len({first, renamed, changed, open_source(tmp_path).digest}) == 4


def test_bands_scale_and_catalogue_of_the_user_go_into_the_records(tmp_path: Path) -> None:
    lay(tmp_path, "1.png", "2.png")
    catalog = Catalog(pa.table({"objid": [2, 1, 3], "ra": [20.0, None, 1.0], "dec": [-2.0, None, 1.0]}), "objid")
    source = open_source(tmp_path, bands=("i", "r", "g"), pixel_scale=0.4, catalog=catalog)
    one, two = (r.cutout() for r in source.records() if isinstance(r, Record))
    assert one.bands == ("i", "r", "g") and one.pixel_scale == 0.4
    assert (one.ra, one.dec, two.ra, two.dec) == (None, None, 20.0, -2.0)
    assert source.catalog is not None and source.catalog.ids == ["1", "2"]
    with pytest.raises(Unmatched):
        open_source(tmp_path, catalog=catalog.select(["1", "3"]))
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BadStore, match="pixel scale"):
            open_source(tmp_path, pixel_scale=wrong)
    with pytest.raises(BadStore, match="each once"):
        open_source(tmp_path, bands=("g", "g"))


# --- FITS ---------------------------------------------------------------------------------------------------------

WRITERS: dict[str, Callable[[np.ndarray, Path], None]] = {
    "primary": lambda data, path: fits.PrimaryHDU(data).writeto(path),
    "extension": lambda data, path: fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data)]).writeto(path),
    "gz": lambda data, path: fits.PrimaryHDU(data).writeto(path),
}


@pytest.mark.parametrize("layout", WRITERS)
def test_a_long_cube_is_a_stack_whatever_its_layout(tmp_path: Path, layout: str) -> None:
    data = flux(25, 9, 11)
    path = tmp_path / ("many.fits.gz" if layout == "gz" else "many.fits")
    WRITERS[layout](data, path)
    source = open_source(path, stack=True if layout != "primary" else None, bands=("r",), pixel_scale=0.5)
    assert source.kind == "FITS stack" and source.ids[0] == "many_00000" and len(source) == 25
    for row in (*range(25), 7, 3, 24):  # in order, then at random
        cutout = source.record(source.ids[row]).cutout()
        np.testing.assert_array_equal(cutout.pixels, data[row : row + 1])
        assert cutout.bands == ("r",) and cutout.pixel_scale == 0.5


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "float64", "uint8"])
def test_a_stack_read_in_slabs_is_what_astropy_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    data = np.random.default_rng(1).integers(0, 200, (23, 2, 9, 10)).astype(dtype)
    hdu = fits.PrimaryHDU(data)
    hdu.header["OBJECT"] = "a header card that is not needed"
    hdu.writeto(tmp_path / "four.fits")
    monkeypatch.setattr("tuningfork.galaxy.stack.SLAB_BYTES", 4 * data[0].nbytes)
    source = open_source(tmp_path / "four.fits", bands=("g", "r"))
    got = np.stack([r.cutout().pixels for r in source.records() if isinstance(r, Record)])
    np.testing.assert_array_equal(got, data.astype(np.float32))


def test_a_short_cube_is_one_galaxy_unless_asked(tmp_path: Path) -> None:
    fits.PrimaryHDU(flux(3, 9, 9)).writeto(tmp_path / "cube.fits")
    one = open_source(tmp_path / "cube.fits", bands=("g", "r", "z"))
    assert (
        one.kind == "one image" and list(one.ids) == ["cube"] and one.record("cube").cutout().bands == ("g", "r", "z")
    )
    assert len(open_source(tmp_path / "cube.fits", stack=True)) == 3


def test_a_stack_that_is_cut_or_flat_or_has_other_bands_is_refused(tmp_path: Path) -> None:
    fits.PrimaryHDU(flux(30, 9, 9)).writeto(tmp_path / "many.fits")
    with pytest.raises(BadStore, match="has 1 bands a galaxy, 2 are named"):
        open_source(tmp_path / "many.fits", bands=("g", "r"))
    (tmp_path / "many.fits").write_bytes((tmp_path / "many.fits").read_bytes()[:5000])
    with pytest.raises(BadStore, match="is cut: its header promises 9,720 bytes"):
        open_source(tmp_path / "many.fits")
    fits.PrimaryHDU(flux(9, 9)).writeto(tmp_path / "flat.fits")
    with pytest.raises(BadStore, match=r"no stack of galaxies: its first image has the shape \(9, 9\)"):
        open_source(tmp_path / "flat.fits", stack=True)
    (tmp_path / "page.fits").write_bytes(b"<html>")
    with pytest.raises(BadStore, match="not_an_image"):
        open_source(tmp_path / "page.fits", stack=True)
    assert len(open_source(tmp_path / "page.fits")) == 1  # one galaxy, to be rejected when it is decoded


# --- patterns -----------------------------------------------------------------------------------------------------


def test_one_stack_for_each_band_in_the_order_asked(tmp_path: Path) -> None:
    data = {band: flux(5, 9, 9, seed=ord(band)) for band in "grzuY"}
    for band, planes in data.items():
        fits.PrimaryHDU(planes).writeto(tmp_path / f"des_{band}.fits")
    lay(tmp_path, "des_notes.txt")
    pattern = str(tmp_path / "des_{band}.fits")
    source = open_source(pattern, bands=("z", "g"), pixel_scale=0.263)
    assert list(source.ids) == [f"des_{row:05d}" for row in range(5)] and source.bands == ("z", "g")
    np.testing.assert_array_equal(source.record("des_00003").cutout().pixels, np.stack([data["z"][3], data["g"][3]]))
    assert open_source(pattern).bands == ("u", "g", "r", "z", "Y")  # all there are, by wavelength
    with pytest.raises(BadStore, match=r"no file for the band K; it has g, z"):
        open_source(pattern, bands=("g", "z", "K"))
    fits.PrimaryHDU(flux(4, 9, 9)).writeto(tmp_path / "des_u.fits", overwrite=True)
    with pytest.raises(BadStore, match="do not fit together"):
        open_source(pattern, bands=("u", "g"))


def test_one_file_for_each_galaxy_and_band(tmp_path: Path) -> None:
    for name, band in ((n, b) for n in ("a_1", "a_2", "b") for b in "rg"):
        if (name, band) != ("a_2", "r"):
            side = 10 if (name, band) == ("b", "g") else 9
            (tmp_path / band).mkdir(exist_ok=True)
            fits.PrimaryHDU(flux(side, side, seed=len(name))).writeto(tmp_path / band / f"im_{name}_{band}band.fits")
    source = open_source(str(tmp_path / "{band}" / "im_{id}_{band}band.fits"))
    assert source.bands == ("g", "r") and list(source.ids) == ["a_1", "a_2", "b"]
    whole, missing, odd = source.records()
    assert isinstance(whole, Record) and whole.cutout().pixels.shape == (2, 9, 9)
    assert whole.source == "g/im_a_1_gband.fits, r/im_a_1_rband.fits"
    assert isinstance(missing, Rejected) and missing.reason is Reason.MISSING_BAND and "no file for r" in missing.detail
    assert isinstance(odd, Rejected) and odd.reason is Reason.WRONG_SHAPE


def test_a_pattern_of_ids_alone_and_of_bands_alone(tmp_path: Path) -> None:
    lay(tmp_path, "x_1_y.png", "x_2_y.png", "x_3.png")
    source = open_source(str(tmp_path / "x_{id}_y.png"))
    assert list(source.ids) == ["1", "2"] and source.record("2").cutout().bands == COLOUR
    for band in "gr":
        fits.PrimaryHDU(flux(9, 9, seed=ord(band))).writeto(tmp_path / f"{band}_m31.fits")
    one = open_source(str(tmp_path / "{band}_m31.fits"))
    assert list(one.ids) == ["m31"] and one.record("m31").cutout().bands == ("g", "r")


def test_a_damaged_band_names_itself_and_costs_one_galaxy(tmp_path: Path) -> None:
    for name, band in ((n, b) for n in "12" for b in "gr"):
        fits.PrimaryHDU(flux(9, 9)).writeto(tmp_path / f"{name}_{band}.fits")
    (tmp_path / "1_r.fits").write_bytes(b"<html>")
    bad, good = open_source(str(tmp_path / "{id}_{band}.fits")).records()
    assert isinstance(bad, Rejected) and bad.reason is Reason.NOT_AN_IMAGE and bad.detail.startswith("band r: ")
    assert isinstance(good, Record)


def test_a_pattern_that_fits_nothing_or_has_an_unknown_field(tmp_path: Path) -> None:
    with pytest.raises(BadStore, match=r"no file fits .* with the bands g, r"):
        open_source(str(tmp_path / "{id}_{band}.fits"), bands=("g", "r"))
    with pytest.raises(BadStore, match=r"placeholder \{filter\}; there are \{id\} and \{band\}"):
        open_source(str(tmp_path / "{filter}.fits"))


# --- HDF5 ---------------------------------------------------------------------------------------------------------


def galaxy10(path: Path, n: int = 40, side: int = 69, **more: Any) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 255, (n, side, side, 3), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        columns = {
            "images": images,
            "ans": np.arange(n, dtype=np.uint8) % 10,
            "ra": np.arange(n) / 4.0,
            "dec": np.ones(n),
        }
        for name, values in (columns | {"pxscale": np.full(n, 0.262)} | more).items():
            if values is not None:
                file[name] = values
    return images


def test_galaxy10_opens_with_its_classes_positions_and_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuningfork.galaxy.hdf5.SLAB_BYTES", 7 * 69 * 69 * 3)
    images = galaxy10(tmp_path / "Galaxy10.h5")
    source = open_source(tmp_path / "Galaxy10.h5")
    assert source.kind == "HDF5 stack" and source.ids[1] == "Galaxy10_00001" and source.bands == COLOUR
    for row, record in enumerate(source.records()):
        assert isinstance(record, Record)
        np.testing.assert_array_equal(record.cutout().pixels, np.moveaxis(images[row], 2, 0))
        assert (record.ra, record.dec, record.pixel_scale) == (row / 4.0, 1.0, 0.262)
    np.testing.assert_array_equal(source.record("Galaxy10_00033").cutout().pixels[1], images[33, ..., 1])
    assert source.catalog is not None
    assert list(source.catalog["class"][[0, 1, 9]]) == [
        "Disk, Face-on, No Spiral", "Smooth, Completely round", "Disk, Face-on, Loose Spiral",
    ]  # fmt: skip


def test_other_labels_stay_numbers_and_ids_are_kept_exactly(tmp_path: Path) -> None:
    objids = np.arange(20, dtype=np.int64) + 1237648720693755918  # beyond 2^53: a float would merge them
    galaxy10(tmp_path / "a.h5", 20, 20, ans=np.arange(20) % 3, objid=objids, ra=None, pxscale=None)
    source = open_source(tmp_path / "a.h5", pixel_scale=0.4)
    assert list(source.ids) == [str(value) for value in objids.tolist()]
    assert source.catalog is not None and list(source.catalog["class"][:4]) == ["0", "1", "2", "0"]
    assert source.record(source.ids[0]).pixel_scale == 0.4 and source.record(source.ids[0]).ra is None


@pytest.mark.parametrize(
    ("shape", "bands"), [((6, 9, 11), ("r",)), ((6, 5, 30, 31), tuple("grizY")), ((6, 30, 31, 2), ("g", "r"))]
)
def test_every_order_of_axes(tmp_path: Path, shape: tuple[int, ...], bands: tuple[str, ...]) -> None:
    data = flux(*shape).astype(np.float64)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = data
    source = open_source(tmp_path / "a.h5", bands=bands)
    cutout = source.record("a_00004").cutout()
    wanted = data[4][None] if data.ndim == 3 else np.moveaxis(data[4], 2, 0) if shape[3] == 2 else data[4]
    np.testing.assert_array_equal(cutout.pixels, wanted.astype(np.float32))
    assert cutout.bands == bands
    with pytest.raises(BadStore, match="are named"):
        open_source(tmp_path / "a.h5", bands=(*bands, "K"))


def test_hdf5_that_is_none_or_lies_or_points_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.h5").write_bytes(b"<html>")
    with pytest.raises(BadStore, match="cannot be read as HDF5"):
        open_source(tmp_path / "page.h5")
    galaxy10(tmp_path / "secret.h5", 3, 20)
    contents: dict[str, Callable[[h5py.File], object]] = {
        "no dataset 'images'.* it has X": lambda f: f.create_dataset("X", data=np.zeros(3)),
        "no dataset 'images'": lambda f: f.__setitem__("images", h5py.ExternalLink("secret.h5", "images")),
        "lie in other files": lambda f: f.create_dataset("images", (3, 9, 9), "u1", external=[("raw", 0, 243)]),
        r"beyond what is read": lambda f: f.create_dataset("images", (10**9, 99, 99), "u1", chunks=(1, 99, 99)),
        r"are float32 of shape \(3, 9\)": lambda f: f.create_dataset("images", data=flux(3, 9)),
    }
    for number, (message, fill) in enumerate(contents.items()):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            fill(file)
        with pytest.raises(BadStore, match=message):
            open_source(tmp_path / f"{number}.h5")


# --- Parquet with images ------------------------------------------------------------------------------------------

FEATURES = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["smooth", "disk"]}}


def table(n: int, *, start: int = 0, path: bool = True, **more: Any) -> pa.Table:
    rows = [{"bytes": png(start + i), "path": f"g{start + i}.png" if path else None} for i in range(n)]
    told = {b"huggingface": json.dumps({"info": {"features": FEATURES}}).encode()}
    columns = {"image": rows, "label": [(start + i) % 2 for i in range(n)], **more}
    return pa.table(columns).replace_schema_metadata(told)


def test_a_hugging_face_table_opens_lazily_with_its_labels(tmp_path: Path) -> None:
    pq.write_table(table(150), tmp_path / "train.parquet", row_group_size=100)
    source = open_source(tmp_path / "train.parquet")
    assert source.kind == "image table" and list(source.ids) == [f"g{i}" for i in range(150)]
    assert all(isinstance(r, Record) and r.data == png(i) and r.format == "png" for i, r in enumerate(source.records()))
    for row in (149, 3, 99, 100, 0, 64, 63):
        assert source.record(f"g{row}").data == png(row)
    assert source.catalog is not None and list(source.catalog["class"][:3]) == ["smooth", "disk", "smooth"]


def test_a_folder_of_tables_is_one_source(tmp_path: Path) -> None:
    for part in range(2):
        pq.write_table(table(3, start=3 * part, path=False), tmp_path / f"train-{part:05d}-of-00002.parquet")
    lay(tmp_path, "README.md")
    source = open_source(tmp_path)
    assert source.ids[4] == "train-00001-of-00002_00001" and source.record(source.ids[4]).data == png(4)
    assert source.others == ("README.md",)


def test_ids_of_a_table_are_exact_and_duplicates_are_refused(tmp_path: Path) -> None:
    ids = [1237648720693755918 + i for i in range(3)]
    pq.write_table(table(3, objid=ids), tmp_path / "a.parquet")
    assert list(open_source(tmp_path / "a.parquet").ids) == [str(i) for i in ids]
    pq.write_table(table(3, id_str=["a", "b", "a"]), tmp_path / "b.parquet")
    with pytest.raises(DuplicateIds, match=r"'a': row 0, row 2"):
        open_source(tmp_path / "b.parquet")


def test_rows_without_bytes_are_rejected_and_their_paths_not_opened(tmp_path: Path) -> None:
    secret = lay(tmp_path, "secret.png") / "secret.png"
    rows = [{"bytes": png(1), "path": "x.png"}, {"bytes": None, "path": str(secret)}, None]
    pq.write_table(pa.table({"image": rows}), tmp_path / "a.parquet")
    good, path_only, nothing = open_source(tmp_path / "a.parquet").records()
    assert isinstance(good, Record)
    assert isinstance(path_only, Rejected) and path_only.reason is Reason.MISSING and "secret.png" in path_only.detail
    assert isinstance(nothing, Rejected) and nothing.source == "a.parquet [2]"


def test_a_plain_binary_column_will_do_and_other_tables_are_told_what_they_are(tmp_path: Path) -> None:
    pq.write_table(pa.table({"img": [png(0)], "z": [0.1]}), tmp_path / "a.parquet")
    assert open_source(tmp_path / "a.parquet").record("a_00000").data == png(0)
    pq.write_table(pa.table({"id": ["a"], "p_spiral": [0.1]}), tmp_path / "b.parquet")
    with pytest.raises(BadStore, match=r"no column of images .* id, p_spiral"):
        open_source(tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadStore, match="cannot be read as Parquet"):
        open_source(tmp_path / "c.parquet")


# --- stores -------------------------------------------------------------------------------------------------------


def test_a_store_opens_as_a_source_and_its_shard_points_to_it(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", plan={}) as writer:
        writer.add(Record.from_pixels("a", flux(2, 9, 9), ("g", "r"), 0.3))
    source = open_source(tmp_path / "store", pixel_scale=0.5)
    assert source.kind == "store" and source.record("a").pixel_scale == 0.5 and source.pixel_scale == 0.5
    assert open_source(tmp_path / "store", bands=("g", "r")).record("a").pixel_scale == 0.3
    with pytest.raises(BadStore, match="open the folder"):
        open_source(tmp_path / "store" / "shard-00000.parquet")
    with pytest.raises(BadStore, match="cannot be renamed"):
        open_source(tmp_path / "store", bands=("r", "g"))
    (tmp_path / "store" / "store.json").unlink()
    with pytest.raises(BadStore, match="unfinished"):
        open_source(tmp_path / "store")


# --- real galaxies ------------------------------------------------------------------------------------------------


def test_every_real_fits_file_is_a_galaxy_a_stack_or_says_why(real_data: Path) -> None:
    files = sorted((real_data / "fits").glob("*.fits"))
    assert len(files) == 26
    for path in files:
        source = open_source(path)
        assert len(source) == (46 if path.stem in {f"des_{band}" for band in "grizY"} else 1), path.name
        assert all(isinstance(r, Record) and min(r.cutout().pixels.shape[1:]) >= 8 for r in source.records()), path.name


def test_the_real_des_stacks_are_46_galaxies_of_five_bands(real_data: Path) -> None:
    source = open_source(str(real_data / "fits" / "des_{band}.fits"), bands=tuple("grizY"), pixel_scale=0.263)
    cutouts = [r.cutout() for r in source.records() if isinstance(r, Record)]
    assert len(cutouts) == 46 and {c.pixels.shape for c in cutouts} == {(5, 91, 91)}
    for plane, band in enumerate("grizY"):
        truth = fits.getdata(real_data / "fits" / f"des_{band}.fits")
        np.testing.assert_array_equal(np.stack([c.pixels[plane] for c in cutouts]), truth.astype(np.float32))


def test_the_real_decam_galaxy_that_lacks_a_band_is_rejected(real_data: Path) -> None:
    source = open_source(str(real_data / "fits" / "decam_{id}_{band}band.fits"), bands=("g", "r"))
    rejected = [item for item in source.records() if isinstance(item, Rejected)]
    assert len(source) == 5 and [(r.id, r.reason) for r in rejected] == [("731", Reason.MISSING_BAND)]


def test_real_class_folders(real_data: Path) -> None:
    source = open_source(real_data / "lens_challenge" / "space_based")
    assert source.catalog is not None and set(source.catalog["class"]) == {"lens", "nolens"} and len(source) == 16


def test_real_bands_in_folders_of_their_own(real_data: Path) -> None:
    pattern = str(real_data / "lens_challenge" / "ground_based" / "*" / "Band*" / "imageSDSS_{band}-{id}.fits")
    bands = {
        path.stem.split("_")[1].split("-")[0] for path in Path(real_data).glob("lens_challenge/ground_based/*/*/*")
    }
    source = open_source(pattern)
    assert set(source.bands or ()) == bands and len(bands) == 4 and len(source) == 12
    cutouts = [r.cutout() for r in source.records() if isinstance(r, Record)]
    assert {c.pixels.shape for c in cutouts} == {(4, 101, 101)} and len(cutouts) == 12
