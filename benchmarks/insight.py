"""Every picture and number of docs/insight.md, by verbs that are printed as you would type them.

On a simulated sky, which is what the document shows; with --data on your copy of the real galaxies (gz1 and efigi, with
labels.csv), of which those are taken that the shipped models have not learnt from. Nothing is fetched. Everything lies
in --out, whose index.html lists it and whose numbers.json has what insightnumbers.py prints; run again, stores and
features that are there are kept and the rest is made anew.

    python benchmarks/insight.py --out insight [--data DIR] [-n 2000]
"""

import argparse
import contextlib
import html
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import insightnumbers
import matplotlib
import numpy as np
import pyarrow.compute
import pyarrow.parquet
from matplotlib.figure import Figure

from tuningfork import disk
from tuningfork.evaluate.plots import STYLE, line_style
from tuningfork.galaxy.catalog import Catalog
from tuningfork.model.card import find_model

LABELS = 100  # for fit-few
MEASURED = 100  # for measure
SHOWN = ("elliptical", "spiral_clockwise", "spiral_anticlockwise", "edge_on", "merger")


def tuningfork(*words: object, into: Path | None = None) -> None:
    """One command, printed and run, what it prints ``into`` a file where that is given.

    Ends the script where the command fails (3: some galaxies were rejected, is fine).
    """
    told = [str(word) for word in words]
    print(f"\n$ tuningfork {shlex.join(told)}", flush=True)
    began = time.perf_counter()
    start = [sys.executable, "-c", "from tuningfork.cli import main; main()"]
    with into.open("wb") if into else contextlib.nullcontext() as file:
        code = subprocess.run([*start, *told], check=False, stdout=file).returncode
    print(f"({time.perf_counter() - began:.0f} s)", flush=True)
    if code not in (0, 3):
        sys.exit(code)


