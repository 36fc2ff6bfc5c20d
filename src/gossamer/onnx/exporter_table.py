"""The exporter's table of operators, read once in a process.

``torch.onnx.export`` makes it anew in every call: it parses the source of five hundred functions, which takes longer
than all else that is done to a small network, and a recipe exports after every pass.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_tables: dict[tuple[Any, ...], Any] = {}


@contextmanager
def kept_table() -> Iterator[None]:
    """While open, exports get copies of the table that the first one made, if torch has it where it is looked for."""
    try:
        from torch.onnx._internal.exporter import _registration
    except ImportError:
        yield
        return
    owner: Any = getattr(_registration, "ONNXRegistry", None)
    made: Any = vars(owner).get("from_torchlib") if owner else None
    if not isinstance(made, classmethod):
        yield
        return

    def kept(cls: Any, *args: Any, **options: Any) -> Any:
        # torchvision's operators are in the table once they are in the process
        key = (*args, *sorted(options.items()), "torchvision" in sys.modules)
        if key not in _tables:
            _tables[key] = made.__get__(None, cls)(*args, **options)
        table = copy.copy(_tables[key])  # to whose functions an export adds its own
        table.functions = {name: list(forms) for name, forms in table.functions.items()}
        return table

    owner.from_torchlib = classmethod(kept)
    try:
        yield
    finally:
        owner.from_torchlib = made
