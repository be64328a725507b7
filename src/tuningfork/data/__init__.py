"""From the Store to a batch: split, render once, draw, augment."""
