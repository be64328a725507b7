"""What the tests of the surveys share: the stand-in, and a network that neither waits nor leaves this machine."""

import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tuningfork.network import Limits, Network


def load_standin() -> Any:
    """The module standin.py, the same for every test."""
    if "standin" not in sys.modules:
        spec = importlib.util.spec_from_file_location("standin", Path(__file__).with_name("standin.py"))
        assert spec and spec.loader
        sys.modules["standin"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["standin"])
    return sys.modules["standin"]


@pytest.fixture(scope="session")
def standin() -> Any:
    """The module that holds StandIn."""
    return load_standin()


@pytest.fixture
def network_to(tmp_path: Path) -> Iterator[Callable[..., Network]]:
    """network_to(url, **limits): a network that may ask this address alone, without pauses, on a clock of its own."""
    opened, clock = [], itertools.count(0.0, 1e-3)
    slept = [0.0]

    def sleep(seconds: float) -> None:
        slept[0] += seconds

    def make(url: str, **limits: float) -> Network:
        chosen = {"idle": 1.0, "total": 5.0, "tries": 3, **limits}
        network = Network(
            tmp_path / f"rates{len(opened)}",
            mirrors=[url],
            rates={url.split("/")[2]: 1e9},
            limits=Limits(**chosen),
            now=lambda: next(clock) + slept[0],
            sleep=sleep,
        )
        opened.append(network)
        return network

    yield make
    for network in opened:
        network.close()
