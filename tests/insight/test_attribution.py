"""Attribution: complete, turning with the galaxy, caught by a planted cue, changed by random weights; all nets."""

import re

import numpy as np
import pytest
import torch

from tuningfork.errors import BandError, RecipeError
from tuningfork.galaxy.tree import Tree
from tuningfork.insight.attribution import COMPLETE, METHODS, around, attribute, maps_figure
from tuningfork.insight.checks import deletion, randomisation
from tuningfork.insight.layers import find_layer, layers_of, recorded, still
from tuningfork.insight.targets import find_target
from tuningfork.model import backbone
from tuningfork.model.card import Card
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


def pictures(n: int, rng: np.random.Generator, mark: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise (N, 3, 32, 32), whether there is a chequered patch of 8x8, and its upper left corner (N, 2)."""
    x = rng.normal(60, 12, (n, 3, SIZE, SIZE))
    marked = rng.integers(2, size=n) if not mark else np.ones(n, int)
    corner = rng.integers(0, 2, (n, 2)) * (SIZE // 2) + rng.integers(1, SIZE // 2 - CUE - 1, (n, 2))
    patch = np.where(np.indices((CUE, CUE)).sum(axis=0) % 2 == 0, 230, 60)
    for image, has, (top, left) in zip(x, marked, corner, strict=True):
        if has:
            image[:, top : top + CUE, left : left + CUE] = patch
    return x.clip(0, 255).round().astype(np.uint8), marked, corner


@pytest.fixture(scope="module")
def trained() -> tuple[GalaxyNet, Card]:
    """A small net that has learnt to tell pictures with the patch, wherever it is, from those without."""
    card, rng = card_of(), np.random.default_rng(0)
    torch.manual_seed(0)
    net = net_from_card(card)
    steps = torch.optim.Adam(net.parameters(), 1e-3)
    net.train()
    for _ in range(60):
        x, marked, _ = pictures(32, rng, mark=False)
        loss = torch.nn.functional.cross_entropy(net(torch.from_numpy(x).float() / 255), torch.from_numpy(marked))
        steps.zero_grad()
        loss.backward()
        steps.step()
    net.eval()
    x, marked, _ = pictures(200, rng, mark=False)
    with torch.no_grad():
        right = net(torch.from_numpy(x).float() / 255).argmax(dim=1).numpy() == marked
    assert right.mean() > 0.97
    return net, card


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_cue_is_caught(trained: tuple[GalaxyNet, Card], method: str) -> None:
    images, _, corners = pictures(4, np.random.default_rng(5))
    for image, (top, left) in zip(images, corners, strict=True):
        found = attribute(*trained, image, "marked", method)
        light = np.abs(found.map)
        inside = light[max(top - 2, 0) : top + CUE + 2, max(left - 2, 0) : left + CUE + 2].sum() / light.sum()
        half = SIZE // 2
        quadrants = light.reshape(2, half, 2, half).sum(axis=(1, 3)) / light.sum()
        own = quadrants[top // half, left // half]
        assert own == quadrants.max()
        assert own > (0.45 if method == "smoothgrad" else 0.6)  # by chance 0.25; SmoothGrad's noise lights all of it
        if method != "grad_cam":
            assert inside > 0.35  # by chance (12 / 32)^2 = 0.14
            peak = np.unravel_index(light.argmax(), light.shape)
            assert top - 2 <= peak[0] < top + CUE + 2 and left - 2 <= peak[1] < left + CUE + 2


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
    for method in ("integrated_gradients", "occlusion", "grad_cam"):
        found = attribute(*trained, image, "marked", method)
        check = randomisation(*trained, found, stages=3)
        assert check.correlation[0] == pytest.approx(1) and check.maps.shape == (4, SIZE, SIZE)
        # Grad-CAM's map is of 8 x 8 places here, and what is brightest excites a random net too
        assert check.correlation[-1] < (0.9 if method == "grad_cam" else 0.5)
        assert check.passed == (abs(check.correlation[-1]) < 0.5)
        assert check.figure().axes
    assert all(torch.equal(value, before[key]) for key, value in trained[0].state_dict().items())
    assert attribute(*trained, image, "marked", "grad_cam").map.tolist() == found.map.tolist()


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
        ({"layer": "dense", "method": "grad_cam"}, "'dense' has no places.*conv1, conv2, conv3"),
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
