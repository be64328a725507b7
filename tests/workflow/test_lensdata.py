"""The user's copies of lens hunts: who is an example, who is nobody's, and which pictures show one subject."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from tuningfork.errors import BadCatalog, BadImage
from tuningfork.galaxy.store import Store
from tuningfork.workflow.experiments.choices import Experiment
from tuningfork.workflow.experiments.desk import Desk
from tuningfork.workflow.experiments.lensdata import (
    LENS,
    NOT_LENS,
    challenge_picture,
    find_catalogue,
    graded,
    lens_challenge,
    space_warps,
)

ROWS = (  # kind, truth, flavor, stage, alpha
    ("sim", "LENS", "lensed galaxy", 1, 1),
    ("sim", "LENS", "lensed quasar", 1, 1),
    ("sim", "LENS", "lensing cluster", 1, 0),
    ("sim", "LENS", "lensed quasar", 1, 0.5),
    ("dud", "NOT", "dud", 1, ""),
    ("test", "UNKNOWN", "test", 1, ""),
    ("sim", "LENS", "lensing cluster", 2, 1),
    ("dud", "NOT", "dud", 2, ""),
    ("test", "UNKNOWN", "test", 2, ""),
)


def desk(tmp_path: Path, data: Path | None) -> Desk[Experiment]:
    return Desk("test", tmp_path / "out", Experiment(), "toy", data)


def picture(path: Path, seed: int, size: int = 44, cut: int = 0) -> np.ndarray:
    """Noise of ``seed``; ``cut``: its central square alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    if cut:
        edge = (size - cut) // 2
        pixels = pixels[edge : edge + cut, edge : edge + cut]
    Image.fromarray(pixels).save(path, quality=95)
    return pixels


def warps(folder: Path, drop: str = "", column: str = "ZooID", ids: str = "ASW{0:04d}") -> Path:
    folder.mkdir(parents=True)
    names = [name for name in (column, "category", "kind", "truth", "flavor", "stage", "alpha") if name != drop]
    lines = [",".join(names)]
    for number, (kind, truth, flavor, stage, alpha) in enumerate(ROWS):
        # the last three subjects were seen in stage 1 already: ids come twice
        subject = number - 5 if stage == 2 else number
        category = "test" if kind == "test" else "training"
        values = dict(category=category, kind=kind, truth=truth, flavor=flavor, stage=stage, alpha=alpha)
        values[column] = ids.format(subject)
        lines.append(",".join(str(values[name]) for name in names))
        picture(folder / "cutouts" / f"ASW{subject:04d}.jpg", subject)
    (folder / "catalogue.csv").write_text("\n".join(lines) + "\n")
    return folder


def by_id(store: Store, column: str = "class") -> dict[str, object]:
    return dict(zip(store.catalog.ids, store.catalog[column].tolist(), strict=True))


@pytest.mark.parametrize("ids", ["ASW{0:04d}", "ASW{0:04d}.jpg", "cutouts/ASW{0:04d}.jpg"])
def test_a_space_warps_copy_becomes_a_store_per_stage_and_unknown_truth_no_example(tmp_path: Path, ids: str):
    at = desk(tmp_path, warps(tmp_path / "data" / "mine", ids=ids).parent)
    first, second = space_warps(at, 1), space_warps(at, 2)
    assert first is not None and second is not None
    assert by_id(first) == {"ASW0000": LENS, "ASW0001": LENS, "ASW0002": NOT_LENS, "ASW0004": NOT_LENS}
    flavors = ("lensed galaxy", "lensed quasar", NOT_LENS, NOT_LENS)  # a lens that is not drawn has no flavor
    assert tuple(by_id(first, "flavor").values()) == flavors
    assert by_id(second) == {"ASW0001": LENS, "ASW0002": NOT_LENS}  # unknown: neither here nor there
    assert len(at.sections) == 1 and "4 pictures of 4 labelled rows" in at.notes[0]


