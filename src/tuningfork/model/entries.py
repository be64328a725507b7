"""Entries of a card: JSON values proved to be of the types that the fields of its dataclass have."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from .. import disk
from ..errors import BadWeights, DiskError

T = TypeVar("T")


def bad(key: str, problem: str, wrote: object = "", allowed: Iterable[str] = ()) -> BadWeights:
    """The error about one key of a card; it names the nearest of ``allowed`` to what was written."""
    near = difflib.get_close_matches(wrote, tuple(allowed), 1) if isinstance(wrote, str) else []
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return BadWeights(f"card key '{key}' {problem}{hint}")


def short(value: object) -> str:
    """A value as an error quotes it: at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def entries(card: type, value: Any, form: int, later: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of the dataclass ``card`` from a JSON object whose "format" is ``form``.

    Keys of ``later`` may be absent, as older cards lack them, and are then left out. Raises :class:`BadWeights` on keys
    that are unknown (the nearest is named), missing or of another type.
    """
    if not isinstance(value, dict):
        raise BadWeights(f"a card is a JSON object, not {short(value)}")
    hints = get_type_hints(card)
    for key in value:
        if key not in hints:
            raise bad(key, "is no key of a card", key, hints)
    if value.get("format", 0) != form:
        raise bad("format", f"is {short(value.get('format'))}; this tuningfork reads format {form}: update it")
    missing = [key for key in hints if key not in value and key not in tuple(later)]
    if missing:
        raise BadWeights(f"the card lacks {', '.join(missing)}: it was cut or made by another program")
    return {key: _typed(key, value[key], str(hints[key])) for key in hints if key in value}


def load_card(path: Path, make: Callable[[Any], T], largest: int, absent: str) -> T:
    """What ``make`` makes of the JSON in ``path``, a card of at most ``largest`` bytes.

    Raises :class:`BadWeights`, which names the file, where it is not there (``absent`` says what that means), too
    large, no JSON, or refused by ``make``.
    """
    try:
        if path.stat().st_size > largest:
            raise BadWeights(f"it has {path.stat().st_size} bytes: no card is that large")
        return make(disk.read_json(path))
    except FileNotFoundError as error:
        raise BadWeights(f"'{path.parent}' holds no {path.name}: {absent}") from error
    except (DiskError, OSError, RecursionError) as error:
        raise BadWeights(f"the card '{path}' cannot be read: {error}") from error
    except BadWeights as error:
        raise BadWeights(f"'{path}': {error}") from error


def as_json(card: Any) -> dict[str, Any]:
    """A dataclass as JSON holds it: every field by name, not a level deeper."""
    return {field.name: getattr(card, field.name) for field in dataclasses.fields(card)}


def _typed(key: str, value: Any, hint: str) -> Any:
    """``value`` as the type of a field, refusing what is none; JSON lists become tuples."""

    def number(item: Any) -> bool:
        return type(item) is int or (type(item) is float and math.isfinite(item))

    kinds: dict[str, tuple[str, bool]] = {
        "<class 'str'>": ("a text", isinstance(value, str)),
        "<class 'int'>": ("a whole number", type(value) is int),
        "<class 'float'>": ("a finite number", number(value)),
        "dict[str, typing.Any]": ("an object", isinstance(value, dict)),
        "tuple[str, ...]": ("a list of texts", isinstance(value, list) and all(isinstance(v, str) for v in value)),
        "tuple[float, ...]": ("a list of finite numbers", isinstance(value, list) and all(number(v) for v in value)),
        "tuple[dict[str, typing.Any], ...]": (
            "a list of objects",
            isinstance(value, list) and all(isinstance(v, dict) for v in value),
        ),
    }
    wanted, right = kinds[hint]
    if not right:
        raise bad(key, f"must be {wanted}, not {short(value)}")
    if hint == "tuple[float, ...]":
        return tuple(float(v) for v in value)
    if isinstance(value, list):
        return tuple(value)
    return float(value) if hint == "<class 'float'>" else value
