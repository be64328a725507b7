"""How many galaxies a second augmentation makes, beside plain indexing and beside a step of training.

The claim: augmentation on batches of tensors is not the bottleneck; more than 10,000 galaxies of 64 px a second on two
cores. Run: ``python benchmarks/augment.py [--threads 2] [--size 64] [--backbone mobilenetv4_small]``.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from tuningfork.data.augment import OFF, Augment, augment, margin, principal_components
from tuningfork.model.head import make_head
from tuningfork.model.net import GalaxyNet

CASES = {
    "off (central crop)": OFF,
    "default: turn, flip, shift, zoom": Augment(),
    "default + crop, transpose": Augment(crop=0.1, transpose=True),
    "quarter turns, flips": Augment(rotate_step=90.0, shift=0.0, zoom=1.0),
    "default + colour": Augment(colour=0.1),
    "default + blur": Augment(blur=1.0),
    "default + noise": Augment(noise=0.05),
    "everything": Augment(crop=0.1, transpose=True, colour=0.1, blur=1.0, noise=0.05),
}


def best(work: Callable[[], object], rounds: int) -> float:
    """Seconds of the quickest of some rounds, after one to warm up."""
    work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind, value in (("threads", int, 2), ("size", int, 64), ("batch", int, 64), ("rounds", int, 150)):
        parser.add_argument(f"--{name}", type=kind, default=value)
    parser.add_argument("--backbone", default="mobilenetv4_small")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    generator, numbers = torch.Generator().manual_seed(0), np.random.default_rng(0)
    rates = {}
    for name, choice in CASES.items():
        side = chosen.size + 2 * margin(choice, chosen.size)
        cache = numbers.integers(0, 256, (1024, 3, side, side), dtype=np.uint8)
        colours = principal_components(cache)
        rows = numbers.permutation(len(cache))[: chosen.batch]
        if not rates:
            seconds = best(lambda: torch.from_numpy(cache[rows]).float().div_(255), chosen.rounds)  # noqa: B023
            rates["plain indexing, to float"] = chosen.batch / seconds

        def views(cache=cache, rows=rows, choice=choice, colours=colours) -> torch.Tensor:  # type: ignore[no-untyped-def]
            return augment(torch.from_numpy(cache[rows]), choice, chosen.size, generator, colours)

        rates[name] = chosen.batch / best(views, chosen.rounds)
    net = GalaxyNet(chosen.backbone, make_head("classes", ("a", "b", "c")), ("red", "green", "blue"), chosen.size)
    optimizer = torch.optim.AdamW(net.parameters())
    x = torch.rand(chosen.batch, 3, chosen.size, chosen.size)

    def step() -> None:
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()

    training = chosen.batch / best(step, max(chosen.rounds // 10, 2))
    print(f"{chosen.size} px, batches of {chosen.batch}, {chosen.threads} threads; images/s, best of {chosen.rounds}")
    for name, rate in rates.items():
        print(f"{name:36s} {rate:12,.0f}   {rate / training:8.1f} x a training step of {chosen.backbone}")
    print(f"{'a training step':36s} {training:12,.0f}")


if __name__ == "__main__":
    main()
