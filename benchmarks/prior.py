"""What giving classes back their own shares costs and buys (train.prior), on validation galaxies alone.

The model was trained on balanced epochs, and its biases then moved by ``train.prior`` of the way back. Other strengths
are that model with its biases moved further: for each, the accuracy of the four classes (spirals merged), their
balanced accuracy and the recall of mergers; then the same for the model as it is where the probability of mergers, the
rarest class, is counted several times when a class is chosen. Test galaxies are not looked at.

    python benchmarks/prior.py DATA [--model gz1] [--samples FOLDER] [--prior 0 0.6 1] [--mergers 4 8 12 20]
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuningfork import recipe as recipes
from tuningfork.model.card import Card, find_model
from tuningfork.train.finish import prior_shift
from tuningfork.train.objective import parts_of
from tuningfork.train.prepare import join
from tuningfork.workflow.measure.ask import ask, ids_of_part, open_heads
from tuningfork.workflow.measure.headline import FOUR, four_classes, four_labels, weigh_mergers
from tuningfork.workflow.reference import RECIPE, ReferenceRecipe
from tuningfork.workflow.samples import gather_samples


def main() -> None:
    """Print a line for each strength."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="gz1")
    parser.add_argument("--samples", type=Path, default=Path("reference/samples"), help="of make models, or made now")
    parser.add_argument("--prior", type=float, nargs="*", default=[0.0, 0.3, 0.6, 1.0])
    parser.add_argument("--mergers", type=float, nargs="*", default=[4.0, 8.0, 12.0, 20.0])
    choice = parser.parse_args()
    recipe = recipes.load(ReferenceRecipe, RECIPE)
    union = gather_samples(choice.data, choice.samples, recipe.sky, recipe.lenses)
    joined = join(union, union.catalog, recipe.train)
    part = next(one for one in parts_of(joined.labels) if one.choice.name == "gz1")
    whole = {"recipe": {"train": {"balance": recipe.train.train.balance, "prior": 1.0}}}
    shift = prior_shift(joined, joined.ids("train"), part, whole).numpy()  # (K,)
    folder = find_model(choice.model)
    card = Card.load(folder)
    made = float(card.training["recipe"]["train"].get("prior", 0.0))
    asked = ask(union.records(ids_of_part(union, "gz1", part="validation")), open_heads([folder], ("gz1",), views=8))
    assert union.catalog is not None and tuple(part.names) == card.names
    truth = four_labels(np.asarray(union.catalog.select(asked.ids)["gz1_class"]))
    known = asked.answered("gz1") & (truth >= 0)
    z = np.log(np.maximum(asked.said("gz1")[known], 1e-12)) * card.temperature
    print(f"{known.sum()} validation galaxies, {(truth[known] == 3).sum()} of them mergers; made with prior {made:g}")

    def tell(what: str, said: NDArray[np.float64]) -> None:
        guess = said.argmax(1)
        recall = [(guess[truth[known] == k] == k).mean() for k in range(len(FOUR))]
        accuracy = (guess == truth[known]).mean()
        print(f"{what}: accuracy {accuracy:.3f}, balanced {np.mean(recall):.3f}, mergers found {recall[3]:.3f}")

    for prior in choice.prior:
        tell(f"prior {prior:g}", four_classes(np.exp((z + (prior - made) * shift) / card.temperature), card.names))
    for times in choice.mergers:
        tell(
            f"p_merger counted {times:g} times",
            weigh_mergers(four_classes(np.exp(z / card.temperature), card.names), times),
        )


if __name__ == "__main__":
    main()
