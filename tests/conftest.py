"""How the suite is shared out between processes (``pytest -n``)."""

from __future__ import annotations

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file is run by one process, which makes what its tests share once; tests/kernels as a whole, because its last
    test counts what the others did; of the zoo each network by itself, so that no process is left with all of them.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith("tests/kernels/"):
                return "tests/kernels"
            file, _, test = nodeid.partition("::")
            return f"{file}[{test.partition('[')[2]}" if file == "tests/zoo/test_zoo.py" else file

    return ByFile(config, log)
