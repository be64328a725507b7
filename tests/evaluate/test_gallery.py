"""Galleries: who is shown, and how small and large pictures become thumbnails."""

import base64
import io

import numpy as np
from PIL import Image

from tuningfork.evaluate.gallery import exhibits, highest, in_turn, thumbnail


def opened(address):
    return Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1])))


def test_every_group_comes_in_turn_with_its_best_first():
    score = np.array([9.0, 8, 7, 6, 5, np.nan])
    group = np.array([0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(in_turn(score, group, 4), [0, 3, 1, 4])
    np.testing.assert_array_equal(highest(score, 3), [0, 1, 2])
    assert len(in_turn(score, group, 12)) == 5  # what has no score is not shown


def test_thumbnails_are_square_and_no_larger_than_asked():
    wide = np.zeros((40, 90, 3), np.uint8)
    wide[:, 25:65] = 200
    small = opened(thumbnail(wide, 120))
    assert small.size == (120, 120)  # the central 40 px, three times
    assert np.asarray(small).min() > 190
    assert opened(thumbnail(np.zeros((500, 300, 3), np.uint8), 160)).size == (160, 160)


def test_without_pictures_every_exhibit_says_why():
    shown = exhibits(["a", "b"], [("true: x",), ("true: y",)], None, "the source is gone")
    assert [one.id for one in shown] == ["a", "b"]
    assert all(one.picture is None and one.missing == "the source is gone" for one in shown)
