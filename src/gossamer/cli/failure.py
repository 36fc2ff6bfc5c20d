"""What is said when a command fails: one clear line, and no traceback for what the user can repair."""

from __future__ import annotations

import traceback
from pathlib import Path

from gossamer.errors import GossamerError

_OURS = Path(__file__).resolve().parents[1]


class UserCodeError(GossamerError):
    """The user's own code, called by us, raised; the message says where."""

    @classmethod
    def of(cls, error: BaseException, what: str) -> UserCodeError:
        """``what`` was being done when ``error`` was raised."""
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if isinstance(error, SyntaxError) and error.filename:
            return cls(f"{what} failed at {error.filename}:{error.lineno}: SyntaxError: {error.msg}")
        place = users_line(error)
        return cls(f"{what} failed{f' at {place}' if place else ''}: {reason}")


def users_line(error: BaseException) -> str | None:
    """``file:line`` of the deepest frame of ``error`` that is neither ours nor an installed package's."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if _is_users(frame.filename)]
    return f"{theirs[-1].filename}:{theirs[-1].lineno}" if theirs else None


def _is_users(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    standard = Path(traceback.__file__).resolve().parent
    return not installed and not path.is_relative_to(_OURS) and not path.is_relative_to(standard)


def is_users_to_repair(error: BaseException) -> bool:
    """Whether ``error`` is about what the user gave (or their machine) and not about gossamer itself."""
    if isinstance(error, ModuleNotFoundError):
        return not (error.name or "").startswith("gossamer")
    return isinstance(error, (GossamerError, OSError, MemoryError)) or users_line(error) is not None


def describe_failure(error: BaseException) -> str:
    """The line that is printed."""
    if isinstance(error, GossamerError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("gossamer"):
        return f"the package {error.name!r} is not installed: pip install 'gossamer[compress]'"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "not enough memory"
    place = users_line(error)
    return f"{type(error).__name__}: {error}{f' (at {place})' if place else ''}"
