"""The mass in front: singular isothermal ellipsoids and a tide, whose bending of light lenstronomy computes."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from ..errors import MissingExtra
from ..galaxy.steadydraws import steady_draws


def _lenstronomy() -> tuple[ModuleType, ModuleType]:
    try:
        from lenstronomy.LensModel import lens_model
        from lenstronomy.LensModel.Solver import lens_equation_solver
    except ImportError as error:
        raise MissingExtra("lenstronomy", "lenses") from error
    return lens_model, lens_equation_solver


@dataclass(frozen=True)
class Halo:
    """One singular isothermal ellipsoid (Kormann, Schneider & Bartelmann 1994).

    ``einstein_radius`` in arcsec (the circular equivalent, as lenstronomy's ``theta_E`` of "SIE"), ``axis_ratio`` of
    the mass in (0, 1], ``position_angle`` of its major axis in degrees from north (up) through east (left), ``x`` (to
    the right) and ``y`` (up) in arcsec from the stamp's centre.
    """

    einstein_radius: float
    axis_ratio: float = 1.0
    position_angle: float = 0.0
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True)
class Deflector:
    """All the mass that bends: halos, and the ``shear`` by what lies around, its stretch along ``shear_angle``.

    The angle is in degrees from north through east, as position angles are. No halos and no shear bend nothing.
    """

    halos: tuple[Halo, ...] = ()
    shear: float = 0.0
    shear_angle: float = 0.0

    @property
    def reach(self) -> float:
        """An upper bound to the angle, in arcsec, by which the halos bend any ray: the sum of their radii, and 20%."""
        return 1.2 * sum(halo.einstein_radius for halo in self.halos)


def _turned(size: float, angle: float) -> tuple[float, float]:
    """The two components of an ellipticity or shear of this size along an angle on the sky."""
    twice = 2 * np.radians(angle + 90)
    return float(size * np.cos(twice)), float(size * np.sin(twice))


def _model(deflector: Deflector) -> tuple[object, list[dict[str, float]]]:
    """lenstronomy's model, and its arguments."""
    names: list[str] = []
    arguments: list[dict[str, float]] = []
    for halo in deflector.halos:
        e1, e2 = _turned((1 - halo.axis_ratio) / (1 + halo.axis_ratio), halo.position_angle)
        names.append("SIE")
        arguments.append({"theta_E": halo.einstein_radius, "e1": e1, "e2": e2, "center_x": halo.x, "center_y": halo.y})
    if deflector.shear:
        gamma1, gamma2 = _turned(deflector.shear, deflector.shear_angle)
        names.append("SHEAR")
        arguments.append({"gamma1": gamma1, "gamma2": gamma2})
    return _lenstronomy()[0].LensModel(names), arguments


def to_source(deflector: Deflector, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where behind the deflector light comes from that is seen at (x, y): beta = theta - alpha(theta), in arcsec.

    Arrays of any one shape; float64 of that shape come back. Raises MissingExtra without lenstronomy, unless there is
    nothing that bends.
    """
    x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    if not deflector.halos and not deflector.shear:
        return x.copy(), y.copy()
    model, arguments = _model(deflector)
    beta_x, beta_y = model.ray_shooting(x.ravel(), y.ravel(), arguments)  # type: ignore[attr-defined]
    return np.reshape(beta_x, x.shape), np.reshape(beta_y, x.shape)


def images(deflector: Deflector, x: float, y: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images of a point at (x, y) in the source plane: their x, y (arcsec) and signed magnifications.

    The lens equation is solved on a grid as wide as any image can lie, and refined. Images that are fainter than a
    thousandth of the source (at a halo's singular centre) are left out. Brightest first; three float64 arrays.
    """
    if not deflector.halos and not deflector.shear:
        return np.array([x]), np.array([y]), np.array([1.0])
    model, arguments = _model(deflector)
    solver = _lenstronomy()[1].LensEquationSolver(model)
    window = 2.4 * (deflector.reach + np.hypot(x, y)) + 0.5
    smallest = min((halo.einstein_radius for halo in deflector.halos), default=1.0)
    with steady_draws():
        seen_x, seen_y = solver.image_position_from_source(
            x,
            y,
            arguments,
            min_distance=max(window / 120, min(0.1, 0.1 * smallest)),
            search_window=window,
            precision_limit=1e-9,
            num_iter_max=100,
            magnification_limit=1e-3,
        )
    if not len(seen_x):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    magnified = model.magnification(np.asarray(seen_x), np.asarray(seen_y), arguments)  # type: ignore[attr-defined]
    order = np.argsort(-np.abs(magnified))
    return np.asarray(seen_x)[order], np.asarray(seen_y)[order], np.asarray(magnified)[order]


def ring(deflector: Deflector, x: float = 0.0, y: float = 0.0) -> float:
    """The Einstein radius in arcsec: of the largest circle about (x, y) in which the mean convergence is 1.

    The mean convergence in a circle of radius R is the mean of its radial deflection over R (Gauss's theorem); shear
    does not contribute. Zero where no circle is dense enough. Accurate to about 1e-3.
    """
    bending = Deflector(deflector.halos)
    if not bending.halos or not bending.reach:
        return 0.0
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radii = np.linspace(0.02, 1.0, 60) * bending.reach
    circle_x, circle_y = np.outer(radii, np.cos(angles)), np.outer(radii, np.sin(angles))
    beta_x, beta_y = to_source(bending, circle_x + x, circle_y + y)
    inwards = (circle_x + x - beta_x) * np.cos(angles) + (circle_y + y - beta_y) * np.sin(angles)
    excess = inwards.mean(1) / radii - 1
    dense = np.flatnonzero(excess >= 0)
    if not len(dense):
        return 0.0
    last = int(dense[-1])
    if last + 1 == len(radii):
        return float(radii[last])
    share = excess[last] / (excess[last] - excess[last + 1])
    return float(radii[last] + share * (radii[last + 1] - radii[last]))
