"""One example of every pass and of every weight transform; the laws run over these tables.

A new pass or transform without a row here fails ``test_every_*_has_an_example``.
"""

import torch
import torch.nn.functional as F
from torch import nn

import gossamer as gs
from gossamer.prune import (
    LAMP,
    NM,
    OBD,
    OBS,
    SET,
    SNIP,
    BatchNormScale,
    Blocks,
    Budget,
    Chance,
    Channels,
    CloseGates,
    DirectRemoval,
    EarlyBird,
    Elements,
    ErdosRenyi,
    GateOpenness,
    GeometricMedian,
    Global,
    GradientTimesWeight,
    Gradual,
    GraSP,
    HardConcrete,
    Heads,
    LayerAdaptive,
    Layers,
    Lottery,
    Macs,
    Magnitude,
    Mask,
    Movement,
    OpenGates,
    OpenMask,
    Parameters,
    Reinitialize,
    RigL,
    Scratch,
    Sensitivity,
    Similarity,
    StdThreshold,
    Surgery,
    SynFlow,
    Taylor,
    ToEarly,
    ToRandom,
    ToStart,
    Uniform,
    Wanda,
)
from gossamer.quantize import (
    GPTQ,
    TTQ,
    AdaRound,
    Binary,
    BinaryConnect,
    CorrectBias,
    EqualizeLayers,
    FakeQuantize,
    FixedPoint,
    FixedPointWeight,
    FoldBatchNorm,
    FoldedQuantize,
    FreezeBatchNorm,
    FrozenLevels,
    Int,
    Int8,
    Learned,
    MixedPrecision,
    PerTensor,
    PowersOfTwo,
    ReconstructBlocks,
    ReestimateBatchNorm,
    Rounding,
    SharedValues,
    SmoothQuant,
    Ternary,
    TrainedTernary,
)
from gossamer.recipe import Even

# Each pass at a strength that changes the network ...
PASSES = {
    "Prune uniform": gs.Prune(0.6),
    "Prune global": gs.Prune(0.6, allocate=Global(), overrides={"fc2": 0.2}),
    "Prune threshold": gs.Prune(0.8, allocate=StdThreshold()),
    "Prune channels": gs.Prune(0.5, gs.Channels()),
    "Cluster": gs.Cluster(bits=3, overrides={"fc2": 2}),
    "FoldBatchNorm": FoldBatchNorm(),
    "EqualizeLayers": EqualizeLayers(),
    "SmoothQuant": SmoothQuant(alpha=0.7),
    "SmoothQuant everywhere": SmoothQuant(alpha=0.8, multiply=True),
    "CorrectBias": CorrectBias(),
    "ReestimateBatchNorm": ReestimateBatchNorm(),
    "FreezeBatchNorm": FreezeBatchNorm(),
    "AdaRound": AdaRound(Rounding(iterations=30)),
    "ReconstructBlocks": ReconstructBlocks(Rounding(iterations=30)),
    "GPTQ": GPTQ(),
    "MixedPrecision": MixedPrecision(bytes=300, choices=(8, 4)),
    "Quantize": gs.Quantize(weights=Int8(), overrides={"fc2": Int(4)}),
    "Quantize per tensor": gs.Quantize(weights=Int(3, PerTensor()), activations=None, training=Learned()),
    "Quantize integer-only": gs.Quantize(integer_only=True),
    "Ternarize": gs.Ternarize(),
    "Ternarize trained": gs.Ternarize(TTQ()),
    "Binarize": gs.Binarize(),
    "Binarize activations": gs.Binarize(BinaryConnect(stochastic=True), activations=True),
    "PowersOfTwo": PowersOfTwo(bits=4),
    "FixedPoint": FixedPoint(fraction=4),
    "Finetune": gs.Finetune(epochs=1),
    "Repeat": gs.Repeat(2, [gs.Prune(0.6), gs.Finetune(epochs=1)], ramp=Even()),
    "Lottery": Lottery(gs.Prune(0.6), gs.Finetune(epochs=1), rounds=2),
    "EarlyBird": EarlyBird(gs.Prune(0.6), gs.Finetune(epochs=2), window=1),
    "Reinitialize": Reinitialize(seed=3),
    "Scratch": Scratch(gs.Finetune(epochs=1)),
    "OpenGates": OpenGates(0.2, overrides={"fc2": 0.4}),
    "CloseGates": CloseGates(),
}

# ... and at strength zero.
NOTHING = {
    "Prune": gs.Prune(0.0),
    "Prune overrides": gs.Prune(0.0, overrides={"fc1": 0.0}),
    "Prune threshold": gs.Prune(0.0, allocate=StdThreshold()),
    "Cluster": gs.Cluster(bits=3, overrides={"*": 0}),
    "Quantize": gs.Quantize(overrides={"*": None}),
    "Ternarize": gs.Ternarize(overrides={"*": False}),
    "Binarize": gs.Binarize(overrides={"*": False}, activations=True),
    "PowersOfTwo": PowersOfTwo(share=0.0),
    "FixedPoint": FixedPoint(overrides={"*": False}),
    "Finetune": gs.Finetune(epochs=0),
    "Repeat": gs.Repeat(3, [gs.Prune(0.0)]),
    "Lottery": Lottery(gs.Prune(0.0), gs.Finetune(epochs=1)),
    "EarlyBird": EarlyBird(gs.Prune(0.0), gs.Finetune(epochs=0)),
    "OpenGates": OpenGates(0.0),
    "CloseGates without gates": CloseGates(),
}

