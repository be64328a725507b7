"""Pictures of other surveys and of other kinds: what the reference models make of them, and what they refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import RecipeError
from ...galaxy.source import open_source
from ...galaxy.tree import Tree
from ..samples import SDSS, Example, read_examples
from .ask import Asked, ask, open_heads
from .findings import Findings, mean
from .headline import GZ1, GZ2
from .redshift import receding

SURVEYS = {
    "candels": "CANDELS (Hubble, infrared)", "decals": "DECaLS", "gama": "GAMA (KiDS)", "goods_full": "GOODS (Hubble)",
    "ukidss": "UKIDSS (infrared)", "mini_project": "a small project", SDSS: "SDSS, which it learnt from",
}  # fmt: skip
FEWEST = 5  # examples of a survey, below which nothing is said of it
COMMONEST = 3  # classes that a sentence names


def shifted(
    models: str | Path | Sequence[str | Path],
    data: Path,
    *,
    views: int = 1,
    galaxies: int = 200,
    resamples: int = 1000,
    command: str = "",
) -> Findings:
    """How the models do on what they were not made for: other surveys, other files, other kinds, other redshifts.

    ``data`` is the folder of real galaxies; of its gz_examples, fits and spacewarps those are measured that are there:
    :func:`other_surveys` and :func:`other_files`. ``galaxies`` are simulated for
    :func:`~.redshift.receding`; 0 = none. Raises :class:`RecipeError` where ``data`` is no folder.
    """
    if not data.is_dir():
        raise RecipeError(f"'{data}' is no folder of real galaxies")
    findings = Findings(command)
    if (data / "gz_examples" / "index.csv").is_file():
        findings = findings.join(
            other_surveys(models, data / "gz_examples", views=views, resamples=resamples, command=command)
        )
    for folder, on in (
        ("fits", "FITS files of several surveys, as they are"),
        ("spacewarps", "pictures of Space Warps"),
    ):
        images = data / folder / "images" if (data / folder / "images").is_dir() else data / folder
        if images.is_dir():
            findings = findings.join(other_files(models, images, on, views=views, resamples=resamples, command=command))
    if galaxies:
        findings = findings.join(receding(models, n=galaxies, views=views, resamples=resamples, command=command))
    return findings


def other_surveys(
    models: str | Path | Sequence[str | Path],
    folder: Path,
    *,
    views: int = 1,
    resamples: int = 1000,
    command: str = "",
) -> Findings:
    """How often gz2 gives the answer that Galaxy Zoo's example pictures stand for, by survey.

    ``folder`` holds index.csv and images/. An example counts as right where its answer has the most expected votes of
    its question; beside the share stands "chance", the mean of 1 / (number of answers). Examples whose question or
    answer the tree of Galaxy Zoo 2 does not have are left out.
    """
    findings, eyes = Findings(command), open_heads(models, (GZ2,), views=views)
    if not eyes:
        return findings
    examples = {one.id: one for one in read_examples(folder / "index.csv")}
    source = open_source(folder / "images")
    asked = ask(source.records([one for one in source.ids if one in examples]), eyes)
    survey_figures(findings, asked, [examples[one] for one in asked.ids], resamples)
    return findings


def survey_figures(findings: Findings, asked: Asked, examples: Sequence[Example], resamples: int) -> None:
    """By survey the share of right answers to ``examples``, one for each galaxy of ``asked``."""
    tree, said, done = Tree.load("gz2"), asked.said(GZ2), asked.answered(GZ2)
    right, chance = np.zeros(len(examples)), np.zeros(len(examples))
    for row, one in enumerate(examples):
        span = tree.slices[one.question]
        right[row] = np.nan_to_num(said[row, span]).argmax() == one.answer
        chance[row] = 1 / (span.stop - span.start)
    surveys = np.array([one.survey for one in examples], dtype=object)
    for survey in sorted({*surveys.tolist()}):
        here = done & (surveys == survey)
        if here.sum() < FEWEST:
            continue
        value, luck = mean(right[here], resamples), float(chance[here].mean())
        called = SURVEYS.get(survey, survey)
        more = {"chance": round(luck, 3), "rejected": int(((surveys == survey) & ~done).sum())}
        on = f"Galaxy Zoo's example pictures of answers, {called}"
        findings.add(GZ2, "share of examples whose answer has the most votes", on, value, int(here.sum()), **more)
        if survey != SDSS:
            better = "better than chance" if value.low > luck else "not told from chance"
            findings.fail(GZ2, f"On example pictures of {called} its first answer is right for {value}, {better} "
                          f"({luck:.2f}).")  # fmt: skip


def other_files(
    models: str | Path | Sequence[str | Path],
    folder: Path,
    on: str,
    *,
    views: int = 1,
    resamples: int = 1000,
    command: str = "",
) -> Findings:
    """What share of a folder's files gz1 answers at all, why the others are rejected, and what galaxies are called."""
    findings, eyes = Findings(command), open_heads(models, (GZ1,), views=views)
    if not eyes:
        return findings
    source = open_source(folder)
    asked = ask(source.records(), eyes)
    done = asked.answered(GZ1)
    reasons = Counter(asked.reasons[one] for one, good in zip(asked.ids, done.tolist(), strict=True) if not good)
    findings.add(GZ1, "share answered", on, mean(done, resamples), len(done), reasons=dict(sorted(reasons.items())))
    names = np.array(asked.heads[GZ1].names, dtype=object)
    called = Counter(names[asked.values[GZ1][done].argmax(1)].tolist())
    told = ", ".join(f"{name} {n}" for name, n in called.most_common(COMMONEST))
    why = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
    sentence = f"Of {len(done)} {on}, {int(done.sum())} are answered ({told or 'none'})"
    findings.fail(GZ1, f"{sentence}; rejected: {why or 'none'}. It knows no class for what is no galaxy.")
    return findings
