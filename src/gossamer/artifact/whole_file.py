"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from gossamer.errors import SaveError


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` so that at every moment ``path`` holds the old file or the new one, whole.

    The bytes go to a temporary file in the same folder, to the disk, and then under their name. Raises
    SaveError where that is not possible.
    """
    target = Path(path)
    try:
        _replace(target, data)
    except OSError as error:
        raise SaveError(
            f"{target} could not be written ({error.strerror or error}); what stood there before is whole. "
            f"Check that the folder exists, that you may write to it, and that {len(data)} bytes are free"
        ) from error


def _replace(target: Path, data: bytes) -> None:
    if target.exists() and not target.is_file():  # os.replace would put a file where a device or pipe was
        raise OSError(errno.EINVAL, "it is not a regular file")
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
