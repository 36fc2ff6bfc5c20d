"""How much is removed from where: one allocation a file."""

from .allocation import Allocation, Candidates
from .budget import Budget, Macs, Parameters, Resource
from .erdos_renyi import ErdosRenyi
from .layer_adaptive import LayerAdaptive
from .sensitivity import Curves, Sensitivity, sensitivity
from .shared import Global
from .threshold import StdThreshold
from .uniform import Uniform

__all__ = [
    "Allocation",
    "Budget",
    "Candidates",
    "Curves",
    "ErdosRenyi",
    "Global",
    "LayerAdaptive",
    "Macs",
    "Parameters",
    "Resource",
    "Sensitivity",
    "StdThreshold",
    "Uniform",
    "sensitivity",
]
