"""The same galaxy, the same numbers, from libraries that draw from numpy's one generator for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def steady_draws() -> Iterator[None]:
    """Within it numpy's global generator starts from 0; after it the generator is as it was, so nobody is disturbed.

    For libraries that take no generator of their own: lenstronomy's solver shortens some of its steps by such draws,
    and the basin hopping of statmorph's MID draws from there.
    """
    before = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(before)
