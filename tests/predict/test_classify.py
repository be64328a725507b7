"""Classify: pictures of any scale, the same answers as predict, every galaxy accounted for, and what is said of it."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

import tuningfork
from tuningfork.errors import BadWeights, DuplicateIds, RecipeError
from tuningfork.galaxy.cutout import Cutout, Record
from tuningfork.galaxy.display import to_picture
from tuningfork.galaxy.tablefile import read_table
from tuningfork.galaxy.tree import Tree
from tuningfork.model import card as cards
from tuningfork.predict import classify as module
from tuningfork.predict.answers import Galaxy, Head
from tuningfork.predict.classify import classify
from tuningfork.predict.engine import Engines
from tuningfork.predict.eyes import find_models
from tuningfork.predict.inwords import STAGES, stage, strongest, tell, way
from tuningfork.predict.portraits import draw, save_figure

from .sketches import CLASSES, HEADS, make_grey, make_set, picture


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("models") / "set")


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_grey(tmp_path_factory.mktemp("models") / "grey")


@pytest.fixture
def draw_to(tmp_path: Path):
    """Save a picture as a JPEG of the folder "sky", and give its path."""
    (tmp_path / "sky").mkdir()

    def save(name: str, pixels: np.ndarray) -> Path:
        path = tmp_path / "sky" / f"{name}.jpg"
        path.write_bytes(Record.from_picture(name, pixels, quality=98).data)
        return path

    return save


def said(galaxy: Galaxy) -> np.ndarray:
    """All answers of a galaxy, T on 0..1 as the others are."""
    values = [value for model in HEADS for value in galaxy.answers[model].values()]
    values[len(CLASSES)] = (values[len(CLASSES)] + 6) / 17
    return np.array(values)


def test_the_same_galaxy_has_the_same_answers_at_any_scale_and_place(models: Path, draw_to) -> None:
    """Drawn 2.5 times larger, and off the middle; without the frame the answers are another galaxy's."""
    draw_to("small", picture(96, 1.0))
    draw_to("large", picture(240, 2.5, seed=1))
    folder = draw_to("aside", picture(160, 1.25, x=-17, y=9, seed=2)).parent
    framed = {one.id: one for one in classify(folder, models).galaxies}
    whole = {one.id: one for one in classify(folder, models, resize=False).galaxies}
    for name, factor, x, y in (("large", 2.5, 119.5, 119.5), ("aside", 1.25, 62.5, 88.5)):
        one = framed[name]
        assert one.x == pytest.approx(x, abs=0.6 * factor) and one.y == pytest.approx(y, abs=0.6 * factor)
        assert one.petrosian_radius == pytest.approx(factor * framed["small"].petrosian_radius, rel=0.06)
        near = np.abs(said(one) - said(framed["small"])).mean()
        assert near < 0.35 * np.abs(said(whole["aside"]) - said(framed["small"])).mean()
    assert whole["aside"].x == framed["aside"].x


@pytest.mark.parametrize("views", [1, 8])
def test_the_answers_are_those_of_predict(models: Path, draw_to, tmp_path: Path, views: int) -> None:
    for seed in range(5):
        folder = draw_to(f"g{seed}", picture(80, 0.8 + 0.1 * seed, seed=seed)).parent
    done = classify(folder, models, views=views, out=tmp_path / "answers.parquet")
    table = read_table(tmp_path / "answers.parquet")
    for name in HEADS:
        tuningfork.predict(folder, models / name, tmp_path / f"{name}.parquet", views=views)
        votes = tuningfork.Votes.read(tmp_path / f"{name}.parquet")
        for column in votes.layout.fields:
            ours, theirs = (one.column(column.name).to_pylist() for one in (table, votes.table))
            assert ours == (theirs if isinstance(ours[0], str) else pytest.approx(theirs, rel=1e-4, abs=1e-5))
        for row, galaxy in enumerate(done.galaxies):
            expected = votes.fractions[row] if name == "gz2" else votes.table.select(votes.layout.value_columns)
            expected = expected if name == "gz2" else [column[row].as_py() for column in expected.columns]
            assert list(galaxy.answers[name].values()) == pytest.approx(list(expected), abs=2e-5)
    assert np.ptp([said(one) for one in done.galaxies], axis=0).max() > 0.01


