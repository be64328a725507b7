"""Attribution: complete, turning with the galaxy, caught by a planted cue, changed by random weights; all nets."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tuningfork
from tuningfork import recipe
from tuningfork.baseline.pixels import render_rows, settled
from tuningfork.errors import BandError, RecipeError
from tuningfork.galaxy.display import Display
from tuningfork.galaxy.tree import Tree
from tuningfork.insight import checks
from tuningfork.insight.attribution import COMPLETE, METHODS, around, attribute, maps_figure
from tuningfork.insight.checks import Deletion, deletion, randomisation, rank_correlation
from tuningfork.insight.layers import find_layer, layers_of, recorded, still
from tuningfork.insight.targets import find_target
from tuningfork.model import backbone, weights
from tuningfork.model.card import Card, find_model, shipped_models
from tuningfork.model.net import GalaxyNet, net_from_card

SIZE, CUE = 32, 8
BANDS = ("red", "green", "blue")


def card_of(head: str = "classes", name: str = "s2_cnn", size: int = SIZE) -> Card:
    tree = {"dirichlet": "gz2", "fractions": "gz2", "sigmoid": "efigi"}.get(head)
    known = Tree.load(tree) if tree else None
    return Card(
        name="tiny", bands=BANDS, display={"size": size}, head=head, backbone=name,
        names=known.columns if known else ("plain", "marked"), tree=tree or "",
        tree_digest=known.digest if known else "", mean=(0.2,) * 3, std=(0.2,) * 3,
    )  # fmt: skip


PLACES = [(2, 2), (3, 21), (12, 12), (20, 4), (22, 22)]  # upper left corners of the cue


def patch(kind: int) -> np.ndarray:
    """The cue, 8x8: a bright square in a dark frame (1), or its levels exchanged (0); turns do not change it."""
    inner = np.zeros((CUE, CUE), bool)
    inner[2:-2, 2:-2] = True
    return np.where(inner == bool(kind), 220, 30)


def pictures(
    n: int, rng: np.random.Generator, kinds: np.ndarray | None = None, places: list[tuple[int, int]] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise (N, 3, 32, 32) with a cue of 8x8 each: which (N,), 1 by default, 2 for none; where (N, 2)."""
    x = rng.normal(90, 15, (n, 3, SIZE, SIZE))
    which = np.ones(n, int) if kinds is None else kinds
    corner = rng.integers(0, SIZE - CUE + 1, (n, 2)) if places is None else np.array(places)
    for image, kind, (top, left) in zip(x, which, corner, strict=True):
        if kind < 2:
            image[:, top : top + CUE, left : left + CUE] = patch(kind)
    return x.clip(0, 255).round().astype(np.uint8), which, corner


class Small(torch.nn.Sequential):
    """Two convolutions and a mean over places: it answers wherever the cue is."""

    n_features = 16

    def __init__(self, bands: int, size: int) -> None:
        conv, relu = torch.nn.Conv2d, torch.nn.ReLU
        pool = torch.nn.AvgPool2d(2)
        mean = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        super().__init__(conv(bands, 12, 5, padding=2), relu(), pool, conv(12, 16, 3, padding=1), relu(), mean)


def learnt(seed: int) -> tuple[GalaxyNet, Card]:
    """A net that tells pictures with cue 1 from those with the other or none: nothing else differs."""
    card, rng = card_of(name="small"), np.random.default_rng(seed)
    torch.manual_seed(seed)
    net = net_from_card(card)
    steps = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(150):
        x, kinds, _ = pictures(32, rng, rng.integers(3, size=32))
        truth = torch.from_numpy((kinds == 1).astype(np.int64))
        loss = torch.nn.functional.cross_entropy(net(torch.from_numpy(x).float() / 255), truth)
        steps.zero_grad()
        loss.backward()
        steps.step()
    return net.eval(), card


