"""Explain: the account holds by id, parts are made alone, pages load nothing, wrong choices name the right ones."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tuningfork import disk
from tuningfork.cli import explaining
from tuningfork.errors import BandError, RecipeError
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.display import to_picture
from tuningfork.galaxy.source import open_sources
from tuningfork.galaxy.store import StoreWriter
from tuningfork.insight.checks import Deletion, Randomisation
from tuningfork.insight.exemplars import in_order
from tuningfork.insight.explain import PARTS, explain
from tuningfork.insight.explaincase import MOST_FILES, choose, open_case, usual_layers
from tuningfork.insight.explaingalaxy import OF_GALAXY
from tuningfork.insight.explainmodel import OF_MODEL, among, units_of_answers
from tuningfork.insight.explainpage import BELIEVED, DOUBTED, REFUSED, verdict
from tuningfork.model import weights
from tuningfork.model.card import Card
from tuningfork.model.net import GalaxyNet, net_from_card

from .discs import disc

BANDS, SIDE = ("red", "green", "blue"), 32


def made(folder: Path, backbone: str = "s2_cnn", bands: tuple[str, ...] = BANDS) -> tuple[GalaxyNet, Card]:
    """A network with random weights, in a model's folder."""
    torch.manual_seed(1)
    card = Card(
        backbone, bands, {"size": SIDE, "bands": list(bands)}, "classes", ("flat", "round", "odd"), backbone,
        mean=(0.1,) * len(bands), std=(0.2,) * len(bands), fails=("Where there is no galaxy.",),
    )  # fmt: skip
    net = net_from_card(card).eval()
    golden = np.random.default_rng(0).integers(0, 256, (2, len(bands), SIDE, SIDE), dtype=np.uint8)
    return net, weights.save(net, card, folder, golden)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of ten galaxies, of which g05 is no picture; single files; models with places and without."""
    folder = tmp_path_factory.mktemp("explaining")
    with StoreWriter(folder / "store") as writer:
        for k in range(10):
            record = Record.from_picture(f"g{k:02d}", disc(k, 40))
            writer.add(record if k != 5 else Record("g05", b"no picture", "jpeg", record.bands))
    for k in (1, 2):
        (folder / f"one{k}.jpg").write_bytes(Record.from_picture("", disc(k, 40)).data)
    (folder / "broken.jpg").write_bytes(b"no picture")
    made(folder / "net")
    return folder


def test_the_help_names_every_part() -> None:
    assert tuple(sorted(explaining.PARTS.split(","))) == tuple(sorted(PARTS))


def test_every_part_is_made_of_a_store_and_the_account_holds(place: Path, tmp_path: Path) -> None:
    done = explain(place / "net", place / "store", tmp_path / "page.html", n=2, methods=["grad_cam", "smoothgrad"])
    assert (done.n_in, done.n_done, done.n_rejected) == (10, 9, 1)
    assert [one.id for one in done.rejected] == ["g05"] and done.ids == ("g00", "g01")
    assert set(done.parts) == set(PARTS) == {*OF_MODEL, *OF_GALAXY}
    assert set(done.seconds) == {"open", "look", *PARTS}
    for name in ("g00", "g01"):
        told = done.numbers["galaxies"][name]
        assert sum(told["answers"].values()) == pytest.approx(1, abs=1e-5)
        (maps,) = (one["maps"] for one in told["attribution"].values())
        assert set(maps) == {"grad_cam", "smoothgrad"}
        assert {one["believed"] for one in maps.values()} <= {BELIEVED, DOUBTED, REFUSED}
        for kind, curve in told["sensitivity"].items():  # strength 0 changes nothing, whatever the way
            best = max(told["answers"], key=told["answers"].get)
            assert curve[best][0] == pytest.approx(told["sensitivity"]["blur"][best][0], abs=1e-6), kind
    assert json.loads(json.dumps(done.as_json()))["n_rejected"] == 1
    text = (tmp_path / "page.html").read_text()
    assert "g05" in text and "not_an_image" in text and "Galaxy g01" in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text) and "<script" not in text
    assert text.count("<h2") == 1 + 2 + 1 + 1 + 1  # the model, two galaxies, the units, the rejected, how it was made


def test_a_part_is_made_alone_and_answers_do_not_depend_on_the_others(place: Path, tmp_path: Path) -> None:
    alone = explain(place / "net", place / "one1.jpg", tmp_path / "a.html", parts=["answers"])
    assert set(alone.seconds) == {"open", "look", "answers"} and alone.numbers["model"] == {}
    both = explain(place / "net", [place / "one2.jpg", place / "one1.jpg"], parts=["answers", "filters"])
    assert both.ids == ("one2", "one1") and not both.path
    assert both.numbers["galaxies"]["one1"] == alone.numbers["galaxies"]["one1"]


def test_figures_are_files_named_by_part_and_galaxy(place: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    ids = ["Twin", "twin", "a/b: c"]  # two that differ by case alone, and one that is no name for a file
    with StoreWriter(tmp_path / "store") as writer:
        for k, name in enumerate([*ids, "one"]):
            writer.add(Record.from_picture(name, disc(k, 40)))
    shown = tmp_path / "shown"
    words = ("--parts", "filters,answers,dream", "--n", "4", "--compare", "0", "--figures", shown)
    told = json.loads(run("explain", place / "net", "--galaxies", tmp_path / "store", *words, "--json").out)
    named = {f"{part}-{name}.png" for part in ("answers", "dream") for name in [*map(disk.safe_name, ids), "one"]}
    assert {path.name for path in shown.iterdir()} == named | {"filters.png"}
    assert set(told["figures"]) == {str(path) for path in shown.iterdir()}
    for path in shown.iterdir():
        assert to_picture(Record(path.name, path.read_bytes(), "png", BANDS).cutout()).std() > 5, path
    ran = run("explain", place / "net", "--galaxies", tmp_path / "store", "--figures", place / "broken.jpg")
    assert ran.code == 2 and "broken.jpg" in ran.err


def test_a_bad_file_is_rejected_with_its_reason(place: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    files = ["--galaxies", place / "one1.jpg", "--galaxies", place / "broken.jpg"]
    page = tmp_path / "page.html"
    ran = run("explain", place / "net", *files, "--parts", "answers", "--out", page, "--json")
    assert ran.code == 3
    told = json.loads(ran.out)
    assert (told["n_in"], told["n_done"], told["n_rejected"]) == (2, 1, 1)
    assert told["rejected"][0]["id"] == "broken" and told["rejected"][0]["reason"] == "not_an_image"
    assert "broken" in page.read_text()
    ran = run("explain", place / "net", "--galaxies", place / "one1.jpg", "--parts", "answers,card")
    assert ran.code == 0 and "1 galaxies in = 1 done + 0 rejected" in ran.out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--layers", "conv9"], "the nearest are conv"),
        (["--parts", "dreams"], "dream"),
        (["--methods", "grad_can"], "grad_cam"),
        (["--target", "rond"], "round"),
        (["--ids", "nobody"], "no galaxy is called 'nobody'"),
    ],
)
def test_wrong_choices_name_the_right_ones(place: Path, flags: list[str], told: str, run: Callable[..., Any]) -> None:
    ran = run("explain", place / "net", "--galaxies", place / "one1.jpg", *flags)
    assert ran.code == 2 and told in ran.err, ran.err


def test_a_store_of_other_bands_is_refused(place: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    with StoreWriter(tmp_path / "store") as writer:
        for k in range(3):
            writer.add(Record.from_pixels(f"f{k}", rng.normal(0, 1, (2, 40, 40)).astype(np.float32), ("u", "z")))
    ran = run("explain", place / "net", "--galaxies", tmp_path / "store")
    assert ran.code == 2 and "u, z" in ran.err and "red, green, blue" in ran.err
    with pytest.raises(BandError, match="red, green, blue"):
        explain(place / "net", tmp_path / "store", parts=["answers"])


def test_without_places_maps_are_left_out_unless_asked_for(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tuningfork.insight.attribution as attribution
    import tuningfork.insight.explaincase as explaincase
    from tuningfork.insight.layers import layers_of

    def flat(net: GalaxyNet) -> Any:  # what a network without a spatial layer has
        return tuple(one for one in layers_of(net) if not one.spatial)

    monkeypatch.setattr(explaincase, "layers_of", flat)
    monkeypatch.setattr(attribution, "layers_of", flat)
    done = explain(place / "net", place / "one1.jpg", methods=[], parts=())
    assert [note for note in done.notes if note.startswith("activations is left out: no layer of 's2_cnn' has")]
    (maps,) = (one["maps"] for one in done.numbers["galaxies"]["one1"]["attribution"].values())
    assert set(maps) == {"integrated_gradients", "occlusion", "smoothgrad"}
    with pytest.raises(RecipeError, match="Grad-CAM needs a layer with places"):
        explain(place / "net", place / "one1.jpg", methods=["grad_cam"], parts=["attribution"])
    with pytest.raises(RecipeError, match="no layer of 's2_cnn' has"):
        explain(place / "net", place / "one1.jpg", parts=["blocks"])


def test_galaxies_are_chosen_as_told(place: Path) -> None:
    (store,) = open_sources(place / "store", None, "explain")
    assert choose([store], (), 0, 0, 0) == (["g00"], [], "")
    chosen, among_them, _ = choose([store], ["g07"], 0, 4, 0)
    assert chosen == ["g07"] and among_them[0] == "g07" and len(set(among_them)) == 4
    assert choose([store], (), 3, 100, 0)[1][3:] == [f"g{k:02d}" for k in range(3, 10)]

    class Single:
        def __init__(self, name: str) -> None:
            self.ids = [name]

        def __len__(self) -> int:
            return 1

    many = [Single(f"s{k}") for k in range(MOST_FILES + 3)]
    chosen, _, note = choose(many, (), 0, 0, 0)  # type: ignore[arg-type]
    assert len(chosen) == MOST_FILES and "3 of 15 files" in note


def test_units_are_those_that_go_with_answers(place: Path) -> None:
    """Excitement planted to be the answers themselves is found, each unit once, the answer's own first."""
    case = open_case(place / "net")
    rng = np.random.default_rng(0)
    answers = rng.dirichlet(np.ones(3), 20).astype(np.float32)
    layer = case.places()
    values = rng.normal(0, 1, (20, layer.units))
    values[:, [4, 9, 2]] = answers
    vars(case).update(
        {"excitement": {layer.name: (values, values, np.zeros((20, layer.units, 2)))}, "compared_answers": answers}
    )
    found = units_of_answers(case, layer, 3)
    assert [(unit, name) for unit, name, _ in found] == [(4, "flat"), (9, "round"), (2, "odd")]
    assert all(how == pytest.approx(1, abs=1e-6) for _, _, how in found)
    pixels = np.zeros((20, 3, SIDE, SIDE), np.uint8)
    object.__setattr__(case, "ids", tuple(f"c{k}" for k in range(20)))
    object.__setattr__(case, "pixels", pixels)
    shown = among(case, layer, [4], 2)
    order = np.argsort(-answers[:, 0])
    assert shown.most[0] == tuple(f"c{k}" for k in order[:2]) and shown.least[0][0] == f"c{order[-1]}"


