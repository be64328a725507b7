"""Filters, activations and exemplars: what they show is what the network computes, on nets set by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

import tuningfork
from tuningfork.errors import BandError, RecipeError
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.store import StoreWriter
from tuningfork.insight.activations import activations
from tuningfork.insight.attributionplots import short_id
from tuningfork.insight.exemplars import exemplars
from tuningfork.insight.filters import filters
from tuningfork.model.card import Card
from tuningfork.model.net import GalaxyNet, net_from_card

SIZE, N = 32, 9
BANDS = ("red", "green", "blue")


def made(backbone: str = "s2_cnn", size: int = SIZE, bands: tuple[str, ...] = BANDS) -> tuple[GalaxyNet, Card]:
    torch.manual_seed(0)
    card = Card(
        name="tiny", bands=bands, display={"size": size, "bands": list(bands)}, head="classes", backbone=backbone,
        names=("a", "b"), mean=(0.0,) * len(bands), std=(1.0,) * len(bands),
    )  # fmt: skip
    return net_from_card(card).eval(), card


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark pictures with one spot, brighter from each to the next, at a place of its own; one is no picture."""
    folder = tmp_path_factory.mktemp("units")
    ids = [f"g{k}" for k in range(N)]
    with StoreWriter(folder / "store", catalog=tuningfork.Catalog({"id": ids})) as writer:
        for k, name in enumerate(ids):
            pixels = np.full((SIZE, SIZE, 3), 10, np.uint8)
            pixels[3 * k + 2 : 3 * k + 5, 20:23] = 40 + 20 * k  # rows run downwards
            record = Record.from_picture(name, pixels, quality=98)
            writer.add(record if k != 7 else Record(name, b"no picture", "jpeg", record.bands))
    return folder / "store"


def test_filters_are_the_first_layers_weights() -> None:
    for name, size, bands, layer in (
        ("s2_cnn", 32, BANDS, "conv1"),
        ("resnet18", 32, BANDS, "conv1"),
        ("convnext_pico", 32, BANDS, "stem.0"),
        ("s4_cnn", 32, ("u", "g", "r", "i", "z"), "convs.0"),
    ):
        net, card = made(name, size, bands)
        found = filters(net, card)
        assert found.layer == layer and found.kernels.shape[1] == len(bands)
        weights = dict(net.backbone.named_modules())[layer].weight
        assert np.array_equal(found.kernels, weights.detach().numpy())
        assert not name.startswith("s") or found.figure().axes
        if len(bands) == 3:
            assert found.images.min() >= 0 and found.images.max() <= 1
            assert np.abs(found.images - 0.5).max(axis=(1, 2, 3)) == pytest.approx(0.5)
        else:
            with pytest.raises(RecipeError, match="5 bands"):
                _ = found.images


def test_activations_are_what_the_layers_give() -> None:
    net, card = made()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, SIZE, SIZE), dtype=np.uint8)
    found = activations(net, card, pixels, ["conv1", 3, "backbone.dense", "last"])
    assert [one.name for one in found.layers] == ["conv1", "conv2", "dense", "last"]
    with torch.no_grad():
        x = torch.from_numpy(pixels).float() / 255
        torch.testing.assert_close(torch.from_numpy(found.maps["conv1"]), net.backbone.conv1(x))
        torch.testing.assert_close(torch.from_numpy(found.maps["last"]), net(x))
    best = found.strongest("conv1", 3, 5)
    peaks = found.maps["conv1"][3].max(axis=(1, 2))
    assert best.tolist() == np.argsort(-peaks)[:5].tolist()
    assert len(found.figure(3, shown=4).axes) >= 2 * 5
    with pytest.raises(RecipeError, match="no places"):
        activations(net, card, pixels[:1], ["dense"]).figure()
    with pytest.raises(RecipeError, match="nearest are conv"):
        activations(net, card, pixels, ["conv9"])
    with pytest.raises(BandError, match="red, green, blue"):
        activations(net, card, pixels[:, :2], ["conv1"])


def test_exemplars_are_found_with_their_places(sky: Path) -> None:
    net, card = made()
    with torch.no_grad():  # unit 0 is the light around a place; unit 1 its negative
        net.backbone.conv1.weight.zero_()
        net.backbone.conv1.weight[0], net.backbone.conv1.weight[1] = 1 / 27, -1 / 27
        net.backbone.conv1.bias.zero_()
    store = tuningfork.open_source(sky)
    found = exemplars(store, net, card, "conv1", units=[0], shown=3, threads=1)
    assert found.most == (("g8", "g6", "g5"),) and found.least == (("g0", "g1", "g2"),)  # g7 is no picture
    assert (found.n, found.n_rejected) == (8, 1) and set(found.pictures) == {"g0", "g1", "g2", "g5", "g6", "g8"}
    rows = np.array([3 * k + 3 for k in (8, 6, 5)])
    np.testing.assert_allclose(found.most_places[0], np.stack([np.full(3, 21), rows], axis=1), atol=1)  # JPEG
    np.testing.assert_allclose(found.most_values[0], np.array([200, 160, 140]) / 255, atol=0.03)
    assert (np.diff(found.most_values[0]) < 0).all() and (np.diff(found.least_values[0]) > 0).all()
    words = [axes.get_xlabel() for axes in found.figure().axes]
    assert any(word.startswith("g8\n") for word in words) and any(word.startswith("g0\n") for word in words)
    pixels = np.stack([found.pictures[one] for one in ("g8", "g0")])
    drawn = activations(net, card, pixels, ["conv1"], ids=("g8", "g0")).figure(exemplars={"conv1": found})
    assert "g8" in drawn._suptitle.get_text()  # type: ignore[attr-defined]
    vector = exemplars(store, net, card, "dense", units=[5, 2], shown=2, threads=1)
    assert np.isnan(vector.most_places).all() and vector.units == (5, 2)
    with pytest.raises(RecipeError, match="0 to 31"):
        exemplars(store, net, card, "conv1", units=[32])


def test_a_store_of_other_bands_is_refused(sky: Path) -> None:
    net, card = made(bands=("g", "r"))
    with pytest.raises(BandError, match="not g, r"):
        exemplars(tuningfork.open_source(sky), net, card, "conv1")


def test_long_ids_keep_their_end() -> None:
    assert short_id("587722981748965649", 8) == "\N{HORIZONTAL ELLIPSIS}8965649"
    assert short_id("PGC0001") == "PGC0001"
