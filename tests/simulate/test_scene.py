"""The truth of a stamp: what is asked for, within its limits, and nothing in the surroundings that gives it away."""

from collections import Counter

import numpy as np
import pytest

from tuningfork.simulate.cfhtls import CFHTLS
from tuningfork.simulate.lookalikes import LOOKALIKES
from tuningfork.simulate.scene import LENSES, PAINTED, draw_scene

pytest.importorskip("lenstronomy")
MANY = [draw_scene(0, index, CFHTLS, 1.0) for index in range(150)]


def test_lenses() -> None:
    flavors = Counter(scene.flavor for scene in MANY)
    assert set(flavors) == set(LENSES) and all(scene.is_lens for scene in MANY)
    for scene in MANY:
        assert scene.background is not None and scene.foreground is not None
        assert (scene.flavor == "lensed quasar") == (scene.background.quasar_magnitude is not None)
        assert scene.background.redshift > scene.place.redshift
        assert scene.foreground.kind == "elliptical"
        cluster = scene.flavor == "lensing cluster"
        assert cluster == scene.place.group == (len(scene.deflector.halos) > 1)
        low, high = (2.9, 8.3) if cluster else (0.8, 2.5)  # ring() is good to a percent or so
        assert low <= scene.einstein_radius <= high
        away = np.hypot(scene.background.x, scene.background.y)
        assert away <= 0.71 * scene.einstein_radius and away + scene.einstein_radius < 10.1


def test_a_scene_depends_on_seed_and_index_only() -> None:
    assert draw_scene(0, 7, CFHTLS, 1.0) == MANY[7]
    assert draw_scene(1, 7, CFHTLS, 1.0) != MANY[7]
    assert draw_scene(-1, 7, CFHTLS, 1.0) != draw_scene(1, 7, CFHTLS, 1.0)


def test_surroundings_do_not_know_whether_there_is_a_lens() -> None:
    for lens in MANY[:60]:
        other = draw_scene(0, lens.index, CFHTLS, 0.0)
        assert not other.is_lens and other.flavor in LOOKALIKES and np.isnan(other.einstein_radius)
        assert other.place == lens.place
        assert lens.foreground is not None and other.foreground is not None
        company = lens.foreground.companions
        assert not company or other.foreground.companions[-len(company) :] == company


def test_share_of_lenses() -> None:
    drawn = [draw_scene(3, index, CFHTLS, 0.2).is_lens for index in range(300)]
    assert np.mean(drawn) == pytest.approx(0.2, abs=0.1)


def test_painted_scenes_have_no_foreground() -> None:
    drawn = [draw_scene(4, index, CFHTLS, 0.5, painted=True) for index in range(40)]
    assert {scene.flavor for scene in drawn} == {*PAINTED, "unlensed"}
    assert all(scene.foreground is None and len(scene.deflector.halos) == int(scene.is_lens) for scene in drawn)
