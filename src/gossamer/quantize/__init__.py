"""Fewer bits per number: integers for weights and activations, and weight sharing by k-means."""

from .activations import Fixed, Learned, Tracked, is_quantizers
from .adaround import AdaRound, Rounding
from .batchnorm import FreezeBatchNorm, ReestimateBatchNorm
from .bias import CorrectBias
from .binarize import Binarize, Binary, BinaryConnect, MeanMagnitude
from .cluster import Cluster, SharedValues
from .diagnosis import Diagnosis, LayerDiagnosis, diagnose
from .equalize import EqualizeLayers
from .fixed_point import FixedPoint, FixedPointWeight
from .fold import FoldBatchNorm, without_batch_norms
from .gptq import GPTQ
from .mixed import MixedPrecision, Timer, TradeOff
from .powers import FrozenLevels, PowersOfTwo
from .quantize import Dynamic, First, Last, Quantize
from .ranges import EMA, KL, MSE, MinMax, Percentile
from .reconstruct import ReconstructBlocks
from .smooth import SmoothQuant
from .ternarize import TWN, Ternarize, Ternary
from .ttq import TTQ, TrainedTernary
from .types import Int, Int4, Int8, PerChannel, PerGroup, PerTensor
from .weights import FakeQuantize, FoldedQuantize

__all__ = [
    "EMA",
    "GPTQ",
    "KL",
    "MSE",
    "TTQ",
    "TWN",
    "AdaRound",
    "Binarize",
    "Binary",
    "BinaryConnect",
    "Cluster",
    "CorrectBias",
    "Diagnosis",
    "Dynamic",
    "EqualizeLayers",
    "FakeQuantize",
    "First",
    "Fixed",
    "FixedPoint",
    "FixedPointWeight",
    "FoldBatchNorm",
    "FoldedQuantize",
    "FreezeBatchNorm",
    "FrozenLevels",
    "Int",
    "Int4",
    "Int8",
    "Last",
    "LayerDiagnosis",
    "Learned",
    "MeanMagnitude",
    "MinMax",
    "MixedPrecision",
    "PerChannel",
    "PerGroup",
    "PerTensor",
    "Percentile",
    "PowersOfTwo",
    "Quantize",
    "ReconstructBlocks",
    "ReestimateBatchNorm",
    "Rounding",
    "SharedValues",
    "SmoothQuant",
    "Ternarize",
    "Ternary",
    "Timer",
    "Tracked",
    "TradeOff",
    "TrainedTernary",
    "diagnose",
    "is_quantizers",
    "without_batch_norms",
]
