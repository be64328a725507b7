"""Baselines learn what can be learnt, on the split of training, and their votes are judged like any other."""

from dataclasses import replace

import numpy as np
import pytest

from tuningfork import recipe as recipes
from tuningfork.baseline.choices import BaselineChoice, BaselineRecipe, check
from tuningfork.baseline.classifier import CLASSIFIERS, learn, probabilities
from tuningfork.baseline.examples import find_examples
from tuningfork.baseline.fit import fit
from tuningfork.baseline.pixels import render_rows, settled
from tuningfork.data.split import Split, assign
from tuningfork.errors import BandError, LabelError, RecipeError, SplitError, TrainingError
from tuningfork.evaluate.humans import humans
from tuningfork.evaluate.judge import evaluate
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.display import Display, render_record
from tuningfork.galaxy.labels import LabelChoice
from tuningfork.galaxy.records import Source
from tuningfork.galaxy.source import open_source
from tuningfork.galaxy.votes import Votes
from tuningfork.train.choices import TrainRecipe
from tuningfork.train.prepare import join

KINDS = ("long", "ring", "round")
COLOURS = ("red", "green", "blue")


class Sky(Source):
    """Blobs of three shapes in memory; those of ``broken`` have bytes that are no image."""

    kind = "sky of the tests"

    def __init__(self, n=150, broken=(), order=1):
        ids = [f"g{i}" for i in range(n)][::order]
        catalog = Catalog({"id": ids, "class": [KINDS[int(i[1:]) % 3] for i in ids]})
        super().__init__("sky", ids, digest=f"{n} {list(broken)} {order}", bands=COLOURS, catalog=catalog)
        self.broken = broken

    def _read(self, row):
        number = int(self.ids[row][1:])
        generator = np.random.default_rng(number)
        y, x = np.mgrid[:16, :16] - 7.5 + generator.normal(0, 0.3, (2, 1, 1))
        r2 = [x**2 / 9 + y**2 * 2, (np.hypot(x, y) - 5) ** 2, x**2 + y**2][number % 3]
        light = 180 * np.exp(-r2 / 6) + 20 + generator.normal(0, 8, (3, 16, 16))
        record = Record.from_pixels(self.ids[row], np.clip(light, 0, 255).astype(np.uint8), COLOURS)
        return replace(record, data=b"no image") if self.ids[row] in self.broken else record

    def _where(self, row):
        return "sky"


RECIPE = BaselineRecipe(
    split=Split(validation=0.2, test=0.3), baseline=BaselineChoice(side=16, trees=20, components=10)
)


def made(**baseline):
    return replace(RECIPE, baseline=replace(RECIPE.baseline, **baseline))


@pytest.mark.parametrize("kind", list(CLASSIFIERS))
@pytest.mark.parametrize("on", ["pixels", "pca"])
def test_every_classifier_tells_simple_shapes_apart(tmp_path, kind, on):
    sky = Sky()
    done = fit(sky, tmp_path / "votes.parquet", made(kind=kind, on=on), threads=1)
    votes = Votes.read(done.path)
    assert votes.head == "classes" and votes.names == KINDS
    assert (done.n_in, done.n_done, done.n_rejected) == (votes.n_in, votes.n_in, 0)
    assert evaluate(votes, sky.catalog, bootstrap=0).numbers["metrics"]["balanced_accuracy"]["value"] > 0.8  # 1/3


def test_the_parts_are_those_of_training(tmp_path):
    sky = Sky()
    parts = dict(zip(sky.ids, assign(sky.ids, RECIPE.split), strict=True))
    for part in ("train", "validation", "test"):
        done = fit(sky, tmp_path / f"{part}.parquet", RECIPE, part=part, threads=1)
        votes = Votes.read(done.path)
        assert votes.ids == [one for one in sky.ids if parts[one] == part]
        assert done.n_trained == sum(its == "train" for its in parts.values())
        assert votes.metadata["part"] == part


@pytest.mark.parametrize("method", ["hash", "stratified", "sky"])
def test_training_itself_would_share_the_galaxies_out_alike(method):
    sky = Sky(90)
    place = np.random.default_rng(0).uniform(0, 60, (2, 90))
    sky.with_catalog(sky.catalog.with_columns({"ra": place[0], "dec": place[1]}))
    split = Split(method=method, validation=0.2, test=0.3, cell_deg=5.0)
    theirs = join(sky, sky.catalog, TrainRecipe(split=split))
    ours = find_examples(sky, sky.catalog, LabelChoice(), split)
    assert ours.labels.ids == theirs.labels.ids
    assert ours.parts.tolist() == theirs.parts.tolist()
    assert ours.counts == theirs.counts


