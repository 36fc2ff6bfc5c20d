"""Names come from users' files: characters that would derange a page are replaced before all else."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, TypeVar

T = TypeVar("T")

# Control characters, marks that turn the direction of what follows, lone surrogates, which no UTF-8 has.
_DERANGING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def cleaned(value: T) -> T:
    """The same record with every such character in every text replaced by U+FFFD, whitespace by a space."""
    return _cleaned(value)  # type: ignore[no-any-return]


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _DERANGING.sub(lambda found: " " if found[0].isspace() else "\ufffd", value)
    if isinstance(value, (tuple, list)):
        return tuple(map(_cleaned, value))
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(entry) for key, entry in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _cleaned(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value
