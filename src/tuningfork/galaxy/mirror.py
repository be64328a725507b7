"""What answers are called in a mirror: clockwise is anticlockwise there, however the two are written."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SENSE = re.compile(
    r"((?:anti|counter)[^a-z]*clockwise|(?<![a-z])(?:ccw|acw)(?![a-z]))|(clockwise|(?<![a-z])cw(?![a-z]))"
)


def mirrored(names: Sequence[str]) -> tuple[int, ...]:
    """For each of K answers, the index of what it is called in a mirror: its own, or clockwise for anticlockwise.

    Case is not seen. The senses are clockwise against anticlockwise and counterclockwise (also with a hyphen, a space
    or an underscore between), and cw against acw and ccw as words of their own: ``spiral_CW``, not ``cwt``. Two names
    are a pair if they are the same but for the sense (``e_cw_tight``, ``e_ccw_tight``), or if they alone are left of
    either sense (``Z_clockwise``, ``S_anticlockwise``). Without a partner an answer is its own, as is any other. The
    result is a permutation that undoes itself.
    """
    read = [_read(name) for name in names]
    out = list(range(len(names)))
    for k, (frame, senses) in enumerate(read):
        other = (frame, tuple(not one for one in senses))
        if senses and out[k] == k:
            free = (j for j, one in enumerate(read) if one == other and out[j] == j)
            j = next(free, k)
            out[k], out[j] = j, k
    lonely = {sense: [k for k, one in enumerate(read) if one[1] == (sense,) and out[k] == k] for sense in (True, False)}
    if len(lonely[True]) == len(lonely[False]) == 1:
        j, k = lonely[True][0], lonely[False][0]
        out[k], out[j] = j, k
    return tuple(out)


def complemented(names: Sequence[str]) -> tuple[bool, ...]:
    """Which answers are numbers x in 0..1 that a mirror turns into 1 - x: EFIGI's rotation of the arms, one sense of
    which is 0 and the other 1."""
    return tuple("arm_rotation" in re.sub(r"[^a-z]+", "_", name.lower()) for name in names)


def _read(name: str) -> tuple[str, tuple[bool, ...]]:
    """The name without its senses, and these in order: True for clockwise."""
    text = name.lower()
    return _SENSE.sub("*", text), tuple(found[2] is not None for found in _SENSE.finditer(text))