def test_the_split_of_a_run_is_taken_as_it_is(tmp_path):
    sky = Sky(60)
    (tmp_path / "run").mkdir()
    parts = ["test", "train"] * 25 + ["validation"] * 4  # six galaxies are not in the run
    Catalog({"id": sky.ids[:54], "part": parts}).write(tmp_path / "run" / "split.parquet")
    done = fit(sky, tmp_path / "v.parquet", RECIPE, run=tmp_path / "run", threads=1)
    assert Votes.read(done.path).ids == [f"g{i}" for i in range(0, 50, 2)]
    assert done.n_trained == 25
    assert any("6 labelled galaxies are not in the split" in note for note in done.notes)
    with pytest.raises(RecipeError, match="is no training run"):
        fit(sky, tmp_path / "v.parquet", RECIPE, run=tmp_path)


def test_the_same_call_gives_the_same_votes_and_another_seed_others(tmp_path):
    sky = Sky()
    values = [
        Votes.read(fit(sky, tmp_path / f"{i}.parquet", made(kind="forest", seed=seed), threads=1).path)
        for i, seed in enumerate((0, 0, 1))
    ]
    assert np.array_equal(values[0].values, values[1].values)
    assert not np.array_equal(values[0].values, values[2].values)
    assert values[0].metadata == values[1].metadata
    digests = {one.metadata["model"]["digest"] for one in values}
    assert len(digests) == 2


def test_the_recipe_in_the_votes_fits_the_same_again(tmp_path):
    first = Votes.read(fit(Sky(), tmp_path / "a.parquet", made(kind="mlp"), threads=1).path)
    again = recipes.from_mapping(BaselineRecipe, first.metadata["baseline"])
    second = Votes.read(fit(Sky(), tmp_path / "b.parquet", again, threads=1).path)
    assert np.array_equal(first.values, second.values)
    assert first.metadata["model"] == second.metadata["model"]


def test_bad_galaxies_become_rows_with_their_reason(tmp_path):
    parts = assign(Sky().ids, RECIPE.split)
    broken = [str(next(i for i, p in zip(Sky().ids, parts, strict=True) if p == part)) for part in ("train", "test")]
    sky = Sky(broken=broken)
    done = fit(sky, tmp_path / "v.parquet", RECIPE, threads=1)
    votes = Votes.read(done.path)
    assert (done.n_rejected, done.n_train_rejected) == (1, 1)
    assert done.n_in == done.n_done + done.n_rejected == votes.n_in
    assert votes.reasons() == done.reasons == {"not_an_image": 1}
    assert not votes.done[votes.ids.index(broken[1])]


def test_a_class_that_was_never_trained_on_has_probability_zero(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    y = np.where(x[:, 0] > 0, 3, 1)
    pipeline, _ = learn(BaselineChoice(), x, y)
    p = probabilities(pipeline, x, 5)
    assert p.shape == (30, 5) and p.sum(1) == pytest.approx(1)
    assert not p[:, [0, 2, 4]].any()


def test_the_margins_of_an_svm_become_probabilities_that_are_calibrated():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4000, 3)).astype(np.float32)
    true = 1 / (1 + np.exp(-2 * x[:, 0]))
    y = (generator.random(4000) < true).astype(np.int64)
    pipeline, _ = learn(BaselineChoice(kind="svm"), x[:2000], y[:2000])
    p = probabilities(pipeline, x[2000:], 2)[:, 1]
    # with 2,000 galaxies the slope of Platt's sigmoid is known to about 5%: an error of p of about 0.02 at worst
    assert np.abs(p - true[2000:]).mean() < 0.03


def test_what_did_not_converge_is_noted(tmp_path):
    done = fit(Sky(), tmp_path / "v.parquet", made(kind="mlp", epochs=2), threads=1)
    assert any("had not converged" in note for note in done.notes)


def test_as_many_components_as_galaxies_are_no_noise():
    generator = np.random.default_rng(0)
    truth, many = np.repeat([0, 1], 15), np.repeat([0, 1], 100)
    x, new = (
        np.clip(generator.normal(0.4 + 0.1 * y[:, None], 0.1, (len(y), 768)), 0, 1).astype(np.float32)
        for y in (truth, many)
    )
    for kind in ("logistic", "svm"):
        pipeline, _ = learn(BaselineChoice(kind, on="pca", components=500), x, truth)
        assert np.mean(pipeline.predict(new) == many) > 0.95  # with a 30th component, of no variance, about half


def test_too_many_components_are_cut_and_noted(tmp_path):
    done = fit(Sky(40), tmp_path / "v.parquet", made(kind="logistic", on="pca", components=500), threads=1)
    assert any("500 components were asked for" in note for note in done.notes)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"kind": "trea"}, "'baseline.kind' is 'trea'.*did you mean 'tree'"),
        ({"on": "photons"}, "'baseline.on' is 'photons'"),
        ({"on": "features"}, "features come from a model"),
        ({"model": "m"}, "features come from a model"),
        ({"side": 4}, "'baseline.side' is 4; it must be 8 or more"),
        ({"leaf": 0}, "'baseline.leaf' is 0; it must be 1 or more"),
        ({"strength": 0.0}, "'baseline.strength' is 0"),
        ({"kind": "mlp", "balanced": True}, "an mlp has no class weights"),
    ],
)
def test_choices_that_cannot_be(choice, words):
    with pytest.raises(RecipeError, match=words):
        check(BaselineChoice(**choice))


