"""Attacks start from the golden files of tests/artifact."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "artifact"))