def test_every_galaxy_is_done_or_rejected_with_its_reason(models: Path, draw_to, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(8, 18, (64, 64, 3), dtype=np.uint8)
    draw_to("b_noise", noise)
    draw_to("c_edge", picture(96, 1.2, x=46))
    whole = draw_to("d_cut", picture(96))
    whole.write_bytes(whole.read_bytes()[:900])
    folder = draw_to("a_good", picture()).parent
    Image.fromarray(picture()[..., 0]).save(folder / "e_grey.png")
    done = classify(folder, models, out=tmp_path / "answers.csv")
    reasons = {one.id: one.reason for one in done.galaxies}
    assert reasons == {
        "a_good": "", "b_noise": "no_source", "c_edge": "truncated_source", "d_cut": "truncated",
        "e_grey": "missing_band",
    }  # fmt: skip
    assert (done.n_in, done.n_done, done.n_rejected) == (5, 1, 4) and sum(done.reasons.values()) == 4
    assert "5 galaxies in = 1 done + 4 rejected" in done.text() and "choose a model of pictures" in done.text()
    table = read_table(tmp_path / "answers.csv")
    assert table.column("status").to_pylist() == ["done"] + ["rejected"] * 4
    for name in ("x", "class", "T", "t01_smooth_or_features_a01_smooth_fraction"):
        assert [one is None for one in table.column(name).to_pylist()] == [False] + [True] * 4
    bare = {one.id: one for one in classify(folder, models, resize=False).galaxies}
    assert not bare["b_noise"].reason and bare["b_noise"].x is None and len(bare["b_noise"].answers) == 3
    assert not bare["c_edge"].reason and bare["d_cut"].reason == "truncated"


def flux(seed: int = 0) -> np.ndarray:
    """Bands g, r, i (3, 90, 80) of a galaxy off the middle, brighter in the redder ones."""
    shown = picture(100, 1.1, x=-6, y=11, seed=seed).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(shown[5:95, 10:90, ::-1], 2, 0)) / 50


def test_a_fits_cube_is_seen_as_its_colour_picture_upright(models: Path, tmp_path: Path) -> None:
    """In FITS the first row is the lowest: its picture, top row first, must give the same answers, unmirrored."""
    cube = flux()
    hdu = fits.PrimaryHDU(cube)
    hdu.header["BANDS"] = "gri"
    hdu.writeto(tmp_path / "cube.fits")
    shown = to_picture(Cutout("cube", cube, ("g", "r", "i")))[::-1]
    Image.fromarray(np.ascontiguousarray(shown)).save(tmp_path / "shown.png")
    done = classify([tmp_path / "cube.fits", tmp_path / "shown.png"], models, portraits=2)
    cube_found, shown_found = done.galaxies
    np.testing.assert_allclose(said(cube_found), said(shown_found), rtol=1e-4, atol=2e-6)
    assert cube_found.x == shown_found.x and cube_found.y == pytest.approx(89 - shown_found.y)
    assert cube_found.position_angle == pytest.approx(180 - shown_found.position_angle)
    first, second = done.portraits.values()
    np.testing.assert_array_equal(first.picture, second.picture)
    assert first.source == second.source and first.centre == second.centre
    assert done.notes == ("1 of 2 galaxies: flux in g, r, i was turned into colour pictures",)
    Image.fromarray(np.ascontiguousarray(shown[::-1])).save(tmp_path / "mirrored.png")
    mirrored = classify(tmp_path / "mirrored.png", models).galaxies[0]
    assert mirrored.y == pytest.approx(cube_found.y) and np.abs(said(mirrored) - said(cube_found)).max() > 0.01


def test_a_fits_cube_that_does_not_name_its_bands_is_told_of(models: Path, tmp_path: Path) -> None:
    fits.PrimaryHDU(flux()).writeto(tmp_path / "cube.fits")
    (note,) = classify(tmp_path / "cube.fits", models).notes
    assert "band0, band1, band2" in note and "--bands i,r,g" in note
    named = classify(tmp_path / "cube.fits", models, bands=("g", "r", "i"))
    turned = classify(tmp_path / "cube.fits", models, bands=("i", "r", "g"))
    assert named.galaxies[0].answers == classify(tmp_path / "cube.fits", models).galaxies[0].answers
    assert turned.galaxies[0].answers != named.galaxies[0].answers


