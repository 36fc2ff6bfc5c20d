"""Law 5: the run fails when a row of a kernel table that this machine can run was not exercised."""

from __future__ import annotations

COVERAGE = "test_every_row_was_exercised"


def pytest_collection_modifyitems(items):
    """The test that counts goes last among the tests of this folder."""
    last = [item for item in items if item.name == COVERAGE]
    if last:
        items[:] = [item for item in items if item.name != COVERAGE] + last
