"""Arms, bars, rings, clumps and dust are where the truth says."""

import numpy as np
import pytest

from tuningfork.simulate import structure
from tuningfork.simulate.profiles import Canvas, canvas
from tuningfork.simulate.truth import Galaxy, generator


@pytest.fixture(scope="module")
def grid() -> Canvas:
    return canvas(160, 0.25, 0.5)


def test_plane_is_elliptical_and_turned(grid: Canvas) -> None:
    galaxy = Galaxy("spiral", radius=5.0, inclination=60.0, position_angle=30.0, dx=2.0, dy=-1.0)
    where = structure.plane(grid, galaxy)
    angle = np.radians(30.0)
    for along, r in [((-np.sin(angle), np.cos(angle)), 1.0), ((-np.cos(angle), -np.sin(angle)), 2.0)]:
        x, y = 2.0 + 5.0 * along[0], -1.0 + 5.0 * along[1]
        column = np.abs(grid.x[0] - x).argmin()
        row = np.abs(grid.y[:, 0] - y).argmin()
        assert where.r[row, column] == pytest.approx(r, abs=0.1)  # half a pixel is 0.025 along, 0.05 across


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("pitch", [12.0, 25.0])
def test_arms_are_logarithmic_spirals(grid: Canvas, direction: int, pitch: float) -> None:
    galaxy = Galaxy("spiral", radius=7.0, arms=1, pitch=pitch, direction=direction, flocculence=0.0, arm_width=0.8)
    where = structure.plane(grid, galaxy)
    slopes = []
    for index in range(8):
        light = structure.arms(where, galaxy, generator(1, index))
        assert (light >= 0).all()
        log_r = np.linspace(np.log(0.5), np.log(1.4), 24)
        phases = []
        for value in log_r:
            near = np.abs(np.log(where.r) - value) < 0.04
            phases.append(np.angle((light[near] * np.exp(1j * where.phi[near])).sum()))
        slopes.append(np.polyfit(log_r, np.unwrap(phases), 1)[0])
    # each arm's pitch scatters by 8%, its path wobbles: the mean of eight galaxies is good to about 5%
    assert np.mean(slopes) == pytest.approx(direction / np.tan(np.radians(pitch)), rel=0.15)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_arms_are_as_many_as_told(grid: Canvas, number: int) -> None:
    galaxy = Galaxy("spiral", radius=7.0, arms=number, pitch=20.0, direction=1, flocculence=0.0, arm_width=0.7)
    where = structure.plane(grid, galaxy)
    power = np.zeros(9)
    for index in range(4):
        light = structure.arms(where, galaxy, generator(2, index))
        for r in (0.7, 0.9, 1.1):
            near = np.abs(where.r - r) < 0.04
            modes = [(light[near] * np.exp(1j * m * where.phi[near])).sum() for m in range(1, 10)]
            power += np.abs(modes) ** 2
    assert power.argmax() + 1 == number


def test_bar_is_as_long_and_points_as_told(grid: Canvas) -> None:
    galaxy = Galaxy("spiral", radius=7.0, bar_length=0.8, bar_strength=0.2, phase=40.0)
    where = structure.plane(grid, galaxy)
    light = structure.bar(where, galaxy)
    a = np.cos(np.radians(40)) * where.u + np.sin(np.radians(40)) * where.v
    b = -np.sin(np.radians(40)) * where.u + np.cos(np.radians(40)) * where.v
    assert (light * a**2).sum() > 8 * (light * b**2).sum()
    assert light[np.abs(a) > 1.3].max() < 0.02 * light.max()


def test_ring_peaks_at_its_radius(grid: Canvas) -> None:
    galaxy = Galaxy("lenticular", radius=6.0, ring_radius=1.2, ring_strength=0.3)
    where = structure.plane(grid, galaxy)
    light = structure.ring(where, galaxy, generator(0, 0))
    means = [light[np.abs(where.r - r) < 0.05].mean() for r in np.arange(0.5, 2.0, 0.1)]
    assert 0.5 + 0.1 * np.argmax(means) == pytest.approx(1.2, abs=0.06)


def test_texture_is_the_same_on_any_canvas() -> None:
    u = np.linspace(0, 9, 200, dtype=np.float32)
    fine = structure.texture(generator(0, 0), *np.broadcast_arrays(u[None, :], u[:, None]))
    coarse = structure.texture(generator(0, 0), *np.broadcast_arrays(u[None, ::4], u[::4, None]))
    np.testing.assert_allclose(fine[::4, ::4], coarse, atol=1e-5)
    wide = structure.texture(generator(0, 1), *np.meshgrid(np.linspace(0, 48, 200), np.linspace(0, 48, 200)))
    assert wide.mean() == pytest.approx(0, abs=0.1) and 0.6 < wide.std() < 1.3


def test_clumps_and_tails_are_light(grid: Canvas) -> None:
    galaxy = Galaxy("irregular", radius=5.0, clumps=0.4, inclination=30.0)
    where = structure.plane(grid, galaxy)
    knots = structure.clumps(grid, where, galaxy, structure.exponential(where.r), generator(0, 3))
    assert knots.min() >= 0 and knots.max() > 20 * knots.mean()
    assert (knots[where.r < 3].sum()) > 0.98 * knots.sum()
    tail = structure.tails(where, galaxy, generator(0, 3))
    assert tail.min() >= 0 and tail[(where.r > 1) & (where.r < 4)].sum() > 0.5 * tail.sum()


def test_a_lane_crosses_an_edge_on_disk(grid: Canvas) -> None:
    galaxy = Galaxy("spiral", radius=6.0, inclination=90.0, thickness=0.2, dust=1.5, position_angle=0.0)
    depth = structure.dust(grid, structure.plane(grid, galaxy), galaxy, 1.0)
    middle = grid.side // 2
    assert depth.min() >= 0 and 0.3 < depth.max() <= 1.5
    assert depth[middle, middle] > 20 * depth[middle, middle + 12]  # 3 arcsec beside the lane, which runs up
    assert depth[middle - 12, middle] > 0.5 * depth[middle, middle]
    tilted = Galaxy("spiral", radius=6.0, inclination=55.0, dust=1.0, arms=2, direction=1)
    depth = structure.dust(grid, structure.plane(grid, tilted), tilted, 1.0)
    assert depth.min() >= 0 and 0.1 < depth.max() < 1.0
