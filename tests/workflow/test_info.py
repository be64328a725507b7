"""What a path is: said right of labels and votes, unfinished runs, folders of runs, images and stores."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tuningfork.cli import app
from tuningfork.errors import BadStore, BadWeights
from tuningfork.galaxy.ingest import ingest
from tuningfork.galaxy.votes import VotesWriter
from tuningfork.model.card import find_model
from tuningfork.workflow.info import info


def picture(path: Path, width: int = 20, height: int = 16, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def killed_run(folder: Path, epochs: int | None = None) -> Path:
    """The files of a run that was killed before any state, or after ``epochs`` epochs."""
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / "recipe.toml").write_text("[train]\nepochs = 30\n")
    if epochs is not None:
        (folder / "state").mkdir()
        (folder / "state" / "latest.json").write_text(json.dumps({"name": "state-000000070"}))
        progress = {"progress": {"step": 70, "history": [{"epoch": n} for n in range(epochs)]}}
        (folder / "state" / "state-000000070.json").write_text(json.dumps(progress))
    return folder


# --- labels and votes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "rows", "kind"),
    [
        ("id,class", ["1,spiral", "2,round"], "catalogue"),
        ("id,class,mag", ["1,spiral,17.1", "2,round,16.0"], "catalogue"),
        ("id,is_a,is_b", ["1,0,1", "2,1,0"], "catalogue"),  # sums to 1, but nothing says that it is a prediction
        ("id,p_spiral,p_round", ["1,0.25,0.75", "2,0.5,0.5"], "votes"),
        ("id,class,p_spiral,p_round", ["1,round,0.25,0.75", "2,round,0.4,0.6"], "votes"),
        ("id,smooth_fraction,disc_fraction", ["1,0.25,0.75", "2,0.5,0.5"], "votes"),
    ],
)
def test_only_columns_of_predictions_are_votes(header: str, rows: list[str], kind: str, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("\n".join([header, *rows]) + "\n")
    told = info(table)
    assert told["kind"] == kind and told["galaxies" if kind == "votes" else "rows"] == 2


def test_our_own_votes_are_votes(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    with VotesWriter(path, "classes", ("a", "b"), None, {"model": {"name": "m"}}) as writer:
        writer.write(["1"], None, None, np.array([[0.25, 0.75]], np.float32))
    assert (info(path)["kind"], info(path)["model"]) == ("votes", "m")


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epochs", "progress"), [(None, "no state is stored yet"), (7, "7 of 30 epochs, 70 steps")])
def test_an_unfinished_run_says_so_and_how_far_it_is(epochs: int | None, progress: str, tmp_path: Path) -> None:
    run = killed_run(tmp_path / "run", epochs)
    told = info(run)
    assert (told["kind"], told["progress"]) == ("unfinished run", progress)
    assert "run train again" in told["next"]
    with pytest.raises(BadWeights, match=r"'.*run' .*unfinished: run train again"):
        find_model(run)


@pytest.mark.parametrize("name", ["latest.json", "state-000000070.json"])
@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"progress": {"step": 1, "history": null}}'])
def test_a_damaged_state_does_not_hide_that_the_run_is_unfinished(name: str, damage: str, tmp_path: Path) -> None:
    run = killed_run(tmp_path / "run", 7)
    (run / "state" / name).write_text(damage)
    told = info(run)
    assert told["kind"] == "unfinished run" and told["progress"].startswith("unknown")


def test_a_finished_run_without_its_model_says_what_to_remove(tmp_path: Path) -> None:
    run = killed_run(tmp_path / "run", 30)
    (run / "run.json").write_text("{}")
    assert f"remove '{run / 'run.json'}'" in info(run)["next"]


def test_a_recipe_beside_pictures_is_no_run(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "recipe.toml").write_text("")
    assert info(tmp_path)["kind"] == "folder of images"
    with pytest.raises(BadWeights, match="is no model"):
        find_model(tmp_path)


def test_a_folder_of_runs_and_stores_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_run(tmp_path / "one")
    (tmp_path / "two" / "model").mkdir(parents=True)
    (tmp_path / "two" / "model" / "card.json").write_text("{}")
    picture(tmp_path / "pictures" / "a.png")
    ingest(tmp_path / "pictures", tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    wanted = {"runs": "two", "unfinished": "one", "stores": "store"}
    assert info(".") == {"kind": "folder of 2 runs and 1 store", "path": ".", **wanted}


# --- images and stores ------------------------------------------------------------------------------------------------


def test_one_image_is_opened(tmp_path: Path) -> None:
    told = info(picture(tmp_path / "a.png", width=20, height=16))
    assert (told["kind"], told["size"], told["bands"]) == ("one image", "20 x 16 px", "red,green,blue")


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"<html>no such galaxy</html>", "not_an_image")])
def test_one_bad_image_says_why_it_is_rejected(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    told = info(tmp_path / "a.jpg")
    assert told["rejected"].startswith(reason) and "size" not in told


def test_a_store_counts_its_classes_and_measures_its_first_galaxy(tmp_path: Path) -> None:
    for number in range(15):
        picture(tmp_path / "in" / f"kind{min(number, 12):02}" / f"{number}.png", width=24, height=18, seed=number)
    ingest(tmp_path / "in", tmp_path / "store")
    told = info(tmp_path / "store")
    assert told["kind"] == "store" and told["first_galaxy"] == "24 x 18 px, red,green,blue"
    counts = told["classes"].split(", ")
    assert counts[:2] == ["kind12 3", "kind00 1"] and counts[12:] == ["... (13 in all)"]


def test_a_store_without_classes_or_galaxies_still_tells(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"")
    ingest(tmp_path / "in", tmp_path / "store")
    told = info(tmp_path / "store")
    assert told["galaxies"] == 0 and not {"classes", "first_galaxy"} & set(told)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadStore, match="does not exist"):
        info(tmp_path / "absent")


# --- models that are shipped ------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small models that share an encoder, as the package's own."""
    import torch

    from tuningfork.model import card as cards
    from tuningfork.model.net import net_from_card
    from tuningfork.model.share import share_encoder

    figure = {"what": "accuracy", "value": 0.91, "low": 0.9, "high": 0.92, "level": 0.95, "on": "the test part of gz1"}
    first = cards.Card(
        name="x",
        bands=("g",),
        display={"size": 8},
        head="classes",
        names=("elliptical", "spiral"),
        backbone="s1",
        mean=(0.5,),
        std=(0.5,),
        licence="CC-BY-4.0",
        citation="Lintott et al. 2011",
        measured=(figure | {"galaxies": 512}, figure | {"what": "recall"}),
        fails=("on mergers", "on galaxies below 4 px"),
        training={"on": "Galaxy Zoo 1", "galaxies": {"train": 1000, "validation": 200}},
    )
    second = dataclasses.replace(first, names=("lens", "none"), measured=())
    nets = net_from_card(first), net_from_card(second)
    nets[1].load_state_dict(nets[0].state_dict())
    models = {"gz1": (nets[0], first), "lens": (nets[1], second)}
    with torch.no_grad():
        share_encoder(models, tmp_path / "shipped", np.zeros((1, 1, 8, 8), np.uint8), encoder="eye")
    monkeypatch.setattr(cards, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "shipped"


def test_shipped_models_are_listed_and_their_cards_shown(shipped: Path, tmp_path: Path) -> None:
    def run(*words: object) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        if done.exception:
            raise done.exception
        return done.output

    (tmp_path / "runs").mkdir()
    first, second = run("models", tmp_path / "runs").splitlines()
    assert first.startswith("gz1 ") and first.endswith(
        "measured accuracy 0.91 (0.9 to 0.92, 95%) on the test part of gz1; galaxies 512"
    )
    assert second.startswith("lens ") and "measured" not in second and "shipped" not in second
    for verb in ("models", "info"):
        shown = run(verb, "gz1")
        assert "\n               recall 0.91" in shown and "\n               on galaxies below 4 px\n" in shown
        for said in (
            "trained on     Galaxy Zoo 1; train 1,000, validation 200",
            "licence        CC-BY-4.0",
            "citation       Lintott et al. 2011",
            "encoder        'eye', shared",
        ):
            assert said in shown
    with pytest.raises(BadWeights, match="did you mean 'gz1'"):
        run("models", "gz2")


def test_an_encoder_says_who_shares_it(shipped: Path) -> None:
    told = info(shipped / "eye")
    assert (told["kind"], told["shared by"], told["features"]) == ("encoder", "gz1, lens", 500)
