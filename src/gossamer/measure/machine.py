"""Where a measurement was taken. Without it a figure in milliseconds says nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from datetime import datetime, timezone
from importlib import metadata

import gossamer
from gossamer._native import processor_name
from gossamer.artifact import Operation, Port, Program
from gossamer.measure.records import Machine

_PACKAGES = ("numpy", "torch", "onnx", "onnxruntime", "openvino")


def machine() -> Machine:
    """This machine, now: CPU model, instruction set of the Engine, usable cores, memory, versions, UTC
    date.
    """
    return Machine(
        cpu=cpu_model(),
        instruction_set=instruction_set(),
        cores=usable_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.platform(),
        versions={"gossamer": gossamer.__version__, "python": platform.python_version(), **_installed()},
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def cpu_model() -> str:
    """What the CPU calls itself, with family and model; what Python knows of it where it has no name."""
    name = processor_name()
    return name if name != "unknown" else platform.processor() or platform.machine()


def usable_cores() -> int:
    """How many cores this process may run on, which in a container is often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def instruction_set() -> str:
    """The one that an Engine chooses here (``GOSSAMER_ISA`` lowers it), asked of an Engine."""
    from gossamer.engine import Engine

    port = Port("x", "float32", (1,))
    smallest = Program(
        (port,), (replace(port, name="y"),), (Operation("Relu", ("x",), ("y",)),), {}, {"": 17}
    )
    return Engine(smallest).isa


def _installed() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