@pytest.fixture(scope="module")
def nets() -> Iterator[list[tuple[GalaxyNet, Card]]]:
    """Three nets that have learnt the cue from three beginnings."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(backbone.BACKBONES, "small", backbone.Backbone(Small, False, ""))
        yield [learnt(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def trained(nets: list[tuple[GalaxyNet, Card]]) -> tuple[GalaxyNet, Card]:
    return nets[0]


def test_the_cue_and_nothing_else_decides(nets: list[tuple[GalaxyNet, Card]]) -> None:
    kinds = np.arange(200) % 2
    x, _, corners = pictures(200, np.random.default_rng(99), kinds)
    flipped = x.copy()
    for image, kind, (top, left) in zip(flipped, kinds, corners, strict=True):
        image[:, top : top + CUE, left : left + CUE] = patch(1 - kind)
    for net, _ in nets:
        with torch.no_grad():
            seen, other = (net(torch.from_numpy(one).float() / 255).argmax(dim=1).numpy() for one in (x, flipped))
        assert (seen == kinds).all() and (other == 1 - kinds).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_cue_is_caught(nets: list[tuple[GalaxyNet, Card]], method: str) -> None:
    """By every method, in every place, of every net: of all squares as large as it, that with most of the map is on it.

    The middle of that square lies in the cue; Grad-CAM's, whose map has places of several pixels, in its quadrant.
    """
    half, boxes = SIZE // 2, np.lib.stride_tricks.sliding_window_view
    for seed, (net, card) in enumerate(nets):
        images, _, corners = pictures(len(PLACES), np.random.default_rng(seed), places=PLACES)
        for image, corner in zip(images, corners, strict=True):
            light = np.abs(attribute(net, card, image, "marked", method).map)
            sums = boxes(light, (CUE, CUE)).sum(axis=(2, 3))
            middle = np.array(np.unravel_index(sums.argmax(), sums.shape)) + (CUE - 1) / 2
            if method != "grad_cam":
                assert (middle >= corner).all() and (middle <= corner + CUE - 1).all(), (corner, middle)
            elif tuple(corner) != (12, 12):  # that cue lies in all four quadrants
                assert (middle // half == (corner + CUE // 2) // half).all(), (corner, middle)


@pytest.mark.parametrize(("method", "name"), [*((one, "s2_cnn") for one in METHODS), ("grad_cam", "resnet18")])
def test_the_map_turns_with_the_galaxy_bit_for_bit(method: str, name: str) -> None:
    torch.manual_seed(1)
    card = card_of(name=name)
    net = net_from_card(card).eval()
    image = pictures(1, np.random.default_rng(2))[0][0]
    there = attribute(net, card, image, "marked", method)
    for k in (1, 2, 3):
        turned = attribute(net, card, np.rot90(image, k, (1, 2)).copy(), "marked", method)
        assert np.array_equal(turned.map, np.rot90(there.map, k))
        assert (turned.score, turned.chance) == (there.score, there.chance)
    alone = attribute(net, card, image, "marked", method, turns=False)
    aside = attribute(net, card, np.rot90(image, 1, (1, 2)).copy(), "marked", method, turns=False)
    assert not np.allclose(aside.map, np.rot90(alone.map))  # the network itself does not turn


def test_the_mean_does_not_depend_on_where_it_begins() -> None:
    values = np.random.default_rng(0).normal(size=(4, 1000)) * 10.0 ** np.arange(4)[:, None]
    assert all(np.array_equal(around(values), around(np.roll(values, k, 0))) for k in range(4))
    np.testing.assert_allclose(around(values), values.mean(axis=0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("head", ["classes", "dirichlet", "fractions", "sigmoid"])
@pytest.mark.parametrize("scale", ["", "probability"])
def test_integrated_gradients_are_complete(head: str, scale: str) -> None:
    torch.manual_seed(3)
    card = card_of(head)
    net = net_from_card(card).eval()
    image = pictures(1, np.random.default_rng(3))[0][0]
    target = find_target(net, card, card.names[1], scale=scale)
    for baseline in ("sky", "black"):
        found = attribute(net, card, image, target, baseline=baseline)
        assert found.map.sum() == pytest.approx(found.score - found.empty, rel=COMPLETE)
        assert abs(found.gap) < COMPLETE and abs(found.score - found.empty) > 1e-5


def test_the_score_is_the_log_odds_of_what_the_head_answers() -> None:
    image = torch.from_numpy(pictures(3, np.random.default_rng(4))[0]).float() / 255
    for head in ("classes", "dirichlet", "fractions"):
        torch.manual_seed(4)
        card = card_of(head)
        net = net_from_card(card).eval()
        for name in card.names[:4]:
            target = find_target(net, card, name)
            with torch.no_grad():
                p, odds = target.chance(net, image).double(), target.score(net, image).double()
            assert target.scale == "log odds" and ((p > 0) & (p < 1)).all()
            torch.testing.assert_close(odds, torch.log(p / (1 - p)), rtol=1e-4, atol=1e-5)  # p is float32
    card = card_of("sigmoid")
    net, tree = net_from_card(card).eval(), Tree.load("efigi")
    stage = find_target(net, card, "T")
    with torch.no_grad():
        expected = -6 + 17 * torch.sigmoid(net(image)[:, 0])
        torch.testing.assert_close(stage.score(net, image), expected)
    assert stage.scale == "value" and (stage.low, stage.high) == (tree.questions[0].low, tree.questions[0].high)
    assert stage.told(4.06) == "T = 4.1"


def test_a_question_asks_for_its_likeliest_answer() -> None:
    card = card_of("dirichlet")
    net, tree = net_from_card(card), Tree.load("gz2")
    answers = np.arange(len(card.names), dtype=np.float32)
    for question, span in tree.slices.items():
        target = find_target(net, card, question, answers=answers)
        assert (target.column, target.first, target.last) == (span.stop - 1, span.start, span.stop)
    with pytest.raises(RecipeError, match=re.escape(card.names[3])):
        find_target(net, card, card.names[3] + "x")
    with pytest.raises(RecipeError, match="log odds"):
        find_target(net, card, scale="odds")


def test_random_weights_change_the_map_and_come_back(trained: tuple[GalaxyNet, Card]) -> None:
    image = pictures(1, np.random.default_rng(6))[0][0]
    before = {key: value.clone() for key, value in trained[0].state_dict().items()}
    for method in METHODS:
        found = attribute(*trained, image, "marked", method)
        check = randomisation(*trained, found, stages=3)
        assert check.correlation[0] == pytest.approx(1) and check.maps.shape[1:] == (SIZE, SIZE)
        assert check.passed == (abs(check.correlation[-1]) < 0.5)
        assert check.figure().axes
        again = attribute(*trained, image, "marked", method, turns=False, quick=True)
        assert np.array_equal(check.maps[0], again.map) and not np.allclose(check.maps[-1], again.map)
    assert all(torch.equal(value, before[key]) for key, value in trained[0].state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_random_weights_leave_less_than_another_picture_of_the_cue(
    nets: list[tuple[GalaxyNet, Card]], method: str
) -> None:
    """The map of one picture by the net with random weights is less like its map than a net of other weights' map is.

    All three nets have learnt the cue: what their maps share is what there is to be found, and the bar. A map that
    only showed where the picture is bright or has edges would be as much alike with random weights.
    """
    images = pictures(5, np.random.default_rng(7), places=PLACES)[0]
    alike, random = [], []
    for image in images:
        maps = [attribute(*one, image, "marked", method, turns=False, quick=True).map for one in nets]
        alike += [rank_correlation(maps[0], other) for other in maps[1:]]
        found = attribute(*nets[0], image, "marked", method, turns=False, quick=True)
        random += [randomisation(*nets[0], found, stages=1, seed=seed).correlation[-1] for seed in range(4)]
    assert np.mean(random) < np.mean(alike), (np.mean(random), np.mean(alike))


@pytest.mark.parametrize("method", METHODS)
def test_on_real_galaxies_random_weights_leave_no_more_than_another_galaxy_does(real_data: Path, method: str) -> None:
    """The shipped gz1: the trained net's map is less like that of random weights than 0.5, and than other galaxies'.

    Centred galaxies of one survey have maps that are alike, where maps follow the light (SmoothGrad, Grad-CAM). What
    a net with random weights keeps of a map is at most that, so such a map tells of the weights and not of the light;
    maps with signs (integrated gradients, occlusion) have hardly anything in common, for either.
    """
    if "gz1" not in shipped_models():
        pytest.skip("no model 'gz1' is shipped in this checkout")
    net, card = weights.load(find_model("gz1"))
    source = tuningfork.open_source(real_data / "gz1" / "images")
    display = settled(source, recipe.from_mapping(Display, card.display), list(source.ids)[:2])
    images = render_rows(source, list(source.ids)[::1500], display, threads=1).pixels  # 4 galaxies
    maps, random = [], []
    for image in images:
        found = attribute(net, card, image, None, method, turns=False, quick=True)
        check = randomisation(net, card, found, stages=1)
        maps.append(check.maps[0])
        random.append(check.correlation[-1])
    others = [rank_correlation(one, other) for k, one in enumerate(maps) for other in maps[:k]]
    assert abs(np.mean(random)) < 0.5
    spread = np.std(others) / np.sqrt(len(maps)) + np.std(random) / np.sqrt(len(random))
    assert np.mean(random) < np.mean(others) + 3 * spread
    if not METHODS[method].signed:
        assert np.mean(random) < np.mean(others)


def test_on_a_real_galaxy_integrated_gradients_are_complete(real_data: Path) -> None:
    for name in ("gz1", "efigi"):
        if name not in shipped_models():
            pytest.skip(f"no model '{name}' is shipped in this checkout")
        net, card = weights.load(find_model(name))
        source = tuningfork.open_source(real_data / name / "images")
        display = settled(source, recipe.from_mapping(Display, card.display), list(source.ids)[:2])
        for image in render_rows(source, list(source.ids)[1:2], display, threads=1).pixels:
            looked = 0

            def count(module: object, given: tuple[torch.Tensor], out: object) -> None:
                nonlocal looked
                looked += len(given[0])

            with net.register_forward_hook(count):
                found = attribute(net, card, image)
            assert found.map.sum() == pytest.approx(found.score - found.empty, rel=COMPLETE)
            assert looked < 900  # quick enough: 12 even steps a part needed 1,200 gradients of a galaxy and more


def test_taking_the_cue_away_takes_the_answer(trained: tuple[GalaxyNet, Card]) -> None:
    image = pictures(1, np.random.default_rng(7))[0][0]
    found = attribute(*trained, image, "marked", "occlusion")
    check = deletion(trained[0], found)
    assert check.deleted[0] == pytest.approx(
        found.target.chance(trained[0], torch.from_numpy(image[None]) / 255).item()
    )
    assert check.deleted[0] == pytest.approx(check.inserted[-1], abs=1e-5)
    assert check.deletion < 0.35 < check.insertion and check.passed
    upside_down = deletion(trained[0], attribute(*trained, image, "plain", "occlusion"))
    assert upside_down.deletion < 0.5 and check.figure().axes  # hardly anything to delete


def test_maps_that_tell_nothing_are_not_believed(nets: list[tuple[GalaxyNet, Card]]) -> None:
    """Noise, plain brightness, the map of another picture, the map of another answer, beside the true map.

    Noise beats all 20 displaced maps in 1 of 21 by chance: of 45, 2.1 +- 1.4, and 8 or more in 1 of 1,000. The others
    are of pictures where the cue is elsewhere, or of the answer that the cue speaks against.
    """
    passed: dict[str, list[bool]] = {"true": [], "noise": [], "another picture": [], "another answer": []}
    rng = np.random.default_rng(8)
    for seed, (net, card) in enumerate(nets):
        images = pictures(len(PLACES), np.random.default_rng(seed), places=PLACES)[0]
        found = [attribute(net, card, image, "marked", "integrated_gradients") for image in images]
        for number, one in enumerate(found):
            maps = {
                "true": [one.map],
                "noise": rng.normal(size=(3, SIZE, SIZE)),
                "another picture": [found[(number + 2) % len(found)].map],
                "another answer": [-one.map],
            }
            for kind, some in maps.items():
                passed[kind] += [deletion(net, replace(one, map=values), steps=4).passed for values in some]
    shares = {kind: float(np.mean(one)) for kind, one in passed.items()}
    assert shares["true"] == 1 and shares["another answer"] == 0, shares
    assert sum(passed["noise"]) < 8 and shares["another picture"] < 0.2, shares


def test_brightness_does_not_depend_on_what_was_learnt(
    trained: tuple[GalaxyNet, Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way of making maps that never asks the network gives one map for all weights, and is refused."""
    image = pictures(1, np.random.default_rng(6))[0][0]
    found = attribute(*trained, image, "marked", "smoothgrad", turns=False, quick=True)
    bright = replace(found, map=image.astype(float).sum(axis=0))
    monkeypatch.setattr(checks, "attribute", lambda *_, **__: bright)
    check = randomisation(*trained, bright, stages=2)
    assert check.correlation[-1] == pytest.approx(1) and not check.passed


