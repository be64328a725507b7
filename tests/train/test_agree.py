"""Two views of one galaxy agree: the term of the loss, the second view's handedness, and a run that learns by it."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tuningfork.data.augment import OFF, Augment, augment, mirrored_views
from tuningfork.errors import RecipeError
from tuningfork.model import weights
from tuningfork.model.head import make_head
from tuningfork.model.net import GalaxyNet
from tuningfork.train import finish
from tuningfork.train.agree import another_view, disagreement
from tuningfork.train.choices import check
from tuningfork.train.loop import fit
from tuningfork.train.prepare import join
from tuningfork.train.run import identity_of

NAMES = ("a", "b")


@pytest.fixture(autouse=True)
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish.export, "export_onnx", lambda folder: None)


@pytest.fixture
def teacher() -> GalaxyNet:
    torch.manual_seed(3)
    return GalaxyNet("s1", make_head("classes", NAMES), ("red", "green", "blue"), 12)


def views(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


def test_what_the_teacher_itself_sees_agrees_wholly_and_its_opposite_not_at_all(teacher: GalaxyNet) -> None:
    with torch.no_grad():
        there = teacher.eval().features(views(6))
    mean = there.mean(dim=0)
    near = {"rtol": 0, "atol": 1e-5}  # float32 sums of some hundred features
    torch.testing.assert_close(disagreement(there, teacher, views(6)), torch.zeros(6), **near)
    torch.testing.assert_close(disagreement(2 * mean - there, teacher, views(6)), torch.full((6,), 2.0), **near)
    longer = mean + 7 * (there - mean)  # only the direction from the mean counts
    torch.testing.assert_close(disagreement(longer, teacher, views(6)), torch.zeros(6), **near)


def test_galaxies_that_change_places_disagree(teacher: GalaxyNet) -> None:
    with torch.no_grad():
        there = teacher.eval().features(views(6))
    others = disagreement(there.roll(1, 0), teacher, views(6))
    assert float(others.mean()) > 1  # those of other galaxies are no better than none


def test_the_teacher_learns_nothing_and_stays_as_it_was(teacher: GalaxyNet) -> None:
    teacher.train()
    features = torch.rand(4, teacher.backbone.n_features, requires_grad=True)
    disagreement(features, teacher, views(4)).sum().backward()
    assert features.grad is not None and bool(features.grad.any())
    assert all(weight.grad is None for weight in teacher.parameters()) and teacher.training


def test_one_picture_teaches_nothing(teacher: GalaxyNet) -> None:
    features = torch.rand(1, teacher.backbone.n_features, requires_grad=True)
    apart = disagreement(features, teacher, views(1))
    apart.sum().backward()
    assert float(apart.detach()) == 1 and features.grad is not None and not bool(features.grad.any())


def test_the_second_view_is_mirrored_where_the_first_is() -> None:
    pictures = torch.randint(0, 256, (40, 3, 12, 12), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    choice = replace(OFF, flip=True)
    generator = torch.Generator().manual_seed(5)
    flags = mirrored_views(40, choice, 12, generator)
    assert 5 < int(flags.sum()) < 35
    first = augment(pictures, choice, 12, generator)
    second = another_view(pictures, flags, choice, 12, torch.Generator().manual_seed(6), None)
    turned = second.flip(-1, -2)  # along both axes: by half a turn, and not mirrored
    same = [torch.isclose(one, first, rtol=0, atol=1e-4).flatten(1).all(dim=1) for one in (second, turned)]  # sampled
    assert bool((same[0] | same[1]).all())
    unlike = another_view(pictures, ~flags, choice, 12, torch.Generator().manual_seed(6), None)
    assert not torch.isclose(unlike, first, rtol=0, atol=1e-4).flatten(1).all(dim=1).any()


def test_the_second_view_is_another_one() -> None:
    pictures = torch.randint(0, 256, (8, 3, 20, 20), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    choice = Augment(noise=0.02)
    flags = mirrored_views(8, choice, 12, torch.Generator().manual_seed(5))
    first = augment(pictures, choice, 12, torch.Generator().manual_seed(5))
    second = another_view(pictures, flags, choice, 12, torch.Generator().manual_seed(6), None)
    assert second.shape == first.shape and float((first - second).abs().flatten(1).mean(dim=1).min()) > 0.01


def test_a_run_with_it_ends_with_the_same_bits_wherever_it_was_stopped(tiny: ModuleType, tmp_path: Path) -> None:
    short = {"train.epochs": 2, "train.accumulate": 2, "train.batch": 4}
    recipe = tiny.make_recipe({"train.agree": 1.0, **short})
    fit(tiny.make_sky(), tmp_path / "whole", recipe)
    for stop in (1, 6):
        assert fit(tiny.make_sky(), tmp_path / str(stop), recipe, stop_after_steps=stop).stopped
        fit(tiny.make_sky(), tmp_path / str(stop), recipe)
        assert tiny.weights(tmp_path / str(stop)) == tiny.weights(tmp_path / "whole")
    fit(tiny.make_sky(), tmp_path / "without", tiny.make_recipe(short))
    assert tiny.weights(tmp_path / "without") != tiny.weights(tmp_path / "whole")


def test_features_of_turned_galaxies_come_nearer_to_each_other(tiny: ModuleType, tmp_path: Path) -> None:
    galaxies = torch.stack([torch.from_numpy(tiny.picture(k % 3, 900 + k)) for k in range(30)])
    apart = {}
    for weight in (0.0, 5.0):
        out = tmp_path / f"{weight:g}"
        fit(tiny.make_sky(), out, tiny.make_recipe({"train.agree": weight, "train.epochs": 12, "train.ema": 0.9}))
        net, _ = weights.load(out / "model")
        with torch.no_grad():
            f, turned = (
                net.features(view[..., 4:12, 4:12].float() / 255) for view in (galaxies, galaxies.rot90(1, (2, 3)))
            )
        f, turned = f - f.mean(0), turned - turned.mean(0)
        apart[weight] = float((1 - F.cosine_similarity(f, turned)).mean())
    assert apart[5.0] < 0.8 * apart[0.0]


def test_runs_begun_before_it_go_on(tiny: ModuleType, tmp_path: Path) -> None:
    sky = tiny.make_sky()
    for weight in (0.0, 0.5):
        recipe = tiny.make_recipe({"train.agree": weight})
        told = identity_of(recipe, join(sky, sky.catalog, recipe))
        assert ("agree" in told["recipe"]["train"]) == (weight > 0)


def test_what_cannot_agree_is_refused(tiny: ModuleType) -> None:
    with pytest.raises(RecipeError, match=r"'train\.ema' is 0: the second view"):
        check(tiny.make_recipe({"train.agree": 1.0, "train.ema": 0.0}))
    with pytest.raises(RecipeError, match=r"'train\.agree' is -1\.0"):
        check(tiny.make_recipe({"train.agree": -1.0}))
