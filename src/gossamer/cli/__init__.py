"""The command line. Commands are thin: what they do is a function of the library that anybody can call."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from gossamer.cli.failure import describe_failure, is_users_to_repair
from gossamer.errors import MissingDependencyError

_NEEDED = frozenset({"typer", "rich"})


def main() -> int:
    """Run the command that ``sys.argv`` asks for; the exit code: 0 done, 1 an error, 2 wrong usage, 130
    interrupted.
    """
    debug = "--debug" in sys.argv
    try:
        return _exit_code(_application())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        print(f"gossamer: {describe_failure(error)}", file=sys.stderr)
        if not is_users_to_repair(error):
            print("This looks like a mistake in gossamer: --debug shows where.", file=sys.stderr)
        return 1


def _application() -> Callable[[], object]:
    try:
        from gossamer.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        raise MissingDependencyError(
            f"the command line needs the package {error.name!r}: pip install 'gossamer[compress]'"
        ) from error
    return app


def _exit_code(application: Callable[[], object]) -> int:
    """Typer ends every command with SystemExit; wrong usage with 2."""
    try:
        application()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0
