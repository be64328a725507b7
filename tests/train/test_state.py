"""The stored state: exact both ways, the last two kept, damage seen, other runs refused."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from tuningfork import disk
from tuningfork.errors import DiskError, RecipeError
from tuningfork.train.state import Average, Progress, TrainState, load, refuse_differences, save

IDENTITY = {"recipe": {"train": {"rate": 0.1, "milestones": (1.0, 2.0)}}, "galaxies": "abc"}


def make(seed: int, optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW, decay: float = 0.9) -> TrainState:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.append(nn.Linear(4, 2)).to(memory_format=torch.channels_last)
    extra = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
    return TrainState(net, Average(net, decay), optimizer(net.parameters(), lr=0.1, **extra))


def train(state: TrainState, steps: int) -> None:
    for _ in range(steps):
        generator = torch.Generator().manual_seed(state.progress.step)
        x = torch.randn(6, 3, 9, 9, generator=generator).contiguous(memory_format=torch.channels_last)
        state.optimizer.zero_grad()
        state.net(x).square().sum().backward()
        state.optimizer.step()
        state.average.update(state.progress.step)
        state.progress.step += 1


def same(a: TrainState, b: TrainState) -> bool:
    ours, theirs = a.tensors(), b.tensors()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_restored_run_goes_on_bit_for_bit(
    tmp_path: Path, optimizer: type[torch.optim.Optimizer], decay: float
) -> None:
    straight = make(0, optimizer, decay)
    train(straight, 3)
    straight.keep_best()
    straight.progress.history.append({"epoch": 1, "loss": 0.1 + 0.2})
    save(straight, tmp_path, IDENTITY)
    train(straight, 4)
    resumed = make(1, optimizer, decay)
    stored = load(tmp_path, IDENTITY)
    assert stored is not None
    resumed.restore(stored[0])
    resumed.progress = stored[1]
    assert resumed.progress.history == [{"epoch": 1, "loss": 0.1 + 0.2}]
    for mine, theirs in zip(resumed.net.parameters(), straight.net.parameters(), strict=True):
        assert mine.stride() == theirs.stride()
    train(resumed, 4)
    assert same(straight, resumed)
    assert not same(straight, make(1, optimizer, decay))


def test_without_a_state_there_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "state", IDENTITY) is None


def test_two_states_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    state = make(0)
    for _ in range(4):
        train(state, 1)
        save(state, tmp_path, IDENTITY)
    names = sorted(p.name for p in tmp_path.glob("state-*"))
    assert names == [f"state-00000000{n}.{kind}" for n in (3, 4) for kind in ("json", "safetensors")]
    stored = load(tmp_path, IDENTITY)
    assert stored is not None and stored[1].step == 4


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "json"])
def test_a_damaged_state_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    state = make(0)
    for _ in range(2):
        train(state, 1)
        save(state, tmp_path, IDENTITY)
    tensors, entry = tmp_path / "state-000000002.safetensors", tmp_path / "state-000000002.json"
    data = bytearray(tensors.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        tensors.write_bytes(data)
    elif damage == "cut":
        tensors.write_bytes(data[:-1])
    elif damage == "gone":
        tensors.unlink()
    else:
        entry.write_text("{")
    stored = load(tmp_path, IDENTITY)
    assert stored is not None and stored[1].step == 1
    for path in tmp_path.glob("state-000000001.*"):
        path.unlink()
    with pytest.raises(DiskError, match=r"no state .* is whole"):
        load(tmp_path, IDENTITY)


def test_another_recipe_or_other_galaxies_are_refused_and_every_difference_listed(tmp_path: Path) -> None:
    save(make(0), tmp_path, IDENTITY)
    assert load(tmp_path, IDENTITY) is not None
    other = copy.deepcopy(IDENTITY)
    other["recipe"]["train"]["rate"] = 0.2  # type: ignore[index]
    other["galaxies"] = "abd"
    with pytest.raises(RecipeError, match=r"recipe.train.rate: 0.1 there, 0.2 now; galaxies: 'abc' there, 'abd' now"):
        load(tmp_path, other)
    with pytest.raises(RecipeError, match=r"recipe.train.milestones: \[1.0, 2.0\] there, 'absent' now"):
        load(tmp_path, {"recipe": {"train": {"rate": 0.1}}, "galaxies": "abc"})


def test_the_average_follows_its_formula() -> None:
    state = make(0, decay=0.5)
    weight = state.net[0].weight
    expected = weight.detach().clone()
    for step in range(12):
        with torch.no_grad():
            weight.add_(1.0)
        state.average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.detach()
    # lerp rounds once where the formula rounds twice, twelve times over
    assert torch.allclose(state.average.net[0].weight, expected, rtol=1e-5)  # type: ignore[index]
    assert make(0, decay=0.0).average.net is not None


def test_without_decay_the_average_is_the_network() -> None:
    state = make(0, decay=0.0)
    assert state.average.net is state.net
    assert not any(key.startswith("average.") for key in state.tensors())


def test_progress_survives_json_exactly(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    progress = Progress(step=3, losses=1 / 3, history=[{"loss": 2 / 3}], best={"loss": 1e-17})
    disk.write_json(path, vars(progress))
    assert Progress(**disk.read_json(path)) == progress


def test_differences_begin_with_the_choices_and_shorten_digests() -> None:
    there = {"galaxies": "a" * 64, "recipe": {"train": {"rate": 0.1}, "start": "A" * 64}}
    now = {"galaxies": "b" * 64, "recipe": {"train": {"rate": 0.2}, "start": "B" * 64}}
    with pytest.raises(RecipeError) as told:
        refuse_differences(there, now, Path("run"))
    text = str(told.value)
    assert f"with these: recipe.start: '{'A' * 64}' there" in text  # a text that is no digest stays whole
    assert text.index("recipe.train.rate: 0.1 there, 0.2 now") < text.index(f"galaxies: '{'a' * 12}' there")
    assert f"'{'b' * 12}' now" in text and "b" * 13 not in text