def test_usual_layers_differ_in_size(place: Path) -> None:
    net, _ = weights.load(place / "net")
    sides = [one.side for one in usual_layers(net)]
    assert len(sides) >= 3 and sides == sorted(sides, reverse=True) and len(set(sides)) == len(sides)


@pytest.mark.parametrize(
    ("correlation", "beaten", "bright", "believed", "words"),
    [
        (0.02, 20, False, BELIEVED, "more than 100% of 20"),
        (0.02, 20, True, BELIEVED, "brightest pixels does as well"),
        (0.02, 10, False, DOUBTED, "beats 50% of 20"),
        (0.9, 20, False, REFUSED, "not what was learnt"),
        (-0.9, 20, False, REFUSED, "not what was learnt"),
    ],
)
def test_verdicts(correlation: float, beaten: int, bright: bool, believed: str, words: str) -> None:
    maps = np.zeros((2, 4, 4))
    random = Randomisation(None, ("", "conv1"), maps, np.array([1.0, correlation]))  # type: ignore[arg-type]
    others = np.zeros((21, 2))
    others[0, 1] = 0.9 if bright else 0.1
    others[1:, 1] = [0.1] * beaten + [0.9] * (20 - beaten)
    shares, falls = np.array([0.0, 0.1, 1.0]), np.array([0.9, 0.4, 0.1])
    removed = Deletion(of_a_scale(0, 1), shares, falls, falls + 0.5, others)
    found, why = verdict(random, removed)
    assert found == believed and words in why


