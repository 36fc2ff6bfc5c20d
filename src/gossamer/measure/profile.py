"""Where a run's time goes: the Engine's steps, each timed by itself."""

from __future__ import annotations

import numpy as np

from gossamer.artifact import Program
from gossamer.engine import Engine, Step
from gossamer.measure.runtimes import Arrays

# After a few runs that tell how long one is, as many as fit into this time, within the bounds.
_MICROSECONDS, _FIRST, _FEWEST, _MOST = 500_000, 3, 20, 2000


def step_times(program: Program, inputs: Arrays | None = None) -> tuple[Step, ...]:
    """Median time of each step of the Engine's plan on one thread, in the order of ``Engine.explain``.

    ``inputs``: zeros with open dimensions of 1 unless given. Measured step by step in this process: the sum is
    a little more than one run inside the engine takes, and has no part of what a call from Python adds. Raises
    as ``Engine`` does.
    """
    engine = Engine(program, threads=1)
    given = inputs or ()
    once = sum(step.microseconds or 0.0 for step in engine.explain(*given, runs=_FIRST))
    runs = int(np.clip(_MICROSECONDS / max(once, 1e-3), _FEWEST, _MOST))
    return tuple(engine.explain(*given, runs=runs))
