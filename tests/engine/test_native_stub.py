"""The typed stub of the native module names what the module has, with as many parameters."""

from __future__ import annotations

import ast
from pathlib import Path

from nanobind.stubgen import StubGen

import gossamer
from gossamer import _native


def signatures(source: str) -> dict[str, int]:
    """Parameters of every function and method, "self" not counted."""
    found = {}
    for node in ast.parse(source).body:
        members = (
            [(f"{node.name}.", item) for item in node.body]
            if isinstance(node, ast.ClassDef)
            else [("", node)]
        )
        for prefix, item in members:
            if isinstance(item, ast.FunctionDef):
                arguments = [a for a in (*item.args.posonlyargs, *item.args.args) if a.arg != "self"]
                found[prefix + item.name] = len(arguments) + (item.args.kwarg is not None)
    return found


def test_the_stub_is_that_of_the_module():
    generator = StubGen(_native)
    generator.put(_native)
    written = (Path(gossamer.__file__).parent / "_native.pyi").read_text(encoding="utf-8")
    assert signatures(written) == signatures(generator.get())
