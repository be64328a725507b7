"""The numbers that docs/insight.md gives beside its pictures, from what benchmarks/insight.py wrote into its folder.

    python benchmarks/insightnumbers.py FOLDER

Intervals are of 1,000 bootstrap resamples of the galaxies (for neighbours: of the galaxies that are asked about).
"""

import collections
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute
import pyarrow.parquet
from sklearn.metrics import roc_auc_score

from tuningfork import disk
from tuningfork.evaluate.bootstrap import estimate, ratio
from tuningfork.galaxy.catalog import Catalog
from tuningfork.insight.embedding import Embedding
from tuningfork.insight.neighbours import nearest

K = 7  # neighbours, as many as the picture shows
SHAPES = ("concentration", "sersic_n", "asymmetry", "gini", "m20")


def truth(store: Path) -> dict[str, str]:
    """The class of each galaxy of a store, by id."""
    table = pyarrow.parquet.read_table(store / "catalog.parquet", columns=["id", "class"])
    return dict(zip(table["id"].to_pylist(), table["class"].to_pylist(), strict=True))


def say(found: dict[str, object], name: str, value: object, text: str) -> None:
    """Print one number and keep it."""
    found[name] = value
    print(f"  {text}", flush=True)


def share(right: np.ndarray) -> str:
    """The mean of a share per galaxy, with its interval."""
    found = estimate(lambda weights: {"share": ratio(weights @ right, weights.sum(axis=1))}, len(right))["share"]
    assert not isinstance(found, list)
    return f"{found.text(2)} of {len(right):,}"


def neighbours(found: dict[str, object], features: Path, known: dict[str, str]) -> None:
    """Of each class, the share of the K nearest others that are of it, beside the class's share of all."""
    embedding = Embedding.open(features)
    kinds = np.array([known[one] for one in embedding.ids])
    rows, _ = nearest(embedding, embedding.values(), K + 1)
    same = np.array(
        [np.mean(kinds[[k for k in row if k != own][:K]] == kinds[own]) for own, row in enumerate(rows.tolist())]
    )
    for kind in sorted(set(kinds.tolist())):
        its = kinds == kind
        text = f"neighbours of {kind}: {share(same[its])} are of it (by chance {its.mean():.2f})"
        say(found, f"neighbours {kind}", [float(same[its].mean()), float(its.mean())], text)


def proposed(found: dict[str, object], votes: Path, batch: Path, known: dict[str, str]) -> None:
    """How often the model is wrong among the galaxies proposed and among all, where the truth is one of its classes."""
    table = pyarrow.parquet.read_table(votes)
    said = dict(zip(table["id"].to_pylist(), table["class"].to_pylist(), strict=True))
    classes = {name.removeprefix("p_") for name in table.column_names if name.startswith("p_")}
    for name, ids in (("proposed", Catalog.read(batch).ids), ("all", list(said))):
        wrong = np.array([said[one] != known[one] for one in ids if known[one] in classes], np.float64)
        text = f"wrong among {name}: {share(wrong)} ({len(ids) - len(wrong)} more are of none of its classes)"
        say(found, f"wrong among {name}", float(wrong.mean()), text)


def oddest(found: dict[str, object], odd: Path, known: dict[str, str], count: int = 24) -> None:
    """What the galaxies that anomalies ranks first are labelled."""
    table = pyarrow.parquet.read_table(odd).sort_by("rank")
    kinds = dict(collections.Counter(known[one] for one in table["id"].to_pylist()[:count]).most_common())
    say(found, "oddest", kinds, f"the {count} oddest: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}")


def measured(found: dict[str, object], path: Path, known: dict[str, str]) -> None:
    """Medians by class of what measure says."""
    table = pyarrow.parquet.read_table(path)
    good = table.filter(pyarrow.compute.equal(table["status"], "done"))
    kinds = np.array([known[one] for one in good["id"].to_pylist()])
    for kind in sorted(set(kinds.tolist())):
        its = kinds == kind
        medians = {name: float(np.nanmedian(good[name].to_numpy()[its])) for name in SHAPES}
        told = ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
        say(found, f"medians {kind}", medians, f"medians of {its.sum()} {kind}: {told}")


