"""What a network weighs, how fast it runs and what it needs: measured on the file that ships.

``gossamer.measure.resources`` (``Bytes``, ``EngineLatency``, ``LayerLatency``), what budgets are of, stands on the
training side and is imported by itself, so that measuring needs no torch.
"""

from __future__ import annotations

from gossamer.measure.compare import compare
from gossamer.measure.contestants import file_runners
from gossamer.measure.cost import Macs, macs
from gossamer.measure.file import describe_file, layer_measurements, measure_file, measurement, naming
from gossamer.measure.latency import Finish, Ratio, latency, race, speedup
from gossamer.measure.machine import machine
from gossamer.measure.memory import PeakMemory, peak_memory
from gossamer.measure.pareto import pareto
from gossamer.measure.peak import PeakBytes, PeakFloats
from gossamer.measure.peers import DeepSparse, ExecuTorch, LiteRt, OpenVinoSparse
from gossamer.measure.profile import step_times
from gossamer.measure.records import (
    Comparison,
    Latency,
    LayerMeasurement,
    Machine,
    Measurement,
    Stage,
    Step,
)
from gossamer.measure.runtimes import (
    RUNTIMES,
    Gossamer,
    OnnxRuntime,
    OpenVino,
    Runtime,
    TorchCompiled,
    TorchEager,
)
from gossamer.measure.worker import Runner

__all__ = [
    "RUNTIMES",
    "Comparison",
    "DeepSparse",
    "ExecuTorch",
    "Finish",
    "Gossamer",
    "Latency",
    "LayerMeasurement",
    "LiteRt",
    "Machine",
    "Macs",
    "Measurement",
    "OnnxRuntime",
    "OpenVino",
    "OpenVinoSparse",
    "PeakBytes",
    "PeakFloats",
    "PeakMemory",
    "Ratio",
    "Runner",
    "Runtime",
    "Stage",
    "Step",
    "TorchCompiled",
    "TorchEager",
    "compare",
    "describe_file",
    "file_runners",
    "latency",
    "layer_measurements",
    "machine",
    "macs",
    "measure_file",
    "measurement",
    "naming",
    "pareto",
    "peak_memory",
    "race",
    "speedup",
    "step_times",
]
