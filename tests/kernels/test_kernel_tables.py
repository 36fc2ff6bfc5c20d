"""The tables themselves: every family has a row for every instruction set, and every row was exercised."""

from __future__ import annotations

import platform

import pytest
from kernel_calls import BYTE_FAMILIES, EXERCISED, FAMILIES, missing_rows, rows

from gossamer import _native

NEEDS = {
    "avx2": {"avx2", "fma", "f16c"},
    "avx512": {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl"},
}
NEEDS["avx512vnni"] = NEEDS["avx512"] | {"avx512_vnni"}


def test_the_instruction_sets_are_those_that_linux_reports():
    """An independent witness: the kernel leaves out of its flags what it does not save at a switch."""
    if platform.machine() != "x86_64":
        assert _native.machine_isas() == ["portable"]
        return
    with open("/proc/cpuinfo", encoding="ascii") as lines:
        flags = next(set(line.split(":")[1].split()) for line in lines if line.startswith("flags"))
    assert _native.machine_isas() == ["portable", *(isa for isa, needed in NEEDS.items() if needed <= flags)]


def test_the_processor_is_named_with_family_and_model_as_linux_reports_them():
    """Virtual machines call several generations by one name; choices of kernels are kept by this one."""
    if platform.machine() != "x86_64":
        assert _native.processor_name() == "unknown"
        return
    with open("/proc/cpuinfo", encoding="ascii") as lines:
        facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    expected = f"{facts['model name']} (family {facts['cpu family']}, model {facts['model']})"
    assert _native.processor_name() == expected


def test_every_family_has_a_row_for_every_instruction_set():
    isas = [isa for isa in _native.machine_isas() if isa != "avx512vnni"]
    expected = {f"{family}/{isa}" for family in FAMILIES for isa in isas}
    expected |= {f"{family}/avx512vnni" for family in BYTE_FAMILIES if "avx512vnni" in _native.machine_isas()}
    assert set(rows()) == expected


def test_an_unknown_row_is_an_error():
    with pytest.raises(ValueError, match="no kernel 'gemm/sse9'"):
        _native.check_gemm("gemm/sse9")


def test_every_row_was_exercised():
    assert EXERCISED, "this test counts what the other tests of this folder ran: run the whole folder"
    assert not missing_rows()
