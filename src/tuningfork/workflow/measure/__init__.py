"""How good the reference models are, and where they fail: figures and sentences for their cards, without training."""
