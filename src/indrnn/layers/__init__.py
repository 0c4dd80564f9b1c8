"""Layers: W, u, b and what stands around a recurrence."""

from indrnn.layers.layer import IndRNNLayer, IndRNNUnit, bound_of, init_weight_

__all__ = ["IndRNNLayer", "IndRNNUnit", "bound_of", "init_weight_"]
