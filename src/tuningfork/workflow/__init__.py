"""Stages strung together: the demo, training from files and flags, and what a path is."""
