"""Whether what was fitted beside a model holds on test galaxies: temperatures, sets, intervals, how sure votes are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...evaluate.bootstrap import Bools, Estimate, Floats, Ints, estimate
from ...evaluate.calibration import scale
from ...evaluate.questions import log_likelihood
from ...evaluate.strangeness import judge_strangeness
from ...galaxy.records import Source
from ...model.card import Card
from ...predict.answers import Head
from ...predict.eyes import Eye
from .ask import BATCH, shown_images
from .findings import Findings, calibration_error, mean

More = Mapping[str, int]
UNUSUAL = 0.01  # as `classify` takes it


def class_promises(
    findings: Findings,
    name: str,
    on: str,
    card: Card,
    head: Head,
    said: Floats,
    truth: Ints,
    resamples: int,
    more: More,
) -> None:
    """Of classes: the expected calibration error with the card's temperature and without, and what its sets reach.

    ``said`` (N, K) are probabilities, ``truth`` (N,) the places of the true classes. Without: the answers with the
    temperature undone, of which views may have been averaged. The sets are those of :meth:`Head.likely`.
    """
    n = len(truth)
    for what, p in (("", said), (", without its temperature", scale(said, 1 / card.temperature))):
        error, told = calibration_error(p, truth, resamples)
        findings.add(name, f"expected calibration error{what}", on, error, n, **more, **told)
    set_promises(findings, name, on, head, said, truth, resamples, more)


def set_promises(
    findings: Findings, name: str, on: str, head: Head, said: Floats, truth: Ints, resamples: int, more: More
) -> None:
    """Of classes: how many of the card's sets hold the true class, and how large these are; see class_promises."""
    n = len(truth)
    if head.has_sets:
        rows = [head.likely(dict(zip(head.names, row, strict=True))) for row in said.tolist()]
        held: Bools = np.array([head.names[k] in row for k, row in zip(truth.tolist(), rows, strict=True)], bool)
        sizes = np.array([len(row) for row in rows], np.float64)
        findings.add(name, f"share of {head.level:.0%} sets with the true class", on, mean(held, resamples), n, **more)
        findings.add(name, f"classes in a {head.level:.0%} set", on, mean(sizes, resamples), n, **more)


def interval_promises(
    findings: Findings, name: str, on: str, head: Head, said: Floats, truth: Floats, resamples: int, more: More
) -> None:
    """Of attributes: how many true values are in the interval, of the first attribute and of all together.

    ``said`` and ``truth`` (N, K) are on the attributes' own scales; a truth that is NaN or off its scale is undefined.
    """
    ends = head.ends(dict(zip(head.names, said.T, strict=True)))
    inside, known = np.zeros(said.shape, bool), np.zeros(said.shape, bool)
    assert head.tree is not None
    for k, (column, asked) in enumerate(zip(head.names, head.tree.questions, strict=True)):
        if column in head.with_intervals:
            known[:, k] = (truth[:, k] >= asked.low) & (truth[:, k] <= asked.high)
            slack = 1e-6 * (asked.high - asked.low)
            low, high = ends[f"{column}_low"] - slack, ends[f"{column}_high"] + slack
            inside[:, k] = known[:, k] & (truth[:, k] >= low) & (truth[:, k] <= high)
    first = known[:, 0]
    what = f"share of {head.level:.0%} intervals with the true value"
    if first.any():
        findings.add(name, f"{what}, {head.names[0]}", on, mean(inside[first, 0], resamples), int(first.sum()), **more)
    if known.any():

        def pooled(weights: Floats) -> dict[str, Floats]:
            return {"share": (weights @ inside.sum(1)) / np.maximum(weights @ known.sum(1), 1)}

        share = estimate(pooled, len(said), resamples=resamples)["share"]
        assert isinstance(share, Estimate)
        findings.add(name, f"{what}, all attributes", on, share, len(said), **more)


def certainty_promises(
    findings: Findings, name: str, on: str, head: Head, alpha: Floats, votes: Floats, resamples: int, more: More
) -> None:
    """Of votes: how likely they are, per galaxy, with the card's scales and without, and the gain of the scales.

    ``alpha`` (N, A) are concentrations as the card scales them, ``votes`` (N, A) counts.
    """
    scales = head.calibration.get("certainty", {}).get("scales", {})
    if not scales or head.tree is None:
        return
    with_scales, without = np.zeros(len(votes)), np.zeros(len(votes))
    for question, span in head.tree.slices.items():
        counts = np.nan_to_num(votes[:, span])
        with_scales += log_likelihood(alpha[:, span], counts)
        without += log_likelihood(alpha[:, span] / scales.get(question, 1.0), counts)
    n, what = len(votes), "log-likelihood of a galaxy's votes"
    for told, values in (("", with_scales), (", without its scales", without)):
        findings.add(name, f"{what}{told}", on, mean(values, resamples), n, **more)
    findings.add(name, f"{what}, gained by its scales", on, mean(with_scales - without, resamples), n, **more)


def strangeness_promises(
    findings: Findings,
    name: str,
    on: str,
    eye: Eye,
    source: Source,
    ordinary: Sequence[str],
    strange: Mapping[str, Sequence[str]],
    resamples: int,
) -> None:
    """How often the encoder calls ``ordinary`` galaxies unusual, and how well it tells each kind of ``strange`` ones.

    All are ids of ``source``; kinds without a galaxy that can be seen are left out, as is an encoder that does not
    know what is usual.
    """
    if eye.strangeness is None:
        return
    fitted = eye.strangeness

    def scores(ids: Sequence[str]) -> Floats:
        found = []
        for start in range(0, len(ids), BATCH):
            _, images = shown_images(source.records(ids[start : start + BATCH]), eye)
            edge = slice(eye.margin, images.shape[-1] - eye.margin)
            if len(images):
                found.append(fitted.score(eye.engines.features(np.ascontiguousarray(images[..., edge, edge]))))
        return np.concatenate(found).astype(np.float64) if found else np.zeros(0)

    own = scores(ordinary)
    if len(own):
        unusual = fitted.share_of(own) <= UNUSUAL
        findings.add(name, "share called unusual (p < .01)", on, mean(unusual, resamples), len(own))
    others = {kind: found for kind, ids in strange.items() if len(found := scores(ids))}
    for kind, told in (judge_strangeness(own, others, fitted, resamples=resamples) if len(own) else {}).items():
        for key, what in (("roc_auc", "ROC AUC of strangeness"), ("flagged", "share called unusual (p < .01)")):
            value = told[key]
            assert isinstance(value, Estimate)
            findings.add(name, what, f"{kind}, against {on}", value, len(others[kind]))
