"""How the suite is shared out between processes (``pytest -n``)."""

from __future__ import annotations

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file is run by one process; tests/kernels as a whole, because its last test counts what the others did."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/kernels" if nodeid.startswith("tests/kernels/") else nodeid.split("::")[0]

    return ByFile(config, log)
