"""The sections of the report that say what was judged and how: data and split, learning curves, how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import plots
from .joined import Account, Joined
from .report import Block, Cell, Details, Facts, Figure, Section, Table, Text


def card_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The model's card inside the metadata of votes; empty for a foreign table."""
    card = metadata.get("card")
    return card if isinstance(card, dict) else {}


def temperature_of(metadata: Mapping[str, Any]) -> float:
    """The temperature that is part of the predicted probabilities, as the card says; 1.0 where it says nothing."""
    value = card_of(metadata).get("temperature", 1.0)
    known = isinstance(value, int | float) and np.isfinite(value) and value > 0
    return float(value) if known else 1.0


def seen_in_training(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """A warning where the model may have been trained on some of the galaxies that it is judged on."""
    card, part = card_of(metadata), metadata.get("part")
    if part == "train":
        return ("These galaxies are the training part of the model's split: on others it is worse. Use --part test.",)
    known = _mapping(card.get("training")) or _mapping(card.get("split"))
    if part or not known:
        return ()
    return (
        "Galaxies of the model's training part may be among those judged, which flatters it: the votes do not say "
        "that they are of one part. Judge votes made with `tuningfork predict --part test`.",
    )


def account_line(account: Account) -> str:
    """The line that holds by id: in = done + rejected, and who of them is judged."""
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in account.rejected.items())
    rejected = f"{account.n_rejected:,} rejected" + (f" ({reasons})" if reasons else "")
    left = [
        f"{number:,} {words}"
        for number, words in (
            (account.n_unlabelled, "have no label in the truth"),
            (account.n_without_truth, "have no row in the truth"),
        )
        if number
    ]
    rest = f", {', '.join(left)}" if left else ""
    return (
        f"Galaxies: {account.n_in:,} in = {account.n_done:,} done + {rejected}; of the done, {account.n_judged:,} "
        f"are judged{rest}."
    )


def data_section(joined: Joined, metadata: Mapping[str, Any], truth_name: str) -> Section:
    """Which galaxies were judged, how they met their truth, and what the model had seen of them."""
    account = joined.account
    rows: list[tuple[Cell, ...]] = [("galaxies in the votes", account.n_in), ("done", account.n_done)]
    rows += [("rejected", account.n_rejected)]
    rows += [(f"rejected: {reason}", number) for reason, number in account.rejected.items()]
    rows += [
        ("judged (done, with a label)", account.n_judged),
        ("done, but without a label in the truth", account.n_unlabelled),
        ("done, but without a row in the truth", account.n_without_truth),
        ("rows of the truth without a prediction", account.n_truth_without_votes),
    ]
    blocks: list[Block] = [
        Text(f"The votes were joined with the {account.n_truth:,} rows of {truth_name} by {account.joined_by}."),
        Table(("", "galaxies"), tuple(rows), "in = done + rejected; done = judged + without a label + without a row."),
    ]
    if account.separation_arcsec is not None:
        middle, largest = account.separation_arcsec
        blocks.append(Text(f"Separations: median {middle:.3f} arcsec, largest {largest:.3f} arcsec."))
    if any(account.unlabelled.values()):
        why = "; ".join(f"{number:,} {reason}" for reason, number in account.unlabelled.items() if number)
        blocks.append(Text(f"Galaxies of the whole truth that got no label: {why}.", "note"))
    blocks.append(Text(_labels_in_words(joined)))
    blocks += _class_counts(joined)
    blocks += _split(metadata)
    return Section("data", "Data and split", tuple(blocks))


def _labels_in_words(joined: Joined) -> str:
    choice = joined.labels.choice
    fractions = (
        f"the expert's attributes, {choice.tree}"
        if joined.attributes
        else (f"the volunteers' vote fractions on the tree {choice.tree}")
    )
    what = {
        "column": f"the column “{choice.column}” names the class",
        "counts": f"the volunteers' votes on the tree {choice.tree}",
        "fractions": fractions,
        "largest": "the answer of most votes is the class",
        "threshold": f"a class needs at least {choice.threshold:g} of the votes",
        "draw": "a class is drawn from the vote fractions",
        "mode": "the most frequent path of answers is the class",
        "kmeans": f"{choice.clusters} types found by k-means among the vote vectors",
    }.get(choice.kind, f"kind “{choice.kind}”")
    merged = "; ".join(f"{' + '.join(old)} are “{new}”" for new, old in choice.merge.items())
    dropped = f"; left out: {', '.join(choice.drop)}" if choice.drop else ""
    again = (
        " The types were found anew in this truth: they are those of the training only if it is the same catalogue."
        if choice.kind == "kmeans"
        else ""
    )
    return f"The truth: {what}{f'; {merged}' if merged else ''}{dropped}.{again}"