@pytest.mark.parametrize("n", [18, 19, 20, 40])
def test_all_of_20_displaced_maps_must_be_beaten_and_all_but_one_of_40(n: int) -> None:
    for missed in range(4):
        others = np.zeros((1 + n, 2))
        others[1 : 1 + missed, 1] = 1.0  # insertion less deletion is 1 there, 0.5 for the map, 0 for the rest
        curves = np.zeros(2), np.full(2, 0.5)
        check = Deletion(None, np.array([0.0, 1.0]), *curves, others)  # type: ignore[arg-type]
        assert check.passed == ((1 + missed) / (1 + n) <= 0.05)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("vit_tiny_patch16_224", {"patch_size": 8}, "blocks.11.norm1"),  # after it only the class token counts
        ("vit_tiny_patch16_224", {"patch_size": 8, "global_pool": "avg", "class_token": False}, "blocks"),
        ("swin_tiny_patch4_window7_224", {"window_size": 4}, "layers.1"),  # deeper ones have fewer than 4 a side
    ],
)
def test_grad_cam_of_transformers_needs_no_reshape(
    monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, object], expected: str
) -> None:
    build = lambda bands, size: backbone._from_timm(name, img_size=size, **options)(bands, size)  # noqa: E731
    monkeypatch.setitem(backbone.BACKBONES, "transformer", backbone.Backbone(build, True, ""))
    torch.manual_seed(0)
    card = card_of(name="transformer")
    net = net_from_card(card).eval()
    found = attribute(net, card, pictures(1, np.random.default_rng(1))[0][0], "marked", "grad_cam", turns=False)
    assert found.layer.startswith(expected) and found.map.shape == (SIZE, SIZE)
    side = find_layer(net, found.layer).side
    assert side >= 4 and np.isfinite(found.map).all() and np.ptp(found.map) > 0


