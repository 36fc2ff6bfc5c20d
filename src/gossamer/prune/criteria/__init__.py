"""By which measure a weight counts: one criterion a file. The laws and YAML recipes find each by its class."""

import importlib
import pkgutil

from .batch_norm import BatchNormScale, Slimming
from .chance import Chance
from .criterion import Criterion
from .gates import GateOpenness
from .geometric_median import GeometricMedian
from .gradient import GradientTimesWeight
from .grasp import GraSP
from .lamp import LAMP
from .magnitude import Magnitude
from .movement import Movement
from .obd import OBD
from .obs import OBS
from .removal import DirectRemoval
from .similarity import Similarity
from .snip import SNIP
from .synflow import SynFlow
from .taylor import Taylor
from .wanda import Wanda

__all__ = [
    "LAMP",
    "OBD",
    "OBS",
    "SNIP",
    "BatchNormScale",
    "Chance",
    "Criterion",
    "DirectRemoval",
    "GateOpenness",
    "GeometricMedian",
    "GraSP",
    "GradientTimesWeight",
    "Magnitude",
    "Movement",
    "Similarity",
    "Slimming",
    "SynFlow",
    "Taylor",
    "Wanda",
]

for _module in pkgutil.iter_modules(__path__):  # a file that is put here is found by recipes and laws
    importlib.import_module(f"{__name__}.{_module.name}")