def _class_counts(joined: Joined) -> list[Block]:
    if joined.labels.kind != "classes" or not joined.ids:
        return []
    counts = np.bincount(joined.classes, minlength=len(joined.names))
    rows = tuple(
        (name, int(count), float(count / counts.sum())) for name, count in zip(joined.names, counts, strict=True)
    )
    return [Table(("class", "judged galaxies", "share"), rows)]


def _split(metadata: Mapping[str, Any]) -> list[Block]:
    """What is known about which galaxies the model was trained on."""
    card = card_of(metadata)
    part = metadata.get("part")
    if part:
        told = f"The votes are of the part “{part}” of the model's split."
    else:
        told = (
            "The file of votes does not say which part of a split its galaxies are: whether the model was trained on "
            "some of them cannot be told from it."
        )
    blocks: list[Block] = [Text(told)]
    facts = [(f"split: {key}", _short(value)) for key, value in _mapping(card.get("split")).items()]
    training = _mapping(card.get("training"))
    facts += [(f"training: {key}", _short(value)) for key, value in training.items() if key != "recipe"]
    if facts:
        blocks.append(Facts(tuple(facts)))
    return blocks


def learning_section(metadata: Mapping[str, Any]) -> Section:
    """Losses and measures per epoch, as the model's card recorded them."""
    history = card_of(metadata).get("history")
    rows = [row for row in history if isinstance(row, dict)] if isinstance(history, list | tuple) else []
    picture = plots.learning_curves(rows)
    if picture is None:
        why = (
            "The votes bring no learning history: they are a foreign table, or the model's card holds none."
            if not rows
            else "The model's card holds one epoch only."
        )
        return Section("learning", "Learning curves", (Text(why),))
    text = "As recorded in the model's card while it was trained, on its own training and validation parts."
    return Section("learning", "Learning curves", (Figure(picture, text),))


def made_section(pairs: Sequence[tuple[str, Any]], joined: Joined, metadata: Mapping[str, Any]) -> Section:
    """Command, versions and digests: what is needed to make this page again."""
    card, model = card_of(metadata), _mapping(metadata.get("model"))
    facts = [(name, _short(value)) for name, value in pairs]
    told = [
        ("model", model.get("name") or metadata.get("model_name")),
        ("model digest (SHA-256)", model.get("digest") or metadata.get("model_digest")),
        ("backbone", card.get("backbone")),
        ("parameters", card.get("parameters")),
        ("pictures predicted from", metadata.get("source")),
        ("their digest (SHA-256)", metadata.get("input_digest")),
        ("test-time views", metadata.get("views")),
        ("votes made by", f"tuningfork {metadata['version']}" if metadata.get("version") else None),
        ("licence of the weights", card.get("licence")),
        ("citation", card.get("citation")),
    ]
    facts += [(name, _short(value)) for name, value in told if value not in (None, "")]
    if joined.labels.tree is not None:
        tree = joined.labels.tree
        facts += [("tree", f"{tree.name}: {tree.title}"), ("tree digest (SHA-256)", tree.digest)]
    whole = [
        ("recipe of the training", _mapping(card.get("training")).get("recipe")),
        ("recipe of the baseline", metadata.get("baseline")),
    ]
    folded = [
        Details(f"The {name}, in full", json.dumps(value, indent=2, ensure_ascii=False, default=str))
        for name, value in whole
        if value
    ]
    return Section("made", "How it was made", (Facts(tuple(facts)), *folded))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _short(value: Any) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{key}: {_short(item)}" for key, item in value.items())
    elif isinstance(value, int) and not isinstance(value, bool):
        text = f"{value:,}"
    else:
        text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 600 else f"{text[:599]}…"
