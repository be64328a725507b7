"""The judgement of predicted votes: all numbers of it, question by question, and the sections that show them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ..galaxy.beta import dirichlet_columns
from . import plots
from .bootstrap import Estimate, Floats, Ints, estimate
from .calibration import reliability
from .gallery import highest
from .joined import Joined
from .questions import (
    REACHED,
    Answers,
    constant_rmse,
    cumulative_rmse,
    likelihood_statistic,
    question_statistic,
)
from .report import Block, Figure, Section, Table, Text

Progress = Callable[[int, int, str], None]
FEW = 30  # galaxies, below which numbers rest on little


def answers_of(joined: Joined) -> dict[str, Answers]:
    """Question by question, what was predicted and what the volunteers said."""
    tree = joined.labels.tree
    assert tree is not None
    counts = joined.truth if joined.labels.kind == "counts" else None
    truth = tree.fractions(joined.truth)
    predicted = tree.fractions(joined.predicted)
    reached = tree.reach(truth)
    dirichlet = dirichlet_columns(joined.predicted, tree) if joined.head == "dirichlet" else {}

    def given(key: str, columns: slice) -> Floats | None:
        return dirichlet[key][:, columns] if dirichlet else None

    found = {}
    for number, question in enumerate(tree.questions):
        columns = tree.slices[question.name]
        found[question.name] = Answers(
            tuple(answer.name for answer in question.answers),
            np.nan_to_num(predicted[:, columns]),
            truth[:, columns],
            reached[:, number],
            None if counts is None else counts[:, columns],
            given("concentration", columns),
            given("low", columns),
            given("high", columns),
        )
    return found


def cumulative(joined: Joined) -> tuple[Floats, Floats, str]:
    """Predicted and observed cumulative fractions (N, A), and which convention they follow, in words."""
    tree = joined.labels.tree
    assert tree is not None
    fractions = tree.fractions(joined.predicted), tree.fractions(joined.truth)
    if tree.name == "gz2" and tree.n_answers == 37:
        predicted, truth = (tree.to_challenge(one) for one in fractions)
        return predicted, truth, "the Galaxy Challenge's 37 columns, its question 6 summing to 1 as published"
    predicted, truth = (tree.cumulative(one) for one in fractions)
    return predicted, truth, f"the {tree.n_answers} cumulative columns of the tree {tree.name}"


def judge_votes(
    joined: Joined, *, resamples: int = 1000, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """All numbers about predicted votes, :class:`Estimate` where an interval belongs to them.

    Keys: tree; convention (of the cumulative columns); rmse and rmse_constant (the Galaxy Challenge's, over all
    columns); questions: per question galaxies (judged), voted (galaxies with any vote), rmse_cumulative and its
    constant, whatever :func:`question_statistic` and (of concentrations against counts) :func:`likelihood_statistic`
    say, and answers: per answer leading (galaxies), roc_auc, average_precision, answer_rmse, bias.
    """
    tree = joined.labels.tree
    assert tree is not None
    predicted, truth, convention = cumulative(joined)

    def rmse(weights: Floats) -> dict[str, Floats]:
        found = {"all": cumulative_rmse(predicted, truth, weights), "all constant": constant_rmse(truth, weights)}
        for name, columns in tree.slices.items():
            found[name] = cumulative_rmse(predicted[:, columns], truth[:, columns], weights)
            found[f"{name} constant"] = constant_rmse(truth[:, columns], weights)
        return found

    n = len(joined.ids)
    errors = estimate(rmse, n, resamples=resamples, seed=seed)
    questions = {}
    for done, (name, answers) in enumerate(answers_of(joined).items()):
        questions[name] = _judge_question(answers, n, resamples, seed) | {
            "rmse_cumulative": errors[name],
            "rmse_cumulative_constant": errors[f"{name} constant"],
        }
        if progress is not None:
            progress(done + 1, len(tree.questions), name)
    return {
        "tree": tree.name,
        "convention": convention,
        "rmse": errors["all"],
        "rmse_constant": errors["all constant"],
        "questions": questions,
    }


def _judge_question(answers: Answers, n: int, resamples: int, seed: int) -> dict[str, Any]:
    found = estimate(question_statistic(answers), n, resamples=resamples, seed=seed, centred=("fraction_error",))
    if answers.counts is not None and answers.alpha is not None:
        found |= estimate(likelihood_statistic(answers, seed), n, resamples=resamples, seed=seed)
    judged = answers.judged
    leading = answers.truth[judged].argmax(1) if judged.any() else np.zeros(0, np.int64)
    per_answer = {
        name: {"leading": int((leading == i).sum())}
        | {key: value[i] for key, value in found.items() if isinstance(value, list)}
        for i, name in enumerate(answers.names)
    }
    commonest = np.bincount(leading, minlength=len(answers.names)).max() / len(leading) if len(leading) else np.nan
    scalars = {key: value for key, value in found.items() if isinstance(value, Estimate)}
    voted = int(np.isfinite(answers.truth).all(1).sum())
    return {
        "galaxies": int(judged.sum()),
        "voted": voted,
        "accuracy_baseline": float(commonest),
        **scalars,
        "answers": per_answer,
    }


def vote_summary(numbers: dict[str, Any], n_judged: int) -> tuple[str, ...]:
    """Four sentences that say what matters; the fifth, the account of galaxies, belongs to every judgement."""
    if not n_judged:
        return ("No galaxy could be judged.",)
    rows = numbers["questions"]
    first = next(iter(rows))
    mean = numbers["rmse_constant"].value
    better = numbers["rmse"].value <= mean
    right, few = rows[first]["galaxies"], rows[first]["galaxies"] < FEW
    lines = [
        f"RMSE {numbers['rmse']} over {numbers['convention']}, of {n_judged:,} galaxies"
        + (
            f"; the column means alone give {mean:.3f}."
            if better
            else f", which is worse than the column means, {mean:.3f}."
        ),
        f"First question ({first}): the leading answer is right for {rows[first]['accuracy']} of {right:,} galaxies"
        f"{', which are few' if few else ''}; its commonest answer alone for {rows[first]['accuracy_baseline']:.3f}.",
        _explained_line(rows),
    ]
    if "votes_covered" in rows[first]:
        shares = [row["votes_covered"].value for row in rows.values() if np.isfinite(row["votes_covered"].value)]
        gain = rows[first]["log_likelihood_gain"]
        lines.append(
            f"Uncertainty: the 90% intervals of the votes hold {min(shares):.2f} to {max(shares):.2f} of them, by "
            f"question; the likelihood of the first question's votes gains {gain} nats per galaxy over a constant."
        )
    else:
        lines.append("These votes are fractions without uncertainties, so that no likelihood can be given.")
    return tuple(lines)


def _explained_line(rows: dict[str, Any]) -> str:
    """Which questions' fractions are explained most and least, and which are predicted worse than by a constant."""
    told = {name: row["explained"] for name, row in rows.items() if row["galaxies"] >= FEW}
    told = {name: explained for name, explained in told.items() if np.isfinite(explained.value)}
    if not told:
        return f"No question reached {FEW} galaxies, so that nothing is said about the variance of the fractions."
    good = sorted((name for name in told if told[name].value > 0), key=lambda name: -told[name].value)
    bad = [f"{name} ({told[name]})" for name in told if told[name].value <= 0]
    parts = []
    if len(good) > 1:
        parts.append(f"most is explained for {good[0]} ({told[good[0]]}), least for {good[-1]} ({told[good[-1]]})")
    elif good:
        parts.append(f"{told[good[0]]} is explained for {good[0]}")
    if bad:
        parts.append(f"none of the variance is explained (worse than a constant) for {', '.join(bad)}")
    return f"Of the variance of the volunteers' fractions, {'; '.join(parts)}."


