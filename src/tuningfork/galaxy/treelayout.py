"""Where the boxes of a drawn tree go: questions in layers by depth, and a lane for whatever passes a layer by.

The method is that of Sugiyama, Tagawa & Toda 1981 (IEEE Trans. SMC 11, 109): layers by longest path, order within a
layer by barycentres, then positions. All ways to one question that pass a layer share one lane there, so that a
question reached from many answers is fed by one trunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import numpy as np
from sklearn.isotonic import isotonic_regression

from .question import Question

LANE = 0.12  # width of a lane, inches


@dataclass
class Place:
    """A question, or a lane to one (``question`` is then where it leads), in its layer; x is the middle, in inches.

    ``below`` and ``above`` are the neighbours in the next layers, each with the port: how far along the upper place's
    width, 0 to 1, the way begins.
    """

    question: str
    layer: int
    width: float
    lane: bool
    x: float = 0.0
    below: list[tuple[Place, float]] = field(default_factory=list)
    above: list[tuple[Place, float]] = field(default_factory=list)


def lay_out(
    questions: Sequence[Question], order: Sequence[int], widths: Mapping[str, float], gap: float
) -> list[list[Place]]:
    """The layers from the top down, each from left to right. ``order`` has every question after those before it."""
    depth = {questions[0].name: 0}
    for one in order:
        for answer in questions[one].answers:
            if answer.next:
                depth[answer.next] = max(depth.get(answer.next, 0), depth[questions[one].name] + 1)
    layers: list[list[Place]] = [[] for _ in range(max(depth.values()) + 1)]
    boxes = {name: Place(name, layer, widths[name], False) for name, layer in depth.items()}
    for one in order:
        box = boxes[questions[one].name]
        layers[box.layer].append(box)
    lanes: dict[tuple[str, int], Place] = {}
    for one in order:
        start = boxes[questions[one].name]
        nexts = [answer.next for answer in questions[one].answers]
        for target in dict.fromkeys(name for name in nexts if name):
            ranks = [i for i, name in enumerate(nexts) if name == target]
            here, port = start, (min(ranks) + max(ranks) + 1) / 2 / len(nexts)
            for layer in range(start.layer + 1, depth[target] + 1):
                there = boxes[target] if layer == depth[target] else lanes.get((target, layer))
                if there is None:
                    there = lanes[target, layer] = Place(target, layer, LANE, True)
                    layers[layer].append(there)
                if all(one is not there for one, _ in here.below):
                    here.below.append((there, port))
                    there.above.append((here, port))
                here, port = there, 0.5
    layers = _ordered(layers)
    _positions(layers, gap)
    return layers


def _ordered(layers: list[list[Place]]) -> list[list[Place]]:
    """The best of some sweeps down and up in which every place goes to the mean rank of its neighbours."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(16):
        down = sweep % 2 == 0
        for layer in layers[1:] if down else layers[-2::-1]:
            rank = {id(one): float(i) for others in layers for i, one in enumerate(others)}
            means = {}
            for place in layer:
                near = [rank[id(one)] + (port if down else 0.0) for one, port in (place.above if down else place.below)]
                means[id(place)] = float(np.mean(near)) if near else rank[id(place)]
            layer.sort(key=lambda place, means=means: means[id(place)])  # type: ignore[misc]
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _crossings(layers: list[list[Place]]) -> int:
    total = 0
    for upper, lower in pairwise(layers):
        rank = {id(place): i for i, place in enumerate(lower)}
        ways = [(i + port, rank[id(there)]) for i, place in enumerate(upper) for there, port in place.below]
        total += sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in combinations(ways, 2))
    return total


def _positions(layers: list[list[Place]], gap: float) -> None:
    """Each place near the mean of its neighbours, without overlap: isotonic regression per layer, some times over.

    In x minus the room that the places to the left take, "no overlap" reads "does not decrease". Lanes pull at each
    other most, so that trunks come out straight.
    """
    for sweep in range(300):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            room = np.cumsum([0.0] + [(a.width + b.width) / 2 + gap for a, b in pairwise(layer)])
            wish = np.array([_wish(place) for place in layer]) if sweep else room - room[-1] / 2
            weight = np.array([10.0 if place.lane else 1.0 for place in layer])
            found = np.asarray(isotonic_regression(wish - room, sample_weight=weight)) + room
            for place, x in zip(layer, found.tolist(), strict=True):
                place.x = x


def _wish(place: Place) -> float:
    """Where a place would be straight below and above its neighbours, as their weighted mean."""
    near = [(one.x + (port - 0.5) * one.width, 20.0 if one.lane and place.lane else 1.0) for one, port in place.above]
    near += [
        (one.x - (port - 0.5) * place.width, 20.0 if one.lane and place.lane else 1.0) for one, port in place.below
    ]
    near.append((0.0, 0.1))  # and a little towards the middle of the page
    return sum(x * weight for x, weight in near) / sum(weight for _, weight in near)
