"""Whether lenses, stars and artefacts are told by what they are, not by the borders of simulated pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluate.bootstrap import Bools, Estimate, Floats
from ...evaluate.conformal import covered_within
from ...galaxy.cutout import Record
from ...galaxy.records import Source
from ...galaxy.source import open_source
from ...galaxy.tablefile import read_table
from ...predict.eyes import Eye
from ...predict.inwords import MENTIONED
from ...simulate.cfhtls import FIELD, find_lens_survey
from ...simulate.galaxies import Order, draw_record
from ...simulate.lenses import SNR, LensOrder, draw_stamp
from ...simulate.survey import find_survey
from ...simulate.truth import CLASSES, draw_population
from .ask import WAYS, ask, ids_of_part, open_heads, shown_images
from .findings import Findings, roc_auc
from .headline import ON_GZ1

LENS, GALAXY = "lens", "galaxy-or-not"  # the models' names
WIDTH = 8  # px of the network's input on each side that the border classifiers see
SEED = 86420  # of stamps that nothing was trained on
SIMULATED = "simulated lenses, of another seed than those learnt from"
LIKELY, UNLIKELY = 2.0, 1.3  # grades of Space Warps: from one up a likely lens, below the other hardly one
FOLDS = 5
TREES, PERMUTED = 100, 19
_Drawn = tuple[list[Record], Bools]


def borders(
    models: str | Path | Sequence[str | Path],
    *,
    spacewarps: Path | None = None,
    n: int = 600,
    seed: int = SEED,
    views: int = 1,
    resamples: int = 1000,
    command: str = "",
) -> Findings:
    """Of simulated lenses, and of stars and artefacts: areas under the ROC curve by the border alone, and by the model.

    The border classifiers (:func:`border_areas`) see the outer :data:`WIDTH` px of the network's input and learn by
    cross-validation on ``n`` stamps; near 0.5 there is nothing to learn there. They see the stamps whole as well: what
    they learn of framed ones alone is how large the source was found, and what it put there. The heads "lens" and
    "galaxy-or-not", where ``models`` have them, answer for the same stamps, of a sky that nothing was trained on.
    ``spacewarps`` is the folder of real candidates with its index.csv (file, grade): likely lenses against unlikely.
    """
    findings = Findings(command)
    ways = {way: open_heads(models, views=views, resize=resize)[0] for resize, way in WAYS.items()}
    for name, answer, draw, on in (
        (LENS, "lens", drawn_lenses, "simulated lenses and look-alikes"),
        (GALAXY, "other", drawn_sky, "simulated stars or artefacts, and galaxies"),
    ):
        records, positive = draw(n, seed)
        for way, eye in ways.items():
            _add_borders(findings, name, eye, records, positive, f"{on}, {way}", resamples)
        eyes = open_heads(models, (name,), views=views)
        if not eyes:
            continue
        asked = ask(records, eyes)
        done = asked.answered(name)
        area = roc_auc(positive[done], asked.column(name, answer)[done], resamples)
        told = f"{on}, of another seed than those learnt from"
        findings.add(name, f"ROC AUC of '{answer}'", told, area, int(done.sum()), rejected=int((~done).sum()))
        if name == LENS and spacewarps is not None:
            _add_candidates(findings, spacewarps, eyes, resamples)
    return findings


def false_alarms(
    models: str | Path | Sequence[str | Path],
    union: Source,
    *,
    n: int = 600,
    seed: int = SEED,
    views: int = 1,
    command: str = "",
) -> Findings:
    """How often the head "lens" calls ordinary galaxies lenses: Galaxy Zoo 1's test part, where hardly one is.

    By its probability, and in words, which weigh it by the card's rates: a lens is mentioned from
    :data:`~tuningfork.predict.inwords.MENTIONED` on, and called one where that is likelier than not. Beside it the
    share of ``n`` simulated stamps' lenses, of another seed than those learnt from; with Wilson's intervals, which say
    something of none as well.
    """
    findings, eyes = Findings(command), open_heads(models, (LENS,), views=views)
    if not eyes:
        return findings
    records, lens = drawn_lenses(n, seed)
    asked = ask([one for one, has in zip(records, lens.tolist(), strict=True) if has], eyes)
    there = asked.column(LENS, LENS)[asked.answered(LENS)]
    asked = ask(union.records(ids_of_part(union, "gz1")), eyes)
    p = asked.column(LENS, LENS)[asked.answered(LENS)]
    head = asked.heads[LENS]
    told, found = (np.array([head.weighed({LENS: x, "not_lens": 1 - x})[LENS] for x in one]) for one in (p, there))
    for what, ordinary, lenses in (
        ("with p above 0.5", p > 0.5, there > 0.5),
        ("with p above 0.95", p > 0.95, there > 0.95),
        ("whose words mention a lens", told >= MENTIONED, found >= MENTIONED),
        ("whose words call it a lens", told > 0.5, found > 0.5),
    ):
        findings.add(LENS, f"share of ordinary galaxies {what}", ON_GZ1, _share(ordinary), len(p))
        findings.add(LENS, f"share of lenses {what}", SIMULATED, _share(lenses), len(there))
    findings.fail(
        LENS,
        f"It learnt from as many lenses as look-alikes: {_share(p > 0.5)} of ordinary galaxies have p "
        "above 0.5, where hardly one is a lens. Take p as a rank.",
    )
    return findings


def _share(these: Bools) -> Estimate:
    return covered_within(float(these.mean()) if len(these) else float("nan"), len(these))


def drawn_lenses(n: int, seed: int) -> _Drawn:
    """Stamps as :func:`~tuningfork.simulate.lenses.simulate_lenses` draws them, and which are lenses, (n,)."""
    survey = find_lens_survey("cfhtls")
    order = LensOrder(survey, ("g", "r", "i"), round(FIELD / survey.pixel_scale), True, seed, 0.5, SNR, False)
    records, lens = [], []
    for index in range(n):
        record, truth = draw_stamp(index, order)
        assert isinstance(record, Record) and truth is not None
        records.append(record)
        lens.append(truth["class"] == "lens")
    return records, np.array(lens, dtype=bool)


def drawn_sky(n: int, seed: int, size: int = 96) -> _Drawn:
    """Stamps of the simulated sky, half of them stars or artefacts, and which those are, (n,)."""
    others = [name for name in CLASSES if name != "star_or_artefact"]
    weights = dict.fromkeys(others, 1 / len(others)) | {"star_or_artefact": 1.0}
    order = Order(find_survey("sdss"), ("g", "r", "i"), size, True, seed, weights)
    population = list(draw_population(seed, n, "sdss", weights))
    records = [draw_record(one, order) for one in population]
    return records, np.array([one.label == "star_or_artefact" for one in population], dtype=bool)


def border_features(images: NDArray[np.uint8], width: int = WIDTH) -> Floats:
    """Of pictures (N, bands, S, S), the statistics (N, 6 bands) of the pixels at most ``width`` px from an edge.

    Of each band the mean, the deviation, and the percentiles 5, 50, 90 and 99.
    """
    rim = np.ones(images.shape[2:], bool)
    rim[width:-width, width:-width] = False
    edges = images[:, :, rim].astype(np.float64)  # (N, bands, pixels)
    numbers = [edges.mean(2), edges.std(2), *np.percentile(edges, (5, 50, 90, 99), axis=2)]
    return np.concatenate(numbers, axis=1)


def border_areas(
    features: Floats, positive: Bools, resamples: int, permuted: int = PERMUTED
) -> dict[str, tuple[Estimate, float]]:
    """ROC AUC of a logistic regression and a random forest on statistics (N, F), each judged on folds it has not seen.

    Beside each the highest area of ``permuted`` others that learnt shuffled answers: areas of cross-validation scatter
    about 0.5 by more than a bootstrap over galaxies tells, since the folds share what they learn from. A value above
    all 19 of them happens by chance once in 20. Empty where a side has fewer galaxies than there are folds.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer

    if min(positive.sum(), (~positive).sum()) < FOLDS:
        return {}
    few = int(len(positive) * (1 - 1 / FOLDS))
    quantiles = QuantileTransformer(n_quantiles=min(100, few), output_distribution="normal", random_state=0)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    areas = {}
    for name, judge in (
        ("logistic regression", make_pipeline(quantiles, LogisticRegression(C=0.1))),
        ("random forest", RandomForestClassifier(TREES, min_samples_leaf=8, random_state=0)),
    ):

        def told(answers: Bools, judge: Any = judge) -> Floats:
            return cross_val_predict(judge, features, answers, cv=folds, method="predict_proba")[:, 1]

        generator = np.random.default_rng(0)
        shuffled = [generator.permutation(positive) for _ in range(permuted)]
        chance = max((roc_auc(one, told(one), 0).value for one in shuffled), default=float("nan"))
        areas[name] = roc_auc(positive, told(positive), resamples), chance
    return areas


