"""The classical rivals of the network: scikit-learn on pixels, principal components, or a network's features."""
