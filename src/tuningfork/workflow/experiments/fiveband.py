"""S4: smooth or featured in one, three and five bands, with and without augmentation; and real FITS of five bands."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from ...data.augment import OFF
from ...evaluate.bootstrap import Estimate
from ...evaluate.compare import Comparison, compare
from ...evaluate.gallery import exhibits
from ...evaluate.report import Block, Cell, Section, Table, Text, Wall
from ...galaxy.catalog import Catalog
from ...galaxy.labels import LabelChoice, Labels, make_labels
from ...galaxy.store import Store
from ...galaxy.votes import Votes
from ...train.choices import TrainRecipe
from .choices import Experiment, Sky
from .desk import Desk, measured, seen, with_changes
from .fivebanddata import DES_STACK, FIVE_BANDS, SDSS_BANDS, des_stack, five_bands
from .outcome import Finding

ANSWER = "answer"  # the column of the classes: each galaxy's commonest answer to the first question
STAR = "star_or_artifact"
SIMULATED = "simulated sky"


@dataclass(frozen=True)
class Net:
    """One row of the ablation: what it is called, which bands it sees, how, and what the author reported of it.

    With ``stars`` it learns star or artefact as a class of its own; the others learn without such galaxies.
    """

    name: str = ""
    bands: tuple[str, ...] = SDSS_BANDS
    augmented: bool = True
    backbone: str = "s4_cnn"
    stars: bool = False
    figure: str = ""


@dataclass(frozen=True)
class FiveBandRecipe(Experiment):
    """What S4 chooses besides.

    ``train.labels`` turn the volunteers' votes into the author's classes; ``nets`` are the rows of the ablation, the
    first of which the others are held against. ``real_sky`` and ``real_bands`` are the simulated survey and the bands
    of the network for the DES stack, which runs where the user has it.
    """

    nets: tuple[Net, ...] = ()
    real_sky: Sky = field(default_factory=lambda: Sky(survey="des", colour=False))
    real_bands: tuple[str, ...] = ("g", "r", "i", "z")


def run(desk: Desk[FiveBandRecipe]) -> tuple[Finding, ...]:
    """Train every net of the ablation on one split, judge all on the same galaxies; then classify the real stack."""
    stack = des_stack(desk)
    store, recipe, told = _galaxies(desk, stack)
    answers = first_answers(store.catalog, recipe.labels)
    kept, nets = without_stars(answers), possible_nets(desk, answers)
    votes, images = {}, {}
    for number, net in enumerate(nets):
        summary = desk.train(store, _recipe(recipe, net), f"run-{number}", answers if net.stars else kept)
        votes[net.name], images[net.name] = desk.predict(store, f"run-{number}", f"votes-{number}"), seen(summary)
    with desk.timed("judge") as bar:
        comparison = compare(
            list(votes.values()),
            kept,
            desk.page("ablation"),
            names=list(votes),
            unmatched="drop",  # the stars and artefacts of the net that knows them
            bootstrap=desk.recipe.bootstrap,
            progress=bar,
        )
    desk.sections.append(Section("ablation", "Bands and augmentation", tuple(_ablation(nets, comparison))))
    if told == SIMULATED:
        desk.notes.append(_ceiling(store, recipe.labels, votes[nets[0].name]))
    findings = [_finding(comparison, net, told, images[net.name], recipe.display.size) for net in nets]
    for net in nets:
        findings += _stars(desk, votes[net.name], answers, net, told, images[net.name]) if net.stars else []
    return (*findings, *([] if stack is None else _real(desk, stack, recipe)))


def first_answers(catalog: Catalog, choice: LabelChoice) -> Catalog:
    """Each galaxy's commonest answer to the first question, as class names in a column "answer", with its position.

    GZ2's own class says it by its first letter (E smooth, S features, A star or artifact), which is what the author
    learnt. Galaxies without votes are left out. Raises what :func:`~tuningfork.galaxy.labels.make_labels` does.
    """
    labels = make_labels(catalog, choice)
    chosen = catalog.select(labels.ids)
    columns = {"id": pa.array(labels.ids, pa.string()), ANSWER: _names(labels)}
    if chosen.ra is not None and chosen.dec is not None:
        columns |= {"ra": chosen.ra, "dec": chosen.dec}
    return Catalog(columns, name=f"the answers in {catalog.name}")


def _names(labels: Labels) -> list[str]:
    plain = [re.sub(r"^a\d+_", "", name) for name in labels.names]
    return [plain[number] for number in labels.classes.tolist()]


def without_stars(answers: Catalog) -> Catalog:
    """The galaxies of :func:`first_answers` that are no stars or artefacts, as the author removed those."""
    return answers.select([one for one, its in zip(answers.ids, answers[ANSWER], strict=True) if its != STAR])


def _galaxies(desk: Desk[FiveBandRecipe], stack: Store | None) -> tuple[Store, TrainRecipe, str]:
    """The labelled galaxies in five bands, the recipe for their votes, and how the table calls them."""
    store = five_bands(desk)
    if store is not None:
        return store, with_changes(desk.recipe.train, labels={"votes": ""}), "GZ2, SDSS FITS"
    if stack is None:
        desk.nothing_found(FIVE_BANDS, DES_STACK)
    else:
        desk.notes.append("the data have no votes to learn from: the ablation is made on the simulated sky")
    return desk.sky(), desk.recipe.train, SIMULATED


def possible_nets(desk: Desk[FiveBandRecipe], answers: Catalog) -> tuple[Net, ...]:
    """The nets that these galaxies can teach: none learns stars or artefacts where there is not one."""
    if STAR in set(answers[ANSWER]):
        return desk.recipe.nets
    left = [net.name for net in desk.recipe.nets if net.stars]
    desk.notes += [f"no galaxy is a star or artefact by its votes, so '{name}' is left out" for name in left]
    return tuple(net for net in desk.recipe.nets if not net.stars)


def _recipe(recipe: TrainRecipe, net: Net) -> TrainRecipe:
    """The run of one net of the ablation; all of them share labels and split, which is by the hash of the id."""
    changed = with_changes(
        recipe, labels=LabelChoice(column=ANSWER), display={"bands": net.bands}, model={"backbone": net.backbone}
    )
    return changed if net.augmented else with_changes(changed, augment=OFF)


def _ablation(nets: tuple[Net, ...], comparison: Comparison) -> list[Block]:
    rows: list[tuple[Cell, ...]] = []
    for net in nets:
        numbers = comparison.numbers["votes"][net.name]
        difference = numbers["difference"].get("accuracy")
        cells = [None if one is None else _estimate(one) for one in (numbers["metrics"]["accuracy"], difference)]
        how = "yes" if net.augmented else "no"
        rows.append((net.name, ", ".join(net.bands), how, net.figure or "not reported", *cells))
    columns = ("net", "bands", "augmented", "author", "accuracy", f"difference from “{nets[0].name}”")
    told = f"All on one split and the same {comparison.n_judged:,} test galaxies; the differences are paired."
    return [Table(columns, tuple(rows), told, words=True), *(Text(line) for line in comparison.summary)]


def _estimate(numbers: dict[str, float | None]) -> Estimate:
    return Estimate(**{key: float("nan") if value is None else value for key, value in numbers.items()})


def _finding(comparison: Comparison, net: Net, told: str, images: float, size: int) -> Finding:
    value = _estimate(comparison.numbers["votes"][net.name]["metrics"]["accuracy"])
    note = (
        "S4: the author's classes are the first letter of GZ2's class, taken to be the commonest answer to the first "
        f"question; judged without stars and artefacts, at {size} px (the author: 64). The commonest class alone is "
        f"right in {comparison.numbers['baseline']['accuracy']:.3f}; paired differences are in the report"
    )
    return Finding(f"{net.name}, accuracy", told, value, comparison.n_judged, net.figure, images, note)


def _stars(
    desk: Desk[FiveBandRecipe], votes: Votes, answers: Catalog, net: Net, told: str, images: float
) -> list[Finding]:
    """Star or artefact as a class of its own: the accuracy over all three classes, and that class's recall."""
    judgement = desk.judge(votes, answers, "stars")
    row = judgement.numbers["classes"].get(STAR, {"galaxies": 0})
    accuracy = measured(judgement, "accuracy")
    found = [Finding(f"{net.name}, accuracy over three classes", told, accuracy, judgement.n_judged, "", images)]
    if not row["galaxies"]:
        desk.notes.append("no star or artefact is in the test part, so that its recall is not known")
        return found
    note = f"S4: {row['galaxies']} of the {judgement.n_judged:,} test galaxies are stars or artefacts by their votes"
    recall = _estimate(row["recall"])
    return [*found, Finding(f"{net.name}, recall of that class", told, recall, row["galaxies"], "", images, note)]


