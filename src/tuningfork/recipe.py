"""A run's choices: a frozen dataclass, read from TOML or flags and written back, in which no key goes unnoticed."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from . import disk
from .errors import RecipeError

Choice = TypeVar("Choice")


def from_mapping(cls: type[Choice], mapping: Mapping[str, Any], where: str = "") -> Choice:
    """Build the frozen dataclass ``cls`` from a mapping of its field names; absent keys keep their defaults.

    Fields may be str, int, float, bool, tuples of those, ``dict[str, tuple[str, ...]]``, dataclasses of the same kind
    (a TOML table), or tuples of such dataclasses (a TOML array of tables). An integer is taken for a float,
    nothing else is converted. Unknown keys and values of another type raise :class:`RecipeError`, which gives the
    dotted key, the value, and the nearest key that exists. No key names Python code.
    """
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values = {}
    for key, value in mapping.items():
        dotted = f"{where}{key}"
        if key not in names:
            raise RecipeError(f"there is no choice '{dotted}'{nearest(key, names)}; there are: {', '.join(names)}")
        values[key] = _fit(hints[key], value, dotted)
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"the choices of '{where.rstrip('.') or cls.__name__}' cannot be: {error}") from error


def nearest(word: str, known: Sequence[str]) -> str:
    """``'; did you mean 'x'?'`` for the known word nearest to ``word``, or nothing where none is near."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def _fit(hint: Any, value: Any, dotted: str) -> Any:
    """``value`` as the type of the field it is for, or a RecipeError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, typing.cast(type, hint)):
            return value
        if not isinstance(value, Mapping):
            raise RecipeError(f"'{dotted}' is a table of choices, not {value!r}")
        return from_mapping(typing.cast(type, hint), value, f"{dotted}.")
    if origin in (typing.Union, types.UnionType) and type(None) in arguments:
        return None if value is None else _fit(next(a for a in arguments if a is not type(None)), value, dotted)
    if origin is typing.Literal:
        if value not in arguments:
            raise RecipeError(
                f"'{dotted}' is {value!r}; it may be one of: {', '.join(map(str, arguments))}"
                f"{nearest(str(value), [str(a) for a in arguments])}"
            )
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            raise RecipeError(f"'{dotted}' takes {len(kinds)} values, not {value!r}")
        tables = [f"{dotted}[{n}]" if dataclasses.is_dataclass(kind) else dotted for n, kind in enumerate(kinds)]
        return tuple(_fit(kind, one, name) for kind, one, name in zip(kinds, value, tables, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _fit(arguments[1], one, f"{dotted}.{key}") for key, one in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    name = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise RecipeError(f"'{dotted}' is {value!r}; it takes a value of type {name}")


def to_mapping(choice: Any) -> dict[str, Any]:
    """The choices as nested plain dictionaries, every default spelled out; the inverse of :func:`from_mapping`."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return to_mapping(value)
        if isinstance(value, (list, tuple)):
            return [plain(one) for one in value]
        if isinstance(value, Mapping):
            return {key: plain(one) for key, one in value.items()}
        return value

    return {field.name: plain(getattr(choice, field.name)) for field in dataclasses.fields(choice)}


def load(cls: type[Choice], path: str | Path) -> Choice:
    """Read a recipe from a TOML file; raises :class:`RecipeError` with the file, and the line where TOML fails."""
    try:
        mapping = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read the recipe '{path}': {error.strerror or error}") from error
    except ValueError as error:
        raise RecipeError(f"the recipe '{path}' is no TOML: {error}") from error
    try:
        return from_mapping(cls, mapping)
    except RecipeError as error:
        raise RecipeError(f"in the recipe '{path}': {error}") from None


def dump(choice: Any) -> str:
    """The choices as TOML text, which :func:`load` reads back to an equal object."""
    lines: list[str] = []
    _dump_table(to_mapping(choice), "", lines)
    return "\n".join(lines).strip() + "\n"


def _dump_table(mapping: Mapping[str, Any], name: str, lines: list[str], brackets: str = "[]") -> None:
    if name:
        lines += ["", f"{brackets[: len(brackets) // 2]}{name}{brackets[len(brackets) // 2 :]}"]
    lines += [f"{_key(k)} = {_value(v)}" for k, v in mapping.items() if v is not None and not _tables(v)]
    for key, value in mapping.items():
        for table in _tables(value):
            dotted = f"{name}.{_key(key)}" if name else _key(key)
            _dump_table(table, dotted, lines, "[]" if table is value else "[[]]")


def _tables(value: Any) -> list[Mapping[str, Any]]:
    """The tables that a value is written as: itself, the members of an array of tables, or none."""
    if isinstance(value, Mapping):
        return [value]
    return value if isinstance(value, list) and value and isinstance(value[0], Mapping) else []


def _key(key: str) -> str:
    plain = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if plain else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in value)
        return f'"{escaped}"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return repr(value)


def save(choice: Any, path: str | Path) -> None:
    """Write the choices as a TOML file, whole or not at all."""
    disk.write_text(path, dump(choice))


def replace(choice: Choice, changes: Mapping[str, Any]) -> Choice:
    """A copy with some choices changed, by dotted key: ``replace(recipe, {"train.epochs": 20, "display.size": "96"})``.

    A string, which is all that a command line has, is read as the type of its field (``"20"``, ``"true"``,
    ``"g,r,i"``); other values must already have it. Raises :class:`RecipeError` as :func:`from_mapping` does.
    """
    mapping = to_mapping(choice)
    for dotted, value in changes.items():
        *tables, last = dotted.split(".")
        cls: Any = type(choice)
        table = mapping
        for name in tables:
            _known(cls, name, dotted)
            cls, table = typing.get_type_hints(cls)[name], table[name]
            if not dataclasses.is_dataclass(cls):
                raise RecipeError(f"'{dotted}': '{name}' is no table of choices")
        _known(cls, last, dotted)
        table[last] = _parse(typing.get_type_hints(cls)[last], value, dotted)
    return from_mapping(type(choice), mapping)


def _known(cls: Any, name: str, dotted: str) -> None:
    names = [field.name for field in dataclasses.fields(cls)]
    if name not in names:
        raise RecipeError(f"there is no choice '{dotted}'{nearest(name, names)}; there are: {', '.join(names)}")


def _parse(hint: Any, value: Any, dotted: str) -> Any:
    """A command line's string as the plain value that the field takes; other values pass unchanged."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if not isinstance(value, str) or hint is str:
        return value
    if origin is tuple:
        return [_parse(arguments[0], part.strip(), dotted) for part in value.split(",") if part.strip()]
    if origin is dict:
        return parse_groups(value, dotted)
    if hint is bool and value.lower() in ("true", "false", "yes", "no"):
        return value.lower() in ("true", "yes")
    if hint in (int, float):
        try:
            return hint(value)
        except ValueError:
            raise RecipeError(f"'{dotted}' is {value!r}; it takes a value of type {hint.__name__}") from None
    return value


def parse_groups(text: str, dotted: str = "groups") -> dict[str, list[str]]:
    """Read ``"spiral=clockwise+anticlockwise,odd=ring+merger"`` as names and what they are made of."""
    groups = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, members = part.partition("=")
        if not equals or not name.strip() or not members.strip():
            raise RecipeError(f"'{dotted}' is {text!r}; write NEW=OLD+OLD, several with commas between")
        groups[name.strip()] = [member.strip() for member in members.split("+")]
    return groups
