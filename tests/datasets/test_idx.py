"""read_idx: what it reads equals what was written, and damage of any kind is a FormatError."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gossamer.datasets import read_idx
from gossamer.errors import FormatError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
GOLDEN = bytes.fromhex("00000802 00000002 00000003 010203 0405ff")


def encode(array: np.ndarray) -> bytes:
    """An independent writer of the format."""
    header = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_golden_bytes(tmp_path: Path, pack) -> None:
    (tmp_path / "x").write_bytes(pack(GOLDEN))
    np.testing.assert_array_equal(read_idx(tmp_path / "x"), np.array([[1, 2, 3], [4, 5, 255]], np.uint8))


shared_folder = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@shared_folder
@given(
    array=st.sampled_from(sorted(CODES)).flatmap(
        lambda code: hnp.arrays(
            np.dtype(code), hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
        )
    ),
    zipped=st.booleans(),
)
def test_reads_what_was_written(tmp_path: Path, array: np.ndarray, zipped: bool) -> None:
    data = encode(array)
    (tmp_path / "x").write_bytes(gzip.compress(data) if zipped else data)
    back = read_idx(tmp_path / "x")
    assert back.dtype == array.dtype
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_every_truncation_is_a_format_error(tmp_path: Path, pack) -> None:
    whole = pack(GOLDEN)
    for length in range(len(whole)):
        (tmp_path / "x").write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read_idx(tmp_path / "x")


def test_every_flipped_bit_of_the_header_is_a_format_error_or_another_valid_shape(tmp_path: Path) -> None:
    refused = 0
    for position in range(12 * 8):
        data = bytearray(GOLDEN)
        data[position // 8] ^= 1 << position % 8
        (tmp_path / "x").write_bytes(bytes(data))
        try:
            assert read_idx(tmp_path / "x").nbytes <= len(data)
        except FormatError:
            refused += 1
    assert refused > 80


def test_a_lying_header_allocates_nothing(tmp_path: Path) -> None:
    huge = b"\0\0\x0e\x04" + struct.pack(">4I", *[0xFFFFFFFF] * 4) + b"tiny"
    for data in (huge, gzip.compress(huge)):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(FormatError, match="more than a file of its size can hold"):
            read_idx(tmp_path / "x")


def test_bytes_after_the_end_and_foreign_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(GOLDEN + b"\0")
    with pytest.raises(FormatError, match="goes on"):
        read_idx(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"%PDF-1.7")
    with pytest.raises(FormatError, match="25 50 44 46"):
        read_idx(tmp_path / "x")
