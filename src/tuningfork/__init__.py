"""tuningfork: from pictures of galaxies to calibrated morphology."""

__version__ = "0.1.0"