def of_a_scale(low: float, high: float) -> Any:
    """What a deletion is of, so far as verdicts ask."""
    return SimpleNamespace(target=SimpleNamespace(low=low, high=high))


@pytest.mark.parametrize(
    ("deleted", "believed"),
    [
        ([0.9, 0.9, 0.6, 0.5, 0.1], BELIEVED),  # half of the way by half of the pixels
        ([0.9, 0.5, 0.9, 0.9, 0.1], BELIEVED),
        ([0.9, 0.9, 0.6, 0.51, 0.1], DOUBTED),
    ],
)
def test_a_map_by_which_the_answer_stands_is_doubted(deleted: list[float], believed: str) -> None:
    random = Randomisation(None, ("", "conv1"), np.zeros((2, 4, 4)), np.array([1.0, 0.1]))  # type: ignore[arg-type]
    shares, curve = np.array([0.0, 0.1, 0.3, 0.5, 1.0]), np.array(deleted)
    others = np.array([[0.0, 0.0], *[[99.0, 0.0]] * 20])  # all displaced maps are worse
    for low, high in ((0, 1), (-6, 11)):  # on any scale
        whole = low + (high - low) * curve
        found, why = verdict(random, Deletion(of_a_scale(low, high), shares, whole, whole[::-1], others))
        assert found == believed and ("the answer stands" in why) == (believed == DOUBTED)
    sky = whole[:1] - (high - low) * np.array([0, 0.1, 0.2, 0.1, 0.04])  # an answer that the empty sky has, too
    found, why = verdict(random, Deletion(of_a_scale(low, high), shares, sky, whole, others))
    assert found == DOUBTED and "no map can show" in why