def few_galaxies(numbers: dict[str, Any]) -> tuple[str, ...]:
    """A caution about the questions that were judged on few galaxies, or on none."""
    rows = numbers.get("questions", {})
    few = [f"{name} ({row['galaxies']})" for name, row in rows.items() if row["galaxies"] < FEW]
    if not few or not any(row["galaxies"] for row in rows.values()):
        return ()
    return (f"Questions judged on fewer than {FEW} galaxies, whose numbers rest on little: {', '.join(few)}.",)


def vote_sections(joined: Joined, numbers: dict[str, Any]) -> tuple[Section, ...]:
    """Metrics, per question, ROC and precision-recall, calibration: the sections of a vote head."""
    if not joined.ids:
        return ()
    answers = answers_of(joined)
    return (
        Section("metrics", "Metrics", _metric_blocks(numbers)),
        Section("questions", "Question by question", _answer_blocks(numbers)),
        Section("curves", "ROC and precision-recall", _curve_blocks(answers, numbers)),
        Section("calibration", "Calibration", _calibration_blocks(answers, numbers)),
    )


def _metric_blocks(numbers: dict[str, Any]) -> tuple[Block, ...]:
    rows = numbers["questions"]
    errors = [("all columns", numbers["rmse"], numbers["rmse_constant"].value)] + [
        (name, row["rmse_cumulative"], row["rmse_cumulative_constant"].value) for name, row in rows.items()
    ]
    leading = tuple(
        (
            name,
            row["galaxies"],
            row["accuracy"],
            row["accuracy_baseline"],
            row["macro_roc_auc"],
            row["macro_average_precision"],
            row["rmse"],
            row["explained"],
        )
        for name, row in rows.items()
    )
    return (
        Text(
            "Intervals are 95% percentile bootstrap intervals over galaxies, drawn with equal chances. They tell how "
            "much the numbers would change with another sample of such galaxies; they do not tell how much they would "
            "change with another training run."
        ),
        Table(
            ("", "RMSE", "column means"),
            tuple(errors),
            "Root mean square error of the cumulative fractions, sqrt of the mean over galaxies and columns of "
            f"(p - a)²: {numbers['convention']}. Column means: the best constant prediction on these galaxies.",
        ),
        Table(
            ("question", "galaxies", "accuracy", "commonest", "ROC AUC", "average precision", "RMSE", "explained"),
            leading,
            f"Galaxies that at least {REACHED:.0%} of the volunteers were led to the question for. Accuracy, ROC AUC "
            "and average precision (means over the answers that lead for some galaxy): the answer of most votes is the "
            "truth. RMSE and the explained share of variance: of the fractions themselves. Few votes scatter, so that "
            "even a perfect prediction explains less than 1.",
        ),
    )


