"""How many labels a new question takes: ROC AUC after n labelled galaxies, on a model's features and by its rivals.

Two questions: is it a merger (Galaxy Zoo 1), has it a bar (EFIGI). Training galaxies are drawn from the training and
validation parts of the reference models' samples; the test parts judge, which no model here has learnt from. Compared:

- a logistic regression on the features of the reference models' encoder, which has itself learnt the labels of the
  galaxies that are drawn here, so that its curve says how little a user needs who asks what it knows already;
- the same on the features of the encoder as ImageNet left it, which has never seen a galaxy (--imagenet FILE);
- the same on 50 principal components of 32 x 32 pixels;
- a small network from random weights (s4_resnet at 64 px), and the reference encoder trained on, as train --from does.

    python benchmarks/labels.py DATA MODEL --out FOLDER [--imagenet FILE] [--quick] [--networks]

writes FOLDER/labels.json and FOLDER/labels.png. Bands are over draws (the 10th to 90th percentile; the range where
there are fewer than ten); that the galaxies which judge are few themselves is not in them. --quick: 5 draws and no
networks. The encoded galaxies and the trained networks are kept in FOLDER and taken from there the next time.
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tuningfork import disk
from tuningfork import recipe as recipes
from tuningfork.galaxy.display import Display
from tuningfork.model.card import Card, find_model
from tuningfork.model.encoder import find_encoder
from tuningfork.predict.engine import open_engines
from tuningfork.workflow import fewlabels
from tuningfork.workflow.fewlabels import QUESTIONS, Pool, Question, Trained

NAMES = {
    "reference": "features of the reference encoder (has learnt these galaxies' labels)",
    "trained on": "reference encoder, trained on (train --from)",
    "imagenet": "features of ImageNet's encoder (no galaxies)",
    "scratch": "small network from random weights",
    "pixels": "principal components of pixels",
}
COLOURS = dict(zip(NAMES, ("#0072B2", "#56B4E9", "#009E73", "#D55E00", "#CC79A7"), strict=True))
SIDE, COMPONENTS = 32, 50
FINE_TUNED = {"merger": (20, 80), "bar": (100, 1000)}  # the sizes at which the encoder is trained on


def many(draws: int, size: int) -> int:
    """Draws of a size: fewer where each takes long and differs little from the others."""
    return draws if size < 1000 else min(draws, 5)


def ask(name: str, question: Question, choice: argparse.Namespace) -> dict[str, Any]:
    """All curves of one question, and of which galaxies they tell."""
    began, cpu = time.monotonic(), time.process_time()
    folder = find_model(choice.model)
    card = Card.load(folder)
    found = find_encoder(folder)
    assert found is not None, f"'{choice.model}' shares no encoder with other models: name one of a shipped set"
    display = recipes.from_mapping(Display, card.display)
    encoders = {"reference": open_engines([folder]).features, "pixels": fewlabels.coarse_pixels(SIDE)}
    told = found[1].digest
    if choice.imagenet:
        encoders["imagenet"] = fewlabels.imagenet_encoder(card, choice.imagenet)
        told += disk.sha256(choice.imagenet)
    pool = fewlabels.open_pool(question, choice.data, choice.samples or choice.out / "samples")
    pool, x = fewlabels.encode_all(pool, display, encoders, choice.out / f"{name}.parquet", told, say)
    encoded = time.process_time() - cpu
    curves = {}
    for one in encoders:
        score = fewlabels.probed(pool, x[one], COMPONENTS if one == "pixels" else 0)
        curves[one] = fewlabels.curve(pool, question, score, lambda size: many(choice.draws, size))
        say(len(curves), len(encoders), f"{name}: {one}")
    if choice.networks:
        curves |= networks(name, pool, question, display, choice)
    drawn = ~pool.judge
    return {
        "question": question.text,
        "drawn from": {"yes": int(pool.yes[drawn].sum()), "no": int((~pool.yes[drawn]).sum())},
        "judged on": {"yes": int(pool.yes[pool.judge].sum()), "no": int((~pool.yes[pool.judge]).sum())},
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "cpu_seconds_encoding": round(encoded, 1),
        "curves": {NAMES[one]: [dataclasses.asdict(point) for point in points] for one, points in curves.items()},
    }


def networks(
    name: str, pool: Pool, question: Question, display: Display, choice: argparse.Namespace
) -> dict[str, list[fewlabels.Point]]:
    """The curves of trained networks, of three draws each."""
    scratch = Trained(pool, choice.out / "runs" / f"{name}-scratch", display)
    tuned = Trained(pool, choice.out / "runs" / f"{name}-from", display, start=str(choice.model), steps=150)
    return {
        "scratch": fewlabels.curve(pool, question, scratch, lambda size: 3),
        "trained on": fewlabels.curve(pool, question, tuned, lambda size: 3, FINE_TUNED[name]),
    }


def say(done: int, of: int, text: str) -> None:
    """One line of progress."""
    print(f"  {done}/{of} {text}", flush=True)


def draw(results: dict[str, Any], path: Path) -> None:
    """One panel per question: mean AUC against the number of labels, with the band over draws."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for panel, result in zip(panels, results.values(), strict=True):
        for one, label in NAMES.items():
            points = result["curves"].get(label, [])
            n = [point["n"] for point in points]
            if not n:
                continue
            panel.plot(n, [point["mean"] for point in points], marker="o", ms=4, color=COLOURS[one], label=label)
            low, high = ([point[key] for point in points] for key in ("low", "high"))
            panel.fill_between(n, low, high, color=COLOURS[one], alpha=0.15, lw=0)
        sizes = sorted({point["n"] for points in result["curves"].values() for point in points})
        panel.set_xscale("log")
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.minorticks_off()
        judges = result["judged on"]
        panel.set_title(
            f"{result['question']}\njudged on {judges['yes']} yes, {judges['no']} no", fontsize=9, loc="left"
        )
        panel.set_xlabel("labelled galaxies")
        panel.set_ylabel("ROC AUC")
        panel.axhline(0.5, color="#9aa5b1", lw=0.8, ls=":")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    handles = {label: one for panel in panels for one, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend([*handles.values()], [*handles], loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    with disk.atomic(path) as part:
        figure.savefig(part, dpi=150)


# question -> the model on whose card its curves stand, and what is told apart, on what
CARDS = {
    "merger": ("gz1", "mergers", "the test part of Galaxy Zoo 1"),
    "bar": ("efigi", "bars (Bar_Length 0.5 or more against 0)", "the test part of EFIGI"),
}


def on_cards(results: dict[str, Any], models: Path) -> None:
    """The curves' points as figures on the cards of gz1 and efigi, in place of those of an earlier run."""
    for name, result in results.items():
        model, what, on = CARDS[name]
        folder = models / model
        card = Card.load(folder)
        figures = [one for one in card.measured if "labels" not in one]
        for label, points in result["curves"].items():
            for point in points:
                number = len(point["aucs"])
                entry = {
                    "what": f"ROC AUC of {what} from {point['n']} labels, {label}",
                    "on": on,
                    "value": round(point["mean"], 4),
                    "galaxies": sum(result["judged on"].values()),
                    "labels": point["n"],
                    "draws": number,
                    "command": "python benchmarks/labels.py DATA gz1 --out FOLDER --imagenet FILE --networks --cards",
                }
                if number > 1:  # the 10th to the 90th percentile of the draws; of a few draws their range
                    entry |= {"low": round(point["low"], 4), "high": round(point["high"], 4)}
                figures.append(entry | ({"level": 0.8} if number >= 10 else {}))
        dataclasses.replace(card, measured=tuple(figures)).save(folder)


def main() -> None:
    """Measure, print the means, and write JSON and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with gz1/ and efigi/")
    parser.add_argument("model", help="a model of a shipped set: its folder, or its name")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder outside the repository: pictures lie in its stores"
    )
    parser.add_argument(
        "--samples", type=Path, help="folder with the stores gz1 and efigi, where they are made already"
    )
    parser.add_argument("--imagenet", type=Path, help="ImageNet weights of the model's backbone (safetensors)")
    parser.add_argument("--only", choices=QUESTIONS, help="one question alone")
    parser.add_argument("--draws", type=int, default=0, help="per size; 0 = 20, or 5 with --quick")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--networks", action="store_true", help="train networks too, which takes much longer")
    parser.add_argument("--cards", action="store_true", help="write the figures on the cards of gz1 and efigi, too")
    choice = parser.parse_args()
    choice.draws = choice.draws or (5 if choice.quick else 20)
    choice.networks = choice.networks and not choice.quick
    results = {}
    for name, question in QUESTIONS.items():
        if choice.only in (None, name):
            results[name] = ask(name, question, choice)
    for result in results.values():
        print(f"{result['question']} ({result['cpu_seconds']} s of CPU)")
        for label, points in result["curves"].items():
            told = "  ".join(f"{p['n']}: {p['mean']:.3f} ({p['low']:.3f}-{p['high']:.3f})" for p in points)
            print(f"  {label}\n    {told}")
    disk.write_json(choice.out / "labels.json", {"model": str(choice.model), "draws": choice.draws, **results})
    draw(results, choice.out / "labels.png")
    if choice.cards:
        on_cards(results, find_model(choice.model).parent)


if __name__ == "__main__":
    main()
