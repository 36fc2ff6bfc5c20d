"""Pure tensor mathematics, without a graph."""

from .kmeans import Density, Initialization, Linear, Random, kmeans

__all__ = ["Density", "Initialization", "Linear", "Random", "kmeans"]
