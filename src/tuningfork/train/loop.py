"""fit: from galaxies and labels to a model folder, in one loop that survives a kill at any step bit for bit."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import disk
from ..data.augment import augment, mirrored_views
from ..errors import TrainingError
from ..galaxy.catalog import Catalog
from ..galaxy.records import Source
from ..model.net import GalaxyNet
from .agree import another_view, disagreement
from .choices import ModelChoice, Train, TrainRecipe, check
from .finish import TrainSummary, finish, finished, summarise
from .judge import is_better, judge, outputs
from .logs import write_csv
from .objective import in_a_mirror
from .prepare import Say, join
from .run import Run, identity_of, start
from .several import finish_several
from .stages import set_training
from .state import Progress
from .steady import memory_told, mixed, steady, stop_asked

__all__ = ["ModelChoice", "Train", "TrainRecipe", "TrainSummary", "fit", "learning_rate"]

POISONED = 3  # steps in a row without a finite loss or gradient that end a run


def fit(
    source: Source,
    out: str | Path,
    recipe: TrainRecipe,
    *,
    labels: Catalog | None = None,
    stop_after_steps: int | None = None,
    progress: Say | None = None,
) -> TrainSummary:
    """Train a network on ``source`` with ``labels`` (None = its own catalogue) into the run folder ``out``.

    The folder holds recipe.toml, split.parquet (id, part), rejected.parquet, log.csv, tensorboard/, state/,
    skipped.json if a step was, and at the end model/ and run.json. The same call goes on where a killed or stopped run
    was, and on a CPU ends with the same bits, because all chance is a function of (seed, step). SIGTERM, or
    ``stop_after_steps`` in all, ends the run after the step at hand with its state stored (``summary.stopped``). Raises
    :class:`~tuningfork.errors.RecipeError` if ``out`` holds a run of other choices or galaxies,
    :class:`~tuningfork.errors.TrainingError` after three steps without a finite loss (naming the galaxies) or without
    memory, and what joining, splitting and rendering raise.
    """
    check(recipe)
    out = Path(out)
    with disk.lock(out), steady(recipe.train), memory_told(recipe.train):
        joined = join(source, source.catalog if labels is None else labels, recipe)
        identity = identity_of(recipe, joined)
        if done := finished(out, identity):
            return done
        with contextlib.closing(start(source, out, recipe, joined, identity, progress)) as run, stop_asked() as stop:
            train, now = recipe.train, run.state.progress  # of a stored state, if there was one
            while len(now.history) < train.epochs and not _exhausted(now, train):
                epoch = len(now.history)
                run.enter(epoch)
                for rows in run.batches(epoch)[now.step - epoch * run.steps :]:  # rows: (batch * accumulate,)
                    _step(run, rows)
                    run.tell(progress)
                    stopped = bool(stop) or now.step == stop_after_steps  # once: a signal may come between two lines
                    if run.due() or stopped:
                        run.save()
                    if stopped:
                        return summarise(out, joined, run.caches, now, stopped=True)
                z = outputs(run.judged, run.caches[1], train.batch, run.device)  # (n validation, K)
                _end_epoch(run, judge(run.judged, run.objective, z, run.targets[1], joined.labels.tree))
                run.tell(progress)
            run.save()
            run.judged.load_state_dict(run.state.best)
            z = outputs(run.judged, run.caches[1], train.batch, run.device)
            last = finish_several if joined.labels.kind == "several" else finish
            return last(out, run.judged, run.card, joined, run.caches, now, z, run.targets[1], identity)


def _step(run: Run, rows: NDArray[np.int64]) -> None:
    """One step of the optimiser on the galaxies of ``rows``; left out, and counted, where it is not finite."""
    train, now, net = run.recipe.train, run.state.progress, run.state.net
    torch.manual_seed(mixed(train.seed, now.step))  # dropout
    generator = torch.Generator().manual_seed(mixed(train.seed, now.step) ^ 1)  # views
    anew = torch.Generator().manual_seed(mixed(train.seed, now.step) ^ 2)  # second views
    epochs = now.step / run.steps
    rate = rate_at(epochs, run.recipe, now.stage)
    for group in run.state.optimizer.param_groups:
        group["lr"] = rate * group["share"]
    loss_of = run.objective.raw if epochs < train.raw_epochs else run.objective.loss
    statistics = [buffer.clone() for buffer in net.buffers()]
    set_training(net, run.stage)
    run.state.optimizer.zero_grad()
    losses = []
    for some in np.array_split(rows, min(train.accumulate, len(rows))):
        pictures = run.caches[0].batch(some).to(run.device)  # (n, C, M, M) uint8
        flags = mirrored_views(len(some), run.recipe.augment, run.judged.size, generator)
        targets = in_a_mirror(run.targets[0][some], flags, run.joined.labels.names)
        x = augment(pictures, run.recipe.augment, run.judged.size, generator, run.colours)  # (n, C, S, S) in 0..1
        if train.agree:
            assert isinstance(net, GalaxyNet)
            features = run.module.features(x)  # (n, F)
            views = another_view(pictures, flags, run.recipe.augment, run.judged.size, anew, run.colours)
            apart = disagreement(features, run.judged, views)  # (n,)
            losses.append(loss_of(net.last(net.dropout(features)), targets.to(run.device)) + train.agree * apart)
        else:
            z = run.module(x)  # (n, K)
            losses.append(loss_of(z, targets.to(run.device)))  # (n,)
        run.fabric.backward(losses[-1].sum() / len(rows))
    loss = torch.cat([part.detach().float() for part in losses]).cpu()  # (batch * accumulate,)
    norm = torch.nn.utils.clip_grad_norm_(net.parameters(), train.clip or math.inf)
    now.step += 1
    if bool(loss.isfinite().all()) and bool(norm.isfinite()):
        run.state.optimizer.step()
        run.state.average.update(now.step - 1)
        now.in_a_row = 0
        now.losses, now.galaxies = now.losses + float(loss.double().sum()), now.galaxies + len(rows)
        run.curves.add(now.step, {"train/loss": float(loss.mean()), "train/rate": rate})
        return
    for buffer, before in zip(net.buffers(), statistics, strict=True):
        buffer.copy_(before)
    _skip(run, rows, loss)


def _skip(run: Run, rows: NDArray[np.int64], loss: Tensor) -> None:
    """Count a step that was left out, name its galaxies in skipped.json, and give up after three in a row."""
    now, ids = run.state.progress, run.caches[0].ids
    poisoned = np.flatnonzero(~loss.isfinite().numpy())
    named = [ids[r] for r in (rows[poisoned] if len(poisoned) else rows)]
    now.in_a_row += 1
    now.skipped.append({"step": now.step, "of_these": bool(len(poisoned)), "ids": named[:100]})
    disk.write_json(run.out / "skipped.json", now.skipped)
    if now.in_a_row >= POISONED:
        why = "their loss is not finite" if len(poisoned) else "the gradient of their batch is not finite"
        raise TrainingError(
            f"{POISONED} steps in a row failed, the last, {now.step}, with {named[:10]}"
            f"{' ...' if len(named) > 10 else ''}: {why}. Look at their labels and pictures (skipped.json lists all), "
            "or lower train.rate, or set train.clip"
        )


def _end_epoch(run: Run, numbers: dict[str, float]) -> None:
    """Enter an epoch into the history and the logs, and keep its weights if they are the best."""
    now, train = run.state.progress, run.recipe.train
    clock = time.monotonic()
    now.seconds, run.began = now.seconds + clock - run.began, clock
    if not all(math.isfinite(v) for v in numbers.values()):
        raise TrainingError(f"epoch {len(now.history) + 1} ends with {numbers} on validation: lower train.rate")
    entry = {
        "epoch": len(now.history) + 1,
        "step": now.step,
        "rate": rate_at(now.step / run.steps, run.recipe, now.stage),
        "train_loss": now.losses / max(now.galaxies, 1),
        **{("validation_loss" if k == "loss" else k): v for k, v in numbers.items()},
        **({"stage": now.stage + 1} if run.recipe.stages else {}),
        "skipped": len(now.skipped),
        "seconds": round(now.seconds, 1),
    }
    now.losses, now.galaxies = 0.0, 0
    now.history.append(entry)
    best = None if now.best is None else {**now.best, "loss": now.best["validation_loss"]}
    if is_better(numbers, best, train.select):
        now.best = entry
        run.state.keep_best()
    write_csv(run.out / "log.csv", now.history)
    run.curves.add(now.step, {f"validation/{k}": v for k, v in numbers.items()})


def _exhausted(now: Progress, train: Train) -> bool:
    """Whether patience has run out."""
    return bool(train.patience and now.best and len(now.history) - now.best["epoch"] >= train.patience)


def rate_at(epochs: float, recipe: TrainRecipe, stage: int) -> float:
    """The rate after ``epochs`` of a run that is in this stage: its factor times :func:`learning_rate` within it.

    Every stage warms up and falls as if it were a run of its own; without stages the run is one.
    """
    if not recipe.stages:
        return learning_rate(epochs, recipe.train)
    begun, own = sum(one.epochs for one in recipe.stages[:stage]), recipe.stages[stage]
    return own.rate * learning_rate(epochs - begun, replace(recipe.train, epochs=own.epochs))


def learning_rate(epochs: float, train: Train) -> float:
    """The rate after ``epochs`` (a fraction counts): ``rate`` times warm-up times schedule.

    Warm-up: min(1, (epochs + e) / warmup) with e a thousandth of it, so that the first step is not lost. Then with t =
    epochs: "cosine" (1 + cos(pi (t - warmup) / (all - warmup))) / 2; "steps" gamma^(number of milestones <= t).
    """
    rise = min(1.0, epochs / train.warmup + 1e-3) if train.warmup > 0 else 1.0
    fall = 1.0
    if train.schedule == "cosine":
        share = (epochs - train.warmup) / max(train.epochs - train.warmup, 1e-9)
        fall = (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2
    elif train.schedule == "steps":
        fall = train.gamma ** sum(epochs >= milestone for milestone in train.milestones)
    return train.rate * rise * fall