def _ceiling(store: Store, choice: LabelChoice, votes: Votes) -> str:
    """How often the simulated volunteers' commonest answer is that of infinitely many: no net can be right oftener."""
    catalog = store.catalog.select([one for one, done in zip(votes.ids, votes.done, strict=True) if done])
    cast, expected = (
        _names(make_labels(catalog, with_votes)) for with_votes in (choice, LabelChoice("largest", tree="gz2"))
    )
    same = sum(one == other for one, other in zip(cast, expected, strict=True))
    return (
        f"the class by the votes cast is that of infinitely many volunteers in {same / max(len(cast), 1):.3f} of the "
        f"{len(cast):,} simulated test galaxies: about as far as a network can come"
    )


def _real(desk: Desk[FiveBandRecipe], stack: Store, recipe: TrainRecipe) -> list[Finding]:
    """Classify the DES stack by a net of the bands that it shares with a simulated DES: no labels, so no accuracy."""
    bands = desk.recipe.real_bands
    sky = desk.sky(desk.recipe.real_sky, "des-sky")
    answers = first_answers(sky.catalog, recipe.labels)
    summary = desk.train(sky, _recipe(desk.recipe.train, Net("real", bands)), "run-des", answers)
    votes = desk.predict(stack, "run-des", "votes-des", part=None)
    n_in = len(stack) + len(stack.rejected)
    rejected = len(stack.rejected) + votes.n_in - votes.n_done
    assert n_in == votes.n_done + rejected
    classes = [one for one in votes.table.column("class").to_pylist() if one is not None]
    counted = Counter(classes)
    told = ", ".join(f"{number} {name}" for name, number in counted.most_common())
    text = f"{n_in} galaxies in = {votes.n_done} done + {rejected} rejected; nobody has labelled them: {told}"
    desk.sections.append(Section("real", "Real galaxies in five bands", tuple(_wall(stack, votes, bands, text))))
    note = (
        f"S4: DES cutouts of five FITS stacks by a net of {', '.join(bands)} trained on a simulated DES alone. {text}"
    )
    done = Estimate(votes.n_done / n_in)
    return [Finding("share of the DES stack that is classified", "DES, real", done, n_in, "", seen(summary), note)]


def _wall(stack: Store, votes: Votes, bands: tuple[str, ...], text: str) -> list[Block]:
    """The classes as a table, and the galaxies with theirs, the surest first."""
    best = votes.values.max(axis=1)
    rows = zip(votes.ids, votes.table.column("class").to_pylist(), best.tolist(), votes.done.tolist(), strict=True)
    known = sorted(((one, name, share) for one, name, share, done in rows if done), key=lambda row: (row[1], -row[2]))
    pictures = exhibits([one for one, _, _ in known], [(name, f"{share:.2f}") for _, name, share in known], stack)
    shares = {name: [share for _, its, share in known if its == name] for name in votes.names}
    table: list[tuple[Cell, ...]] = [
        (name, len(each), sum(each) / len(each) if each else None) for name, each in shares.items()
    ]
    caption = "Each galaxy's likeliest class, and the mean of its probability over those galaxies."
    return [
        Text(f"A network of {', '.join(bands)}, trained on a simulated DES and no real galaxy. {text}."),
        Table(("class", "galaxies", "mean probability"), tuple(table), caption),
        Wall("All of them", "Colours from i, r and g; by class, the surest first.", tuple(pictures)),
    ]