def test_many_planes_without_names_are_not_taken_for_bands(models: Path, tmp_path: Path) -> None:
    """They may be so many galaxies, of which one false colour picture would be made."""
    six = np.concatenate([flux(), flux(1)])
    fits.PrimaryHDU(six).writeto(tmp_path / "six.fits")
    fits.PrimaryHDU(six[:5]).writeto(tmp_path / "five.fits")
    five, refused = classify([tmp_path / "five.fits", tmp_path / "six.fits"], models).galaxies
    assert not five.reason and refused.reason == "missing_band" and "6 planes without names" in refused.detail
    assert not classify(tmp_path / "six.fits", models, bands=tuple("ugrizY")).n_rejected


def test_each_galaxy_is_asked_by_the_models_that_have_its_bands(
    models: Path, grey: Path, draw_to, tmp_path: Path
) -> None:
    colour = draw_to("colour", picture())
    fits.PrimaryHDU(flux()[1]).writeto(tmp_path / "single.fits")
    alone = classify(tmp_path / "single.fits", models)
    assert alone.galaxies[0].reason == "missing_band" and "--bands g,r,i" in alone.galaxies[0].detail
    both = classify([colour, tmp_path / "single.fits"], [models, grey], out=tmp_path / "a.parquet", portraits=2)
    assert [set(one.answers) for one in both.galaxies] == [set(HEADS), {"grey"}] and both.n_rejected == 0
    table = read_table(tmp_path / "a.parquet")
    assert [one is None for one in table.column("grey_p_flat").to_pylist()] == [True, False]
    assert [one is None for one in table.column("p_merger").to_pylist()] == [False, True]
    assert "class" in table.column_names and "grey_class" in table.column_names
    assert table.column("status").to_pylist() == ["done", "done"]
    assert draw(both).axes


def test_answers_that_are_no_numbers_reject_their_galaxy(models: Path, draw_to, tmp_path: Path, monkeypatch) -> None:
    run = Engines.run_all

    def broken(self: Engines, images: np.ndarray) -> list[np.ndarray]:
        answers = run(self, images)
        answers[1][1:] = np.nan
        return answers

    draw_to("a", picture())
    folder = draw_to("b", picture(seed=1)).parent
    monkeypatch.setattr(Engines, "run_all", broken)
    done = classify(folder, models, out=tmp_path / "a.parquet")
    assert [one.reason for one in done.galaxies] == ["", "not_finite"] and not done.galaxies[1].answers
    table = read_table(tmp_path / "a.parquet")
    assert table.column("class").to_pylist()[1] is None and table.column("x").to_pylist()[1] is None


