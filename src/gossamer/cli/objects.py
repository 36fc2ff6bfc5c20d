"""``pkg.module:name`` on the command line: import it from the user's code, and say where that code fails."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gossamer.cli.failure import UserCodeError
from gossamer.errors import InputError

T = TypeVar("T")


def load_object(reference: str) -> Any:
    """The object that ``pkg.module:name`` names; the current directory can be imported from.

    Raises ``InputError`` where it is not there and ``UserCodeError`` where importing it fails.
    """
    module_name, colon, name = reference.partition(":")
    if not colon or not module_name or not name:
        raise InputError(f"{reference!r} names nothing: write package.module:name, as in mynet.train:build")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise InputError(
                f"there is no module {error.name!r} (asked for by {reference!r}) in {Path.cwd()} or the environment"
            ) from error
        raise UserCodeError.of(error, f"importing {module_name}") from error
    except Exception as error:
        raise UserCodeError.of(error, f"importing {module_name}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(f"{module_name} ({getattr(found, '__file__', '')}) has no {part!r}")
        found = getattr(found, part)
    return found


def made_by(reference: str, wanted: type[T]) -> T:
    """The ``wanted`` object that ``reference`` names: itself, or what calling it without arguments gives.

    Raises as :func:`load_object` does, ``UserCodeError`` where the call fails, ``InputError`` for another
    type.
    """
    found = load_object(reference)
    if not isinstance(found, wanted) and callable(found):
        found = _called(found, reference)
    if not isinstance(found, wanted):
        raise InputError(
            f"{reference} gives {type(found).__name__}; a {wanted.__name__} is needed, or a function of it"
        )
    return found


def _called(function: Callable[[], Any], reference: str) -> Any:
    try:
        return function()
    except Exception as error:
        raise UserCodeError.of(error, f"{reference.partition(':')[2]}()") from error
