"""An experiment's choices: what its author reported, the simulated sky, the schedule; one TOML, in three sizes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ... import recipe as recipes
from ...errors import RecipeError
from ...train.choices import TrainRecipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SIZES = ("full", "hour", "toy")


@dataclass(frozen=True)
class Published:
    """What the experiment's author reported."""

    author: str = ""  # who, with what, when
    figure: str = ""  # in the author's words; "" = none was reported
    data: str = ""  # on what
    images: float = 0.0  # pictures that training saw, repeats counted: galaxies x views x epochs; 0 = not known
    images_from: str = ""  # how that number follows from what was reported


@dataclass(frozen=True)
class Sky:
    """The simulated sky, for who has no data; see :func:`~tuningfork.simulate.galaxies.simulate_galaxies`."""

    galaxies: int = 10_000
    survey: str = "sdss"
    size: int = 0  # px; 0 = the survey's usual
    bands: tuple[str, ...] = ()  # empty = g, r, i in colour, else all of the survey's
    colour: bool = True  # JPEG pictures; otherwise flux
    seed: int = 0
    classes: tuple[str, ...] = ()  # as many galaxies of each of these; empty = the shares of a real sky


@dataclass(frozen=True)
class Experiment:
    """What every experiment chooses; one that chooses more is a subclass."""

    title: str = ""
    published: Published = field(default_factory=Published)
    sky: Sky = field(default_factory=Sky)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    views: int = 1  # of each galaxy, averaged when it is predicted
    bootstrap: int = 1000  # resamples of every interval


Choice = TypeVar("Choice", bound=Experiment)


def load_experiment(cls: type[Choice], name: str, size: str = "full") -> Choice:
    """The recipe of an experiment in one of :data:`SIZES`.

    The file's own keys are the author's schedule ("full"); what stands in its tables ``[hour]`` and ``[toy]`` takes
    their place, key by key, for a run of minutes and for one of seconds. A list or a value is replaced whole. Raises
    :class:`RecipeError` for a size that is none, and for a key that no experiment knows.
    """
    if size not in SIZES:
        raise RecipeError(f"there is no size '{size}'{recipes.nearest(size, SIZES)}; there are {', '.join(SIZES)}")
    path = RECIPES / f"{name}.toml"
    mapping = tomllib.loads(path.read_text(encoding="utf-8"))
    changes = {one: mapping.pop(one, {}) for one in SIZES[1:]}
    if size != "full":
        mapping = merged(mapping, changes[size])
    try:
        return recipes.from_mapping(cls, mapping)
    except RecipeError as error:
        raise RecipeError(f"in the recipe '{path.name}', size {size}: {error}") from None


def merged(mapping: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``mapping`` with the tables of ``changes`` laid over it, key by key."""
    out = dict(mapping)
    for key, value in changes.items():
        below = out.get(key)
        out[key] = merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return out