def galaxies_of(data: Path | None, n: int, out: Path) -> tuple[Path, Path, Path]:
    """The stores of the galaxies, of barred or all kinds for efigi, and those that are measured."""
    if data is None:
        tuningfork("simulate", "galaxies", "-n", n, "--out", out / "sky")
        tuningfork("simulate", "galaxies", "-n", MEASURED, "--no-colour", "--seed", 1, "--out", out / "flux")
        return out / "sky", out / "sky", out / "flux"
    for name in ("gz1", "efigi"):
        apart(data / name, name, out / f"{name}-pictures")
        tuningfork("ingest", out / f"{name}-pictures", "--labels", out / f"{name}.csv", "--out", out / name)
    paths = sorted((out / "gz1-pictures").iterdir())
    chosen = paths[:: max(len(paths) // MEASURED, 1)][:MEASURED]
    types(out)
    return out / "gz1", out / "efigi", some(chosen, out / "some")


def some(paths: list[Path], folder: Path) -> Path:
    """A folder with copies of some files; those that are there stay as they are."""
    disk.make_folder(folder)
    for path in paths:
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    return folder


def apart(data: Path, name: str, folder: Path) -> None:
    """Copy the pictures that the shipped models have not learnt from to ``folder``, with NAME.csv beside it."""
    split = Catalog.read(find_model("gz1").parent / "split.parquet")
    kept = {one for one, part in zip(split.ids, split["part"], strict=True) if part == "test"}
    labels = Catalog.read(data / "labels.csv")
    labels = labels.rows(np.array([k for k, one in enumerate(labels.ids) if f"{name}:{one}" in kept]))
    some([data / "images" / f"{one}.jpg" for one in labels.ids], folder)
    labels.write(folder.parent / f"{name}.csv")


def types(out: Path) -> None:
    """Measure 40 ellipticals (EFIGI's T of -4 or less) and 40 spirals (1 to 7), drawn with seed 0."""
    catalog = Catalog.read(out / "efigi.csv")
    t, rng = np.asarray(catalog["T"], np.float64), np.random.default_rng(0)
    groups = [rng.permutation(np.flatnonzero(its))[:40] for its in (t <= -4, (t >= 1) & (t <= 7))]
    ids = [[catalog.ids[row] for row in rows] for rows in groups]
    disk.write_text(out / "early.csv", "\n".join(["id", *ids[0]]) + "\n")
    some([out / "efigi-pictures" / f"{one}.jpg" for one in ids[0] + ids[1]], out / "types")
    tuningfork("measure", out / "types", "--out", out / "types.parquet")


def explain(out: Path, model: str, store: Path, *words: object) -> None:
    """The page of a model, its figures, and its numbers in MODEL.json."""
    files = ["--out", out / f"{model}.html", "--figures", out / f"{model}-figures", "--json"]
    tuningfork("explain", model, "--galaxies", store, *words, *files, into=out / f"{model}.json")


def surest(votes: Path, known: dict[str, str]) -> list[str]:
    """Of each class shown, the galaxy of it to which the model gives that class most surely."""
    table = pyarrow.parquet.read_table(votes)
    ids, found = table["id"].to_pylist(), []
    for name in SHOWN:
        chance = table[f"p_{name}"].to_numpy()
        found.append(max((k for k, one in enumerate(ids) if known[one] == name), key=lambda k: chance[k]))
    return [ids[k] for k in found]


def barred(store: Path) -> str:
    """The galaxy with the longest bar, in a simulated sky also the strongest and clearest."""
    table = pyarrow.parquet.read_table(store / "catalog.parquet")
    names = [name for name in ("Bar_Length", "bar_length", "bar_strength", "visibility") if name in table.column_names]
    bar = np.prod([np.nan_to_num(table[name].to_numpy()) for name in names], axis=0)
    return str(table["id"].to_pylist()[int(bar.argmax())])


def hundred(store: Path, known: dict[str, str], out: Path) -> None:
    """Labels of a hundred galaxies, as many of each class as there are classes for, drawn with seed 0; and the rest."""
    rng, classes, drawn = np.random.default_rng(0), sorted(set(known.values())), []
    for name in classes:
        ids = [one for one, its in known.items() if its == name]
        drawn += rng.permutation(ids)[: LABELS // len(classes)].tolist()
    disk.write_text(out / "hundred.csv", "\n".join(["id,class", *(f"{one},{known[one]}" for one in drawn)]) + "\n")
    rest = [one for one in known if one not in set(drawn)]
    Catalog.read(store / "catalog.parquet").select(rest).write(out / "rest.parquet")


def shapes(measured: Path, known: dict[str, str], path: Path) -> None:
    """Concentration against Sersic's n, and M20 against Gini, by class."""
    table = pyarrow.parquet.read_table(measured)
    good = table.filter(pyarrow.compute.equal(table["status"], "done"))
    ids = good["id"].to_pylist()
    kinds = np.array([known[one].removesuffix("_clockwise").removesuffix("_anticlockwise") for one in ids])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        pairs = (("concentration", "sersic_n", "concentration C", "Sersic n"), ("gini", "m20", "Gini", "M20"))
        for axes, (x, y, across, up) in zip(figure.subplots(1, 2), pairs, strict=True):
            for number, kind in enumerate(sorted(set(kinds))):
                style = line_style(number) | {"linestyle": "none", "marker": "o^sDvP*"[number % 7]}
                these = kinds == kind
                axes.plot(good[x].to_numpy()[these], good[y].to_numpy()[these], label=kind, **style)
            axes.set(xlabel=across, ylabel=up)
        figure.axes[0].set_ylim(0, 8)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
    with disk.atomic(path) as part:
        figure.savefig(part, format="png", dpi=110)


def index(out: Path) -> None:
    """One page that lists what was made."""
    names = [str(path.relative_to(out)) for path in sorted(out.rglob("*")) if path.suffix in (".html", ".png", ".jpg")]
    inside = ("atlas_files/", "some/", "types/", "gz1-pictures/", "efigi-pictures/", "index")
    names = [html.escape(name) for name in names if not name.startswith(inside)]
    pages = [f'<p><a href="{one}">{one}</a></p>' for one in names if one.endswith(".html")]
    drawn = [one for one in names if one.endswith((".png", ".jpg"))]
    figures = [f'<p>{one}<br><img src="{one}" style="max-width:100%"></p>' for one in drawn]
    head = '<!doctype html><meta charset="utf-8"><title>insight</title>'
    disk.write_text(out / "index.html", "\n".join([head, *pages, *figures]))


def main() -> None:
    """Make everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("insight"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("-n", type=int, default=2000, help="simulated galaxies")
    choice = parser.parse_args()
    out, began = disk.make_folder(choice.out), time.perf_counter()
    store, second, few = galaxies_of(choice.data, choice.n, out)
    known, features, votes = insightnumbers.truth(store), out / "features.parquet", out / "votes.parquet"

    tuningfork("embed", store, "--model", "gz1", "--out", features)
    tuningfork("predict", store, "--model", "gz1", "--out", votes)
    asked = surest(votes, known)
    ids = [word for one in asked for word in ("--ids", one)]
    explain(out, "gz1", store, *ids)
    explain(out, "efigi", second, "--ids", barred(second), "--target", "Bar_Length")
    tuningfork("similar", features, *asked, "--k", 7, "--figure", out / "similar.png")
    tuningfork("anomalies", features, "--out", out / "odd.parquet", "--figure", out / "odd.png")
    files = ["--out", out / "next.csv", "--figure", out / "next.png"]
    tuningfork("label-next", features, "--votes", votes, "--count", 24, *files)
    hundred(store, known, out)
    tuningfork("fit-few", features, "--labels", out / "hundred.csv", "--out", out / "few.parquet")
    judged = ["--truth", out / "rest.parquet", "--unmatched", "drop"]
    tuningfork("evaluate", out / "few.parquet", *judged, "--out", out / "few.html")
    tuningfork("measure", few, "--out", out / "shapes.parquet")
    shapes(out / "shapes.parquet", insightnumbers.truth(few) if choice.data is None else known, out / "shapes.png")
    colours = ["--catalog", votes, "--colour", "class", "--image", out / "atlas.jpg", "--figure", out / "atlas.png"]
    tuningfork("atlas", features, *colours, "--out", out / "atlas.html")
    insightnumbers.main(out)
    index(out)
    print(f"\nall in {time.perf_counter() - began:.0f} s: {out / 'index.html'}")


if __name__ == "__main__":
    main()
