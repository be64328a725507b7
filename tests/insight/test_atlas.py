"""The atlas: each galaxy a cell of its own with its own picture, like beside like, the account, the page, refusals."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuningfork
from tuningfork.errors import BadCatalog, BadStore, Reason, RecipeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record, Rejected
from tuningfork.galaxy.decode import decode
from tuningfork.galaxy.display import Display
from tuningfork.galaxy.store import StoreWriter
from tuningfork.galaxy.tree import Tree
from tuningfork.galaxy.votes import VotesWriter
from tuningfork.insight import atlaspage
from tuningfork.insight.atlas import atlas, projected
from tuningfork.insight.atlaspage import check_page, portrait, write_page
from tuningfork.insight.colouring import CLASSES, NUMBERS
from tuningfork.insight.embedding import save_features
from tuningfork.insight.gridplaces import grid_places, grid_shape, halved, kept_neighbours

N = 60
KINDS = 3


def kind(k: int) -> int:
    return k % KINDS


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of sixty pictures, each of one grey (4 k) with a spot, g07 broken and g08 absent; features of three
    kinds, from g00 on in turn; votes of classes."""
    folder = tmp_path_factory.mktemp("atlas")
    with StoreWriter(folder / "store") as writer:
        for k in range(N):
            pixels = np.full((20, 20, 3), 4 * k, np.uint8)
            pixels[0, 0] = 255
            record = Record.from_pixels(f"g{k:02d}", np.moveaxis(pixels, -1, 0), ("red", "green", "blue"))
            if k != 8:
                writer.add(record if k != 7 else Record("g07", b"no picture", "jpeg", record.bands))
    rng = np.random.default_rng(0)
    centres = 4 * np.eye(KINDS, 6)
    values = np.stack([centres[kind(k)] + rng.normal(0, 0.3, 6) for k in range(N)])
    ids = [f"g{k:02d}" for k in range(N)]
    save_features(folder / "f.parquet", ids, values, source=folder / "store", precision="float32")
    names = ("round", "flat", "<b>odd</b>")
    with VotesWriter(folder / "v.parquet", "classes", names, None, {"source": str(folder / "store")}) as votes:
        p = np.full((N - 1, 3), 0.1) + 0.7 * np.eye(3)[[kind(k) for k in range(N - 1)]]
        p += rng.uniform(0, 0.02, p.shape)
        bad = Rejected("g59", Reason.CORRUPT, "broken")
        votes.write(ids, None, None, (p / p.sum(axis=1, keepdims=True)).astype(np.float32), [bad])
    return folder


def data_of(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)
    assert found
    return json.loads(found.group(1))


def pixels_of(path: Path) -> np.ndarray:
    return np.moveaxis(decode(path.read_bytes()).pixels, 0, -1)


# the grid


@given(st.integers(1, 200), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_every_point_has_a_cell_of_its_own(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 2)).astype(np.float32).round(1)  # some of them the same
    rows, columns = grid_shape(n)
    assert 0 <= rows * columns - n < columns and rows <= columns
    for places in (halved(points, rows, columns), grid_places(points, points)):
        assert len({tuple(one) for one in places.tolist()}) == n
        assert (places >= 0).all() and (places < (rows, columns)).all()


def test_points_on_a_grid_stay_where_they_are() -> None:
    row, column = (axis.ravel() for axis in np.mgrid[:9, :9])
    points = np.stack([column, -row], axis=1).astype(np.float32)  # y up, rows down
    shuffled = np.random.default_rng(0).permutation(81)
    wanted = np.stack([row, column], axis=1)[shuffled]
    np.testing.assert_array_equal(halved(points[shuffled], 9, 9), wanted)


def test_sorting_mends_a_bad_map_and_chance_is_what_a_shuffle_gives() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (900, 2)).astype(np.float32)
    noisy = (x + rng.normal(0, 0.1, x.shape)).astype(np.float32)
    by_halves = kept_neighbours(x, halved(noisy, 30, 30), noisy)
    by_sorting = kept_neighbours(x, grid_places(noisy, x), noisy)
    assert by_sorting.share > 1.5 * by_halves.share and by_sorting.share > 0.6
    shuffled = kept_neighbours(x, halved(noisy, 30, 30)[rng.permutation(900)], noisy)
    # 900 galaxies with 8 neighbours each, chance 0.022: the standard error is 0.0017
    assert abs(shuffled.share - shuffled.chance) < 0.008 and shuffled.chance == pytest.approx(20 / 899)


