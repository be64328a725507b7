"""A network's features are those of its weights, and a linear classifier on them is what the last layer could be."""

import numpy as np
import pytest
import torch

from tuningfork import recipe as recipes
from tuningfork.baseline.choices import BaselineChoice, BaselineRecipe
from tuningfork.baseline.features import network_features
from tuningfork.baseline.fit import fit
from tuningfork.data.split import Split
from tuningfork.errors import BadWeights
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.display import Display
from tuningfork.galaxy.records import Source
from tuningfork.galaxy.votes import Votes
from tuningfork.model.card import Card
from tuningfork.model.head import make_head
from tuningfork.model.net import GalaxyNet
from tuningfork.model.weights import load, save

BANDS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    net = GalaxyNet("s1", make_head("classes", ("a", "b"), None), BANDS, 16)
    display = recipes.to_mapping(Display(size=16, bands=BANDS))
    card = Card("toy", BANDS, display, "classes", ("a", "b"), "s1", mean=(0.0,) * 3, std=(1.0,) * 3)
    golden = np.random.default_rng(0).integers(0, 255, (2, 3, 16, 16)).astype(np.uint8)
    folder = tmp_path_factory.mktemp("toy")
    save(net, card, folder, golden)
    return folder


def test_features_followed_by_the_last_layer_are_the_network(model):
    images = np.random.default_rng(1).integers(0, 255, (5, 3, 16, 16)).astype(np.uint8)
    found = network_features(model, images, batch=2)
    net, _ = load(model)
    with torch.inference_mode():
        whole = net(torch.from_numpy(images).float() / 255).numpy()
        last = net.last(torch.from_numpy(found)).numpy()
    assert last == pytest.approx(whole, abs=1e-5)  # float32 in batches of another size
    assert network_features(model, images[:0]).shape == (0, found.shape[1])


class Sky(Source):
    """Pictures in memory: bright on the left, or bright on the right."""

    def __init__(self, n):
        ids = [f"g{i}" for i in range(n)]
        catalog = Catalog({"id": ids, "class": [("left", "right")[i % 2] for i in range(n)]})
        super().__init__("sky", ids, digest=str(n), bands=BANDS, catalog=catalog)

    def _read(self, row):
        pixels = np.random.default_rng(row).integers(0, 60, (3, 16, 16)).astype(np.uint8)
        pixels[:, :, (slice(0, 8), slice(8, 16))[row % 2]] += 60
        return Record.from_pixels(self.ids[row], pixels, BANDS)

    def _where(self, row):
        return "sky"


@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_a_linear_classifier_on_frozen_features(tmp_path, model, kind):
    recipe = BaselineRecipe(
        split=Split(test=0.4),
        display=Display(size=99),  # the network's own display is taken
        baseline=BaselineChoice(kind=kind, on="features", model=str(model)),
    )
    sky = Sky(80)
    votes = Votes.read(fit(sky, tmp_path / "v.parquet", recipe, threads=1).path)
    right = [sky.catalog["class"][int(one[1:])] for one in votes.ids]
    assert np.mean(np.array(votes.names)[votes.values.argmax(1)] == right) > 0.9
    assert votes.metadata["baseline"]["display"]["size"] == 16
    assert votes.metadata["features"]["digest"] == Card.load(model).digest


def test_a_model_that_is_not_there(tmp_path):
    recipe = BaselineRecipe(baseline=BaselineChoice(on="features", model=str(tmp_path / "none")))
    with pytest.raises(BadWeights, match="is no model"):
        fit(Sky(10), tmp_path / "v.parquet", recipe)
