"""From batches to weights: losses, the state of a run, and the loop."""