def test_the_catalogue_is_found_by_its_columns_and_alpha_is_missed_by_name(tmp_path: Path):
    assert space_warps(desk(tmp_path, None), 1) is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "labels.csv").write_text("id,kind,stage\n1,2,3\n")
    assert find_catalogue(desk(tmp_path, tmp_path)) is None
    data = warps(tmp_path / "warps", drop="alpha")
    with pytest.raises(BadCatalog, match=r"catalogue.csv' has no column 'alpha'"):
        space_warps(desk(tmp_path, data), 1)


def test_ids_that_name_no_picture_are_refused(tmp_path: Path):
    data = warps(tmp_path / "warps", ids="subject-{0}")
    with pytest.raises(BadCatalog, match=r"no column of .*\(6 pictures, the first is 'ASW0000'\).*\(ZooID\)"):
        space_warps(desk(tmp_path, data), 1)


def test_a_stage_without_rows_is_none(tmp_path: Path):
    data = warps(tmp_path / "warps")
    lines = (data / "catalogue.csv").read_text().splitlines()
    (data / "catalogue.csv").write_text("\n".join(lines[:7]) + "\n")
    assert space_warps(desk(tmp_path, data), 2) is None


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "spacewarps"
    rows = [("file", "asw", "grade", "label")]
    for number, grade in enumerate((0.3, 1.7, 2.0, 3.0)):
        name = f"images/CFHTLSJ_SpaceWarps_ASW{number}_grade{grade}_30asec_gri.jpg"
        picture(folder / name, number, size=80)
        rows.append((name, f"ASW{max(number, 2)}", str(grade), "candidate_graded"))  # one field may have several
    guide = [
        ("CFHTLS_1_gri", 10, 0, "lens_sim"), ("CFHTLS_1_gri_zoom", 10, 44, "lens_sim"),
        ("CFHTLS_1_gri.png_zoom", 10, 44, "lens_sim"), ("CFHTLS_2_b_gri", 11, 0, "nonlens"),
        ("CFHTLS_2_b_gri_zoom", 11, 44, "nonlens"), ("nonlens1", 11, 0, "nonlens"),  # a copy under another name
        ("maybe1", 12, 0, "maybe"), ("asteroid", 13, 0, "artifact"),
    ]  # fmt: skip
    for name, seed, cut, label in guide:
        picture(folder / f"images/{name}.jpg", seed, size=440, cut=cut)
        rows.append((f"images/{name}.jpg", "", "", label))
    (folder / "index.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    return folder.parent


def test_the_graded_sample_has_one_picture_per_subject_and_no_examples_in_between(tmp_path: Path, sample: Path):
    at = desk(tmp_path, sample)
    store = graded(at)
    assert store is not None
    found = {one.removeprefix("CFHTLSJ_SpaceWarps_").split("_grade")[0]: name for one, name in by_id(store).items()}
    candidates = {"ASW0": "", "ASW1": "", "ASW2": LENS, "ASW3": LENS}
    guide = {"CFHTLS_1_gri_zoom": LENS, "CFHTLS_2_b_gri_zoom": NOT_LENS, "maybe1": "", "asteroid": NOT_LENS}
    assert found == candidates | guide
    assert "12 pictures show 8 subjects" in at.notes[0]
    scales = {one.id.split("_")[0]: one.pixel_scale for one in store.records()}
    assert scales == pytest.approx({"CFHTLSJ": 30 / 80, "CFHTLS": 0.186, "maybe1": 0.186, "asteroid": 0.186})
    grades = store.catalog["grade"]
    assert np.sort(grades[np.isfinite(grades)]).tolist() == [0.3, 1.7, 2.0, 3.0]


def test_another_index_is_no_graded_sample(tmp_path: Path):
    (tmp_path / "spacewarps").mkdir()
    (tmp_path / "spacewarps" / "index.csv").write_text("id,class\n1,lens\n")
    assert graded(desk(tmp_path, tmp_path)) is None and graded(desk(tmp_path, None)) is None


def flux(bands: int, seed: int = 0, sources: tuple[float, ...] = (40.0, 60.0, 80.0)) -> np.ndarray:
    """Noise of 1e-12 with a source in the middle, of so many deviations in each band."""
    planes = np.random.default_rng(seed).normal(0, 1e-12, (bands, 48, 48))
    for plane, strength in zip(planes, sources, strict=False):
        plane[20:28, 20:28] += strength * 1e-12
    return planes.astype(np.float32)


def test_the_picture_depends_on_signal_to_noise_alone():
    planes = flux(3)
    factors = np.array([1e9, 3e9, 7e9], np.float32)[:, None, None]
    assert np.abs(challenge_picture(planes).astype(int) - challenge_picture(planes * factors)).max() <= 1
    assert challenge_picture(planes)[24, 24].min() > 3 * challenge_picture(planes)[:8].mean()


def test_one_band_is_grey_and_masked_pixels_are_sky():
    grey = challenge_picture(flux(1)).astype(int)
    assert np.ptp(grey[20:28, 20:28], axis=-1).max() <= 12 and grey[24, 24].min() > 60
    planes = flux(3)
    planes[1, :5, :5], planes[2, 40:, 40:] = 100.0, np.nan
    masked = challenge_picture(planes)
    assert masked[:5, :5, 1].max() <= masked[20:28, 20:28, 1].min()
    with pytest.raises(BadImage, match="no_coverage"):
        challenge_picture(np.full((3, 9, 9), np.nan, np.float32))
    with pytest.raises(BadImage, match="no_signal"):
        challenge_picture(np.ones((3, 9, 9), np.float32))


def test_the_challenge_is_read_from_its_folders(tmp_path: Path):
    data = tmp_path / "data"
    for number, name in enumerate(("lens", "nolens")):
        for place, band in (("Band1", "R"), ("Band2", "I"), ("Band3", "G"), ("Band4", "U")):
            path = data / f"lens_challenge/ground_based/{name}/{place}/imageSDSS_{band}-10000{number}.fits"
            path.parent.mkdir(parents=True)
            fits.PrimaryHDU(flux(1, number)[0]).writeto(path)
        path = data / f"lens_challenge/space_based/{name}/imageEUC_VIS-10000{number}.fits"
        path.parent.mkdir(parents=True)
        fits.PrimaryHDU(flux(1, number)[0]).writeto(path)
    at = desk(tmp_path, data)
    for kind in ("ground", "space"):
        store = lens_challenge(at, kind)
        assert store is not None and by_id(store) == {"100000": LENS, "100001": NOT_LENS}
        assert store.bands == ("red", "green", "blue")
    assert lens_challenge(desk(tmp_path / "none", tmp_path), "ground") is None


# --- the real ones ----------------------------------------------------------------------------------------------------


def test_the_real_graded_sample_has_fewer_subjects_than_pictures(real_data: Path, tmp_path: Path):
    at = desk(tmp_path, real_data)
    store = graded(at)
    assert store is not None
    classes = list(by_id(store).values())
    # 291 pictures: 220 candidates; 34 of 16 simulated lenses, 26 of 11 look-alikes, 3 artefacts, and 8 maybes of which
    # one is a look-alike's field
    assert (classes.count(LENS), classes.count(NOT_LENS), len(classes)) == (46 + 16, 11 + 3, 220 + 16 + 11 + 3 + 7)
    assert not any("_gri.jpg" in one or one.startswith("nonlens1") for one in store.catalog.ids)


@pytest.mark.parametrize(("kind", "number", "scale"), [("ground", 6, 0.2), ("space", 8, 0.1)])
def test_the_real_challenge_is_shown_as_the_cfhtls_is(
    kind: str, number: int, scale: float, real_data: Path, tmp_path: Path
):
    store = lens_challenge(desk(tmp_path, real_data), kind)
    assert store is not None
    assert list(by_id(store).values()) == [LENS] * number + [NOT_LENS] * number
    for record in store.records():
        cutout = record.cutout()  # type: ignore[union-attr]
        assert cutout.pixel_scale == pytest.approx(scale, rel=1e-3)
        assert np.median(cutout.pixels) < 40 and cutout.pixels.max() > 80  # a dark sky, and something on it
