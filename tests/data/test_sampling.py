"""Orders of epochs: every galaxy once, or every class its share, from (seed, epoch) alone."""

import numpy as np
import pytest

from tuningfork.data.sampling import copies, order, shares
from tuningfork.errors import RecipeError

CLASSES = np.repeat([0, 1, 5], [700, 250, 50])


def test_without_balance_every_row_comes_once() -> None:
    assert sorted(order(1000, 0, 1)) == list(range(1000))
    assert not np.array_equal(order(1000, 0, 1), np.arange(1000))


def test_an_order_depends_on_seed_and_epoch_alone() -> None:
    np.random.seed(5)
    first = order(1000, 3, 7, classes=CLASSES, balance="balanced")
    np.random.seed(6)
    assert np.array_equal(first, order(1000, 3, 7, classes=CLASSES, balance="balanced"))
    assert not np.array_equal(first, order(1000, 4, 7, classes=CLASSES, balance="balanced"))
    assert not np.array_equal(first, order(1000, 3, 8, classes=CLASSES, balance="balanced"))


@pytest.mark.parametrize("balance", ["balanced", "sqrt"])
def test_classes_get_their_share_of_an_epoch_of_unchanged_length(balance: str) -> None:
    rows = order(1000, 0, 0, classes=CLASSES, balance=balance)
    got = np.array([(CLASSES[rows] == k).sum() for k in (0, 1, 5)])
    assert len(rows) == 1000
    assert np.abs(got - 1000 * shares([700, 250, 50], balance)).max() < 1  # largest remainders: less than one off


def test_small_classes_are_repeated_evenly_and_large_ones_not_at_all() -> None:
    rows = order(1000, 0, 0, classes=CLASSES, balance="balanced")
    times = np.bincount(rows, minlength=1000)
    assert times[:700].max() == 1
    assert times[950:].min() == 6 and times[950:].max() == 7  # 333 visits to 50 galaxies


def test_shares_sum_to_one_and_sqrt_lies_between() -> None:
    none, sqrt, balanced = (shares([900, 100, 0], b) for b in ("none", "sqrt", "balanced"))
    assert none.tolist() == [0.9, 0.1, 0] and balanced.tolist() == [0.5, 0.5, 0]
    assert sqrt == pytest.approx([0.75, 0.25, 0])


@pytest.mark.parametrize("balance", ["none", "sqrt", "balanced"])
def test_copies_leave_an_epoch_as_long_as_it_was_and_are_what_epochs_show(balance: str) -> None:
    counts = np.array([700, 0, 250, 50])
    often = copies(counts, balance)
    assert (counts * often).sum() == pytest.approx(1000) and often[1] == 0
    assert (counts * often / 1000).tolist() == pytest.approx(shares(counts, balance).tolist())
    shown = sum(np.bincount(order(1000, e, 0, classes=CLASSES, balance=balance), minlength=1000) for e in range(4))
    means = np.array([shown[k == CLASSES].mean() for k in (0, 1, 5)]) / 4
    assert np.abs(means - often[[0, 2, 3]]).max() < 1 / 50  # an epoch rounds a class to whole visits


def test_copies_by_hand() -> None:
    assert copies([900, 100], "none").tolist() == [1, 1]
    assert copies([900, 100], "balanced").tolist() == pytest.approx([5 / 9, 5])
    assert copies([900, 100], "sqrt").tolist() == pytest.approx([750 / 900, 2.5])
    with pytest.raises(RecipeError, match="no balance 'fair'"):
        copies([900, 100], "fair")


def test_a_balance_that_cannot_be_is_refused() -> None:
    with pytest.raises(RecipeError, match="needs a class"):
        order(10, 0, 0, balance="balanced")
    with pytest.raises(RecipeError, match="no balance 'even'"):
        order(10, 0, 0, classes=np.zeros(10), balance="even")
    with pytest.raises(RecipeError, match="10 galaxies came with 9"):
        order(10, 0, 0, classes=np.zeros(9), balance="sqrt")
