"""Fewer bits per number: integers for weights and activations, and weight sharing by k-means."""

from .activations import Fixed, Learned, Tracked, is_quantizers
from .adaround import AdaRound, Rounding
from .batchnorm import FreezeBatchNorm, ReestimateBatchNorm
from .bias import CorrectBias
from .cluster import Cluster, SharedValues
from .diagnosis import Diagnosis, LayerDiagnosis, diagnose
from .equalize import EqualizeLayers
from .fold import FoldBatchNorm, without_batch_norms
from .gptq import GPTQ
from .mixed import MixedPrecision
from .quantize import Dynamic, First, Last, Quantize
from .ranges import EMA, KL, MSE, MinMax, Percentile
from .reconstruct import ReconstructBlocks
from .smooth import SmoothQuant
from .types import Int, Int4, Int8, PerChannel, PerGroup, PerTensor
from .weights import FakeQuantize

__all__ = [
    "EMA",
    "GPTQ",
    "KL",
    "MSE",
    "AdaRound",
    "Cluster",
    "CorrectBias",
    "Diagnosis",
    "Dynamic",
    "EqualizeLayers",
    "FakeQuantize",
    "First",
    "Fixed",
    "FoldBatchNorm",
    "FreezeBatchNorm",
    "Int",
    "Int4",
    "Int8",
    "Last",
    "LayerDiagnosis",
    "Learned",
    "MinMax",
    "MixedPrecision",
    "PerChannel",
    "PerGroup",
    "PerTensor",
    "Percentile",
    "Quantize",
    "ReconstructBlocks",
    "ReestimateBatchNorm",
    "Rounding",
    "SharedValues",
    "SmoothQuant",
    "Tracked",
    "diagnose",
    "is_quantizers",
    "without_batch_norms",
]