def _add_borders(
    findings: Findings, name: str, eye: Eye, records: list[Record], positive: Bools, on: str, resamples: int
) -> None:
    known = dict(zip([one.id for one in records], positive.tolist(), strict=True))
    ids, images = shown_images(records, eye)
    middle = slice(eye.margin, images.shape[2] - eye.margin)
    seen = np.array([known[one] for one in ids], dtype=bool)
    rejected = len(records) - len(ids)
    features = border_features(images[:, :, middle, middle])
    for judge, (area, chance) in border_areas(features, seen, resamples).items():
        what = f"ROC AUC of the input's outer {WIDTH} px alone, {judge} (0.5 is nothing to learn)"
        findings.add(name, what, on, area, len(ids), rejected=rejected, highest_by_chance=round(chance, 3))
        if area.value > chance:
            told = (
                f"The borders of {on} tell the two apart: area under the curve {area} ({judge}), by chance {chance:.3f}"
            )
            findings.fail(name, f"{told} at most; part of what the model knows may lie there.")


def _add_candidates(findings: Findings, folder: Path, eyes: Sequence[Eye], resamples: int) -> None:
    """The head lens on Space Warps' candidates of experts' grades."""
    grade = grades(folder / "index.csv")
    source = open_source(folder / "images")
    asked = ask(source.records([one for one in source.ids if one in grade]), eyes)
    told = np.array([grade[one] for one in asked.ids], np.float64)
    done = asked.answered(LENS) & ((told >= LIKELY) | (told < UNLIKELY))
    area = roc_auc(told[done] >= LIKELY, asked.column(LENS, "lens")[done], resamples)
    what = f"ROC AUC of 'lens' (grade {LIKELY:g} or more against below {UNLIKELY:g})"
    rejected = int((~asked.answered(LENS)).sum())
    findings.add(LENS, what, "real candidates of Space Warps", area, int(done.sum()), rejected=rejected)
    if not area.low > 0.5:
        findings.fail(
            LENS, f"Likely lenses of Space Warps are not told from unlikely ones: area under the curve {area}."
        )


def grades(index: Path) -> dict[str, float]:
    """The experts' grade of each picture that has one, by the id it has as a file of a folder."""
    table = read_table(index, lambda names: names).select(["file", "grade"])
    return {
        Path(str(row["file"])).stem: float(row["grade"]) for row in table.to_pylist() if row["grade"] not in (None, "")
    }
