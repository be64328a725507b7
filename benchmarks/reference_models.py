"""What the cards of the reference models say: how good they are, and where they fail, measured without training.

    OMP_NUM_THREADS=1 python benchmarks/reference_models.py MODELS DATA SAMPLES OUT [headline zoomed ...]

MODELS is a set, or the folder "models" of a run; DATA the folder of real galaxies; SAMPLES where
``workflow.samples.gather_samples`` has gathered its stores, or may. OUT receives findings.json ("measured" and "fails"
by model), findings.txt, and figures: those called "disagreements" show real galaxies, to look at and not to publish.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from tuningfork import disk
from tuningfork import recipe as recipes
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.records import Source
from tuningfork.workflow.measure.border import borders
from tuningfork.workflow.measure.findings import Findings
from tuningfork.workflow.measure.headline import headline
from tuningfork.workflow.measure.noise import ceiling
from tuningfork.workflow.measure.shift import shifted
from tuningfork.workflow.measure.zoom import zoomed
from tuningfork.workflow.reference import RECIPE, ReferenceRecipe
from tuningfork.workflow.samples import gather_samples

EVERY = ("headline", "zoomed", "shifted", "borders", "ceiling")


def main() -> None:
    """Measure what was asked for, one after the other; what is done is written at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("what", nargs="*", default=EVERY, help=f"of {', '.join(EVERY)}")
    parser.add_argument("--most", type=int, default=0, help="galaxies of each sample at most (0 = all)")
    parser.add_argument("--views", type=int, default=8, help="of the headline and the ceiling; the others take one")
    parser.add_argument("--drawn", type=int, default=600, help="simulated stamps of the borders; a third per redshift")
    choice = parser.parse_args()
    if wrong := [name for name in choice.what if name not in EVERY]:
        parser.error(f"{wrong} cannot be measured; choose of {', '.join(EVERY)}")
    out, done = disk.make_folder(choice.out), Findings()
    for name in choice.what:
        found = MEASURES[name](choice, f"python benchmarks/reference_models.py MODELS DATA SAMPLES OUT {name}")
        print(found.text(), flush=True)
        done = done.join(found)
        disk.write_json(out / "findings.json", {model: dict(told) for model, told in done.tell().items()})
        disk.write_text(out / "findings.txt", done.text() + "\n")
        for figure, drawn in found.figures.items():
            with disk.atomic(out / f"{figure}.png") as part:
                drawn.savefig(part, dpi=150)


def gathered(choice: argparse.Namespace) -> Source:
    """The samples as one source."""
    recipe = recipes.load(ReferenceRecipe, RECIPE)
    return gather_samples(choice.data, choice.samples, recipe.sky)  # lenses judge nothing here, and take long


def _headline(choice: argparse.Namespace, command: str) -> Findings:
    challenge = Catalog.read(choice.data / "gz2_stripe82" / "kaggle37.csv")
    return headline(
        choice.models, gathered(choice), challenge, views=choice.views, most=choice.most, command=command
    )  # fmt: skip


def _zoomed(choice: argparse.Namespace, command: str) -> Findings:
    return zoomed(choice.models, gathered(choice), most=choice.most, command=command)


def _shifted(choice: argparse.Namespace, command: str) -> Findings:
    return shifted(choice.models, choice.data, galaxies=choice.drawn // 3, command=command)


def _borders(choice: argparse.Namespace, command: str) -> Findings:
    return borders(choice.models, spacewarps=choice.data / "spacewarps", n=choice.drawn, command=command)


def _ceiling(choice: argparse.Namespace, command: str) -> Findings:
    found, doubtful = ceiling(choice.models, gathered(choice), views=choice.views, most=choice.most, command=command)
    rows = [vars(one) for one in doubtful]
    disk.write_json(disk.make_folder(choice.out) / "disagreements.json", rows)
    return found


MEASURES: dict[str, Callable[[argparse.Namespace, str], Findings]] = {
    "headline": _headline, "zoomed": _zoomed, "shifted": _shifted, "borders": _borders, "ceiling": _ceiling,
}  # fmt: skip

if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    main()
