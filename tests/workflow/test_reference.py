"""The reference models: one part for ever, labels where they belong, no simulated judges; a set made end to end."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch

from tuningfork import recipe as recipes
from tuningfork.errors import RecipeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import LabelChoice, make_labels
from tuningfork.galaxy.tree import Tree
from tuningfork.model.backbone import make_backbone
from tuningfork.model.card import Card, load_golden
from tuningfork.simulate.galaxies import simulate_galaxies
from tuningfork.train import finish
from tuningfork.train.choices import check
from tuningfork.train.finish import golden_galaxies
from tuningfork.workflow import reference, release
from tuningfork.workflow.experiments.choices import Sky
from tuningfork.workflow.reference import RECIPE, ReferenceRecipe, make_models
from tuningfork.workflow.samples import SAMPLES, gather_samples

EACH = 60  # galaxies of each sample: of fewer, calibration has too few in the validation part


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the samples' layout with simulated galaxies in place of real ones."""
    folder = tmp_path_factory.mktemp("data")
    sky = simulate_galaxies(3 * EACH, folder / "sky", size=32, seed=3, workers=1)
    catalog, generator = sky.catalog, np.random.default_rng(0)
    assert catalog is not None
    for number, (name, sample) in enumerate(SAMPLES.items()):
        ids = list(sky.ids[EACH * number : EACH * (number + 1)])
        images = folder / sample.folder / "images"
        images.mkdir(parents=True)
        for one in ids:
            (images / f"{one}.jpg").write_bytes(sky.record(one).data)
        if name == "gz1":
            columns = {"class": ["elliptical", "merger", "dont_know"] * (EACH // 3)}
        elif name == "efigi":
            columns = {column: generator.random(EACH).round(2).tolist() for column in Tree.load("efigi").columns}
            columns["T"] = generator.integers(-3, 8, EACH).tolist()
        else:
            votes = catalog.select(ids)
            names = [f"{column}_count" for column in Tree.load("gz2").columns]
            columns = {"sample": ["s82"] * EACH, **{one: votes[one].tolist() for one in names}}
        Catalog({"objid": ids, **columns}, "objid").write(folder / sample.folder / sample.table)
    return folder


def learnt(*names: str) -> LabelChoice:
    """The recipe's labels, of these parts only."""
    labels = recipes.load(ReferenceRecipe, RECIPE).train.labels
    return dataclasses.replace(labels, parts=tuple(part for part in labels.parts if part.name in names))


def test_the_recipe_can_be() -> None:
    recipe = recipes.load(ReferenceRecipe, RECIPE)
    check(recipe.train)
    names = [part.name for part in recipe.train.labels.parts]
    assert names == ["gz1", "stage", "galaxy-or-not", "lens", "efigi", "gz2", "sky"]
    assert {*release.HEADS} == {*names} - {"stage"}  # which helps to learn T, and is not shipped
    assert {sample for sample, part in (one.judges for one in release.HEADS.values()) if part == "test"} == {*SAMPLES}


def test_samples_stand_side_by_side_each_with_its_labels_and_part(data: Path, tmp_path: Path) -> None:
    union = gather_samples(data, tmp_path / "a", Sky(galaxies=20, size=32))
    catalog = union.catalog
    assert catalog is not None and len(union) == 3 * EACH + 20
    samples, parts = (np.array(list(catalog[name])) for name in ("sample", "part"))
    assert {name: int((samples == name).sum()) for name in set(samples)} == {
        "gz1": EACH, "efigi": EACH, "stripe82": EACH, "sky": 20,
    }  # fmt: skip
    assert not ((samples == "sky") & (parts == "test")).any() and set(parts) <= {"train", "validation", "test"}
    labels = make_labels(catalog, learnt("gz1", "stage", "galaxy-or-not", "efigi", "gz2", "sky"))
    known = {part.choice.name: {one.partition(":")[0] for one in part.ids} for part in labels.parts}
    assert known == {
        "gz1": {"gz1"}, "stage": {"efigi"}, "galaxy-or-not": {"sky"}, "efigi": {"efigi"}, "gz2": {"stripe82", "sky"},
        "sky": {"sky"},
    }  # fmt: skip
    again = gather_samples(data, tmp_path / "b", Sky(galaxies=5, size=32)).catalog  # fewer of others change no part
    assert again is not None
    before = dict(zip(catalog.ids, parts.tolist(), strict=True))
    assert all(before[one] == part for one, part in zip(again.ids, list(again["part"]), strict=True))


def test_a_sample_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"has no gz1/labels.csv"):
        gather_samples(tmp_path, tmp_path / "out", Sky(galaxies=5))


# --- the set ----------------------------------------------------------------------------------------------------------

TOY: dict[str, Any] = {
    "sky.galaxies": 20, "sky.size": 32, "lenses": 0, "views": 1, "bootstrap": 20,
    "train.model.backbone": "s4_resnet", "train.display.size": 16, "train.display.petrosian": 0.0,
    "train.augment.shift": 1.0, "train.train.epochs": 1, "train.train.threads": 1,
}  # fmt: skip


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReferenceRecipe:
    """Three heads on a small network, from weights that lie here; the run's own exports, which are slow, left out."""
    state = {key: value.contiguous() for key, value in make_backbone("s4_resnet", 3, 16).state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "start.safetensors")
    monkeypatch.setattr(finish.export, "export_onnx", lambda folder: None)  # ship has its own hold of it
    recipe = recipes.load(ReferenceRecipe, RECIPE)
    recipe = dataclasses.replace(
        recipe, train=dataclasses.replace(recipe.train, labels=learnt("gz1", "stage", "efigi", "galaxy-or-not"))
    )
    return recipes.replace(recipe, {**TOY, "train.model.pretrained": str(tmp_path / "start.safetensors")})


def test_models_are_made_judged_and_told_of_once(
    data: Path, toy: ReferenceRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    asked = []

    def sentences(bench: reference.Bench) -> dict[str, Any]:
        asked.append(bench)
        figure = {"what": "accuracy", "on": "toys", "value": 0.5, "galaxies": 3}
        return {"gz1": {"measured": [figure], "fails": [f"on all but {len(bench.models)} toys"]}}

    monkeypatch.setattr(reference, "MEASURES", (sentences,))
    done = make_models(data, tmp_path / "out", recipe=toy)
    shelf = tmp_path / "out" / "shipped"
    assert [row["name"] for row in done.rows] == ["gz1", "efigi", "galaxy-or-not"]
    cards = {row["name"]: Card.load(shelf / row["name"]) for row in done.rows}
    for name, card in cards.items():
        np.testing.assert_array_equal(load_golden(shelf / name)[0], golden_galaxies(3, 16))  # no survey's pictures
        assert (card.licence, card.encoder) == ("BSD-3-Clause", "encoder") and card.citation == release.HEADS[
            name
        ].citation
        assert card.training["began"] == "start.safetensors" and "'start.safetensors'" in card.training["origin"][0]
    for path in shelf.rglob("*.[jt][so][om]*"):
        assert str(tmp_path) not in path.read_text(), path  # nothing tells of this machine
    figure = cards["gz1"].measured[0]
    assert (figure["what"], figure["on"]) == ("accuracy", "toys")
    assert cards["gz1"].fails == ("on all but 3 toys",) and cards["efigi"].fails == ()
    assert (
        f"accuracy {figure['value']:.4g}" in done.text()
        and f"{release.bytes_of(shelf) / 1e6:.1f} MB in all" in done.text()
    )
    manifest = Catalog.read(shelf / "split.parquet")
    told = dict(zip(manifest.ids, manifest["part"].tolist(), strict=True))
    union = gather_samples(data, tmp_path / "out" / "samples", toy.sky).catalog
    assert union is not None and told == dict(zip(union.ids, union["part"].tolist(), strict=True))
    labelled = make_labels(union, learnt("gz1")).parts[0].ids
    assert cards["gz1"].training["galaxies"]["train"] == sum(told[one] == "train" for one in labelled)
    assert cards["gz1"].training["galaxies"]["test"] > 0
    assert "Apache License 2.0" in (shelf / "LICENSE").read_text()
    assert recipes.load(ReferenceRecipe, shelf / "recipe.toml").train.labels == toy.train.labels
    monkeypatch.setattr(reference, "ship", None)  # whoever calls it again fails
    assert json.dumps(make_models(data, tmp_path / "out", recipe=toy).rows) == json.dumps(done.rows)
    assert len(asked) == 1  # and measured once


def test_a_set_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").write_bytes(bytes(2_100_000))
    monkeypatch.setattr(release, "LARGEST", 2_000_000)
    with pytest.raises(RecipeError, match=r"take 2\.1 MB, and are shipped up to 2 MB: choose a smaller backbone"):
        release.accompany(tmp_path, Catalog({"id": ["a"], "part": ["test"]}), ReferenceRecipe())


def test_the_command_names_what_is_missing(run: Callable[..., Any], tmp_path: Path) -> None:
    done = run("reference", "--data", tmp_path, "--out", tmp_path / "out")
    assert done.code == 2 and "has no gz1/labels.csv" in done.err