def test_a_shipped_model_explains_real_galaxies(real_data: Path, tmp_path: Path) -> None:
    """Clear spirals and ellipticals of EFIGI: the page has them, and integrated gradients hold to 1%."""
    pictures = sorted((real_data / "efigi" / "images").glob("*.jpg"))[:1]
    done = explain(
        "gz1", pictures, tmp_path / "page.html", parts=["answers", "attribution"], methods=["integrated_gradients"]
    )
    (told,) = done.numbers["galaxies"].values()
    (one,) = told["attribution"].values()
    assert abs(one["maps"]["integrated_gradients"]["sum off by"]) <= 0.01
    assert (tmp_path / "page.html").stat().st_size > 50_000


def test_of_galaxies_that_tie_the_one_excited_over_more_of_the_picture_comes_first() -> None:
    largest = np.array([[6.0, 0.0], [6.0, 1.0], [5.0, 0.0], [6.0, 0.0]])
    mean = np.array([[1.0, 0.0], [3.0, 0.5], [4.0, -1.0], [1.0, 0.0]])
    best, worst = in_order(largest, mean, 4)
    assert best.tolist() == [[1, 0, 3, 2], [1, 0, 3, 2]]  # those that are alike in both stay in their order
    assert worst.tolist() == [[2, 0, 3, 1], [2, 0, 3, 1]]
    assert in_order(largest, mean, 2)[0].tolist() == [[1, 0], [1, 0]]
