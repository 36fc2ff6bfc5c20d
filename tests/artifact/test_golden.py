"""Golden bytes: what version 1 wrote is read for ever, and written the same on every machine."""

from __future__ import annotations

import zlib

import golden_files
import pytest
from goss_samples import small_program

from gossamer.artifact import DeepCompression, Smallest, pack, same, unpack
from gossamer.artifact.primer import PRIMER

GOLDEN = {
    "smallest": (golden_files.SMALLEST, Smallest()),
    "deep compression": (golden_files.DEEP_COMPRESSION, DeepCompression(convolution_bits=3, linear_bits=2)),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files_are_read(name):
    assert same(unpack(GOLDEN[name][0]), small_program())


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files_are_written(name):
    data, coding = GOLDEN[name]
    assert pack(small_program(), coding=coding) == data


def test_the_primer_is_part_of_the_format():
    assert (len(PRIMER), zlib.crc32(PRIMER)) == (1158, 0x0C3593FC)
