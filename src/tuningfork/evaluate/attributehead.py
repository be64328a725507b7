"""The judgement of predicted attributes (EFIGI's Hubble stage, bar, dust ...): its numbers, and their sections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .attributeplots import attribute_reliability, truth_against_prediction
from .attributes import (
    Attribute,
    Reading,
    attribute_statistic,
    check_readings,
    default_readings,
    pooled_statistic,
    read_as,
    reading_statistic,
)
from .bootstrap import Floats, Ints, estimate
from .gallery import highest
from .joined import Joined
from .report import Block, Figure, Section, Table, Text
from .votehead import FEW

Progress = Callable[[int, int, str], None]


def attributes_of(joined: Joined) -> dict[str, Attribute]:
    """Attribute by attribute, what was predicted and what the expert says, on the attribute's own scale."""
    tree = joined.labels.tree
    assert tree is not None

    def own(values: Floats, number: int) -> Floats:
        asked = tree.questions[number]
        return asked.low + (asked.high - asked.low) * values[:, number]

    bounds, ends = joined.bounds, joined.intervals
    return {
        asked.name: Attribute(
            asked.name,
            asked.low,
            asked.high,
            own(joined.predicted, number),
            own(joined.truth, number),
            None if bounds is None else own(bounds[0], number),
            None if bounds is None else own(bounds[1], number),
            None
            if ends is None or np.isnan(ends[0][:, number]).all()
            else (own(ends[0], number), own(ends[1], number)),
        )
        for number, asked in enumerate(tree.questions)
    }


