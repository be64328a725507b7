"""The reference models of flux: one encoder for FITS of one band or of many; real galaxies and simulated skies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import disk
from .. import recipe as recipes
from ..data.split import PARTS, uniform
from ..errors import BadWeights, RecipeError, Stopped
from ..galaxy.cutout import Cutout, Record
from ..galaxy.light import LIGHT, as_light
from ..galaxy.records import Source, digest_of
from ..galaxy.tree import Tree
from ..galaxy.union import Union
from ..model import weights
from ..model.card import Card, find_model
from ..model.encoder import ENCODER_WEIGHTS
from ..model.head import make_head
from ..model.net import GalaxyNet
from ..model.share import ship
from ..simulate.galaxies import simulate_galaxies
from ..train.choices import TrainRecipe
from .calibrate import calibrate
from .experiments.choices import Sky
from .measure.ask import Asked, ask, ids_of_part, open_heads
from .measure.findings import Findings, class_estimates, rank_correlation, rms
from .measure.promise import certainty_promises, class_promises, interval_promises, strangeness_promises
from .reference import RECIPE as COLOUR_RECIPE
from .reference import SHIPPED, ReferenceRecipe, once
from .release import EFFICIENTNET, LARGEST, Head, Release, bytes_of, release, settle, told_of
from .samples import NO_GALAXY, OTHER, SAMPLES, gather_samples
from .training import train

Progress = Callable[[int, int, str], None]
RECIPE = COLOUR_RECIPE.with_name("reference_flux.toml")
ENCODER = "encoder-flux"
FAINTEST, STRONGEST = 1e-4, 1e-3  # noise of pictures turned into flux, where white is 1; SDSS's own is about 3e-4
NOT_SEEN = "dont_know"  # the class of simulated galaxies too small or too faint to tell
REAL = "real SDSS pictures turned back into flux, in one plane"
SKIES = ("sdss flux", "des flux")  # simulated

HEADS = {
    "flux-gz1": Head(
        f"Galaxy Zoo 1 ({REAL}), and simulated SDSS and DES flux",
        f"Lintott et al. 2008, 2011; {EFFICIENTNET}",
        "Elliptical, spiral by direction, edge-on, merger, from flux of any bands.",
        ("gz1", PARTS[2]),
    ),
    "flux-galaxy-or-not": Head(
        "simulated SDSS and DES flux",
        f"tuningfork; {EFFICIENTNET}",
        "Whether flux of any bands shows a galaxy, or a star or an artefact. It learnt from simulated flux alone.",
        (SKIES[0], PARTS[2]),
    ),
    "flux-efigi": Head(
        f"EFIGI ({REAL})",
        f"Baillard et al. 2011; {EFFICIENTNET}",
        "Hubble stage T and 16 attributes of nearby galaxies, from flux of any bands.",
        ("efigi", PARTS[2]),
    ),
    "flux-gz2": Head(
        f"Galaxy Zoo 2 (Stripe 82, and examples of its answers; {REAL}), and simulated volunteers on simulated flux",
        f"Willett et al. 2013; {EFFICIENTNET}",
        "The votes of volunteers on each question of Galaxy Zoo 2's tree, from flux of any bands.",
        ("stripe82", PARTS[2]),
    ),
}
JUDGES = {"flux-gz1": ("gz1", *SKIES), "flux-galaxy-or-not": SKIES, "flux-efigi": ("efigi",),
          "flux-gz2": ("stripe82", *SKIES)}  # fmt: skip
FAILS = (
    "Real galaxies were learnt from SDSS pictures of 8 bits whose stretch was undone: bright cores are cut off there, "
    "and faint light is rounded. Other seeing, depth and bands were learnt from simulated galaxies alone.",
    "FITS files are shown with the first row lowest; an image whose coordinates mirror the sky is not told apart, and "
    "its spirals wind the other way.",
)


@dataclass(frozen=True)
class FluxRecipe:
    """Everything that decides the reference models of flux."""

    start: str = ""  # a model of colour pictures, with whose first layers the encoder begins; "" = random weights
    skies: tuple[Sky, ...] = ()  # in flux, of the surveys of SKIES, each once
    alone: float = 0.5  # share of the simulated galaxies of which one band alone is seen; of the others all
    visible: float = 0.2  # visibility, 0 to 1, below which a simulated galaxy's class is not learnt: nobody could tell
    train: TrainRecipe = field(default_factory=TrainRecipe)
    views: int = 8  # of each galaxy when the models are judged
    bootstrap: int = 1000


class Changed(Source):
    """The galaxies of another source, each through ``change``; ``how`` says what that does, for the digest."""

    kind = "changed source"

    def __init__(self, source: Source, change: Callable[[Record], Record], how: str) -> None:
        digest = digest_of([source.digest, how])
        super().__init__(source.path, source.ids, digest, pixel_scale=source.pixel_scale, catalog=source.catalog)
        self._source, self._change = source, change

    def _read(self, row: int) -> Record:
        return self._change(self._source.record(self.ids[row]))

    def _where(self, row: int) -> str:
        return f"{self.path} ({self.ids[row]})"


def make_flux_models(
    data: str | Path,
    out: str | Path,
    *,
    recipe: str | Path | FluxRecipe = RECIPE,
    changes: Mapping[str, Any] | None = None,
    colour: ReferenceRecipe | None = None,
    progress: Progress | None = None,
) -> Release:
    """Make the models of flux from the galaxies of ``data`` beside those of colour pictures, in ``out``/shipped.

    ``out`` is best the folder of :func:`~tuningfork.workflow.reference.make_models`: its samples are used (of the
    recipe ``colour``, by default the shipped one), and a galaxy is in the part in which it is there. The same call
    goes on where a killed one was. Returns what is shipped of flux. Raises :class:`RecipeError`, :class:`BadWeights`
    where ``start`` is no model that begins as the backbone does, :class:`Stopped`, and what training raises.
    """
    chosen = recipe if isinstance(recipe, FluxRecipe) else recipes.load(FluxRecipe, recipe)
    chosen = recipes.replace(chosen, dict(changes or {}))
    folder = disk.make_folder(out)
    union = gather_flux(Path(data), folder / "samples", chosen, colour, progress)
    learning = chosen.train
    if chosen.start:
        begin = first_layers(chosen.start, learning.model.backbone, learning.display.size, folder / "begin-flux")
        learning = recipes.replace(learning, {"model.pretrained": str(begin)})
    summary = train(union, folder / "run-flux", recipe=learning, progress=progress)
    if summary.stopped:
        raise Stopped(f"training was stopped after {summary.epochs} epochs; the same command goes on in '{out}'")
    trained = {part.name: folder / "run-flux" / "models" / part.name for part in learning.labels.parts}
    trained = {name: trained[name] for name in HEADS if name in trained}
    if not trained:
        raise RecipeError(f"no part of the labels is called {', '.join(HEADS)}: none of the models would be shipped")
    assert union.catalog is not None
    shelf = folder / SHIPPED
    asked = json.dumps(
        [recipes.to_mapping(chosen), *(Card.load(one).digest for one in trained.values())], sort_keys=True
    )
    key = disk.sha256(asked.encode())
    notes = once(folder / "shipped-flux.json", key, partial(_ship, union, trained, shelf, chosen, progress))
    shipped = {name: shelf / name for name in trained}
    found = once(folder / "judged-flux.json", key, lambda: judge_flux(union, shipped, chosen).tell(shipped))
    for name, place in shipped.items():
        settle(place, {"measured": found.get(name, {}).get("measured", ()), "fails": FAILS})
    recipes.save(recipes.replace(chosen, {"start": Path(chosen.start).name}), shelf / "recipe-flux.toml")
    if (size := bytes_of(shelf)) > LARGEST:
        raise RecipeError(f"the models in '{shelf}' take {size / 1e6:.1f} MB, and are shipped up to {LARGEST / 1e6:g}")
    return release(shelf, shipped, (*summary.notes, *notes))


def _ship(
    union: Union, trained: Mapping[str, Path], shelf: Path, recipe: FluxRecipe, progress: Progress | None
) -> list[str]:
    """Write the set of calibrated models; notes of the calibration."""
    assert union.catalog is not None
    began = f"the first layers of '{Path(recipe.start).name}'" if recipe.start else "random weights"
    told = told_of(trained, union.catalog, recipe.train.labels, began, HEADS)
    fitted = calibrate(union, trained, views=recipe.views, progress=progress)
    tell = {name: {**told[name], **fitted.tell.get(name, {})} for name in trained}
    ship(trained, shelf, encoder=ENCODER, tell=tell, strangeness=fitted.strangeness)
    return list(fitted.notes)


def gather_flux(
    data: Path, out: Path, recipe: FluxRecipe, colour: ReferenceRecipe | None = None, progress: Progress | None = None
) -> Union:
    """All that the models of flux learn from and are judged by, as one source with the column "part".

    The real galaxies of :func:`~.samples.gather_samples` become one plane of flux, in the parts in which they are
    there; noise of some depth, drawn by the galaxy's id, is added: pictures have none below black. Beside them stand
    the ``skies``: 30% judge, 5% choose the best epoch. A simulated galaxy whose "visibility" is low has no class, but
    has votes.
    """
    if {one.survey for one in recipe.skies} - {one.split()[0] for one in SKIES} or any(s.colour for s in recipe.skies):
        raise RecipeError(f"the skies of flux are of {' and '.join(SKIES)}, each once, with colour = false")
    colour = colour or recipes.load(ReferenceRecipe, COLOUR_RECIPE)
    pictures = gather_samples(data, out, colour.sky, 0, progress)
    assert pictures.catalog is not None
    parts = dict(zip(pictures.catalog.ids, pictures.catalog["part"].tolist(), strict=True))
    sources: dict[str, Source] = {}
    renamed = {name: dict(sample.renamed) for name, sample in SAMPLES.items()}
    for name, source in pictures.sources.items():
        if name != "sky":  # that is flux here
            sources[name] = Changed(source, picture_as_flux, "flux")
    for sky in recipe.skies:
        name = f"{sky.survey} flux"
        drawn: Source = simulate_galaxies(
            sky.galaxies, out / name.replace(" ", "-"), survey=sky.survey, size=sky.size or None, seed=sky.seed,
            bands=sky.bands or None, colour=False, class_weights=dict.fromkeys(sky.classes, 1.0) or None,
            progress=progress,
        )  # fmt: skip
        u = uniform(list(drawn.ids), 0)
        words = np.select([u < 0.3, u < 0.35], PARTS[:0:-1], PARTS[0])
        parts |= {f"{name}:{one}": str(word) for one, word in zip(drawn.ids, words, strict=True)}
        sources[name] = Changed(
            _taught(drawn, recipe.visible), partial(some_bands, alone=recipe.alone), f"alone {recipe.alone}"
        )
    union = Union(sources, renamed)
    assert union.catalog is not None
    return union.with_catalog(union.catalog.with_columns({"part": [parts[one] for one in union.ids]}))


def _taught(drawn: Source, visible: float) -> Source:
    """A simulated sky with the columns "gz1_class" and "is_galaxy"."""
    assert drawn.catalog is not None
    kinds, seen = drawn.catalog["class"].tolist(), np.asarray(drawn.catalog["visibility"], np.float64) >= visible
    classes = [kind if good else NOT_SEEN for kind, good in zip(kinds, seen.tolist(), strict=True)]
    galaxies = [OTHER if kind == NO_GALAXY else "galaxy" for kind in kinds]
    return drawn.with_catalog(drawn.catalog.with_columns({"gz1_class": classes, "is_galaxy": galaxies}))


def picture_as_flux(record: Record) -> Record:
    """A picture as flux in the one band of light, with Gaussian noise of some depth, both drawn by its id."""
    plane = as_light(record.cutout()).pixels
    u = float(uniform([record.id], 3)[0])
    sigma = FAINTEST * (STRONGEST / FAINTEST) ** u
    noise = np.random.default_rng(int(u * 2**52)).normal(0, sigma, plane.shape)
    noisy: NDArray[np.float32] = (plane + noise).astype(np.float32)
    return _with_pixels(record, record.cutout(), noisy, LIGHT)


def some_bands(record: Record, alone: float) -> Record:
    """One band of a galaxy, in a share ``alone`` of galaxies; all in the others. Which, its id decides."""
    u, cutout = float(uniform([record.id], 4)[0]), record.cutout()
    if u >= alone:
        return record
    k = int(u / alone * len(cutout.bands))
    return _with_pixels(record, cutout, np.asarray(cutout.pixels[k : k + 1], np.float32), cutout.bands[k : k + 1])


def _with_pixels(record: Record, cutout: Cutout, pixels: NDArray[np.float32], bands: tuple[str, ...]) -> Record:
    return Record.from_pixels(record.id, pixels, bands, cutout.pixel_scale, cutout.ra, cutout.dec, record.source)


def first_layers(model: str | Path, backbone: str, size: int, out: Path) -> Path:
    """Write the weights of ``backbone``, for one band, that a model with longer layers of the same names has.

    The filters of its first convolution are summed over its bands: of a grey picture they make the same. Returns the
    safetensors file, for ``train.model.pretrained``. Raises :class:`BadWeights` where a layer is not among the model's.
    """
    theirs, card = weights.load(find_model(model))
    net = GalaxyNet(backbone, make_head("classes", ("no", "yes")), LIGHT, size)
    state, wanted = theirs.backbone.state_dict(), net.backbone.state_dict()
    taken = {}
    for key, value in wanted.items():
        given = state.get(key)
        if given is not None and given.ndim == 4 and given.shape[1] == len(card.bands) and value.shape[1] == 1:
            given = given.sum(dim=1, keepdim=True)
        if given is None or given.shape != value.shape:
            raise BadWeights(
                f"'{model}' is a '{card.backbone}', which does not begin as '{backbone}' does: '{key}' is "
                f"{'absent' if given is None else tuple(given.shape)} there, {tuple(value.shape)} here"
            )
        taken[key] = given
    net.backbone.load_state_dict(taken)
    weights.save_encoder(net, out, "float32")
    return out / ENCODER_WEIGHTS


def judge_flux(union: Union, models: Mapping[str, Path], recipe: FluxRecipe) -> Findings:
    """How good each model is on the test parts of its samples (:data:`JUDGES`): figures with intervals, for the cards.

    Classes: accuracy, balanced accuracy, the latter over the classes that the model knows; votes: the RMSE over the
    Galaxy Challenge's 37 columns, of simulated galaxies against what infinitely many volunteers would say; EFIGI: RMS
    error and rank order of T. Beside them what the calibration reaches (:mod:`~.measure.promise`), and of the first
    model how well the encoder's strangeness tells simulated stars and artefacts. Galaxies without an answer are left
    out, and counted as "rejected".
    """
    findings = Findings()
    for name in models:
        eyes = open_heads(list(models.values()), (name,), views=recipe.views)
        for sample in JUDGES[name]:
            ids = ids_of_part(union, sample)
            if ids:
                _judge(findings, Card.load(models[name]), name, sample, ask(union.records(ids), eyes), union, recipe)
    first = next(iter(models))
    (eye, *_) = open_heads(list(models.values()), (first,), views=1)
    none = {one for sample in SKIES for one in _no_galaxies(union, sample)}
    for sample in JUDGES["flux-gz1"]:
        ids = [one for one in ids_of_part(union, sample) if one not in none]
        others = {"stars and artefacts": _no_galaxies(union, sample)}
        strangeness_promises(findings, first, _on(sample), eye, union, ids, others, recipe.bootstrap)
    return findings


def _on(sample: str) -> str:
    return f"the test part of {sample}{' (simulated)' if sample in SKIES else ''}"


def _no_galaxies(union: Union, sample: str) -> list[str]:
    """The stars and artefacts of the test part of a simulated sky."""
    ids = ids_of_part(union, sample)
    assert union.catalog is not None
    kinds = union.catalog.select(ids)["is_galaxy"].tolist() if ids and "is_galaxy" in union.catalog.columns else []
    return [one for one, kind in zip(ids, kinds, strict=bool(kinds)) if kind == OTHER]


def _judge(
    findings: Findings, card: Card, name: str, sample: str, asked: Asked, union: Union, recipe: FluxRecipe
) -> None:
    assert union.catalog is not None
    done, head = asked.answered(name), asked.heads[name]
    truth = union.catalog.select([one for one, good in zip(asked.ids, done.tolist(), strict=True) if good])
    said, resamples = asked.said(name)[done], recipe.bootstrap
    on = _on(sample)
    more = {"views": recipe.views, "rejected": int((~done).sum())}
    if head.kind == "classes":
        column = {"flux-gz1": "gz1_class"}.get(name, "is_galaxy")
        number = {one: k for k, one in enumerate(head.names)}
        true = np.array([number.get(one, -1) for one in truth[column].tolist()], np.int64)
        known = true >= 0
        if known.any():
            found = class_estimates(true[known], said[known].argmax(1), len(head.names), resamples)
            for what in ("accuracy", "balanced_accuracy"):
                findings.add(name, what.replace("_", " "), on, found[what], int(known.sum()), **more)
            class_promises(findings, name, on, card, head, said[known], true[known], resamples, more)
    elif head.kind == "dirichlet":
        tree = Tree.load("gz2")
        true_shares = np.stack([_shares(truth, column, sample in SKIES) for column in tree.columns], axis=1)
        squares = (tree.to_challenge(said) - tree.to_challenge(_of_each_question(true_shares, tree))) ** 2
        told = rms(squares.mean(1), resamples)
        findings.add(name, "RMSE, 37 columns of the Galaxy Challenge", on, told, len(squares), **more)
        votes = np.stack([_shares(truth, column, False) for column in tree.columns], axis=1)
        certainty_promises(
            findings, name, on, head, asked.values[name][done].astype(np.float64), votes, resamples, more
        )
    else:
        stage, told_stage = np.asarray(truth["T"], np.float64), said[:, head.names.index("T")]
        findings.add(name, "RMS error of T", on, rms((told_stage - stage) ** 2, resamples), len(stage), **more)
        order = rank_correlation(told_stage, stage, resamples)
        findings.add(name, "Spearman's correlation of T", on, order, len(stage), **more)
        true_attributes = np.stack([np.asarray(truth[one], np.float64) for one in head.names], axis=1)
        interval_promises(findings, name, on, head, said, true_attributes, resamples, more)


def _shares(truth: Any, column: str, simulated: bool) -> NDArray[np.float64]:
    return np.asarray(truth[f"{column}_{'fraction' if simulated else 'count'}"], np.float64)


def _of_each_question(votes: NDArray[np.float64], tree: Tree) -> NDArray[np.float64]:
    """Votes (N, A) as shares of each question; even ones where nobody was asked, whose cumulative share is 0."""
    shares = np.empty_like(votes)
    for span in tree.slices.values():
        total = votes[:, span].sum(axis=1, keepdims=True)
        n = span.stop - span.start
        shares[:, span] = np.where(total > 0, votes[:, span] / np.maximum(total, 1e-30), 1 / n)
    return shares
