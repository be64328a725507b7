"""The models of flux: samples in their parts, layers taken over exactly, and a set made end to end beside another."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tuningfork import recipe as recipes
from tuningfork.errors import BadWeights, RecipeError
from tuningfork.evaluate import strangeness
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.labels import make_labels
from tuningfork.galaxy.light import LIGHT
from tuningfork.galaxy.tree import Tree
from tuningfork.model import weights
from tuningfork.model.card import Card
from tuningfork.model.encoder import Encoder
from tuningfork.model.head import make_head
from tuningfork.model.net import GalaxyNet
from tuningfork.predict.classify import classify
from tuningfork.simulate.galaxies import simulate_galaxies
from tuningfork.train.choices import check
from tuningfork.workflow import reference_flux
from tuningfork.workflow.experiments.choices import Sky
from tuningfork.workflow.reference import ReferenceRecipe
from tuningfork.workflow.reference_flux import (
    ENCODER,
    HEADS,
    JUDGES,
    RECIPE,
    SKIES,
    FluxRecipe,
    first_layers,
    gather_flux,
    make_flux_models,
    picture_as_flux,
    some_bands,
)
from tuningfork.workflow.release import Release
from tuningfork.workflow.samples import SAMPLES

EACH = 12  # galaxies of each sample
COLOUR = ReferenceRecipe(sky=Sky(galaxies=8, size=32, seed=4), lenses=0)
TOY = {"train.display.size": 32, "train.train.epochs": 1, "train.train.batch": 8, "views": 1, "bootstrap": 20}


def toy() -> FluxRecipe:
    """The recipe with skies of a few galaxies."""
    recipe = recipes.replace(recipes.load(FluxRecipe, RECIPE), {**TOY, "start": ""})
    skies = [recipes.replace(sky, {"galaxies": 20, "size": 40}) for sky in recipe.skies]
    return FluxRecipe(**{**vars(recipe), "skies": tuple(skies)})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples' layout with simulated galaxies in place of real ones."""
    folder = tmp_path_factory.mktemp("data")
    sky = simulate_galaxies(3 * EACH, folder / "sky", size=40, seed=3, workers=1)
    catalog, generator = sky.catalog, np.random.default_rng(0)
    assert catalog is not None
    for number, (name, sample) in enumerate(SAMPLES.items()):
        ids = list(sky.ids[EACH * number : EACH * (number + 1)])
        images = folder / sample.folder / "images"
        images.mkdir(parents=True)
        for one in ids:
            (images / f"{one}.jpg").write_bytes(sky.record(one).data)
        columns: dict[str, list[object]] = {"class": ["elliptical", "merger", "dont_know"] * (EACH // 3)}
        if name == "efigi":
            columns = {column: generator.random(EACH).round(2).tolist() for column in Tree.load("efigi").columns}
        elif name == "stripe82":
            names = [f"{column}_count" for column in Tree.load("gz2").columns]
            columns = {one: catalog.select(ids)[one].tolist() for one in names}
        Catalog({"objid": ids, **columns}, "objid").write(folder / sample.folder / sample.table)
    return folder


@pytest.fixture(scope="module")
def began(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of colour pictures on EfficientNet-Lite0, of random weights."""
    out, names = tmp_path_factory.mktemp("began") / "colour", ("no", "yes")
    bands = ("red", "green", "blue")
    card = Card("colour", bands, {"size": 32, "bands": list(bands)}, "classes", names, "efficientnet_lite0")
    torch.manual_seed(1)
    net = GalaxyNet("efficientnet_lite0", make_head("classes", names), bands, 32).eval()
    weights.save(net, card, out, np.zeros((1, 3, 32, 32), np.uint8))
    return out


def test_the_recipe_can_be_and_every_model_has_a_head_that_tells_of_it() -> None:
    recipe = recipes.load(FluxRecipe, RECIPE)
    check(recipe.train)
    assert {part.name for part in recipe.train.labels.parts} == {*HEADS} == {*JUDGES}
    assert tuple(f"{sky.survey} flux" for sky in recipe.skies) == SKIES


def test_all_samples_are_flux_in_their_parts(data: Path, tmp_path: Path) -> None:
    union = gather_flux(data, tmp_path, toy(), COLOUR)
    catalog = union.catalog
    assert catalog is not None and len(union) == 3 * EACH + 40
    sample, part = (np.array(list(catalog[name])) for name in ("sample", "part"))
    assert {*sample} == {*SAMPLES, *SKIES}
    assert {*part[np.isin(sample, SKIES)]} >= {"train", "test"}
    bands = {
        name: {union.record(one).cutout().bands for one in np.array(catalog.ids)[sample == name]} for name in {*sample}
    }
    assert all(bands[name] == {LIGHT} for name in SAMPLES)
    assert {len(one) for one in bands["des flux"]} == {1, 5} and {len(one) for one in bands["sdss flux"]} == {1, 3}
    unseen = np.asarray(catalog["visibility"], np.float64) < 0.2
    assert (np.array(list(catalog["gz1_class"]))[unseen] == "dont_know").all() and unseen.any()
    labels = make_labels(catalog, toy().train.labels)
    known = {one.choice.name: {name.partition(":")[0] for name in one.ids} for one in labels.parts}
    assert known["flux-efigi"] == {"efigi"} and known["flux-gz2"] == {"stripe82", *SKIES}
    assert known["flux-galaxy-or-not"] == {*SKIES} and known["flux-gz1"] >= {"gz1", *SKIES}
    again = gather_flux(data, tmp_path, toy(), COLOUR)
    one = catalog.ids[0]
    assert again.digest == union.digest and again.record(one).data == union.record(one).data


def test_skies_that_cannot_be_told_apart_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="with colour = false"):
        gather_flux(data, tmp_path, FluxRecipe(skies=(Sky(),)), COLOUR)


def test_noise_differs_from_galaxy_to_galaxy_and_bands_are_those_of_the_galaxy() -> None:
    black = np.zeros((40, 40, 3), np.uint8)
    black[18:22, 18:22] = 200
    noises = [
        float(picture_as_flux(Record.from_picture(f"g{k}", black)).cutout().pixels[0, :9].std()) for k in range(40)
    ]
    assert 1e-4 * 0.8 < min(noises) < 2e-4 and 5e-4 < max(noises) < 1e-3 * 1.2
    pixels = np.random.default_rng(0).normal(0, 1, (3, 16, 16)).astype(np.float32)
    seen = [some_bands(Record.from_pixels(f"g{k}", pixels, ("g", "r", "i")), 0.5).cutout() for k in range(60)]
    assert {one.bands for one in seen} == {("g",), ("r",), ("i",), ("g", "r", "i")}
    for one in seen:
        np.testing.assert_array_equal(one.pixels, pixels[[("g", "r", "i").index(band) for band in one.bands]])


def test_the_first_layers_say_of_a_grey_picture_what_the_whole_network_said(began: Path, tmp_path: Path) -> None:
    path = first_layers(began, "efficientnet_lite0_short", 32, tmp_path / "begin")
    theirs, _ = weights.load(began)
    net = GalaxyNet("efficientnet_lite0_short", make_head("classes", ("no", "yes")), LIGHT, 32).eval()
    assert weights.load_backbone(net, path)
    grey, kept = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)), []
    theirs.eval().backbone.blocks[5][1].register_forward_hook(lambda _m, _i, made: kept.append(made))
    with torch.no_grad():
        theirs.backbone(grey.expand(-1, 3, -1, -1))
        features = net.backbone(grey)
    torch.testing.assert_close(features, kept[0].mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    with pytest.raises(BadWeights, match="does not begin as 's2_cnn' does"):
        first_layers(began, "s2_cnn", 32, tmp_path / "none")


def test_a_set_is_made_calibrated_and_judged_once_and_answers(
    data: Path, began: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangeness, "_FEWEST", 5)  # galaxies of a toy

    def make() -> Release:
        return make_flux_models(data, tmp_path, recipe=toy(), changes={"start": str(began)}, colour=COLOUR)

    made = make()
    shelf = tmp_path / "shipped"
    assert [row["name"] for row in made.rows] == [*HEADS] and str(shelf) == made.path
    encoder = Encoder.load(shelf / ENCODER)
    assert encoder.bands == LIGHT and encoder.n_features == 192 and encoder.precision == "float16"
    for name in HEADS:
        card = Card.load(shelf / name)
        assert card.encoder == ENCODER and card.licence and card.training["began"] == "the first layers of 'colour'"
        assert str(tmp_path) not in (shelf / name / "card.json").read_text() and card.fails
    on = {row["on"] for row in Card.load(shelf / "flux-galaxy-or-not").measured}
    assert on and all("flux (simulated)" in one for one in on)
    sky = simulate_galaxies(1, tmp_path / "one", survey="des", colour=False, seed=9)
    done = classify(tmp_path / "one", shelf)
    assert done.n_in == len(sky) == 1 and {*done.galaxies[0].answers} == {*HEADS}
    assert done.galaxies[0].p_typical is not None  # what is ordinary travels with the encoder
    assert Card.load(shelf / "flux-gz2").calibration["certainty"]["scales"]
    what = {row["what"] for row in Card.load(shelf / "flux-gz1").measured}
    assert {"expected calibration error", "expected calibration error, without its temperature"} <= what
    assert {"ROC AUC of strangeness", "share called unusual (p < .01)"} <= what
    monkeypatch.setattr(reference_flux, "ship", None)  # whoever calls it again fails
    monkeypatch.setattr(reference_flux, "judge_flux", None)
    assert json.dumps(make().rows) == json.dumps(made.rows)
