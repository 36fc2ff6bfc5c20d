"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from gossamer.errors import SaveError


def replace(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` beside ``path``, then rename: there is the old file or the new one, never a part.

    Raises :class:`SaveError`.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        if target.exists() and not target.is_file():  # os.replace would put a file where a device or pipe was
            raise OSError(errno.EINVAL, "it is not a regular file")
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except OSError as problem:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise SaveError(
            f"cannot write the report to {str(target)!r}: {problem.strerror or problem}; "
            "what stood there is unchanged; repair: choose a folder that exists, is writable and has room"
        ) from problem