def test_a_perfect_grid_keeps_all_neighbours() -> None:
    row, column = (axis.ravel() for axis in np.mgrid[:12, :12])
    places = np.stack([row, column], axis=1)
    kept = kept_neighbours(places.astype(np.float32), places, places.astype(np.float32))
    assert kept.share == 1.0 and kept.projected == 1.0


# the map


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_like_lies_beside_like_and_the_same_seed_gives_the_same_atlas(place: Path, method: str) -> None:
    one, two = (atlas(place / "f.parquet", method=method, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.positions, two.positions)
    np.testing.assert_array_equal(one.places, two.places)
    assert one.ids == two.ids and len(one.ids) == one.n_in == N and one.shape == (8, 8)
    kinds = np.full(one.shape, -1)
    kinds[tuple(one.places.T)] = [kind(int(name[1:])) for name in one.ids]
    pairs = [(a, b) for a, b in zip(kinds[:, :-1].ravel(), kinds[:, 1:].ravel(), strict=True) if min(a, b) >= 0]
    # of three kinds a third of the pairs would agree by chance; three blocks of 20 cells have about 13 on a border
    assert np.mean([a == b for a, b in pairs]) > 0.7


@pytest.mark.skipif("TUNINGFORK_NIGHTLY" not in os.environ, reason="umap compiles for 25 s; set TUNINGFORK_NIGHTLY=1")
def test_umap_places_clusters_apart_and_repeats() -> None:
    pytest.importorskip("umap", exc_type=ImportError)
    rng = np.random.default_rng(0)
    x = (5 * np.eye(2, 4)[np.arange(40) % 2] + rng.normal(0, 0.3, (40, 4))).astype(np.float32)
    one, two = projected(x, "umap", 1), projected(x, "umap", 1)
    np.testing.assert_array_equal(one, two)
    assert one.shape == (40, 2) and one.dtype == np.float32
    apart = np.linalg.norm(one[::2].mean(axis=0) - one[1::2].mean(axis=0))
    assert apart > 2 * np.linalg.norm(one[::2] - one[::2].mean(axis=0), axis=1).mean()


def test_the_lot_is_told_and_another_seed_draws_another(place: Path) -> None:
    one, two = (atlas(place / "f.parquet", method="pca", n=20, seed=seed) for seed in (0, 1))
    assert len(one.ids) == 20 and len(one.left_out) == 40 and not {*one.ids} & {*one.left_out} and one.n_in == N
    assert set(one.ids) != set(two.ids)
    assert "left out by lot: 40" in one.text() and "--n 60 takes all" in one.text()
    table = one.table()
    assert table["id"].to_pylist() == [*one.ids, *one.left_out]
    assert table["status"].to_pylist() == ["placed"] * 20 + ["left out"] * 40
    assert table["row"].null_count == table["x"].null_count == 40


def test_votes_are_told_and_coloured_by_the_likeliest(place: Path) -> None:
    made = atlas(place / "v.parquet", method="pca")
    assert made.n_in == N and [(one.id, one.reason) for one in made.rejected] == [("g59", Reason.CORRUPT)]
    assert made.says[0].startswith("round .") and made.colours is not None and made.colours.name == "likeliest"
    named = dict(zip(made.ids, made.colours.words, strict=True))
    assert [named[f"g{k:02d}"] for k in range(3)] == ["round", "flat", "<b>odd</b>"]
    hues = [made.colours.labels[group] for group in made.colours.group]
    assert tuple(hues) == made.colours.words and set(made.colours.colours) <= set(CLASSES)
    assert atlas(place / "v.parquet", method="pca", colour="none").colours is None


def test_votes_of_a_tree_are_told_by_its_first_question(tmp_path: Path) -> None:
    tree = Tree.load("gz2")
    alpha = np.random.default_rng(0).uniform(1, 20, (12, tree.n_answers)).astype(np.float32)
    with VotesWriter(tmp_path / "v.parquet", "dirichlet", tree.columns, tree, {}) as votes:
        votes.write([f"g{k}" for k in range(12)], None, None, alpha)
    made = atlas(tmp_path / "v.parquet", method="pca")
    first = alpha[:, next(iter(tree.slices.values()))].argmax(axis=1)
    assert made.colours is not None
    assert made.colours.words == tuple(["smooth", "features or disk", "star or artifact"][k] for k in first)
    with pytest.raises(BadStore, match="--galaxies"):
        made.source()


# colours


def test_columns_become_groups(place: Path) -> None:
    ids = [f"g{k:02d}" for k in range(1, N)]
    many = [f"kind{k % 9}" if k < 36 else "kind0" for k in range(1, N)]
    table = Catalog(
        {"id": ids, "size": np.linspace(0, 1, N - 1), "many": many, "odd": [k % 2 == 0 for k in range(1, N)]}
    )
    by = {name: atlas(place / "f.parquet", method="pca", colour=name, catalog=table) for name in table.columns[1:]}
    size, many_, odd = (by[name].colours for name in ("size", "many", "odd"))
    assert size is not None and many_ is not None and odd is not None
    assert size.colours == NUMBERS and np.bincount(size.group[1:]).min() >= (N - 1) // 7
    assert size.group[0] == -1 and size.words[0] == "" and "1 of 60 galaxies have no 'size'" in by["size"].notes[0]
    assert len(many_.labels) == 7 and many_.labels[0] == "kind0" and many_.labels[-1] == "other"
    assert odd.labels == ("False", "True")
    assert {len(one.figure().axes[0].get_legend().get_texts()) for one in (by["size"], by["many"])} == {7}
    assert atlas(place / "f.parquet", method="pca").figure().axes[0].get_legend() is None


# the page


@pytest.fixture(scope="module")
def written(place: Path) -> Path:
    made = atlas(place / "v.parquet", method="pca", n=50, colour="likeliest")
    done = write_page(made, place / "page" / "all.html", cell=32, image=place / "page" / "all.png", threads=1)
    gone = {"g07", "g08"} & set(made.ids)
    assert done.n_in == N == done.n_shown + done.n_left_out + done.n_rejected
    assert {one.id for one in done.rejected} == {"g59"} | gone and done.n_left_out == N - 1 - 50 and gone
    assert f"60 galaxies in = {50 - len(gone)} shown + 9 left out + {1 + len(gone)} rejected" in done.text()
    return place / "page" / "all.html"


def test_each_picture_is_in_its_own_cell_and_others_are_empty(written: Path) -> None:
    data, image = data_of(written), pixels_of(written.with_suffix(".png")).astype(int)
    assert image.shape == (data["height"], data["width"], 3) == (7 * 32, 8 * 32, 3)
    middles = image[16::32, 16::32]
    seen = set()
    for name, at in zip(data["ids"], data["at"], strict=True):
        row, column = divmod(at, data["columns"])
        wanted = atlaspage.SKY if name in ("g07", "g08") else (4 * int(name[1:]),) * 3
        np.testing.assert_allclose(middles[row, column], wanted, atol=1)
        seen.add(at)
    for at in set(range(56)) - seen:
        np.testing.assert_array_equal(middles[divmod(at, 8)], atlaspage.SKY)
    says = dict(zip(data["ids"], data["says"], strict=True))
    assert all(says[name].startswith("no picture: ") for name in ("g07", "g08") if name in says)
    at = dict(zip(data["ids"], data["at"], strict=True))
    for k, name in enumerate(data["ids"]):  # the frame has the colour of the legend
        row, column = divmod(at[name], 8)
        hue = bytes.fromhex(data["colours"]["colours"][data["colours"]["group"][k]][1:])
        np.testing.assert_array_equal(image[32 * row, 32 * column], list(hue))


def test_the_pyramid_is_whole_and_each_level_the_means_of_the_next() -> None:
    whole = np.random.default_rng(0).integers(0, 256, (700, 1100, 3), dtype=np.uint8)
    levels: dict[int, np.ndarray] = {}
    for name, pixels in atlaspage._tiles(whole):
        level, column, row = map(int, re.fullmatch(r"(\d+)/(\d+)_(\d+)\.jpg", name).groups())
        shape = tuple(-(-side // 2 ** (11 - level)) for side in whole.shape[:2])
        canvas = levels.setdefault(level, np.full((*shape, 3), 7, np.uint8))
        assert max(pixels.shape[:2]) <= 512
        canvas[row * 512 : row * 512 + len(pixels), column * 512 : column * 512 + pixels.shape[1]] = pixels
    assert sorted(levels) == list(range(12)) and levels[0].shape == (1, 1, 3)  # 2^11 is the first above 1100
    np.testing.assert_array_equal(levels[11], whole)
    blocks = whole.astype(float).reshape(350, 2, 550, 2, 3).mean(axis=(1, 3))
    assert np.abs(levels[10] - blocks).max() <= 0.5
    assert abs(float(levels[0].mean()) - whole.mean()) < 4  # rounded eleven times, edges repeated


def test_the_page_needs_nothing_else_and_no_name_can_break_it(written: Path) -> None:
    page = written.read_text()
    assert "<b>odd</b>" not in page and "http://" not in page and "https://" not in page
    data = data_of(written)
    assert "<b>odd</b>" in data["colours"]["labels"] and data["folder"] == "all_files"
    tiles = {one.relative_to(written.parent / "all_files").as_posix() for one in written.parent.rglob("*.jpg")}
    assert tiles == {f"{level}/0_0.jpg" for level in range(data["level"] + 1)}
    assert 'TileSize="512"' in written.with_suffix(".dzi").read_text()
    small = pixels_of(written.parent / "all_files" / "7" / "0_0.jpg")
    assert small.shape[:2] == (112, 128)


def test_tiles_of_a_larger_atlas_go_and_other_files_stay(place: Path, tmp_path: Path) -> None:
    made = atlas(place / "f.parquet", method="pca", n=20)
    write_page(made, tmp_path / "a.html", cell=128, threads=1)
    before = {*(tmp_path / "a_files").rglob("*.jpg")}
    (tmp_path / "a_files" / "mine.jpg").write_bytes(b"mine")
    done = write_page(made, tmp_path / "a.html", cell=16, threads=1)
    after = {*(tmp_path / "a_files").rglob("*.jpg")}
    assert len(after) == done.tiles + 1 < len(before) and (tmp_path / "a_files" / "mine.jpg").exists()


def test_a_galaxy_is_framed_as_the_model_saw_it() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[16:48, 16:48] = 200
    record = Record.from_pixels("a", np.moveaxis(pixels, -1, 0), ("red", "green", "blue"))
    assert portrait(record, 32, None)[2, 2].max() == 0
    assert portrait(record, 32, Display(size=8, crop=32.0)).min() == 200
    assert portrait(record, 32, Display(size=8, crop=640.0))[2, 2].max() == 0  # too wide for it: the whole
    flux = np.zeros((1, 40, 40), np.float32)
    flux[0, :8] = 50.0
    flux += np.random.default_rng(0).normal(0, 0.1, flux.shape).astype(np.float32)
    assert portrait(Record.from_pixels("b", flux, ("r",)), 40, None)[:5].mean() > 100


# the command, refusals


def test_the_command_writes_all_of_it(place: Path, tmp_path: Path, run: Callable) -> None:
    words = ["--method", "pca", "--cell", "16", "--threads", "1", "--image", tmp_path / "a.jpg"]
    words += ["--figure", tmp_path / "m.png", "--places", tmp_path / "p.parquet"]
    ran = run("atlas", place / "f.parquet", "--out", tmp_path / "a.html", *words, "--json")
    told = json.loads(ran.out)
    assert ran.code == 3 and (told["n_in"], told["n_shown"], told["n_left_out"], told["n_rejected"]) == (60, 58, 0, 2)
    assert {one["id"]: one["reason"] for one in told["rejected"]} == {"g07": "not_an_image", "g08": "missing"}
    assert all((tmp_path / name).is_file() for name in ("a.html", "a.jpg", "m.png", "p.parquet", "a.dzi"))
    assert pq.read_table(tmp_path / "p.parquet").num_rows == 60 and told["kept"]["share"] > told["kept"]["chance"]
    refused = run("atlas", place / "f.parquet", "--out", tmp_path / "a.png")
    assert refused.code == 2 and "ends in .html" in refused.err
    moved = run("atlas", place / "f.parquet", "--out", tmp_path / "b.html", "--galaxies", tmp_path / "gone")
    assert moved.code == 2 and "--galaxies" in moved.err


def test_pictures_of_other_galaxies_are_refused_before_anything_is_written(place: Path, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store") as writer:
        pixels = np.random.default_rng(0).integers(0, 255, (3, 20, 20), dtype=np.uint8)
        writer.add(Record.from_pixels("another", pixels, ("red", "green", "blue")))
    made = atlas(place / "f.parquet", method="pca", n=10)
    with pytest.raises(BadStore, match="not one of the 10 galaxies"):
        write_page(made, tmp_path / "out" / "a.html", galaxies=tmp_path / "store", cell=16, threads=1)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_is_refused(place: Path, tmp_path: Path) -> None:
    features = place / "f.parquet"
    with pytest.raises(RecipeError, match="did you mean 'tsne'"):
        atlas(features, method="t-sne")
    with pytest.raises(RecipeError, match="--n is 3"):
        atlas(features, n=3)
    with pytest.raises(BadStore, match="no file"):
        atlas(tmp_path / "none.parquet")
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    with pytest.raises(BadStore, match="neither features nor votes"):
        atlas(tmp_path / "x.parquet")
    save_features(tmp_path / "same.parquet", list("abcde"), np.ones((5, 3)))
    with pytest.raises(BadStore, match="do not differ"):
        atlas(tmp_path / "same.parquet")
    save_features(tmp_path / "few.parquet", list("abc"), np.eye(3))
    with pytest.raises(BadStore, match="4 galaxies or more"):
        atlas(tmp_path / "few.parquet")
    labels = Catalog({"id": [f"g{k:02d}" for k in range(N)], "class": ["a"] * N})
    with pytest.raises(BadCatalog, match="did you mean 'class'"):
        atlas(features, colour="clas", catalog=labels)
    with pytest.raises(RecipeError, match="--colour"):
        atlas(features, catalog=labels)
    with pytest.raises(BadCatalog, match="--catalog"):
        atlas(features, colour="class")
    with pytest.raises(BadCatalog, match="none of"):
        atlas(features, colour="class", catalog=Catalog({"id": ["other"], "class": ["a"]}))
    with pytest.raises(RecipeError, match="--cell is 8"):
        check_page("a.html", 8)
    with pytest.raises(RecipeError, match="GB in memory"):
        check_page("a.html", 256, n=100_000)
    with pytest.raises(RecipeError, match="suffix"):
        check_page("a.html", 64, "a.gif")


def test_real_galaxies_of_a_class_gather(real_data: Path, tmp_path: Path) -> None:
    """Of gz1's 40 pictures of each of two classes, by the shipped model's features, most lie beside their own."""
    pytest.importorskip("onnxruntime")
    from tuningfork.insight.embedding import embed

    labels = Catalog.read(real_data / "gz1" / "labels.csv")
    ids, classes = labels.ids, labels["class"]
    some = [name for which in ("elliptical", "edge_on") for name in np.array(ids)[classes == which][:40].tolist()]
    source = tuningfork.open_source(real_data / "gz1" / "images")
    embed(source, "gz1", tmp_path / "f.parquet", ids=some, engine="onnxruntime", threads=1)
    made = atlas(tmp_path / "f.parquet", method="pca", colour="class", catalog=labels)
    assert made.colours is not None and made.display is not None and made.display.petrosian == 3
    grid = np.full(made.shape, -1)
    grid[tuple(made.places.T)] = made.colours.group
    pairs = [(a, b) for a, b in zip(grid[:, :-1].ravel(), grid[:, 1:].ravel(), strict=True) if min(a, b) >= 0]
    assert np.mean([a == b for a, b in pairs]) > 0.7  # a half by chance
    done = write_page(made, tmp_path / "a.html", cell=32, threads=1)
    assert done.n_in == done.n_shown == 80 and not done.rejected
