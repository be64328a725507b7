"""What a card's ``calibration`` holds, fitted on galaxies that the model was not trained on, and proof of its form.

It is one of these, by the head, or empty where nothing was fitted:

- classes: ``{"sets": {"coverage": 0.9, "threshold": 0.62, "galaxies": 380}}``. A class is in a galaxy's set where
  1 - p is at most the threshold (:mod:`tuningfork.evaluate.conformal`).
- sigmoid with a tree of attributes: ``{"intervals": {"coverage": 0.7, "columns": {"T": {"edges": [-1.5, 3.2],
  "half_widths": [1.1, 1.6, 1.4], "galaxies": 380}}}}``. The interval of an attribute is the answer minus and plus a
  half-width: that of the answers between the same edges (on the attribute's own scale, as the answer is).
- dirichlet: ``{"certainty": {"scales": {"t01_smooth_or_features": 0.5}, "galaxies": 88}}``. A question's concentrations
  are multiplied by its scale, after the network, so that the golden pair and the exported network are without it;
  expected fractions stay.

Beside it a card of classes may hold ``rates``: ``{"shares": {"lens": 0.001, "not_lens": 0.999}, "learnt": {"lens": 0.5,
"not_lens": 0.5}, "source": "..."}``, how frequent the classes are where the model is used, by ``source``, and how
frequent they were when it learnt. Answers stay what the network says; what is told in words is weighed by them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from ..errors import BadWeights
from ..galaxy.tree import Tree
from .entries import bad, short

SETS, INTERVALS, CERTAINTY = "sets", "intervals", "certainty"
_KINDS = {"classes": SETS, "sigmoid": INTERVALS, "dirichlet": CERTAINTY}


def check_calibration(calibration: Mapping[str, Any], head: str, names: tuple[str, ...], tree: Tree | None) -> None:
    """Raise :class:`BadWeights` unless ``calibration`` has the form above for this head; empty is none."""
    if not calibration:
        return
    kind = _KINDS.get(head, "")
    if kind == INTERVALS and (tree is None or tree.kind != "attributes"):
        kind = ""
    if {*calibration} != {kind}:
        known = f"'{kind}' alone" if kind else "nothing"
        raise bad("calibration", f"of this {head} head holds {known}, not {short(sorted(calibration))}")
    told = calibration[kind]
    check = {SETS: _check_sets, INTERVALS: _check_intervals, CERTAINTY: _check_certainty}[kind]
    if not isinstance(told, dict) or not check(told, tree):
        raise _odd(kind, told)


def check_rates(rates: Mapping[str, Any], head: str, names: tuple[str, ...]) -> None:
    """Raise :class:`BadWeights` unless ``rates`` has the form above for these classes; empty is none."""
    if not rates:
        return
    right = head == "classes" and {*rates} == {"shares", "learnt", "source"} and isinstance(rates["source"], str)
    for key in ("shares", "learnt") if right else ():
        told = rates[key]
        right = right and isinstance(told, dict) and {*told} == {*names} and all(map(_is_share, told.values()))
        right = right and math.isclose(sum(told.values()), 1, abs_tol=1e-6)
    if not right:
        raise bad(
            "rates",
            "must be such as {'shares': {'lens': 0.001, 'not_lens': 0.999}, 'learnt': {'lens': 0.5, 'not_lens': 0.5}, "
            f"'source': 'Gavazzi et al. 2014'}}, of all the classes, each time 1 in sum, not {short(rates)}",
        )


def check_costs(costs: Mapping[str, Any], head: str, names: tuple[str, ...]) -> None:
    """Raise :class:`BadWeights` unless ``costs`` are numbers above 0 of some of these classes; empty is none."""
    if costs and not (head == "classes" and {*costs} <= {*names} and all(map(_is_number, costs.values()))):
        raise bad("costs", f"must be such as {{'merger': 12.0}}, of classes among {list(names)}, not {short(costs)}")
    if any(one <= 0 for one in costs.values()):
        raise bad("costs", f"must be above 0, not {short(costs)}")


def _odd(kind: str, told: object) -> BadWeights:
    column = "{'T': {'edges': [0.5], 'half_widths': [1.2, 1.1], 'galaxies': 380}}"
    wanted = {
        SETS: "{'coverage': 0.9, 'threshold': 0.62, 'galaxies': 380}",
        INTERVALS: f"{{'coverage': 0.7, 'columns': {column}}}, of the tree's attributes, with one half-width more than "
        "edges, which grow",
        CERTAINTY: "{'scales': {QUESTION: 0.5}, 'galaxies': 88}, of the tree's questions",
    }
    return bad("calibration", f"'{kind}' must be such as {wanted[kind]}, not {short(told)}")


def _check_sets(told: Mapping[str, Any], _: Tree | None) -> bool:
    right = {*told} == {"coverage", "threshold", "galaxies"} and _is_share(told["coverage"])
    return right and _is_number(told["threshold"]) and 0 <= told["threshold"] <= 1 and _is_count(told["galaxies"])


def _check_intervals(told: Mapping[str, Any], tree: Tree | None) -> bool:
    if {*told} != {"coverage", "columns"} or not _is_share(told["coverage"]) or tree is None:
        return False
    columns = told["columns"]
    right = isinstance(columns, dict) and bool(columns) and {*columns} <= {*tree.columns}
    return right and all(_is_banded(one) for one in columns.values())


def _is_banded(column: object) -> bool:
    if not isinstance(column, dict) or {*column} != {"edges", "half_widths", "galaxies"}:
        return False
    edges, widths = column["edges"], column["half_widths"]
    if not all(isinstance(one, list) and all(map(_is_number, one)) for one in (edges, widths)):
        return False
    grow = all(first < second for first, second in itertools.pairwise(edges))
    return grow and len(widths) == len(edges) + 1 and min(widths) >= 0 and _is_count(column["galaxies"])


def _check_certainty(told: Mapping[str, Any], tree: Tree | None) -> bool:
    if {*told} != {"scales", "galaxies"} or tree is None:
        return False
    scales = told["scales"]
    right = isinstance(scales, dict) and bool(scales) and {*scales} <= {*tree.slices}
    return right and all(_is_number(one) and one > 0 for one in scales.values()) and _is_count(told["galaxies"])


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _is_share(value: object) -> bool:
    return _is_number(value) and 0 < value < 1  # type: ignore[operator]


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0
