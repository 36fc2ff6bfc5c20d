"""When weights go, and come back: while training (``Finetune(during=...)``), or in rounds of their own."""

from .early_bird import EarlyBird
from .gradual import Gradual
from .lottery import Lottery, Rewind, ToEarly, ToRandom, ToStart
from .regrowth import SET, RigL
from .scratch import Reinitialize, Scratch
from .surgery import Surgery

__all__ = [
    "SET",
    "EarlyBird",
    "Gradual",
    "Lottery",
    "Reinitialize",
    "Rewind",
    "RigL",
    "Scratch",
    "Surgery",
    "ToEarly",
    "ToRandom",
    "ToStart",
]