def test_watching_layers_leaves_the_answers_and_the_first_output() -> None:
    for name, size in (("s2_cnn", 32), ("resnet18", 32), ("mobilenetv4_small", 32), ("convnext_pico", 64)):
        torch.manual_seed(0)
        net = net_from_card(card_of(name=name, size=size)).train()
        x = torch.rand(2, 3, size, size)
        with still(net), torch.no_grad():
            plain = net(x)
            with recorded(net, layers_of(net)) as kept:
                assert torch.equal(net(x), plain)
            torch.testing.assert_close(kept["last"], plain)
        assert net.training and all(weight.requires_grad for weight in net.parameters())
        assert [one.number for one in layers_of(net)] == list(range(len(kept)))
        assert any(one.spatial for one in layers_of(net))


def test_what_cannot_be_is_refused() -> None:
    card = card_of()
    net = net_from_card(card).eval()
    image = pictures(1, np.random.default_rng(0))[0][0]
    for call, message in (
        ({"layer": "conv4", "method": "grad_cam"}, "no layer 'conv4'; the nearest are conv"),
        ({"layer": 99, "method": "grad_cam"}, "from 0 .conv1. to"),
        ({"layer": "dense", "method": "grad_cam"}, "'dense' has no places.*conv1, relu1, pool1, conv2"),
        ({"method": "gradcam"}, "did you mean 'grad_cam'"),
        ({"target": "markd"}, "the nearest are marked"),
        ({"baseline": "white"}, "'sky' or 'black'"),
    ):
        with pytest.raises(RecipeError, match=message):
            attribute(net, card, image, **call)  # type: ignore[arg-type]
    with pytest.raises(BandError, match="red, green, blue"):
        attribute(net, card, image[:2])
    viewpoints = card_of(name="viewpoints16", size=56)
    seen = np.zeros((3, 56, 56), np.uint8)
    with pytest.raises(RecipeError, match=r"no layer of 'viewpoints16' has; integrated gradients.*need none"):
        attribute(net_from_card(viewpoints), viewpoints, seen, "marked", "grad_cam")


def test_the_figure_tells_what_it_shows(trained: tuple[GalaxyNet, Card]) -> None:
    image = pictures(1, np.random.default_rng(8))[0][0]
    found = [attribute(*trained, image, None, method, turns=False, id="J0001") for method in ("grad_cam", "smoothgrad")]
    figure = maps_figure(found)
    said = " ".join(text.get_text() for part in figure.subfigs for text in part.texts)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert "J0001" in said and "tiny: marked, probability" in said
    assert f"Grad-CAM, {found[0].layer}" in titles and "SmoothGrad" in titles
