"""Writes the seed corpus of the fuzz driver: ``python tests/attacks/fuzz_seeds.py native/fuzz/seeds``."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np

from gossamer import _native


def seeds() -> dict[str, bytes]:
    """Valid inputs of native/fuzz/target.cc: coder, three arguments, stream."""
    rng = np.random.default_rng(0)
    few = np.minimum(rng.geometric(0.3, 60) - 1, 30).astype(np.uint16)
    many = rng.integers(0, 300, 90).astype(np.uint16)
    mask = rng.random((12, 20)) < 0.2
    positions = np.flatnonzero(mask)
    everywhere = np.arange(60)
    text = np.frombuffer(b"conv1.weight conv1.bias conv2.weight conv2.bias", np.uint8)
    primer = np.frombuffer(b"Gemm Conv Relu weight bias\0", np.uint8)

    def seed(coder: int, a: int, b: int, c: int, data: bytes) -> bytes:
        return struct.pack("<BHHH", coder, a, b, c) + data

    found = {}
    for coder, name in enumerate(("packed", "huffman", "rans")):
        encode = getattr(_native, f"{name}_encode")
        found[f"{name}-few"] = seed(coder, 31, 60, 0, encode(few, 31))
        found[f"{name}-many"] = seed(coder, 300, 90, 0, encode(many, 300))
        found[f"{name}-one"] = seed(coder, 4, 9, 0, encode(np.full(9, 2, np.uint16), 4))
    for stride in (0, 5):
        pattern = _native.pattern_encode(positions, 12, 20, stride)
        found[f"pattern-{stride}"] = seed(3, 12, 20, 64 * len(positions) + stride, pattern)
        values = _native.values_encode(few, 31, everywhere, 3, 20, stride)
        found[f"values-{stride}"] = seed(4, 3, 20, 64 * 30 + stride, values)
    found["text"] = seed(5, 0, len(text), 0, _native.text_encode(text, primer))
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    for name, data in seeds().items():
        (folder / name).write_bytes(data)
