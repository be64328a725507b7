"""The network: the card of a set of weights, nets and heads, weights at rest, and their export to ONNX."""
