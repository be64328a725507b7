"""Answers in words: the likeliest class, the way through the tree, the Hubble type; a block or a line per galaxy."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..galaxy.mirror import complemented
from ..galaxy.question import Answer, Question
from ..galaxy.tree import Tree
from .answers import Galaxy, Head

# EFIGI's stages (Baillard et al. 2011, A&A 532, A74, Table 1), which are de Vaucouleurs' but for cE, cD and dE.
STAGES = {
    -6: "cE", -5: "E", -4: "cD", -3: "S0-", -2: "S0", -1: "S0+", 0: "S0/a", 1: "Sa", 2: "Sab", 3: "Sb", 4: "Sbc",
    5: "Sc", 6: "Scd", 7: "Sd", 8: "Sdm", 9: "Sm", 10: "Im", 11: "dE",
}  # fmt: skip
STRONGEST = 4  # attributes that are told
MENTIONED = 0.01  # probability of a class that is not the first; below it, it is not told
FAINTEST = 0.3  # of an attribute's scale; below it is not told
UNUSUAL = 0.01  # share of galaxies like those of the training that look as strange; below it, it is told
WIDTH = 110  # characters of a line

# What a question is about, where its name does not say it as people would; "" where its answers speak for themselves.
_TOPICS = {
    "smooth or features": "", "smooth or featured": "", "bar": "", "bar feature": "", "spiral": "",
    "spiral pattern": "", "has spiral arms": "", "odd feature": "", "type": "", "merging": "",
    "edgeon": "edge-on", "disk edge on": "edge-on", "rounded": "shape", "how rounded": "shape",
    "bulge prominence": "bulge", "bulge size": "bulge", "bulge shape": "bulge", "edge on bulge": "bulge",
    "arms winding": "arms", "spiral winding": "arms", "spiral arm winding": "arms",
    "arms number": "arms", "spiral arm count": "arms", "clumpy appearance": "clumpy",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step of the way through a tree: what was answered, and the share of those asked who would answer so."""

    phrase: str
    share: float


def plain(name: str) -> str:
    """A column's name as words: "spiral_anticlockwise" is "spiral anticlockwise"; numbers before it are dropped."""
    return re.sub(r"^[ta]\d+_", "", name).replace("_", " ")


def share(value: float) -> str:
    """A probability to two digits, without the zero that all have: ".83", "1.00"."""
    return f"{value:.2f}".removeprefix("0")


def phrase(question: Question, answer: Answer) -> str:
    """An answer that is understood without its question: "not edge-on", "arms: 2", "no bulge"."""
    topic = _TOPICS.get(plain(question.name), plain(question.name))
    text = (answer.text or plain(answer.name)).lower()
    if text == "yes":
        return topic
    if text == "no":
        return f"nothing {topic}" if topic == "odd" else f"not {topic}"
    return text if not topic or topic in text else f"{topic}: {text}"


def way(tree: Tree, fractions: Mapping[str, float]) -> tuple[Step, ...]:
    """The likeliest way through a tree: from the first question on, each time the answer with the largest fraction."""
    steps, question = [], tree.questions[0]
    while True:
        columns = tree.columns[tree.slices[question.name]]
        best = max(range(len(columns)), key=lambda k: fractions[columns[k]])
        steps.append(Step(phrase(question, question.answers[best]), fractions[columns[best]]))
        if not question.answers[best].next:
            return tuple(steps)
        question = tree.question(question.answers[best].next)


def ranked(head: Head, said: Mapping[str, float]) -> list[tuple[str, float]]:
    """Classes and probabilities: the class that the galaxy is given (:meth:`Head.chosen`), then the likeliest first.

    Probabilities are :meth:`Head.weighed`; where the card has no costs, the likeliest of these is given.
    """
    order = sorted(head.weighed(said).items(), key=lambda one: -one[1])
    given = head.chosen(said) if head.costs else order[0][0]
    return sorted(order, key=lambda one: one[0] != given)


def worded(head: Head, said: Mapping[str, float]) -> list[tuple[str, float]]:
    """:func:`ranked` with names for people: that of a class given though another is likelier begins with "perhaps"."""
    order = [(plain(name), value) for name, value in ranked(head, said)]
    (given, value), *others = order
    return [(f"perhaps {given}", value), *others] if any(other > value for _, other in others) else order


def stage(t: float) -> str:
    """The name of the nearest Hubble stage: 4.1 is "Sbc"."""
    return STAGES[min(max(round(t), -6), 11)]


def hubble_type(head: Head, said: Mapping[str, float]) -> float | None:
    """T, where the attributes have a Hubble stage on EFIGI's scale; else None."""
    on_scale = head.tree is not None and any((q.name, q.low, q.high) == ("T", -6, 11) for q in head.tree.questions)
    return said["T"] if on_scale else None