def judge_attributes(
    joined: Joined,
    readings: Sequence[Reading] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """All numbers about predicted attributes, with their intervals where these belong to them.

    Keys: tree; rmse and rmse_constant (all attributes, scaled to [0, 1]); attributes: per attribute galaxies (for
    which it is defined), low and high (its scale), step, and what :func:`attribute_statistic` says; level, where the
    votes have intervals: how often these are meant to hold the truth; readings: per title
    attribute, high, low, yes and no (galaxies), roc_auc, average_precision. ``readings`` default to
    :func:`default_readings`. Raises :class:`LabelError` for readings that the tree cannot give.
    """
    tree = joined.labels.tree
    assert tree is not None
    asked = default_readings(tree) if readings is None else tuple(readings)
    check_readings(asked, tree)
    n = len(joined.ids)
    attributes = attributes_of(joined)
    whole = estimate(pooled_statistic(joined.predicted, joined.truth), n, resamples=resamples, seed=seed)
    rows: dict[str, Any] = {}
    for done, (name, one) in enumerate(attributes.items()):
        rows[name] = {"galaxies": int(one.known.sum()), "low": one.low, "high": one.high, "step": one.step}
        rows[name] |= estimate(attribute_statistic(one), n, resamples=resamples, seed=seed)
        if progress is not None:
            progress(done + 1, len(attributes), name)
    answers: dict[str, Any] = {}
    for reading in asked:
        one = attributes[reading.attribute]
        yes, no = read_as(one, reading)
        answers[reading.title] = {"attribute": reading.attribute, "high": reading.high, "low": reading.low}
        answers[reading.title] |= {"yes": int(yes.sum()), "no": int(no.sum())}
        answers[reading.title] |= estimate(reading_statistic(one, reading), n, resamples=resamples, seed=seed)
    level = {} if joined.intervals is None else {"level": joined.level}
    return {"tree": tree.name, **whole, **level, "attributes": rows, "readings": answers}


def attribute_summary(numbers: dict[str, Any], n_judged: int) -> tuple[str, ...]:
    """Four sentences that say what matters; the fifth, the account of galaxies, belongs to every judgement."""
    rows = numbers["attributes"]
    if not n_judged:
        return ("No galaxy could be judged.",)
    mean = numbers["rmse_constant"].value
    first, row = next(iter(rows.items()))
    lines = [
        f"RMSE {numbers['rmse']} over all {len(rows)} attributes, scaled to 0..1, of {n_judged:,} galaxies"
        + (
            f"; their means alone give {mean:.3f}."
            if numbers["rmse"].value <= mean
            else f", which is worse than their means, {mean:.3f}."
        ),
        f"{first} ({row['low']:g} to {row['high']:g}): RMS error {row['rmse'].text(2)}, bias {row['bias'].text(2)}, "
        f"rank correlation {row['spearman']}; the mean alone errs by {row['rmse_constant'].value:.2f}.",
        _relative_line(rows),
    ]
    within = [one["within"].value for one in rows.values() if "within" in one and np.isfinite(one["within"].value)]
    areas = _trusted(numbers["readings"])
    told = f"read as yes or no, ROC AUC {min(areas):.2f} to {max(areas):.2f}, by attribute" if areas else ""
    if within:
        told = f"of the predictions, {min(within):.2f} to {max(within):.2f} are within the expert's bounds" + (
            f"; {told}" if told else ""
        )
    lines.append(f"{told[0].upper()}{told[1:]}." if told else "The truth brings no bounds, and too few yes and no.")
    return tuple(lines)


def _trusted(readings: dict[str, Any]) -> list[float]:
    """The ROC areas of the readings with enough of yes and of no."""
    return [row["roc_auc"].value for row in readings.values() if min(row["yes"], row["no"]) >= FEW]


def _relative_line(rows: dict[str, Any]) -> str:
    told = {name: row["relative"] for name, row in rows.items() if row["galaxies"] >= FEW}
    order = sorted((name for name in told if np.isfinite(told[name].value)), key=lambda name: told[name].value)
    if not order:
        return f"No attribute is defined and varied for {FEW} galaxies, so that none is held against its mean."
    good = [name for name in order if told[name].value < 1]
    bad = [f"{name} ({told[name]})" for name in order if told[name].value >= 1]
    parts = [f"best {good[0]} ({told[good[0]]})"] if good else []
    parts += [f"weakest {good[-1]} ({told[good[-1]]})"] if len(good) > 1 else []
    parts += [f"no better than it {', '.join(bad)}"] if bad else []
    return f"RMSE relative to that of the mean: {'; '.join(parts)}."


def attribute_sections(joined: Joined, numbers: dict[str, Any]) -> tuple[Section, ...]:
    """Metrics, yes and no, truth against prediction, calibration: the sections of a head of attributes."""
    if not joined.ids:
        return ()
    attributes = [one for one in attributes_of(joined).values() if one.known.any()]
    drawn = (
        Figure(
            truth_against_prediction(attributes),
            "Each column holds the galaxies of one value of the expert: blue, how their predictions are distributed "
            "(square root of the share, so that the wings show); orange, their mean prediction; dotted, equality.",
        ),
    )
    reliable = (
        Text(
            "A calibrated prediction of 0.3 is what the expert says on average of galaxies with that prediction. A "
            "prediction that knows little draws towards the mean and may still be calibrated: its points are few and "
            "close together, but on the diagonal."
        ),
        Figure(attribute_reliability(attributes), "Mean true against mean prediction in 10 bins of equal mass."),
    )
    return (
        Section("metrics", "Metrics", _metric_blocks(numbers)),
        Section("readings", "Yes or no", _reading_blocks(numbers)),
        Section("predictions", "Truth and prediction", drawn),
        Section("calibration", "Calibration", reliable),
    )


def _metric_blocks(numbers: dict[str, Any]) -> tuple[Block, ...]:
    rows = numbers["attributes"]
    keys = ("rmse", "rmse_constant", "relative", "spearman", "bias")
    errors = tuple(
        (_scale(name, row), row["galaxies"], *(row[key].value if key == "rmse_constant" else row[key] for key in keys))
        for name, row in rows.items()
    )
    blocks: list[Block] = [
        Text(
            "Intervals are 95% percentile bootstrap intervals over galaxies, drawn with equal chances. They tell how "
            "much the numbers would change with another sample of such galaxies; they do not tell how much they would "
            "change with another training run."
        ),
        Table(
            ("attribute", "galaxies", "RMSE", "of the mean", "relative", "rank correlation", "bias"),
            errors,
            "Galaxies for which the expert defines the attribute. RMSE: sqrt of the mean of (p - t)², on the "
            "attribute's own scale; of the mean: that of the best constant; relative: their ratio, below 1 if the "
            "picture tells anything. Rank correlation: Spearman's. Bias: the mean of p - t.",
        ),
    ]
    inside = tuple(
        (name, _step(row), row["within"], row["within_constant"].value, row["within_exactly"])
        for name, row in rows.items()
        if "within" in row
    )
    if inside:
        blocks.append(
            Table(
                ("attribute", "step", "within", "best constant", "exactly within"),
                inside,
                "The share of predictions within the expert's bounds (EFIGI: of 70% confidence). Experts write "
                "values and bounds in steps, and often equal bounds: a prediction within half a step of them counts. "
                "Best constant: the share that one value for all galaxies would reach, which is large for attributes "
                "that are mostly absent. Exactly: without the half step.",
            )
        )
    else:
        blocks.append(Text("The truth has no columns of the expert's bounds.", "note"))
    blocks += _interval_blocks(numbers)
    return tuple(blocks)


def _interval_blocks(numbers: dict[str, Any]) -> list[Block]:
    """The table of the predictions' own intervals; [] where the votes have none."""
    rows = tuple(
        (_scale(name, row), row["covered"], row["width"].value)
        for name, row in numbers["attributes"].items()
        if "covered" in row
    )
    meant = f"; meant are {numbers['level']:.0%}" if numbers.get("level") else ""
    caption = (
        "The intervals of the votes (columns _low and _high), from galaxies other than these: the share of galaxies "
        f"whose true value they hold, ends included{meant}. Width: their mean, on the attribute's own scale."
    )
    return [Table(("attribute", "truth inside", "width"), rows, caption)] if rows else []


def _step(row: dict[str, Any]) -> str:
    return f"{row['step']:.2g}" if row["step"] else "–"


def _scale(name: str, row: dict[str, Any]) -> str:
    return name if (row["low"], row["high"]) == (0, 1) else f"{name} ({row['low']:g} to {row['high']:g})"


def _reading_blocks(numbers: dict[str, Any]) -> tuple[Block, ...]:
    rows = tuple(
        (title, row["yes"], row["no"], row["roc_auc"], row["average_precision"])
        for title, row in numbers["readings"].items()
    )
    return (
        Table(
            ("reading", "yes", "no", "ROC AUC", "average precision"),
            rows,
            "Each attribute as a question: galaxies that the expert gives the first value or more against those with "
            "the second or less, ranked by the prediction; those in between are left out. ROC AUC: the chance that a "
            f"random yes is ranked above a random no. Areas of fewer than {FEW} yes or no rest on little.",
        ),
    )


def attribute_walls(joined: Joined) -> list[tuple[str, str, Ints, list[tuple[str, ...]]]]:
    """Title, text, indices and captions of the three galleries of a head of attributes."""
    attributes = list(attributes_of(joined).values())
    miss = joined.predicted - joined.truth
    known = np.isfinite(miss)
    count = np.maximum(known.sum(1), 1)
    error = np.sqrt((np.where(known, miss, 0.0) ** 2).sum(1) / count)
    error[~known.any(1)] = np.nan
    walls = [
        ("Best", "The smallest root mean square error over the defined attributes, scaled to 0..1.", highest(-error)),
        (
            "Worst",
            "The largest root mean square error over the defined attributes: mistakes, of either.",
            highest(error),
        ),
    ]
    found = [(title, text, index, [_caption(attributes, miss, i) for i in index]) for title, text, index in walls]
    size = np.where(known, np.abs(miss), -1.0)
    some = [number for number in range(len(attributes)) if len(size) and size[:, number].max() > 0]
    apart = np.array([int(size[:, number].argmax()) for number in some], np.int64)
    lines: list[tuple[str, ...]] = [
        (_said(attributes[number], int(row)),) for number, row in zip(some, apart, strict=True)
    ]
    text = "For each attribute, the galaxy that prediction and expert differ most about."
    return [*found, ("Largest disagreements, attribute by attribute", text, apart, lines)]


def _caption(attributes: list[Attribute], miss: Floats, row: int) -> tuple[str, ...]:
    """The first attribute, and the two others that differ most."""
    others = np.argsort(-np.nan_to_num(np.abs(miss[row]), nan=-1.0), kind="stable")
    chosen = [0, *(int(number) for number in others if number)][:3]
    return tuple(_said(attributes[number], row) for number in chosen if attributes[number].known[row])


def _said(one: Attribute, row: int) -> str:
    bounds = ""
    if one.lower is not None and one.upper is not None and np.isfinite(one.lower[row] + one.upper[row]):
        bounds = f" [{_short(one.lower[row])}, {_short(one.upper[row])}]"
    return f"{one.name.replace('_', ' ')} {_short(one.truth[row])}{bounds}, given {one.predicted[row]:.2f}"


def _short(value: float) -> str:
    """Three digits, and no 1e-7 for a 0 that was scaled in float32 and back."""
    return f"{round(float(value), 5) + 0.0:.3g}"


def few_of_attributes(numbers: dict[str, Any]) -> tuple[str, ...]:
    """A caution about the attributes that are defined for few galaxies, or for none."""
    rows: dict[str, Any] = numbers.get("attributes", {})
    few = [f"{name} ({row['galaxies']})" for name, row in rows.items() if row["galaxies"] < FEW]
    if not few or not any(row["galaxies"] for row in rows.values()):
        return ()
    return (f"Attributes judged on fewer than {FEW} galaxies, whose numbers rest on little: {', '.join(few)}.",)
