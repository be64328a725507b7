"""The field of view of each cutout: one angle for all, or a multiple of a column of sizes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from astropy import units
from numpy.typing import NDArray

from ..errors import BadCatalog, RecipeError
from ..galaxy.catalog import Catalog
from ..galaxy.position import arcsec

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_ADVICE = "write an angle, such as 60arcsec, or a multiple of a column of sizes, such as 0.02*petroR90_r*424"


@dataclass(frozen=True)
class Field:
    """``factor`` arcsec, or ``factor`` times the column ``column`` (a size, in its own unit, arcsec if it has none).

    Galaxy Zoo 2 looked at 424 pixels of 0.02 x petroR90_r arcsec (Willett et al. 2013, section 2.2): that is
    ``0.02*petroR90_r*424``.
    """

    text: str
    factor: float
    column: str = ""

    @classmethod
    def parse(cls, width: str | float) -> Field:
        """From an angle with its unit (a float is arcsec), or from numbers and one column, multiplied.

        Raises :class:`~tuningfork.errors.RecipeError` that quotes what was written. Nothing is ever evaluated.
        """
        if isinstance(width, int | float):
            return cls(f"{width}arcsec", _positive(float(width), f"{width}"))
        if "*" not in width:
            try:
                return cls(width, arcsec(width))
            except BadCatalog as error:
                raise RecipeError(f"the field of view '{width}' is no angle with a unit: {_ADVICE}") from error
        factors = [part.strip() for part in width.split("*")]
        columns = [part for part in factors if not _NUMBER.fullmatch(part)]
        if len(columns) != 1 or not columns[0] or len(factors) < 2:
            said = "names no column" if not columns else f"has {len(columns)} factors that are no numbers"
            raise RecipeError(f"the field of view '{width}' {said}: {_ADVICE}")
        numbers = [float(part) for part in factors if _NUMBER.fullmatch(part)]
        return cls(width, _positive(math.prod(numbers), width), columns[0])

    def widths(self, catalog: Catalog) -> NDArray[np.float64]:
        """The width of each galaxy's cutout in arcsec, float64 (N,); NaN where the size is unknown, or not above 0.

        Raises :class:`~tuningfork.errors.BadCatalog` for a column that is not there, and
        :class:`~tuningfork.errors.RecipeError` for one that holds no sizes on the sky.
        """
        if not self.column:
            return np.full(len(catalog), self.factor)
        unit = catalog.unit(self.column)
        kind = catalog.table.schema.field(self.column).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise RecipeError(f"the column '{self.column}' of {catalog.name} holds {kind}, no sizes: {_ADVICE}")
        try:
            scale = float(units.Unit(unit).to(units.arcsec)) if unit else 1.0
        except (ValueError, TypeError) as error:  # astropy's UnitConversionError is both
            said = f"the column '{self.column}' of {catalog.name} is in '{unit}', which is no angle"
            raise RecipeError(f"{said}: {_ADVICE}") from error
        sizes = catalog[self.column].astype(np.float64) * (scale * self.factor)
        return np.where(np.isfinite(sizes) & (sizes > 0), sizes, np.nan)


def _positive(number: float, text: str) -> float:
    if not (math.isfinite(number) and number > 0):
        raise RecipeError(f"the field of view '{text}' is not above 0: {_ADVICE}")
    return number
