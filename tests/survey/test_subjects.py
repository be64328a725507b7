"""Subjects for the Zooniverse: every galaxy a picture and a row, or a reason; ids come back with the votes."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tuningfork.errors import BadCatalog, BadStore
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.source import Source
from tuningfork.galaxy.store import Store, StoreWriter
from tuningfork.survey.subjects import SubjectSummary, to_zooniverse
from tuningfork.survey.zooniverse import from_zooniverse

IDS = ["J0900+01", "a/b", "A/B", "CON", "éø ☆", "5"]


def picture(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def store(tmp_path: Path) -> Source:
    flux = np.random.default_rng(9).normal(0, 1, (3, 40, 48)).astype(np.float32)
    flux[:, 18:24, 20:26] += 50
    catalog = Catalog({"id": IDS, "class": ["x", None, "y", "y", "x", 'z,"q"'], "mag": [1.5, np.nan, 3, 4, 5, 6]})
    with StoreWriter(tmp_path / "store", catalog=catalog) as writer:
        for number, name in enumerate(IDS[:-1]):
            rgb = np.moveaxis(picture(number), -1, 0)
            place = {"ra": 10.5 + number, "dec": -1.25} if number else {}
            writer.add(Record.from_pixels(name, rgb, ("red", "green", "blue"), **place))  # type: ignore[arg-type]
        writer.add(Record.from_pixels(IDS[-1], flux, ("g", "r", "i")))
    return Store.open(tmp_path / "store")


def rows(summary: SubjectSummary) -> list[dict[str, str]]:
    with Path(summary.path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_galaxy_has_its_picture(store: Source, tmp_path: Path) -> None:
    summary = to_zooniverse(store, tmp_path / "set", hidden=["class"], visible=["mag"])
    assert (summary.n_in, summary.n_done, summary.n_rejected) == (6, 6, 0)
    table = rows(summary)
    assert [row["#id"] for row in table] == IDS
    assert list(table[0]) == ["image", "#id", "#ra", "#dec", "#class", "mag"]
    assert [row["#class"] for row in table] == ["x", "", "y", "y", "x", 'z,"q"']
    assert [row["mag"] for row in table] == ["1.5", "", "3.0", "4.0", "5.0", "6.0"]
    assert (table[0]["#ra"], table[1]["#ra"], table[1]["#dec"]) == ("", "11.5", "-1.25")
    names = [row["image"] for row in table]
    assert len({name.casefold() for name in names}) == 6 and all(name.endswith(".png") for name in names)
    for number, name in enumerate(names[:-1]):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "set" / name)), picture(number))  # PNG: exact
    shown = np.asarray(Image.open(tmp_path / "set" / names[-1]))
    assert shown.shape == (40, 48, 3) and shown[20, 22].min() > shown[2, 2].max()
    assert sorted(path.name for path in (tmp_path / "set").iterdir() if path.name[0] != ".") == sorted(
        [*names, "manifest.csv", "rejected.parquet"]
    )
    assert f"panoptes subject-set upload-subjects SUBJECT_SET_ID {summary.path}" in str(summary)


@pytest.mark.parametrize(("side", "size"), [(0, (48, 40)), (96, (96, 80)), (24, (24, 20))])
def test_sizes_and_formats(store: Source, tmp_path: Path, side: int, size: tuple[int, int]) -> None:
    summary = to_zooniverse(store, tmp_path / "set", format="jpeg", side=side)
    with Image.open(tmp_path / "set" / rows(summary)[0]["image"]) as opened:
        assert opened.format == "JPEG" and opened.size == size


def test_rows_can_be_turned(store: Source, tmp_path: Path) -> None:
    summary = to_zooniverse(store, tmp_path / "set", flip=True)
    shown = np.asarray(Image.open(tmp_path / "set" / rows(summary)[0]["image"]))
    np.testing.assert_array_equal(shown, picture(0)[::-1])


def test_what_is_no_image_and_what_is_too_large_is_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(picture(number)).save(folder / f"g{number}.png")
    (folder / "bad.png").write_bytes(b"<html>503</html>")
    Image.fromarray(picture(4, 300, 300)).save(folder / "large.png")
    summary = to_zooniverse(folder, tmp_path / "set", most_bytes=100_000)
    assert (summary.n_in, summary.n_done, summary.n_rejected) == (5, 3, 2)
    table = pq.read_table(tmp_path / "set" / "rejected.parquet").to_pylist()
    assert {row["id"]: row["reason"] for row in table} == {"bad": "not_an_image", "large": "too_large"}
    assert [row["#id"] for row in rows(summary)] == ["g0", "g1", "g2"]
    assert "too_large: 1 (large)" in str(summary)


def test_a_killed_run_is_done_again_and_a_whole_one_is_kept(store: Source, tmp_path: Path) -> None:
    place = tmp_path / "set"

    def stop(done: int, total: int, text: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to_zooniverse(store, place, progress=stop)
    assert not (place / "manifest.csv").exists() and len(list(place.glob("*.png"))) == 3
    summary = to_zooniverse(store, place)
    assert summary.n_done == 6
    with pytest.raises(BadStore, match="has a manifest already"):
        to_zooniverse(store, place)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(BadStore, match=r"it has 'thesis.tex'"):
        to_zooniverse(store, tmp_path / "other")


def test_columns_that_are_not_there(store: Source, tmp_path: Path) -> None:
    with pytest.raises(BadCatalog, match="did you mean 'class'"):
        to_zooniverse(store, tmp_path / "set", hidden=["clas"])
    with pytest.raises(ValueError, match="the format is"):
        to_zooniverse(store, tmp_path / "set", format="gif")  # type: ignore[arg-type]
    assert not (tmp_path / "set").exists()


def test_ids_come_back_with_the_votes(store: Source, tmp_path: Path) -> None:
    manifest = rows(to_zooniverse(store, tmp_path / "set"))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["user_name", "annotations", "subject_data", "subject_ids"])
    for number, row in enumerate(manifest):  # what Panoptes makes of the metadata
        data = {str(900 + number): {"retired": None, **{name: cell for name, cell in row.items() if name != "image"}}}
        said = [
            {
                "task": "T1",
                "task_label": "Is there a sign of a bar feature through the centre of the galaxy?",
                "value": "Bar",
            }
        ]
        writer.writerow(["ann", json.dumps(said), json.dumps(data), 900 + number])
    (tmp_path / "c.csv").write_text(text.getvalue())
    summary = from_zooniverse(tmp_path / "c.csv", tmp_path / "votes.parquet", tree="gz2", id_key="id")
    assert Catalog.read(summary.path, id="id").ids == IDS and summary.n_clicks == 6