def test_labels_that_cannot_be(tmp_path):
    sky = Sky(30)
    with pytest.raises(LabelError, match="none of 2 labelled ids is among the 30"):
        fit(sky, tmp_path / "v", RECIPE, labels=Catalog({"id": ["a", "b"], "class": ["x", "y"]}))
    with pytest.raises(LabelError, match="has no catalogue"):
        find_examples(sky, None, LabelChoice(), RECIPE.split)
    votes = Catalog({"id": sky.ids, **{f"P_{k}": np.full(30, 1 / 6) for k in ("EL", "CW", "ACW", "EDGE", "DK", "MG")}})
    with pytest.raises(LabelError, match="learns classes, not fractions"):
        find_examples(sky, votes, LabelChoice(kind="fractions", tree="gz1"), RECIPE.split)
    with pytest.raises(RecipeError, match="no part 'exam'"):
        fit(sky, tmp_path / "v", RECIPE, part="exam")
    with pytest.raises(SplitError, match="the validation part is empty"):
        fit(sky, tmp_path / "v", replace(RECIPE, split=Split(validation=0, test=0.3)), part="validation")
    with pytest.raises(TrainingError, match="two of every class"):
        learn(BaselineChoice(kind="svm"), np.eye(3, dtype=np.float32), np.array([0, 0, 1]))
    with pytest.raises(TrainingError, match="of 1 class"):
        learn(BaselineChoice(), np.eye(3, dtype=np.float32), np.array([0, 0, 0]))
    with pytest.raises(BandError, match="but not z"):
        settled(sky, Display(bands=("red", "z")), sky.ids)


def test_rows_are_what_a_network_would_see():
    sky, display = Sky(5), Display(size=8, bands=COLOURS)
    rows = render_rows(sky, sky.ids[::-1], display, threads=2)
    assert rows.ids == tuple(sky.ids[::-1])
    for one, pixels in zip(rows.ids, rows.pixels, strict=True):
        assert np.array_equal(pixels, render_record(sky.record(one), display))
    assert rows.flat.shape == (5, 3 * 8 * 8) and rows.flat.max() <= 1


def test_flux_gets_a_stretch():
    class Flux(Sky):
        def _read(self, row):
            pixels = np.random.default_rng(row).normal(size=(1, 16, 16)).astype(np.float32)
            return Record.from_pixels(self.ids[row], pixels, ("r",))

    sky = Flux(4)
    sky.bands = None
    assert settled(sky, Display(size=8), sky.ids) == Display(size=8, bands=("r",), stretch="asinh")


def test_real_galaxies_a_tree_on_pixels_beats_the_commonest_class(tmp_path, real_data):
    catalog = Catalog.read(real_data / "gz1" / "labels.csv", id="objid")
    table = catalog.rows(np.arange(900))
    source = open_source(real_data / "gz1" / "images")
    recipe = replace(
        RECIPE,
        labels=LabelChoice(
            merge={"spiral": ("spiral_clockwise", "spiral_anticlockwise")}, drop=("dont_know", "merger")
        ),
        split=Split(validation=0.1, test=0.5),
        display=Display(crop=146),
        baseline=BaselineChoice(kind="tree", side=24, balanced=True, leaf=10),
    )
    done = fit(source, tmp_path / "v.parquet", recipe, labels=table, threads=1)
    found = evaluate(done.path, table, bootstrap=200).numbers
    assert found["baseline"]["balanced_accuracy"] == pytest.approx(1 / 3)
    assert found["metrics"]["balanced_accuracy"]["low"] > 1 / 3


def test_real_galaxies_a_forest_beside_the_volunteers_of_stripe_82(tmp_path, real_data):
    catalog = Catalog.read(real_data / "gz2_stripe82" / "votes.csv", id="objid")
    source = open_source(real_data / "gz2_stripe82" / "images")
    recipe = replace(
        RECIPE,
        labels=LabelChoice(kind="largest", tree="gz2"),
        split=Split(validation=0.1, test=0.5),
        display=Display(crop=100),
        baseline=BaselineChoice(kind="forest", trees=50, leaf=3),
    )
    done = fit(source, tmp_path / "v.parquet", recipe, labels=catalog, threads=1)
    found = humans(done.path, catalog, tmp_path / "page.html", bootstrap=20, images=source)
    assert found.n_judged == done.n_done == found.n_in - found.n_rejected
    unsure, sure = (found.numbers[key]["galaxies"] for key in ("where_unsure", "where_sure"))
    assert unsure + sure == found.n_judged and unsure > 20
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg") == 18
