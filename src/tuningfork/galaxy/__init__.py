"""What flows: catalogues, cutouts, trees, labels and votes; no network, no torch."""
