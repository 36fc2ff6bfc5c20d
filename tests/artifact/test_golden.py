"""Golden bytes: what version 1 wrote is read for ever, and written the same on every machine."""

from __future__ import annotations

import zlib

import golden_files
import pytest
from goss_samples import blocks_program, small_program, sparse_blocks_program

from gossamer.artifact import DeepCompression, Smallest, pack, same, unpack
from gossamer.artifact.primer import PRIMER

GOLDEN = {
    "smallest": (golden_files.SMALLEST, small_program(), Smallest()),
    "deep compression": (
        golden_files.DEEP_COMPRESSION,
        small_program(),
        DeepCompression(convolution_bits=3, linear_bits=2),
    ),
    "blocks": (golden_files.BLOCKS, blocks_program(), Smallest()),
    "sparse blocks": (golden_files.SPARSE_BLOCKS, sparse_blocks_program(), Smallest()),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files_are_read(name):
    data, program, _ = GOLDEN[name]
    assert same(unpack(data), program)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files_are_written(name):
    data, program, coding = GOLDEN[name]
    assert pack(program, coding=coding) == data


def test_the_primer_is_part_of_the_format():
    assert (len(PRIMER), zlib.crc32(PRIMER)) == (1158, 0x0C3593FC)