def strongest(head: Head, said: Mapping[str, float]) -> list[tuple[str, float]]:
    """The largest attributes, each as a share of its scale; not the Hubble stage, nor senses of rotation."""
    assert head.tree is not None
    rows = []
    for one, sense in zip(head.tree.questions, complemented(head.names), strict=True):
        value = (said[one.name] - one.low) / (one.high - one.low)
        if one.name != "T" and not sense and value >= FAINTEST:
            rows.append((plain(one.name).lower(), value))
    return sorted(rows, key=lambda one: -one[1])[:STRONGEST]


def tell(head: Head, said: Mapping[str, float], short: bool = False) -> str:
    """What one model says about one galaxy; ``short``: no more than belongs into a line."""
    if head.is_path:
        assert head.tree is not None
        steps = way(head.tree, said)
        return " → ".join(f"{one.phrase} {share(one.share)}" for one in (steps[:3] if short else steps))
    if head.is_attributes:
        t = hubble_type(head, said)
        ends = [f"{said[f'T_{end}']:.1f}" for end in ("low", "high") if f"T_{end}" in said]
        within = f", {head.level:.0%} within {' to '.join(ends)}" if ends else ""
        words = [] if t is None else [f"{stage(t)} (T {t:.1f}{within})"]
        if not short or not words:
            words += [f"{name} {share(value)}" for name, value in strongest(head, said)[: 1 if short else None]]
        return ", ".join(words) or "no attribute stands out"
    order = worded(head, said)
    best, *others = [f"{name} {share(value)}" for name, value in order]
    likely = [text for text, (_, value) in zip(others, order[1:], strict=True) if value >= MENTIONED][:3]
    chosen = [] if head.rates else [plain(name) for name in head.likely(said)]  # sets are of the training's shares
    if short:
        given = plain(ranked(head, said)[0][0])
        return " or ".join([best, *(one for one in chosen if one != given)])
    if head.rates:
        return f"{best} ({', '.join(likely)}; {_rarest(head)})" if likely else best
    text = f"{best} ({', '.join(likely)})" if likely else best
    return f"{text}; {head.level:.0%} set: {', '.join(chosen)}" if len(chosen) > 1 else text


def _rarest(head: Head) -> str:
    """How frequent the rarest class of a head with rates is: "lens: 1 in 1,000 galaxies"."""
    name, rate = min(head.rates["shares"].items(), key=lambda one: one[1])
    return f"{plain(name)}: 1 in {round(1 / rate):,} galaxies"


def unusual(galaxy: Galaxy) -> str:
    """That a galaxy is unlike the training, where fewer than one in a hundred of its like look as strange; else ""."""
    if galaxy.p_typical is None or galaxy.p_typical >= UNUSUAL:
        return ""
    n = max(1, round(1000 * galaxy.p_typical))
    looks = "looks" if n == 1 else "look"
    return f"unlike anything the models were trained on ({n} of 1,000 galaxies of that kind {looks} as strange)"


def no_galaxy(galaxy: Galaxy, heads: Sequence[Head]) -> bool:
    """Whether a model that tells galaxies from what is none (two classes, one of them "galaxy") gives "galaxy" < .5."""
    asked = [head.name for head in heads if head.kind == "classes" and len(head.names) == 2 and "galaxy" in head.names]
    return any(galaxy.answers[name]["galaxy"] < 0.5 for name in asked if name in galaxy.answers)


def block(galaxy: Galaxy, heads: Sequence[Head]) -> str:
    """A galaxy as some lines: its source, then what each model says."""
    if galaxy.reason:
        return f"{galaxy.id}\n  rejected   {galaxy.reason}: {galaxy.detail}"
    rows = [("source", _source(galaxy)), *([("unusual", unusual(galaxy))] if unusual(galaxy) else [])]
    rows += [("doubtful", "probably no galaxy: what the other models say means little")] * no_galaxy(galaxy, heads)
    rows += [(head.name, tell(head, galaxy.answers[head.name])) for head in heads if head.name in galaxy.answers]
    indent = max(len(name) for name, _ in rows) + 5
    lines = [
        textwrap.fill(
            text, WIDTH, initial_indent=f"  {name:{indent - 2}}", subsequent_indent=" " * indent, break_on_hyphens=False
        )
        for name, text in rows
    ]
    return "\n".join([galaxy.id, *lines])


def line(galaxy: Galaxy, heads: Sequence[Head], width: int) -> str:
    """A galaxy as one line, its id in a column of ``width`` characters."""
    if galaxy.reason:
        return f"{galaxy.id:{width}}  rejected: {galaxy.reason} ({galaxy.detail})"
    told = [tell(head, galaxy.answers[head.name], short=True) for head in heads if head.name in galaxy.answers]
    told += ["unusual"] if unusual(galaxy) else []
    told[:0] = ["probably no galaxy"] * no_galaxy(galaxy, heads)
    return f"{galaxy.id:{width}}  {'; '.join(told)}"


def _source(galaxy: Galaxy) -> str:
    if galaxy.petrosian_radius is None:
        return "not measured"
    return (
        f"centre ({galaxy.x:.1f}, {galaxy.y:.1f}), Petrosian radius {galaxy.petrosian_radius:.1f} px, "
        f"axis ratio {galaxy.axis_ratio:.2f}"
    )
