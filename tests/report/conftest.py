from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import EXECUTABLE, Chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One Chromium for all tests, offline."""
    if EXECUTABLE is None:
        pytest.skip("Chromium is not installed; repair: apt-get install chromium")
    with Chromium(Path(tmp_path_factory.mktemp("profile"))) as chromium:
        yield chromium
