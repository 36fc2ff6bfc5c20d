"""``python -m gossamer``: the command line."""

import sys

from gossamer.cli import main

sys.exit(main())