def test_only_the_first_galaxies_are_kept_and_all_are_written(
    models: Path, draw_to, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    monkeypatch.setattr(module, "BATCH", 2)
    for seed in range(11):
        folder = draw_to(f"g{seed:02d}", picture(48, 0.5, seed=seed)).parent
    calls: list[tuple[int, int]] = []
    done = classify(
        folder, models, out=tmp_path / "a.ecsv", portraits=2, progress=lambda n, total, _: calls.append((n, total))
    )
    assert [one.id for one in done.galaxies] == ["g00", "g01", "g02"] and list(done.portraits) == ["g00", "g01"]
    assert done.n_in == 11 and read_table(tmp_path / "a.ecsv").column("id").to_pylist()[-1] == "g10"
    assert "... and 8 more: all are in" in done.text() and len(done.text().splitlines()) < 8
    assert calls[-1] == (11, 11) and len(calls) == 6


def test_models_are_named_by_folder_by_set_or_are_those_that_are_shipped(models: Path, draw_to, monkeypatch) -> None:
    path = draw_to("a", picture())
    alone = classify(path, models / "gz1")
    assert [head.name for head in alone.heads] == ["gz1"]
    assert find_models([models, models / "gz1"]) == find_models([models])
    monkeypatch.setattr(cards, "SHIPPED", models)
    shipped = classify(path)
    assert shipped.galaxies[0].answers["gz1"] == pytest.approx(alone.galaxies[0].answers["gz1"], abs=1e-5)
    assert [head.name for head in shipped.heads] == ["gz1", "efigi", "gz2"]
    assert [head.name for head in classify(path, "gz2").heads] == ["gz2"]
    monkeypatch.setattr(cards, "SHIPPED", path.parent / "nothing")
    with pytest.raises(BadWeights, match="no models are inside this package; name one with --model"):
        classify(path)


def test_what_cannot_be_is_refused_before_any_work(models: Path, draw_to, tmp_path: Path) -> None:
    path = draw_to("a", picture())
    other = tmp_path / "a.png"
    Image.fromarray(picture()).save(other)
    with pytest.raises(DuplicateIds, match="one by one"):
        classify([path, other], models)
    assert classify([path, path], models).n_in == 1
    for wrong in ({"views": 3}, {"threads": -1}, {"out": tmp_path / "a.txt"}, {"engine": "abacus"}):
        with pytest.raises(RecipeError):
            classify(path, models, **wrong)
    with pytest.raises(RecipeError, match="name galaxies to classify"):
        classify([], models)


def test_the_way_through_the_tree_reads_as_people_would_say_it() -> None:
    tree = Tree.load("gz2")
    likely = {"a02": 0.83, "a05": 0.95, "a07": 0.7, "a08": 0.77, "a28": 0.6, "a32": 0.9, "a12": 0.5, "a15": 0.99}
    fractions = {name: next((p for key, p in likely.items() if f"_{key}_" in name), 0.01) for name in tree.columns}
    head = Head("gz2", "dirichlet", tree.columns, tree)
    assert tell(head, fractions) == (
        "features or disk .83 → not edge-on .95 → no bar .70 → spiral .77 → arms: tight .60 → arms: 2 .90 → "
        "bulge: obvious .50 → nothing odd .99"
    )
    assert tell(head, fractions, short=True).count("→") == 2
    smooth = fractions | {"t01_smooth_or_features_a01_smooth": 0.9, "t07_rounded_a17_in_between": 0.8}
    assert [step.phrase for step in way(tree, smooth)] == ["smooth", "shape: in between", "nothing odd"]


@pytest.mark.parametrize("name", ["gz1", "gz2", "decals_dr5", "decals_dr12", "candels", "hubble"])
def test_every_tree_can_be_walked_and_ends(name: str) -> None:
    tree = Tree.load(name)
    for seed in range(20):
        fractions = dict(zip(tree.columns, np.random.default_rng(seed).random(len(tree.columns)), strict=True))
        steps = way(tree, fractions)
        assert 1 <= len(steps) <= len(tree.questions) and all(step.phrase for step in steps)
        assert steps[0].share == max(list(fractions.values())[tree.slices[tree.questions[0].name]])


def test_attributes_are_told_on_their_scales() -> None:
    tree = Tree.load("efigi")
    head = Head("efigi", "sigmoid", tree.columns, tree)
    values = np.zeros(17, np.float32)
    values[0], values[5], values[4], values[14] = (4.2 + 6) / 17, 0.8, 1.0, 0.5
    attributes = head.said(values)
    assert attributes["T"] == pytest.approx(4.2, abs=1e-5)
    assert strongest(head, attributes) == [("bar length", pytest.approx(0.8)), ("inclination", 0.5)]
    assert tell(head, attributes) == "Sbc (T 4.2), bar length .80, inclination .50"
    assert [stage(t) for t in (-9, -6, -5.4, 0.4, 10.6, 14)] == ["cE", "cE", "E", "S0/a", "dE", "dE"]
    assert list(STAGES) == list(range(-6, 12))


def test_a_figure_shows_24_galaxies_and_tells_of_the_others(models: Path, draw_to, tmp_path: Path) -> None:
    for seed in range(26):
        folder = draw_to(f"g{seed:02d}", picture(48, 0.5, seed=seed)).parent
    draw_to("noise", np.random.default_rng(0).integers(8, 18, (64, 64, 3), dtype=np.uint8))
    done = classify(folder, models, portraits=30)
    figure = draw(done)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert len(figure.axes) == 1 + 24 and "g23" in words and "g24" not in words
    assert "2 more were classified and are not drawn  ·  1 rejected" in words[-1]
    save_figure(done, tmp_path / "f.png", dpi=20)
    with Image.open(tmp_path / "f.png") as drawn:
        assert drawn.width == round(20 * figure.get_figwidth()) or abs(drawn.width - 20 * figure.get_figwidth()) < 1
    with pytest.raises(RecipeError, match="suffix"):
        save_figure(done, tmp_path / "f.gif")
    with pytest.raises(RecipeError, match="no galaxy to draw"):
        draw(classify(folder, models))


def test_a_portrait_of_a_large_picture_is_small_and_its_lengths_are_the_files(models: Path, draw_to) -> None:
    path = draw_to("a", picture(960, 9.0))
    (one,) = classify(path, models, portraits=1).portraits.values()
    assert one.factor == 3 and one.picture.shape == (320, 320, 3) and one.source is not None
    assert one.centre == pytest.approx((480, 480), abs=4) and one.side == pytest.approx(3 * one.source.petrosian_radius)
