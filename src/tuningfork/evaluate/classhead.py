"""The judgement of predicted classes: all numbers of it, and the sections of the report that show them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import calibration, plots
from .bootstrap import Estimate, Floats, Ints, estimate
from .gallery import highest, in_turn
from .joined import Joined
from .metrics import brier_scores, class_statistic, confusion, log_losses, majority_baseline, weighted_mean
from .report import Block, Confusion, Figure, Section, Table, Text

Progress = Callable[[int, int, str], None]

TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy (mean recall)",
    "macro_f1": "macro F1",
    "macro_roc_auc": "macro ROC AUC (each class against the rest)",
    "macro_average_precision": "macro average precision",
    "log_loss": "log loss (nats)",
    "brier": "Brier score (0 to 2)",
}
_PER_CLASS = ("precision", "recall", "f1", "roc_auc", "average_precision")


def versions(joined: Joined, temperature: float, seed: int) -> dict[str, Floats]:
    """The probabilities to hold against each other: without the card's temperature, as predicted, and rescaled.

    The last are rescaled by a temperature fitted on the other half of the judged galaxies (cross-fitting), so that no
    galaxy is judged with a temperature that has seen its truth.
    """
    found = {}
    if temperature != 1.0:
        found[f"before: the card's temperature T = {temperature:.3g} undone"] = calibration.scale(
            joined.predicted, 1 / temperature
        )
    found["as predicted"] = joined.predicted
    scaled, applied = calibration.cross_fitted(joined.classes, joined.predicted, calibration.halves(joined.ids, seed))
    found[f"rescaled: T = {applied[0]:.3f} and {applied[1]:.3f}, cross-fitted"] = scaled
    return found


def judge_classes(
    joined: Joined, temperature: float = 1.0, *, resamples: int = 1000, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """All numbers about predicted classes, :class:`Estimate` where an interval belongs to them.

    Keys: names, metrics, baseline, classes (per class: galaxies, given, precision, recall, f1, roc_auc,
    average_precision), confusion (rows: truth), calibration (per version of :func:`versions`: ece_width, ece_mass,
    calibrated_level, log_loss, brier).
    """
    truth, p = joined.classes, joined.predicted
    n, k = len(truth), len(joined.names)
    guess = joined.given
    found = estimate(class_statistic(truth, p, guess), n, resamples=resamples, seed=seed, progress=progress)
    matrix = confusion(truth, guess, k, np.ones((1, n)))[0].astype(int)
    baseline = majority_baseline(truth, k)
    commonest = joined.names[int(baseline.pop("class"))] if n else ""
    per_class = {
        name: {"galaxies": int(matrix[i].sum()), "given": int(matrix[:, i].sum())}
        | {key: _of(found[key], i) for key in _PER_CLASS}
        for i, name in enumerate(joined.names)
    }
    return {
        "names": list(joined.names),
        "metrics": {key: found[key] for key in TITLES},
        "baseline": {"class": commonest} | baseline,
        "classes": per_class,
        "confusion": matrix.tolist(),
        "calibration": {
            label: _calibration(truth, version, resamples, seed)
            for label, version in versions(joined, temperature, seed).items()
        },
    }


def _guess(p: Floats) -> Ints:
    return p.argmax(1) if len(p) else np.zeros(0, np.int64)


def _confidence(truth: Ints, p: Floats) -> tuple[Floats, Floats]:
    """The probability of the class given, and whether it is right (0 or 1)."""
    return p.max(1, initial=0.0), (_guess(p) == truth).astype(np.float64)


def _of(value: Estimate | list[Estimate], index: int) -> Estimate:
    return value[index] if isinstance(value, list) else value


def _calibration(truth: Ints, p: Floats, resamples: int, seed: int) -> dict[str, Any]:
    confidence, correct = _confidence(truth, p)
    losses, briers = log_losses(truth, p), brier_scores(truth, p)

    def statistic(weights: Floats) -> dict[str, Floats]:
        error = calibration.expected_calibration_error
        return {
            "ece_width": error(confidence, correct, weights, binning="width"),
            "ece_mass": error(confidence, correct, weights, binning="mass"),
            "log_loss": weighted_mean(losses, weights),
            "brier": weighted_mean(briers, weights),
        }

    found: dict[str, Any] = dict(
        estimate(statistic, len(truth), resamples=resamples, seed=seed, centred=("ece_width", "ece_mass"))
    )
    return found | {"calibrated_level": calibration.calibrated_level(confidence, seed=seed)}


def class_summary(numbers: dict[str, Any], n_judged: int) -> tuple[str, ...]:
    """Four sentences that say what matters; the fifth, the account of galaxies, belongs to every judgement."""
    metrics, baseline = numbers["metrics"], numbers["baseline"]
    known = {name: row for name, row in numbers["classes"].items() if row["galaxies"]}
    if not known:
        return ("No galaxy could be judged.",)
    weakest = min(known, key=lambda name: (known[name]["recall"].value, name))
    rows = list(numbers["calibration"].items())
    before, predicted, after = rows[0][1], numbers["calibration"]["as predicted"], rows[-1][1]
    undone = f" ({before['ece_width'].text()} before the card's temperature)" if len(rows) == 3 else ""
    return (
        f"Accuracy {metrics['accuracy']} on {n_judged:,} galaxies of {len(known)} classes; always saying "
        f"“{baseline['class']}” would reach {baseline['accuracy']:.3f}.",
        f"Balanced accuracy {metrics['balanced_accuracy']}, macro F1 {metrics['macro_f1']}; least complete is "
        f"“{weakest}”: recall {known[weakest]['recall']} of {known[weakest]['galaxies']:,} galaxies.",
        f"Ranking: macro ROC AUC {metrics['macro_roc_auc']}, macro average precision "
        f"{metrics['macro_average_precision']}; log loss {metrics['log_loss']} nats, where the class shares alone "
        f"give {baseline['log_loss']:.3f}.",
        f"Calibration: expected error of the probabilities {predicted['ece_width']}{undone}, where perfect calibration "
        f"would show about {predicted['calibrated_level']:.3f}; {after['ece_width'].value:.3f} after a cross-fitted "
        "temperature.",
    )


def class_sections(joined: Joined, numbers: dict[str, Any], temperature: float, seed: int) -> tuple[Section, ...]:
    """Metrics, confusion, ROC and precision-recall, calibration: the sections of a class head."""
    if not joined.ids:
        return ()
    return (
        Section("metrics", "Metrics", _metric_blocks(numbers)),
        Section("confusion", "Confusion", _confusion_blocks(joined, numbers)),
        Section("curves", "ROC and precision-recall", _curve_blocks(joined, numbers)),
        Section("calibration", "Calibration", _calibration_blocks(joined, numbers, temperature, seed)),
    )


def _metric_blocks(numbers: dict[str, Any]) -> tuple[Block, ...]:
    metrics, baseline = numbers["metrics"], numbers["baseline"]
    overall = tuple((title, metrics[key], float(baseline[key])) for key, title in TITLES.items())
    per_class = tuple(
        (name, row["galaxies"], row["given"], *(row[key] for key in _PER_CLASS))
        for name, row in numbers["classes"].items()
    )
    return (
        Text(
            "Intervals are 95% percentile bootstrap intervals over galaxies, drawn with equal chances whatever their "
            "class. They tell how much the numbers would change with another sample of such galaxies; they do not "
            "tell how much they would change with another training run. The class given is the one of largest "
            "probability. Means over classes are over the classes that have galaxies."
        ),
        Table(
            ("", "these votes", "baseline"),
            overall,
            f"All classes. Baseline: always “{baseline['class']}”, the commonest class, with the class shares as "
            "probabilities.",
        ),
        Table(
            ("class", "galaxies", "given", "precision", "recall", "F1", "ROC AUC", "average precision"),
            per_class,
            "Per class. Precision is the purity of the galaxies given to the class, recall the completeness of its "
            "true galaxies; the areas are of the class against the rest.",
        ),
    )


def _confusion_blocks(joined: Joined, numbers: dict[str, Any]) -> tuple[Block, ...]:
    matrix = np.array(numbers["confusion"], dtype=np.float64)
    wrong = matrix - np.diag(np.diag(matrix))
    blocks: list[Block] = [Confusion(joined.names, matrix)]
    order = np.argsort(-wrong, axis=None, kind="stable")[:3]
    pairs = [divmod(int(cell), len(joined.names)) for cell in order if wrong.flat[cell] > 0]
    if pairs:
        listed = "; ".join(
            f"{int(wrong[row, column]):,} “{joined.names[row]}” given as “{joined.names[column]}”"
            for row, column in pairs
        )
        blocks.append(Text(f"The most frequent confusions: {listed}."))
    return tuple(blocks)


def _curve_blocks(joined: Joined, numbers: dict[str, Any]) -> tuple[Block, ...]:
    lines = [
        plots.Curve(_label(name, numbers["classes"][name]), joined.classes == i, joined.predicted[:, i])
        for i, name in enumerate(joined.names)
    ]
    return (
        Figure(
            plots.ranking_curves(lines),
            "Each class against the rest, ranked by its probability. AUC: area under the ROC curve; AP: average "
            "precision. The dotted diagonal is chance. Intervals are in the table above.",
        ),
    )


def _label(name: str, row: dict[str, Any]) -> str:
    short = name if len(name) <= 28 else f"{name[:27]}…"
    return f"{short}  AUC {row['roc_auc'].value:.3f}, AP {row['average_precision'].value:.3f}"


def _calibration_blocks(joined: Joined, numbers: dict[str, Any], temperature: float, seed: int) -> tuple[Block, ...]:
    keys = ("ece_width", "ece_mass", "log_loss", "brier", "calibrated_level")
    rows = tuple((label, *(row[key] for key in keys)) for label, row in numbers["calibration"].items())
    shown = [
        (label.split(",")[0], calibration.reliability(*_confidence(joined.classes, p)), p.max(1))
        for label, p in versions(joined, temperature, seed).items()
    ]
    card = (
        f"The model's card holds a temperature of {temperature:.3g}, fitted on its validation part, which is part of "
        "the votes as predicted; the first row undoes it (p to the power T, renormalised; exact for one image and one "
        "model, approximate for averages over views or models). "
        if temperature != 1.0
        else "No temperature is part of these votes, as far as their file tells. "
    )
    return (
        Text(
            "A calibrated probability of 0.8 is right 8 times in 10. The expected calibration error (ECE; Guo et al. "
            f"2017) is the mean gap between confidence and accuracy over {calibration.BINS} bins, of equal width as in "
            "that paper, and of equal mass. A mean of absolute values is above 0 even for perfect calibration: "
            "“noise alone” is the mean ECE (equal width) if every confidence were exactly right."
        ),
        Text(
            card
            + "The rescaled row divides the logarithms of the probabilities by one temperature, fitted on one half "
            "of the judged galaxies and applied to the other (2-fold cross-fitting by a hash of the id): no galaxy is "
            "judged with a temperature that has seen its truth. It shows what calibration could gain; the votes file "
            "holds the row “as predicted”."
        ),
        Table(("probabilities", "ECE, equal width", "ECE, equal mass", "log loss", "Brier", "noise alone"), rows),
        Figure(
            plots.reliability_diagram(shown),
            "Reliability in 15 bins of equal mass, with 95% Wilson intervals. Below the diagonal the votes are too "
            "sure, above it not sure enough. The lower panel shows how many galaxies have which confidence.",
        ),
    )


def class_walls(joined: Joined) -> list[tuple[str, str, Ints, list[tuple[str, ...]]]]:
    """Title, text, indices and captions of the three galleries of a class head."""
    p, truth = joined.predicted, joined.classes
    n = len(truth)
    own = p[np.arange(n), truth]
    guess = joined.given
    entropy = -(p * np.log(np.maximum(p, 1e-30))).sum(1)
    walls = (
        (
            "Best",
            "The highest probability of the true class, the best galaxy of every class in turn.",
            in_turn(np.where(guess == truth, own, np.nan), truth),
        ),
        ("Worst", "The lowest probability of the true class: mistakes, of the votes or of the truth.", highest(-own)),
        ("Most uncertain", "The highest entropy of the probabilities.", highest(entropy)),
    )
    return [
        (title, text, index, [_caption(joined.names, truth[i], guess[i], p[i]) for i in index])
        for title, text, index in walls
    ]


def _caption(names: tuple[str, ...], truth: int, guess: int, p: Floats) -> tuple[str, ...]:
    given = f"given: {names[guess]} ({p[guess]:.2f})"
    return (f"true: {names[truth]}", given) if truth == guess else (f"true: {names[truth]} ({p[truth]:.2f})", given)
