"""Training that is killed: after every step of the optimiser, and at every step of the disk that stores its state."""

import csv
import multiprocessing
import runpy
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tuningfork import disk

HERE = Path(__file__).resolve().parent
CHILD, TINY = HERE / "dying_run.py", HERE.parent / "train" / "tiny.py"
DIED = 86
Attempt = Callable[..., int | None]


@pytest.fixture(scope="module")
def attempt() -> Attempt:
    """Train in a process of its own, which may die, and give its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tuningfork.train.loop", "torch.utils.tensorboard"])

    def run(out: Path, **options: object) -> int | None:
        given = {"ATTEMPT": {"tiny": str(TINY), "out": out, **options}}
        process = context.Process(target=runpy.run_path, args=(str(CHILD), given))
        process.start()
        process.join(60)
        return process.exitcode

    return run


@pytest.fixture(scope="module")
def whole(attempt: Attempt, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed; beside it, ``steps`` lists the steps of the disk that it made."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert attempt(out, log=out.parent / "steps") == 0
    return out


def result(out: Path) -> tuple[bytes, list[dict[str, str]]]:
    """What a run has made: its weights, and its history but for the clock."""
    with open(out / "log.csv") as file:
        history = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    return (out / "model" / "weights.safetensors").read_bytes(), history


def test_it_takes_several_steps_and_stores_its_state_within_an_epoch(whole: Path) -> None:
    history = result(whole)[1]
    assert [row["step"] for row in history] == ["3", "6"]  # stored after 4, in the second epoch, and at the end
    steps = (whole.parent / "steps").read_text()
    assert "state-000000004.safetensors" in steps and "state-000000006.safetensors" in steps


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5, 6])
def test_killed_after_any_step_it_ends_with_the_same_bits(
    attempt: Attempt, whole: Path, tmp_path: Path, after: int
) -> None:
    out = tmp_path / "run"
    assert attempt(out, kill_after=after) == -signal.SIGKILL
    if after < 5:  # killed once more, on the way that was resumed
        assert attempt(out, kill_after=5) == -signal.SIGKILL
    assert attempt(out) == 0
    assert result(out) == result(whole)


def test_a_death_at_any_step_of_the_disk_costs_nothing(attempt: Attempt, whole: Path, tmp_path: Path) -> None:
    steps = (whole.parent / "steps").read_text().splitlines()
    states = [number for number, line in enumerate(steps, 1) if " state/" in line]
    assert len(states) == 30
    for number in sorted({*states, *range(3, len(steps), 9)}):
        out = tmp_path / str(number)
        assert attempt(out, die_at=number) == DIED, steps[number - 1]
        pointer = out / "state" / "latest.json"
        if pointer.exists():  # it names a state that is whole
            name = disk.read_json(pointer)["name"]
            entry = disk.read_json(out / "state" / f"{name}.json")
            assert disk.sha256(out / "state" / f"{name}.safetensors") == entry["sha256"]
        assert pointer.exists() or number <= states[0] + 14, steps[number - 1]
        assert attempt(out) == 0
        assert result(out) == result(whole), steps[number - 1]