def told_apart(found: dict[str, object], path: Path, early: set[str]) -> None:
    """How well one measure tells ``early`` galaxies from the others: ROC AUC, of the larger or the smaller values.

    Which of the two is said by the medians, so that an AUC near 0.5 may be below it.
    """
    table = pyarrow.parquet.read_table(path)
    good = table.filter(pyarrow.compute.equal(table["status"], "done"))
    yes = np.array([one in early for one in good["id"].to_pylist()])
    for name in ("concentration", "m20", "gini", "sersic_n"):
        value = good[name].to_numpy()
        its, kind = value[np.isfinite(value)], yes[np.isfinite(value)]
        sign = 1 if np.median(its[kind]) > np.median(its[~kind]) else -1

        def auc(weights: np.ndarray, its: np.ndarray = sign * its, kind: np.ndarray = kind) -> dict[str, np.ndarray]:
            both = [(row @ kind > 0) and (row @ ~kind > 0) for row in weights]
            rows = zip(both, weights, strict=True)
            return {
                "auc": np.array([roc_auc_score(kind, its, sample_weight=row) if two else np.nan for two, row in rows])
            }

        told = estimate(auc, len(its))["auc"]
        assert not isinstance(told, list)
        text = f"{kind.sum()} ellipticals and {(~kind).sum()} spirals told apart by {name}: AUC {told.text(2)}"
        text += f" ({'larger' if sign > 0 else 'smaller'} in ellipticals)"
        say(found, f"told apart by {name}", told.as_dict(), text)


def explained(found: dict[str, object], path: Path) -> None:
    """What explain tells in numbers: maps that can be believed, answers as pixels go, dreams, units, mean curves."""
    numbers = json.loads(path.read_text())["numbers"]
    believed: collections.Counter[str] = collections.Counter()
    bright: list[bool] = []
    for one, its in numbers["galaxies"].items():
        for target, told in its.get("attribution", {}).items():
            believed.update(each["believed"] for each in told["maps"].values())
            bright += [each["beats brightness"] for each in told["maps"].values()]
            for method, each in told["maps"].items():
                pairs = zip(each["shares of the pixels"][1:-1], each["answer without them"][1:-1], strict=True)
                gone = ", ".join(f"{value:.2f} without {share:.0%}" for share, value in pairs)
                text = f"{path.stem} {one}, {target} {told['value']:.2f}, {method} ({each['believed']}): {gone}"
                say(found, f"{path.stem} {one} {target} {method}", each["answer without them"], text)
        for target, (before, after) in its.get("dream", {}).items():
            text = f"{path.stem} {one}, dream of {target}: {before:.2f} to {after:.2f}"
            say(found, f"{path.stem} {one} dream", [before, after], text)
        if "blocks" in its:
            added = list(its["blocks"]["units"].values())
            text = f"{path.stem} {one}: units of {its['blocks']['answer']} add {min(added):.2f} to {max(added):.2f}"
            say(found, f"{path.stem} {one} blocks", added, text)
        if its.get("measured"):
            shape = {name: its["measured"][name] for name in SHAPES}
            told = ", ".join(f"{name} {value:.2f}" for name, value in shape.items())
            say(found, f"{path.stem} {one} measured", shape, f"{path.stem} {one} measured: {told}")
        for kind, curve in its.get("sensitivity", {}).items() if path.stem == "efigi" else ():
            answer = next(iter(set(curve) & set(its["attribution"])))
            steps = zip(curve["strengths"], curve[answer], strict=True)
            told = ", ".join(f"{value:.2f} at {step:g}" for step, value in steps)
            say(found, f"{path.stem} {one} {kind}", curve[answer], f"{path.stem} {one}, {answer} with {kind}: {told}")
    say(found, f"{path.stem} believed", dict(believed), f"{path.stem}: maps that can be believed: {dict(believed)}")
    text = f"{path.stem}: {sum(bright)} of {len(bright)} maps do better than taking the brightest pixels"
    say(found, f"{path.stem} beat brightness", sum(bright), text)
    how = [unit["correlation"] for unit in numbers["model"]["exemplars"]["units"]]
    say(found, f"{path.stem} units", how, f"{path.stem}: units go with answers by {min(how):.2f} to {max(how):.2f}")
    mean = numbers["model"]["mean sensitivity"]
    for kind, curve in mean["curves"].items():
        told = ", ".join(f"{value:.2f} at {step:g}" for step, value in zip(*curve.values(), strict=True))
        text = f"{path.stem}, {mean['measure']}, {mean['galaxies']} galaxies, {kind}: {told}"
        say(found, f"{path.stem} mean {kind}", curve["moved"], text)


def main(out: Path) -> None:
    """Print all, and write them to numbers.json."""
    found: dict[str, object] = {}
    known = truth(out / ("gz1" if (out / "gz1").exists() else "sky"))
    print("\nnumbers")
    for model in ("gz1", "efigi"):
        explained(found, out / f"{model}.json")
    neighbours(found, out / "features.parquet", known)
    proposed(found, out / "votes.parquet", out / "next.csv", known)
    oddest(found, out / "odd.parquet", known)
    measured(found, out / "shapes.parquet", truth(out / "flux") if (out / "flux").exists() else known)
    if (out / "types.parquet").exists():
        told_apart(found, out / "types.parquet", set(Catalog.read(out / "early.csv").ids))
    disk.write_text(out / "numbers.json", json.dumps(found, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