def _answer_blocks(numbers: dict[str, Any]) -> tuple[Block, ...]:
    rows = tuple(
        (
            f"{question}: {name}",
            answer["leading"],
            answer["answer_rmse"],
            answer["bias"],
            answer["roc_auc"],
            answer["average_precision"],
        )
        for question, row in numbers["questions"].items()
        for name, answer in row["answers"].items()
    )
    return (
        Table(
            ("answer", "leading in", "RMSE", "bias", "ROC AUC", "average precision"),
            rows,
            "Per answer, on the same galaxies. Bias: the mean of predicted minus observed fraction. The areas are of "
            "the answer as the leading one against the others.",
        ),
    )


def _curve_blocks(answers: dict[str, Answers], numbers: dict[str, Any]) -> tuple[Block, ...]:
    blocks: list[Block] = [
        Text(f"The leading answer of each question, on galaxies that at least {REACHED:.0%} of the volunteers reached.")
    ]
    for name, one in answers.items():
        judged = one.judged
        if not judged.any():
            blocks.append(Text(f"{name}: no galaxies.", "note"))
            continue
        leading = one.truth[judged].argmax(1)
        lines = [
            plots.Curve(
                f"{_spoken(answer)}  AUC {row['roc_auc'].value:.3f}, AP {row['average_precision'].value:.3f}",
                leading == i,
                one.predicted[judged, i],
            )
            for i, (answer, row) in enumerate(numbers["questions"][name]["answers"].items())
            if np.isfinite(row["roc_auc"].value)
        ]
        if lines:
            blocks.append(
                Figure(plots.ranking_curves(lines, _spoken(name)), f"{name}: {int(judged.sum()):,} galaxies.")
            )
        else:
            blocks.append(Text(f"{name}: one answer leads for all {int(judged.sum()):,} galaxies.", "note"))
    return tuple(blocks)


