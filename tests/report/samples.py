"""Comparisons as a run would measure them: LeNet-300-100 from actual arrays, and networks of odd shapes."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np

from gossamer.measure.records import (
    Comparison,
    Latency,
    LayerMeasurement,
    Machine,
    Measurement,
    Stage,
    Step,
)

MACHINE = Machine(
    cpu="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
    instruction_set="avx512",
    cores=2,
    memory_bytes=8_324_612_096,
    system="Linux-6.1.0-amd64-x86_64-with-glibc2.36",
    versions={
        "gossamer": "0.1.0",
        "python": "3.11.2",
        "numpy": "2.4.0",
        "torch": "2.13.0",
        "onnxruntime": "1.31.1",
    },
    date="2026-01-15T09:30:00+00:00",
)


def layer(
    name: str, shape: tuple[int, ...], kept: float, bits: int = 5, positions: int = 1
) -> LayerMeasurement:
    """A pruned and clustered layer whose histogram, centroids and entropy come from actual random weights."""
    elements = int(np.prod(shape))
    count = max(1, round(kept * elements))
    random = np.random.default_rng(len(name) + elements)
    weights = random.normal(0, 0.06, 2 * count + 64)
    weights = np.sort(weights[np.argsort(-np.abs(weights))][:count])
    centroids = np.unique(np.quantile(weights, np.linspace(0, 1, 2**bits)))
    nearest = np.searchsorted((centroids[:-1] + centroids[1:]) / 2, weights)
    uses = np.bincount(nearest, minlength=len(centroids))
    share = uses[uses > 0] / count
    coded = float(-(share * np.log2(share)).sum())
    counts, edges = np.histogram(centroids[nearest], bins=60)
    size = int(count * (coded + 3.1) / 8) + 4 * len(centroids) + 40
    return LayerMeasurement(
        name=name,
        shape=shape,
        representation="Sparse(Codebook)",
        coder="rans-adaptive",
        elements=elements,
        kept=count,
        weight_bits=float(bits),
        weight_bits_coded=coded,
        index_bits=5.0,
        index_bits_coded=3.1,
        bytes=size,
        macs=elements * positions,
        macs_executed=count * positions,
        histogram=(tuple(map(float, edges)), tuple(map(int, counts))),
        centroids=tuple(map(float, centroids)),
        centroid_counts=tuple(map(int, uses)),
    )


def bias(name: str, elements: int) -> LayerMeasurement:
    return LayerMeasurement(
        name, (elements,), "Dense", "raw", elements, elements, 32.0, 32.0, None, None, 4 * elements + 12, 0, 0
    )


def measurement(
    layers: tuple[LayerMeasurement, ...],
    metric: float | None,
    latencies: tuple[Latency, ...] = (),
    **changes: object,
) -> Measurement:
    values = {
        "file_bytes": sum(entry.bytes for entry in layers) + 402,
        "parameters": sum(entry.elements for entry in layers),
        "parameters_kept": sum(entry.kept for entry in layers),
        "macs": sum(entry.macs for entry in layers),
        "macs_executed": sum(entry.macs_executed for entry in layers),
    }
    return Measurement(**(values | changes), metric=metric, latencies=latencies, layers=layers)  # type: ignore[arg-type]


def times(runtime: str, microseconds: float, batch: int = 1, threads: int = 1) -> Latency:
    return Latency(
        runtime, batch, threads, microseconds / 1e3, 0.97 * microseconds / 1e3, 1.06 * microseconds / 1e3, 400
    )


def step(name: str, operator: str, microseconds: float, macs: int = 0, note: str = "") -> Step:
    kernels = {"Conv": "conv", "Gemm": "gemm", "MatMul": "sparse"}
    kernel = kernels.get(operator.split("+")[0], "elementwise")
    return timed(operator, name, f"{kernel}/avx512", note, macs, microseconds)


def timed(operator: str, name: str, kernel: str, note: str, macs: int, microseconds: float) -> Step:
    return Step(operator, name, (), (), "rows", kernel, note, 0, 0, macs, microseconds)


@cache
def lenet() -> Comparison:
    """LeNet-300-100 through a Deep Compression recipe of ten passes."""
    dense = measurement(
        (),
        0.9842,
        (
            times("torch eager", 61.2),
            times("onnxruntime", 14.9),
            times("gossamer", 13.1),
            times("torch eager", 212, 64),
            times("onnxruntime", 171, 64),
        ),
        file_bytes=1_066_440,
        parameters=266_610,
        parameters_kept=266_610,
        macs=266_200,
        macs_executed=266_200,
        peak_memory_bytes=238_000_000,
        steps=(
            step("fc1", "Gemm+Relu", 9.38, 235_200),
            step("fc2", "Gemm+Relu", 1.21, 30_000),
            step("fc3", "Gemm", 0.12, 1_000),
            step("", "Softmax", 0.06),
        ),
    )
    stages = []
    metrics = [0.9838, 0.9829, 0.9841, 0.9812, 0.9839, 0.9790, 0.9845, 0.9771, 0.9843]
    for index, metric in enumerate(metrics):
        keep = 0.92 ** (3 * (1 + index // 2)) if index < 8 else 0.08
        parts = _lenet_layers(keep, bits=8)
        name = f"Prune({1 - keep:.2f})" if index % 2 == 0 and index < 8 else "Finetune(epochs=2)"
        stages.append(
            Stage(
                name,
                measurement(
                    parts,
                    metric,
                    (times("gossamer", 13.1 - index),),
                    file_bytes=round(1_066_440 * keep * 1.1),
                ),
                11.5 + index,
                (("fc3.weight", "not pruned: only 1,000 weights"), ("fc3.bias", "not pruned: a bias"))
                if index == 0
                else (),
            )
        )
    final = measurement(
        _lenet_layers(0.08, bits=5),
        0.9845,
        (times("gossamer", 4.31), times("onnxruntime", 14.7), times("gossamer", 97, 64)),
        peak_memory_bytes=31_500_000,
        steps=(
            step("fc1", "MatMul+Add+Relu", 1.52, 18_816),
            step("fc2", "MatMul+Add+Relu", 0.37, 2_880),
            step("fc3", "Gemm", 0.12, 1_000, "sparse weights decoded while loading: no sparse kernel yet"),
            step("", "Softmax", 0.06),
        ),
    )
    stages.append(Stage("Cluster(bits=5)", dataclasses.replace(final, metric=0.9836), 0.8))
    stages.append(Stage("Finetune(epochs=2)", final, 24.0))
    notes = (("fc1.weight", "2,113 of 235,200 weights lie within 1e-6 of zero and were kept"),)
    return Comparison("LeNet-300-100", "accuracy", True, dense, tuple(stages), final, MACHINE, notes)


def _lenet_layers(keep: float, bits: int) -> tuple[LayerMeasurement, ...]:
    return (
        layer("fc1.weight", (300, 784), keep, bits),
        bias("fc1.bias", 300),
        layer("fc2.weight", (100, 300), min(1.0, 1.2 * keep), bits),
        bias("fc2.bias", 100),
        layer("fc3.weight", (10, 100), min(1.0, 3 * keep), bits),
        bias("fc3.bias", 10),
    )


@cache
def deep(layers: int) -> Comparison:
    """A residual network of so many convolutions, with the long names that exporters give."""
    parts = []
    for index in range(layers):
        width = 32 * 2 ** (4 * index // layers)
        name = f"backbone.stages.{4 * index // layers}.blocks.{index}.bottleneck.conv{1 + index % 3}.weight"
        entry = layer(
            name,
            (width, width // 4, 3, 3),
            0.04 + 0.3 * ((7 * index) % layers) / layers,
            4,
            196 >> (index * 4 // layers),
        )
        parts.append(entry)
    steps = tuple(
        step(part.name, "Conv+Add+Relu", 40 + 11 * i % 700, part.macs) for i, part in enumerate(parts)
    )
    final = measurement(tuple(parts), 0.7581, (times("gossamer", 21_300, threads=2),), steps=steps)
    dense = measurement(
        (),
        0.7613,
        (times("torch eager", 84_100, threads=2), times("onnxruntime", 17_500, threads=2)),
        file_bytes=4 * final.parameters + 31_000,
        parameters=final.parameters,
        parameters_kept=final.parameters,
        macs=final.macs,
        macs_executed=final.macs,
    )
    notes = tuple((part.name, "left dense: one input channel") for part in parts[: layers // 2])
    return Comparison(
        f"ResNet with {layers} layers",
        "top-1 accuracy",
        True,
        dense,
        (Stage("Prune(0.85)", final, 8123.0, notes),),
        final,
        MACHINE,
    )


def bare() -> Comparison:
    """Nothing but sizes: no metric, no latency, no stage, no layer."""
    return Comparison(
        "tiny",
        "",
        True,
        measurement((), None, file_bytes=4, parameters=1),
        (),
        measurement((), None, file_bytes=412, parameters=1, parameters_kept=1),
        MACHINE,
    )


ATTACKS = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\"><svg onload=document.title='owned'>",
    "{{ 7 * 7 }}{% raw %}",
    "<!--<script>",
    "javascript:document.title='owned'",
    "datum.x'); document.title='owned'; ('",
    "a\u202eb\u2028c\x00d\ud800e",
)


def hostile() -> Comparison:
    """Every text of the records is an attack."""
    plain = lenet()
    layers = tuple(
        dataclasses.replace(entry, name=attack, representation=attack, coder=attack)
        for attack in ATTACKS
        for entry in plain.final.layers[:1]
    )
    attack = " ".join(ATTACKS)
    latencies = tuple(dataclasses.replace(entry, runtime=attack) for entry in plain.original.latencies)
    stages = tuple(
        dataclasses.replace(stage, name=text, notes=((text, text),))
        for stage, text in zip(plain.stages, ATTACKS, strict=False)
    )
    machine = Machine(attack, attack, 1, 1, attack, {text: text for text in ATTACKS}, attack)
    return Comparison(
        attack,
        attack,
        False,
        dataclasses.replace(plain.original, latencies=latencies),
        stages,
        dataclasses.replace(
            plain.final,
            layers=layers,
            steps=tuple(timed(text, text, text, text, 5, 7.0) for text in (*ATTACKS, "rest of the file", "")),
        ),
        machine,
        ((attack, attack),),
    )


def odd() -> Comparison:
    """What else a record may hold: NaN, nothing kept, unknown kinds, scalars, extremes, a loss of speed."""
    plain = lenet()
    first = plain.final.layers[0]
    layers = (
        dataclasses.replace(
            first, name="unheard.of", representation="Wavelet(Ternary)", coder="", weight_bits_coded=None
        ),
        dataclasses.replace(
            first, name="all.pruned", kept=0, bytes=9, histogram=None, centroids=None, macs_executed=0
        ),
        dataclasses.replace(
            first, name="scalar", shape=(), elements=1, kept=1, bytes=4, macs=None, macs_executed=None
        ),
        dataclasses.replace(
            first, name="empty", shape=(0, 3), elements=0, kept=0, bytes=0, histogram=((0.0,), ())
        ),
        dataclasses.replace(
            first, name="huge", histogram=((-1e30, 0.0, 1e30), (5, 7)), centroids=(-1e30, 1e30)
        ),
        dataclasses.replace(first, name="tiny", histogram=((1e-30, 2e-30), (12,)), centroids=(float("nan"),)),
        dataclasses.replace(first, name="infinite", histogram=((-float("inf"), 0.0), (3,)), bytes=10**12),
        dataclasses.replace(first, name="constant", histogram=((0.5, 0.5), (3,)), centroids=(0.5,)),
        dataclasses.replace(first, name="not.clustered", centroids=None, centroid_counts=None),
    )
    stages = (
        Stage(
            "Diverged()",
            dataclasses.replace(plain.final, metric=float("nan"), file_bytes=0, latencies=()),
            float("nan"),
        ),
        Stage("Same()", dataclasses.replace(plain.original, metric=plain.original.metric), 1e9),
    )
    steps = (
        step("never", "Neg", float("nan")),
        step("backwards", "Neg", -1.0),
        step("at once", "Neg", 0.0),
        step("", "Gemm", 1e-3, 10**15),
        step("for ever", "Conv", 1e13),
    )
    slow = (times("gossamer", 9e9), times("torch eager", 1e-3), times("openvino", float("nan")))
    final = dataclasses.replace(
        plain.final,
        layers=layers,
        latencies=slow,
        file_bytes=10**12 + 10**6,
        macs=None,
        macs_executed=None,
        steps=steps,
    )
    original = dataclasses.replace(
        plain.original, macs=None, latencies=(times("torch eager", 3.0),), steps=steps[:2]
    )
    return dataclasses.replace(plain, stages=stages, original=original, final=final)
