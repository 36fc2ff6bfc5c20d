"""Size and decoding speed of the coders: ``python bench/codec.py [FILE.goss ...]``.

Without files, on synthetic layers: pruned and shared, shared alone, quantized, and dense. One thread. The speed is
that of decoded weights: elements times their bytes as a dense array, for every second that the process ran.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from gossamer.artifact import DeepCompression, Program, Smallest, pack, read, unpack
from gossamer.weights import Codebook, Dense, Quantized, dtype, shape, sparsify, with_codebook

CODINGS = {
    "smallest": Smallest(),
    "deep compression": DeepCompression(),
    "deep compression, not coded": DeepCompression(huffman=False),
}


def shared(values, bits):
    table = np.linspace(values.min(), values.max(), 2**bits - 1, dtype=np.float32)
    step = table[1] - table[0]
    return np.rint((values - table[0]) / step).astype(np.int64), table


def synthetic() -> dict[str, Program]:
    """One program for each kind of weight, 300 000 to 1 000 000 elements."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((500, 800)).astype(np.float32)
    density = rng.beta(1, 11, 800)
    pruned = sparsify(Dense(values), rng.random((500, 800)) < density)
    large = rng.standard_normal((1000, 1000)).astype(np.float32)
    ints = np.clip(np.rint(large * 32), -127, 127).astype(np.int8)
    weights = {
        "Sparse(Codebook), 8 % kept, 5 bits": with_codebook(pruned, *shared(values, 5)),
        "Sparse(Dense), 8 % kept": pruned,
        "Codebook, 5 bits": Codebook.of(*shared(large, 5)),
        "Codebook, 8 bits": Codebook.of(*shared(large, 8)),
        "Quantized, 8 bits": Quantized(ints, np.array(1 / 32, np.float32), np.zeros((), np.int8), None, 8),
        "Dense": Dense(large),
    }
    return {name: Program((), (), (), {"w": weight}, {}) for name, weight in weights.items()}


def measure(program: Program, coding: Smallest | DeepCompression, runs: int) -> dict[str, float]:
    """Bytes, and megabytes of dense weights decoded a second."""
    data = pack(program, coding=coding)
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        unpack(data, max_bytes=1 << 34)
        seconds.append(time.process_time() - start)
    dense = sum(int(np.prod(shape(w))) * dtype(w).itemsize for w in program.weights.values())
    return {
        "bytes": len(data),
        "bits_per_element": 8 * len(data) / (dense / 4),
        "MB_per_second": dense / statistics.median(seconds) / 1e6,
        "MB_per_second_best": dense / min(seconds) / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help=".goss files; their weights are coded anew in every way")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    programs = {path: read(path) for path in options.files} or synthetic()
    rows = [
        {"program": name, "coding": label} | measure(program, coding, options.runs)
        for name, program in programs.items()
        for label, coding in CODINGS.items()
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            f"{row['program']:36} {row['coding']:28} {row['bytes']:>9} bytes {row['bits_per_element']:6.2f} bits "
            f"{row['MB_per_second']:7.0f} MB/s (best {row['MB_per_second_best']:.0f})"
        )


if __name__ == "__main__":
    main()
