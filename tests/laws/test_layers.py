"""Who may import whom, read off the source: the data flows one way, and the serving side never meets torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gossamer

SOURCE = Path(__file__).parents[2] / "src" / "gossamer"

# A module may import its own package and the rows above it on its side.
SHARED = ["errors", "weights"]
TRAINING = [
    ["numerics"],
    ["graph", "task", "metrics", "_nested"],
    ["train"],
    ["prune", "quantize", "factorize", "distill", "share"],
    ["recipe"],
    ["recipe_file"],
    ["search"],
]
OPEN_ROW = {
    "graph",
    "task",
    "metrics",
    "_nested",
}  # these may see each other; passes may not see other passes
SERVING = [["artifact"], ["engine"]]
ABOVE = [["onnx"], ["measure"], ["report"], ["result"], ["cli"], ["__main__"]]
FREE = ["datasets", "networks"]  # data and reference networks: torch, numpy and errors alone
SERVING_MAY_IMPORT = {"numpy", "gossamer"} | set(sys.stdlib_module_names)


def allowed(area: str) -> set[str]:
    for side in (TRAINING, SERVING):
        for height, row in enumerate(side):
            if area in row:
                below = {name for lower in side[:height] for name in lower}
                return {*SHARED, *below, *(row if area in OPEN_ROW else [area])}
    everything = {name for row in TRAINING + SERVING for name in row} | set(SHARED) | set(FREE)
    for height, row in enumerate(ABOVE):
        if area in row:
            return everything | {name for lower in ABOVE[: height + 1] for name in lower}
    return {area, *SHARED}


def area_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def home_of(name: str) -> str:
    """The module that ``from gossamer import name`` comes from."""
    home = gossamer._HOMES.get(name, "gossamer")
    return f"gossamer.{name}" if home == "gossamer" else home.partition(":")[0]


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, relative ones resolved; those under TYPE_CHECKING count too."""
    package = ["gossamer", *path.relative_to(SOURCE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [alias.name for alias in node.names]
            found |= {home_of(name) for name in names} if module == "gossamer" else {module}
    return found


MODULES = sorted(p for p in SOURCE.rglob("*.py") if p.name not in ("__init__.py",) or p.parent != SOURCE)


def test_the_table_is_complete():
    known = {name for row in TRAINING + SERVING + ABOVE for name in row} | set(SHARED) | set(FREE)
    assert len(MODULES) > 20
    assert {area_of(path) for path in MODULES} - {"__main__"} <= known


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path):
    area = area_of(path)
    inner = {name.split(".")[1] for name in imports(path) if name.startswith("gossamer.")} - {
        "_native",
        "__version__",
    }
    assert inner <= allowed(area), f"{path.name}: {area} may not import {sorted(inner - allowed(area))}"


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if area_of(p) in {"artifact", "engine", "weights", "errors"}],
    ids=lambda path: str(path.relative_to(SOURCE)),
)
def test_the_serving_side_needs_numpy_alone(path):
    outside = {name.split(".")[0] for name in imports(path)} - SERVING_MAY_IMPORT
    assert not outside, f"{path.name} imports {sorted(outside)}"


def test_the_engine_runs_without_torch():
    program = (
        "import sys, gossamer; gossamer.Engine; assert not {'torch', 'onnx'} & set(sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
