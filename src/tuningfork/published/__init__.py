"""Published sets of galaxies by name: one TOML card each, and the way from the card to a store or a catalogue.

card.py says what a card is, delivery.py brings its files here and proves them, archive.py unpacks what distrust allows,
layout.py makes a store or a catalogue of them. imagenet.py brings the weights that a backbone may start from.
"""

from .archive import Allowance, Unpacked, unpack
from .card import CARDS, DataSet, File, datasets, find_dataset
from .delivery import FetchedFile, FetchSummary, fetch
from .imagenet import fetch_imagenet

__all__ = [
    "CARDS",
    "Allowance",
    "DataSet",
    "FetchSummary",
    "FetchedFile",
    "File",
    "Unpacked",
    "datasets",
    "fetch",
    "fetch_imagenet",
    "find_dataset",
    "unpack",
]