# Passes whose strength cannot be zero: what they do is done or not in the recipe.
WITHOUT_STRENGTH = {
    Reinitialize,
    Scratch,
    FoldBatchNorm,
    EqualizeLayers,
    SmoothQuant,
    CorrectBias,
    ReestimateBatchNorm,
    FreezeBatchNorm,
    AdaRound,
    ReconstructBlocks,
    GPTQ,
    MixedPrecision,
}

# What a pass needs to find, where a plain network has none of it.
_COARSE = gs.Quantize(weights=Int(3))
BEFORE = dict.fromkeys(("CorrectBias", "AdaRound", "ReconstructBlocks", "GPTQ"), _COARSE)
BEFORE["CloseGates"] = OpenGates(0.4)

# The four parts of Prune: what, by which measure, how much from where, when. All of them work with all others.
GRANULARITIES = [Elements(), NM(1, 4), Blocks(2, 4)]
STRUCTURED = [Channels(round_to=1), Heads(), Layers()]  # these remove instead of masking
CRITERIA = [
    Magnitude(norm=2),
    Chance(),
    Taylor(batches=2),
    Taylor(order=2),
    OBD(batches=1),
    OBS(examples=20, block=16),
    GradientTimesWeight(),
    Movement(),
    SNIP(),
    GraSP(),
    SynFlow(),
    Wanda(),
    GeometricMedian(),
    BatchNormScale(),
    LAMP(),
    DirectRemoval(loss=True),
    GateOpenness(),
    Similarity(),
]
ALLOCATIONS = [
    Uniform(),
    Global(),
    ErdosRenyi(),
    LayerAdaptive(),
    Sensitivity(shares=(0.5, 0.9)),
    Budget(Macs(), steps=6),
    Budget(Parameters(), Uniform(), steps=6),
    StdThreshold(),
]
DURING = [
    Gradual(gs.Prune(0.6), every=1),
    Surgery(gs.Prune(0.6), every=1),
    SET(gs.Prune(0.6, by=Chance()), every=1),
    RigL(gs.Prune(0.6, by=Chance()), every=1),
]
REWINDS = [ToStart(), ToEarly(1), ToRandom()]

SHAPE = (6, 5)

TRANSFORMS = {
    "Mask": lambda: Mask(torch.arange(30).view(SHAPE) % 3 > 0),
    "OpenMask": lambda: OpenMask(torch.arange(30).view(SHAPE) % 3 > 0),
    "HardConcrete": lambda: HardConcrete(torch.linspace(-3, 3, 30).view(SHAPE)).eval(),
    "SharedValues": lambda: SharedValues(torch.arange(30).view(SHAPE) % 4, torch.tensor([-0.5, 0.25, 1.5])),
    "Ternary": lambda: Ternary(0.7, 0, 0),
    "TrainedTernary": lambda: TrainedTernary(torch.tensor(0.75), torch.tensor(0.5), 0.2),
    "Binary": lambda: Binary(0.0, 0, 0, stochastic=False),
    "FrozenLevels": lambda: FrozenLevels(torch.arange(30).view(SHAPE) % 3, torch.tensor([-0.25, 0.5])),
    "FixedPointWeight": lambda: FixedPointWeight(8, 5, stochastic=True),
    "FakeQuantize": lambda: FakeQuantize(
        torch.linspace(0.01, 0.02, 6), torch.zeros(6, dtype=torch.int32), -127, 127, 0, 0, "fixed"
    ),
    "FoldedQuantize": lambda: FoldedQuantize(
        *(torch.tensor([0.02]), torch.zeros(1, dtype=torch.int32), -127, 127, -1, 0, "fixed"),
        factor=torch.linspace(-1.5, 2, 6),
        channel_axis=0,
    ),
}


class TwoLayers(nn.Module):
    """Small, with everything a law looks at: two weights, biases, batch norm, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(20, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.1)
        self.fc2 = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.drop(torch.relu(self.norm(self.fc1(x)))))


class Normed(TwoLayers):
    """The same behind a layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.calm = nn.LayerNorm(20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.calm(x))


def network(name: str = "") -> TwoLayers:
    """The network on which the pass called ``name`` is tried."""
    torch.manual_seed(7)
    return Normed() if name == "SmoothQuant" else TwoLayers()


def task() -> gs.Task:
    generator = torch.Generator().manual_seed(11)
    inputs = torch.randn(96, 20, generator=generator)
    targets = inputs[:, :4].argmax(1)
    batches = [(inputs[i : i + 32], targets[i : i + 32]) for i in range(0, 96, 32)]
    return gs.Task(train=batches, valid=batches, loss=F.cross_entropy, metric=gs.metrics.accuracy)
