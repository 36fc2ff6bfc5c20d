"""What was measured: plain values, JSON-able with ``dataclasses.asdict``. Milliseconds and bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from gossamer.engine import Step as Step


@dataclass(frozen=True)
class Machine:
    """Where it was measured."""

    cpu: str
    instruction_set: str  # the one the Engine chose: "portable", "avx2", "avx512", "avx512vnni"
    cores: int
    memory_bytes: int
    system: str
    versions: dict[str, str]  # package -> version
    date: str  # ISO 8601, UTC


@dataclass(frozen=True)
class Latency:
    """Latency of one runtime on one input, from alternating runs."""

    runtime: str  # "gossamer", "torch eager", "onnxruntime"
    batch: int
    threads: int
    median_ms: float
    low_ms: float  # first quartile
    high_ms: float  # third quartile
    runs: int
    blocks_ms: tuple[float, ...] = ()  # median of each block, in the order of the race: the machine's drift


@dataclass(frozen=True)
class LayerMeasurement:
    """One weight of the file. Bits are per kept weight; None where the representation has no such part."""

    name: str
    shape: tuple[int, ...]
    representation: str  # "Sparse(Codebook)", "Dense", ...
    coder: str  # how its streams are coded
    elements: int
    kept: int
    weight_bits: float | None  # bits per weight before entropy coding
    weight_bits_coded: float | None
    index_bits: float | None  # bits per index before entropy coding
    index_bits_coded: float | None
    bytes: int  # all streams of the weight, tables of centroids and scales included
    macs: int | None  # dense multiply-accumulates per example; None where a shape is known only at run time
    macs_executed: int | None  # those that meet a kept weight
    histogram: tuple[tuple[float, ...], tuple[int, ...]] | None = None  # edges, counts of kept weights
    centroids: tuple[float, ...] | None = None
    centroid_counts: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Measurement:
    """One network as an artifact. Parameters are its floating-point weights, quantized or not."""

    file_bytes: int  # layers and overhead: header, program, integer constants, checksum
    parameters: int
    parameters_kept: int
    macs: int | None  # as in LayerMeasurement
    macs_executed: int | None
    metric: float | None
    latencies: tuple[Latency, ...] = ()
    peak_memory_bytes: int | None = None  # of a fresh process that loads the file and runs one batch
    layers: tuple[LayerMeasurement, ...] = ()
    steps: tuple[Step, ...] = ()  # of the Engine, batch of 1, one thread, each timed by itself


@dataclass(frozen=True)
class Stage:
    """The network after one pass of the recipe, measured as an artifact."""

    name: str  # the pass as written: "Prune(0.92)"
    measurement: Measurement
    seconds: float
    notes: tuple[tuple[str, str], ...] = ()  # (subject, message)


@dataclass(frozen=True)
class Comparison:
    """Everything a report says: the original, every stage, the final artifact; alpha = a/a*, delta = s/s*."""

    name: str
    metric_name: str
    maximize: bool
    original: Measurement
    stages: tuple[Stage, ...]
    final: Measurement
    machine: Machine
    notes: tuple[tuple[str, str], ...] = field(default=())

    @property
    def compression_rate(self) -> float:
        """alpha = a/a*: bytes of the original over bytes of the final file.

        The original is a ``.goss`` file too, its weights stored as plain float32: 4 bytes a parameter, as
        the papers count it, and the few bytes of the program.
        """
        return self.original.file_bytes / self.final.file_bytes
