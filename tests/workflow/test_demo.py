"""The demo, small: it makes its files, says what it did, goes on where it was, asks the sky only when told to."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tuningfork
from tuningfork.errors import NetworkError
from tuningfork.workflow import demo as workflow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("galsim")
    folder = tmp_path_factory.mktemp("demo") / "out"
    tuningfork.demo(folder, galaxies=120, epochs=1)
    return folder


@pytest.fixture(scope="module")
def standin() -> Any:
    path = Path(__file__).parents[1] / "survey" / "standin.py"
    if "standin" not in sys.modules:
        spec = importlib.util.spec_from_file_location("standin", path)
        assert spec and spec.loader
        sys.modules["standin"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["standin"])
    return sys.modules["standin"]


def test_the_demo_goes_on_where_it_was_and_says_what_it_did(made: Path) -> None:
    shards = {path.name: path.stat().st_mtime_ns for path in (made / "sky").glob("shard-*.parquet")}
    weights = (made / "run" / "model" / "weights.safetensors").read_bytes()
    again = tuningfork.demo(made, galaxies=120, epochs=1)
    assert {path.name: path.stat().st_mtime_ns for path in (made / "sky").glob("shard-*.parquet")} == shards
    assert (made / "run" / "model" / "weights.safetensors").read_bytes() == weights
    *lines, report, classified = again.text().splitlines()
    assert len(lines) == 4 and "report.html" in report and again.classified in classified
    with Image.open(again.classified) as figure:
        assert figure.size[0] > 1000  # two galaxies of each class, by the models inside the package
    assert again.n_drawn == 120 and 0 < again.n_judged < 60
    assert "<html" in (made / "report.html").read_text()


def test_without_a_network_the_real_demo_says_so_at_once() -> None:
    with pytest.raises(NetworkError, match="no network"):
        workflow.check_sky("http://127.0.0.1:9/")  # the discard port: nobody listens


def test_sixty_famous_galaxies_are_gathered_and_classified(made: Path, standin: Any, tmp_path: Path) -> None:
    with standin.StandIn() as server:
        workflow.check_sky(server.url)
        text = workflow.demo_real(made, url=server.url, rate=1000.0)
    votes = tuningfork.Votes.read(made / "well-known.parquet")
    done = tuningfork.open_source(made / "well-known")
    assert "60 galaxies in = " in text and len(votes.ids) == len(done.ids) > 30
    assert all(name in text for name in votes.ids)
