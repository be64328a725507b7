"""The class names that a column holds, merged and dropped by name; a name that nobody bears is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import LabelError
from .question import nearest


def class_text(value: Any) -> str:
    """A class name as written: 3 and 3.0 (an integer column with nulls) are "3"; None, NaN and "" are no class."""
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)) or np.ma.is_masked(value):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()


def in_order(text: str) -> tuple[bool, int, str]:
    """A key to sort by: whole numbers by size, then words by alphabet."""
    number = re.fullmatch(r"-?\d+", text) is not None
    return not number, int(text) if number else 0, text


def no_such_column(column: str, columns: Sequence[str], where: str) -> LabelError:
    """The refusal of a column of classes that is not there, with those that look like it, whatever their case."""
    word = column.lower()
    alike = [name for name in columns if name.lower() == word] or [name for name in columns if word in name.lower()]
    shown = " or ".join(f"'{name}'" for name in alike[:3])
    hint = f"; did you mean {shown}?" if alike else nearest(column, columns)
    return LabelError(
        f"{where} has no column '{column}'{hint or ';'} say which holds the classes: --column NAME (labels.column); "
        f"its columns are {', '.join(columns[:12])}{', ...' if len(columns) > 12 else ''}"
    )


def regrouped(
    known: Sequence[str], merge: Mapping[str, Sequence[str]], drop: Sequence[str], *, strict: bool
) -> dict[str, str]:
    """What each of the ``known`` classes is called after merging; the dropped ones keep their names.

    With ``strict`` every name that is merged or dropped must be a class that there is, a class may go into one only,
    and one that is merged cannot be dropped by its old name: :class:`LabelError`, with the nearest name. Without it,
    such names are passed over: a table of a few galaxies need not have every class.
    """
    out = {name: name for name in known}
    for new, olds in merge.items():
        for old in olds:
            if strict and old not in out:
                raise LabelError(
                    f"'{old}', merged into '{new}' (--merge NEW=OLD+OLD, labels.merge), is no class that a galaxy "
                    f"has{nearest(old, known)}: the classes are {', '.join(known[:20])}"
                )
            if strict and out[old] not in (old, new):
                raise LabelError(
                    f"the class '{old}' is merged into '{out[old]}' and into '{new}'; a class goes into one"
                )
            if old in out:
                out[old] = new
    left = sorted(set(out.values()), key=in_order)
    for one in drop if strict else ():
        if one in out and one not in left:
            raise LabelError(f"the class '{one}' is merged (into '{out[one]}') and dropped; choose one")
        if one not in left:
            raise LabelError(
                f"'{one}', which is to be dropped (--drop, labels.drop), is no class that a galaxy "
                f"has{nearest(one, left)}: the classes are {', '.join(left[:20])}"
            )
    return out
