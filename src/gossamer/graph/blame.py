"""Which line of the user's code: errors of tracing point at it, with the text and the usual repairs."""

from __future__ import annotations

import contextlib
import inspect
import linecache
import logging
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_HERE = str(Path(__file__).parent)
_NOT_THE_USER = (str(Path(torch.__file__).parent), str(Path(np.__file__).parent), _HERE, "<")
_STANDARD = sysconfig.get_path("stdlib")
_TRACE_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in ')

REPAIRS = {
    "control flow": "control flow that depends on values cannot be traced: use torch.where, multiply by a "
    "mask, or take the branch outside of the model",
    "item": "a Python number taken from a tensor cannot be traced: keep it a tensor (drop .item(), float(), "
    "int(), .tolist()), or compute it in __init__",
    "numpy": "NumPy calls cannot be traced: use the torch function of the same name, or move the computation "
    "out of forward",
    "batch": "the batch size is fixed here: write x.shape[0] or -1 in place of the number, flatten with "
    "x.flatten(1), do not loop over the batch; if an input without a batch dimension has as many rows as the "
    "example, take an example of another batch size",
    "shape": "a shape that depends on values cannot be traced: keep all rows and multiply by a mask, or "
    "select outside of the model",
    "output": "a graph returns tensors in tuples, lists and dicts (or types registered with torch's pytree): "
    "return one of those; for transformers' decoders set config.use_cache = False",
    "other": "trace a part of the model that torch.export accepts, or rewrite this line with torch operators",
}


def line_text(file: str, line: int) -> str:
    """``file:line: text``."""
    return f"{file}:{line}: {linecache.getline(file, line).strip()}"


def line_of_exception(error: BaseException, model: nn.Module) -> str:
    """The innermost line of the user's code in the traceback, else where the model's forward begins."""
    seen: BaseException | None = error
    while seen is not None:
        line = _innermost(_frames(seen.__traceback__))
        if line:
            return line
        seen = seen.__cause__ or seen.__context__
    return forward_line(model)


def line_of_trace(stack_trace: str) -> str:
    """The innermost line of the user's code in a node's ``stack_trace``; of torch's own where it has none."""
    found = [(m["file"], int(m["line"])) for m in _TRACE_FRAME.finditer(stack_trace)]
    return _innermost(found) or (line_text(*found[-1]) if found else "")


def forward_line(model: nn.Module) -> str:
    """Where the forward method of ``model`` is written."""
    forward = inspect.unwrap(type(model).forward)
    try:
        file = inspect.getsourcefile(forward) or ""
        lines, line = inspect.getsourcelines(forward)
        line += next(i for i, text in enumerate(lines) if text.lstrip().startswith("def "))
    except (OSError, TypeError):
        return f"{type(model).__name__}.forward"
    return line_text(file, line)


def kind_of(error: BaseException) -> str:
    """Which of REPAIRS helps against an error of torch.export."""
    text = f"{type(error).__name__} {error} {line_of_exception(error, nn.Module())}"
    if "Constraints violated" in text:
        return "batch"
    if re.search(r"\bnp\.|numpy", text.split("The following call raised")[0]):
        return "numpy"
    if re.search(r"\.item\(|\.tolist\(|\bfloat\(|\bint\(", text):
        return "item"
    if "in output, which is not a known type" in text:
        return "output"
    if "data-dependent" in text or "GuardOnDataDependent" in text:
        return "control flow"
    return "other"


def line_of_fixed_batch(run: Callable[[int], Any], export: Callable[[], Any] | None, batch: int) -> str:
    """The line of the user's code that only works at this batch size; empty where none shows itself.

    ``run(n)`` calls the model on n rows. The operators of two runs are compared in order: the first one whose
    result keeps ``batch`` rows while what it was given grew is to blame. Where none does, ``export()`` is
    repeated and the line looked up in which torch fixes the size.
    """
    small, _ = _observe(lambda: run(batch))
    large, failed_at = _observe(lambda: run(batch + 1))
    for one, other in zip(small, large, strict=False):
        if other.given != one.given and one.rows == other.rows == batch:
            return other.line
    return failed_at or (_line_of_specialization(export) if export else "")


class _Call:
    """One operator that ran: the rows it was given, the rows of its result, the user's line."""

    def __init__(self, given: list[int], rows: int | None) -> None:
        self.given, self.rows, self.line = given, rows, _present_line()


class _Observer(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_Call] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [rows for a in args if (rows := _rows(a)) is not None]
        if given and isinstance(result, Tensor):
            self.calls.append(_Call(given, _rows(result)))
        return result


def _rows(value: object) -> int | None:
    return value.shape[0] if isinstance(value, Tensor) and value.ndim > 0 else None


def _observe(run: Callable[[], Any]) -> tuple[list[_Call], str]:
    """The operators of a run, and the user's line at which it failed, if it did."""
    observer = _Observer()
    try:
        with observer:
            run()
    except Exception as error:  # the user's model may raise anything at a size it was not written for
        return observer.calls, _innermost(_frames(error.__traceback__))
    return observer.calls, ""


def _line_of_specialization(export: Callable[[], Any]) -> str:
    with _listening() as lines, contextlib.suppress(Exception):  # it failed before; of interest is where
        export()
    return lines[0] if lines else ""


class _Listener(logging.Handler):
    """torch logs a specialized size while the line that caused it is on the stack."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.INFO)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        line = _present_line() if str(record.msg).startswith("set_replacement") else ""
        if line:
            self.lines.append(line)


@contextmanager
def _listening() -> Iterator[list[str]]:
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    lines: list[str] = []
    handler, level, propagate = _Listener(lines), logger.level, logger.propagate
    silenced = [(h, h.level) for h in logger.handlers]
    for other, _ in silenced:
        other.setLevel(logging.CRITICAL)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        for other, old in silenced:
            other.setLevel(old)


def _present_line() -> str:
    """The innermost line of the user's code on the present stack, below the call of trace."""
    found: list[tuple[str, int]] = []
    frame: FrameType | None = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename != str(Path(_HERE) / "trace.py"):
        found.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return _innermost(found[::-1])


def _frames(tb: TracebackType | None) -> list[tuple[str, int]]:
    return [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(tb)]


def _innermost(frames: list[tuple[str, int]]) -> str:
    """The last frame of the user's own code; failing that, of an installed package that is not torch."""
    outside = [(f, n) for f, n in frames if not f.startswith(_NOT_THE_USER)]
    outside = [(f, n) for f, n in outside if "site-packages" in f or not f.startswith(_STANDARD)]
    own = [(f, n) for f, n in outside if "site-packages" not in f]
    chosen = own or outside
    return line_text(*chosen[-1]) if chosen else ""
