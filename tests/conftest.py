"""How the suite is shared out between processes (``pytest -n``): a file is run by one of them, tests/kernels as a whole too."""

from __future__ import annotations

from pathlib import Path

import pytest

KERNELS = Path(__file__).parent / "kernels"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A group for each file; one for all kernels, whose last test counts what the others exercised."""
    for item in items:
        kernels = KERNELS in item.path.parents
        item.add_marker(pytest.mark.xdist_group("kernels" if kernels else str(item.path)))
