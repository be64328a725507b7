"""The face: every name is there, and stays what it is whatever is imported before."""

import subprocess
import sys

import pytest

import tuningfork


@pytest.mark.parametrize("name", tuningfork.__all__)
def test_every_name_is_bound(name: str) -> None:
    assert getattr(tuningfork, name) is not None


@pytest.mark.parametrize("verb", ["train", "predict", "evaluate"])
def test_a_verb_wins_over_the_room_of_its_name(verb: str) -> None:
    code = (
        f"import tuningfork, tuningfork.{verb}\nfrom tuningfork.{verb} import __doc__ as room\n"
        f"assert callable(tuningfork.{verb}) and room\n"
        f"from tuningfork import {verb}\nassert callable({verb})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(AttributeError, match=r"predictt.*open_source"):
        _ = tuningfork.predictt
