"""Serve a file as a machine without torch would: ``python -m gossamer.cli.torchless images.npz FILE...``.

Importing torch, onnx or anything that comes with them is made impossible first; then the Engine classifies
the images. Standard output gets JSON: for each file the number of errors and the seconds that it took.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_REFUSED = frozenset(
    {"torch", "onnx", "onnxruntime", "onnxscript", "accelerate", "typer", "rich", "pydantic", "jinja2"}
)
_BATCH = 1000


class _Refuse(MetaPathFinder):
    """First in ``sys.meta_path``: what is refused cannot be imported, installed or not."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] in _REFUSED:
            raise ImportError(f"{fullname} is not to be had in this process")
        return None


def main(images_file: str, *networks: str) -> None:
    """Classify ``images`` of the ``.npz`` file with each network and count what differs from its
    ``labels``.
    """
    sys.meta_path.insert(0, _Refuse())
    import numpy as np

    from gossamer import Engine

    data = np.load(images_file, allow_pickle=False)
    images, labels = data["images"], data["labels"]
    answer = []
    for path in networks:
        engine = Engine(path)
        began = time.perf_counter()
        batches = [np.asarray(engine(images[i : i + _BATCH])) for i in range(0, len(images), _BATCH)]
        seconds = time.perf_counter() - began
        errors = int((np.concatenate(batches).argmax(1) != labels).sum())
        answer.append({"file": path, "errors": errors, "images": len(labels), "seconds": seconds})
    print(json.dumps({"torch_imported": "torch" in sys.modules, "networks": answer}))


if __name__ == "__main__":
    main(*sys.argv[1:])
