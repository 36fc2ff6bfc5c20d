"""Training: the pass Finetune, what it is composed of, and checkpoints. One loop for the whole library."""

from .checkpoint import Checkpoints, checkpointing, load_state, save_state
from .during import During, Moment
from .finetune import Finetune
from .history import Epoch, history
from .objectives import Objective, StepLoss, TaskLoss
from .optimizers import SGD, Adam, AdamW, Optimizer
from .penalties import L1, L2, Penalty
from .progress import showing_progress
from .ramps import Cubic, Even, Full, Geometric, Halving, Ramp
from .schedules import Constant, Cosine, Exponential, OneCycle, Schedule, Step
from .stopping import EarlyStopping

__all__ = [
    "L1",
    "L2",
    "SGD",
    "Adam",
    "AdamW",
    "Checkpoints",
    "Constant",
    "Cosine",
    "Cubic",
    "During",
    "EarlyStopping",
    "Epoch",
    "Even",
    "Exponential",
    "Finetune",
    "Full",
    "Geometric",
    "Halving",
    "Moment",
    "Objective",
    "OneCycle",
    "Optimizer",
    "Penalty",
    "Ramp",
    "Schedule",
    "Step",
    "StepLoss",
    "TaskLoss",
    "checkpointing",
    "history",
    "load_state",
    "save_state",
    "showing_progress",
]
