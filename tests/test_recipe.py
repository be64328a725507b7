"""Recipes: what is written is read back, and nothing that is misspelt passes."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork import recipe
from tuningfork.errors import RecipeError


@dataclass(frozen=True)
class Inner:
    rate: float = 1e-3
    steps: tuple[int, ...] = ()
    merge: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mode: Literal["hash", "sky"] = "hash"


@dataclass(frozen=True)
class Outer:
    name: str = "a"
    quick: bool = False
    n: int = 3
    inner: Inner = field(default_factory=Inner)
    rounds: tuple[Inner, ...] = ()


texts = st.text(max_size=12)
inners = st.builds(
    Inner,
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.integers(-9, 9)).map(tuple),
    st.dictionaries(texts, st.lists(texts, min_size=1).map(tuple), max_size=3),
    st.sampled_from(["hash", "sky"]),
)
outers = st.builds(
    Outer,
    texts,
    st.booleans(),
    st.integers(-(2**62), 2**62),
    inners,
    st.lists(inners, max_size=3).map(tuple),
)


@given(outers)
def test_toml_and_back_is_the_identity(tmp_path_factory: pytest.TempPathFactory, choice: Outer) -> None:
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    recipe.save(choice, path)
    assert recipe.load(Outer, path) == choice


@given(outers)
def test_mapping_and_back_is_the_identity(choice: Outer) -> None:
    assert recipe.from_mapping(Outer, recipe.to_mapping(choice)) == choice


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"nam": "b"}, "did you mean 'name'"),
        ({"inner": {"rat": 1.0}}, r"'inner\.rat'; did you mean 'rate'"),
        ({"n": "3"}, "type int"),
        ({"n": True}, "type int"),
        ({"n": 3.0}, "type int"),
        ({"quick": 1}, "type bool"),
        ({"inner": 3}, "table of choices"),
        ({"inner": {"steps": 3}}, "steps"),
        ({"inner": {"steps": ["3"]}}, "type int"),
        ({"inner": {"mode": "skye"}}, "did you mean 'sky'"),
        ({"rounds": [{}, {"rat": 1.0}]}, r"'rounds\[1\]\.rat'; did you mean 'rate'"),
        ({"rounds": [3]}, r"'rounds\[0\]' is a table of choices, not 3"),
        ({"rounds": {"rate": 1.0}}, "'rounds' is {'rate': 1.0}"),
    ],
)
def test_wrong_keys_and_values_are_quoted(mapping: dict, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        recipe.from_mapping(Outer, mapping)


def test_an_integer_is_taken_for_a_float() -> None:
    assert recipe.from_mapping(Inner, {"rate": 1}).rate == 1.0


def test_flags_replace_dotted_keys() -> None:
    changed = recipe.replace(
        Outer(),
        {"name": "7", "quick": "yes", "n": "5", "inner.rate": "0.5", "inner.steps": "1, 2", "inner.merge": "s=a+b,t=c"},
    )
    assert changed == Outer("7", True, 5, Inner(0.5, (1, 2), {"s": ("a", "b"), "t": ("c",)}))


def test_tables_in_a_row_are_replaced_as_a_whole() -> None:
    rounds = (Inner(0.5), Inner(mode="sky"))
    changed = recipe.replace(Outer(), {"rounds": rounds, "n": 5})
    assert changed == Outer(n=5, rounds=rounds) and recipe.replace(changed, {"n": 3}) == Outer(rounds=rounds)
    with pytest.raises(RecipeError, match=r"'rounds\[0\]' is a table of choices, not '0.5'"):
        recipe.replace(Outer(), {"rounds": "0.5"})


@pytest.mark.parametrize("key", ["inner.raet", "iner.rate", "name.rate"])
def test_flags_with_unknown_keys_are_refused(key: str) -> None:
    with pytest.raises(RecipeError, match=key.replace(".", r"\.")):
        recipe.replace(Outer(), {key: "1"})


@pytest.mark.parametrize("value", ["many", "1.5", ""])
def test_flags_with_wrong_values_are_refused(value: str) -> None:
    with pytest.raises(RecipeError, match="type int"):
        recipe.replace(Outer(), {"n": value})


def test_a_broken_file_is_named(tmp_path: pytest.TempPathFactory) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("name = \n")
    with pytest.raises(RecipeError, match=r"broken\.toml.*no TOML"):
        recipe.load(Outer, path)
    with pytest.raises(RecipeError, match="absent"):
        recipe.load(Outer, tmp_path / "absent.toml")
