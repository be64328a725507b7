"""The samples of the reference models: one part for ever, labels where they belong, no simulated judges."""

from pathlib import Path

import numpy as np
import pytest

from tuningfork import recipe as recipes
from tuningfork.errors import RecipeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import make_labels
from tuningfork.galaxy.tree import Tree
from tuningfork.simulate.galaxies import simulate_galaxies
from tuningfork.train.choices import check
from tuningfork.workflow.experiments.choices import Sky
from tuningfork.workflow.reference import RECIPE, SAMPLES, ReferenceRecipe, gather_samples


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the samples' layout with simulated galaxies in place of real ones."""
    folder = tmp_path_factory.mktemp("data")
    sky = simulate_galaxies(36, folder / "sky", size=32, seed=3, workers=1)
    catalog, generator = sky.catalog, np.random.default_rng(0)
    assert catalog is not None
    for number, (name, sample) in enumerate(SAMPLES.items()):
        ids = list(sky.ids[12 * number : 12 * number + 12])
        images = folder / sample.folder / "images"
        images.mkdir(parents=True)
        for one in ids:
            (images / f"{one}.jpg").write_bytes(sky.record(one).data)
        if name == "gz1":
            columns = {"class": ["elliptical", "merger", "dont_know"] * 4}
        elif name == "efigi":
            columns = {column: generator.random(12).round(2).tolist() for column in Tree.load("efigi").columns}
        else:
            votes = catalog.select(ids)
            names = [f"{column}_count" for column in Tree.load("gz2").columns]
            columns = {"sample": ["s82"] * 12, **{one: votes[one].tolist() for one in names}}
        Catalog({"objid": ids, **columns}, "objid").write(folder / sample.folder / sample.table)
    return folder


def test_the_recipe_can_be() -> None:
    recipe = recipes.load(ReferenceRecipe, RECIPE)
    check(recipe.train)
    assert [part.name for part in recipe.train.labels.parts] == ["gz1", "efigi", "gz2", "sky"]


def test_samples_stand_side_by_side_each_with_its_labels_and_part(data: Path, tmp_path: Path) -> None:
    union = gather_samples(data, tmp_path / "a", Sky(galaxies=20, size=32))
    catalog = union.catalog
    assert catalog is not None and len(union) == 36 + 20
    samples, parts = (np.array(list(catalog[name])) for name in ("sample", "part"))
    assert {name: int((samples == name).sum()) for name in set(samples)} == {
        "gz1": 12, "efigi": 12, "stripe82": 12, "sky": 20,
    }  # fmt: skip
    assert not ((samples == "sky") & (parts == "test")).any() and set(parts) <= {"train", "validation", "test"}
    labels = make_labels(catalog, recipes.load(ReferenceRecipe, RECIPE).train.labels)
    known = {part.choice.name: {one.partition(":")[0] for one in part.ids} for part in labels.parts}
    assert known == {"gz1": {"gz1"}, "efigi": {"efigi"}, "gz2": {"stripe82", "sky"}, "sky": {"sky"}}
    again = gather_samples(data, tmp_path / "b", Sky(galaxies=5, size=32)).catalog  # fewer of others change no part
    assert again is not None
    before = dict(zip(catalog.ids, parts.tolist(), strict=True))
    assert all(before[one] == part for one, part in zip(again.ids, list(again["part"]), strict=True))


def test_a_sample_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"has no gz1/labels.csv"):
        gather_samples(tmp_path, tmp_path / "out", Sky(galaxies=5))
