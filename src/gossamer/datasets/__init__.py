"""Data sets of the demo, the tests and the papers' tables, and a fast loader for data held in memory."""

from gossamer.datasets.augment import RandomShift
from gossamer.datasets.examples import Examples, loader
from gossamer.datasets.idx import read_idx
from gossamer.datasets.mnist import MEAN, STD, Mnist, mnist, normalize

__all__ = ["MEAN", "STD", "Examples", "Mnist", "RandomShift", "loader", "mnist", "normalize", "read_idx"]