def _calibration_blocks(answers: dict[str, Answers], numbers: dict[str, Any]) -> tuple[Block, ...]:
    rows = numbers["questions"]
    panels = [
        (_spoken(name), reliability(one.predicted[one.judged].ravel(), one.truth[one.judged].ravel(), 10))
        for name, one in answers.items()
        if one.judged.any()
    ]
    blocks: list[Block] = [
        Text(
            "A calibrated fraction of 0.3 is what 30% of the volunteers say, on average over galaxies with that "
            "prediction. A temperature applies to classes, not to votes: none is fitted here."
        ),
        Figure(
            plots.fraction_reliability(panels),
            f"Mean observed against mean predicted fraction in 10 bins of equal mass, all answers of a question; "
            f"galaxies that at least {REACHED:.0%} of the volunteers reached the question for.",
        ),
    ]
    blocks.append(
        Table(
            ("question", "galaxies", "calibration error of fractions"),
            tuple((name, row["galaxies"], row["fraction_error"]) for name, row in rows.items()),
            "The mean gap between predicted and observed fraction over these bins.",
        )
    )
    if any("votes_covered" in row for row in rows.values()):
        blocks.append(_likelihoods(rows))
    return tuple(blocks)


def _likelihoods(rows: dict[str, Any]) -> Table:
    keys = ("votes_covered", "fractions_covered", "log_likelihood", "log_likelihood_gain")
    return Table(
        ("question", "with votes", "90% of votes", "90% of fractions", "log likelihood", "gain over a constant"),
        tuple((name, row["voted"], *(row[key] for key in keys)) for name, row in rows.items()),
        "All galaxies with votes on the question. 90% of votes: the share of vote counts inside the central 90% of "
        "their predicted beta-binomial distribution, 0.90 if calibrated. 90% of fractions: that of observed fractions "
        "inside the low..high interval of the underlying fraction, which the scatter of few votes makes lower. Log "
        "likelihood: Dirichlet-multinomial, nats per galaxy; gain: over the best prediction that is the same for all.",
    )


def vote_walls(joined: Joined) -> list[tuple[str, str, Ints, list[tuple[str, ...]]]]:
    """Title, text, indices and captions of the three galleries of a vote head."""
    tree = joined.labels.tree
    assert tree is not None
    predicted, truth, _ = cumulative(joined)
    error = np.sqrt(((predicted - truth) ** 2).mean(1))
    questions = answers_of(joined)
    if joined.head == "dirichlet":
        weight = tree.reach(tree.fractions(joined.predicted))  # (N, Q)
        spread = np.stack([_variance(one) for one in questions.values()], axis=1)
        doubt, words = (weight * spread).sum(1), "The largest predicted variance of the fractions, weighted by reach."
    else:
        first = next(iter(questions.values())).predicted
        doubt = -(first * np.log(np.maximum(first, 1e-30))).sum(1)
        words = "The highest entropy of the first question's fractions."
    walls = (
        ("Best", "The smallest root mean square error over the cumulative fractions.", highest(-error)),
        ("Worst", "The largest root mean square error over the cumulative fractions.", highest(error)),
        ("Most uncertain", words, highest(doubt)),
    )
    return [(title, text, index, [_caption(questions, i, error[i]) for i in index]) for title, text, index in walls]


def _variance(answers: Answers) -> Floats:
    """The sum of the Dirichlet variances a (A - a) / (A^2 (A + 1)) of a question's fractions, shape (N,)."""
    assert answers.alpha is not None
    total = answers.alpha.sum(1, keepdims=True)
    return (answers.alpha * (total - answers.alpha) / (total**2 * (total + 1))).sum(1)


def _spoken(name: str) -> str:
    """An answer's or question's name as people say it: a01_smooth is smooth, t02_edgeon edgeon."""
    return re.sub(r"^[ta]\d\d_", "", name).replace("_", " ")


def _caption(questions: dict[str, Answers], row: int, error: float) -> tuple[str, ...]:
    """The leading answers of the volunteers down the tree, against the predicted fraction of the same answer."""
    lines: list[str] = []
    for question, one in questions.items():
        if one.judged[row] and len(lines) < 3:
            best = int(one.truth[row].argmax())
            answer = _spoken(one.names[best])
            said = f"{_spoken(question)}: {answer}" if answer in ("yes", "no") else answer
            lines.append(f"{said} {one.truth[row, best]:.2f}, given {one.predicted[row, best]:.2f}")
    return (*lines, f"RMSE {error:.3f}")
