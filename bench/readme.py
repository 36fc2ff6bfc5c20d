"""The parts of the README that benchmarks write, each between two marks."""

from __future__ import annotations

from pathlib import Path

_END = "<!-- /bench -->"


def put(path: Path, name: str, text: str) -> None:
    """Put ``text`` between the marks of ``name``; the rest of the file stays. Raises ValueError where they are not."""
    begin = f"<!-- bench: {name} -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(_END)
    if not (found and ended):
        raise ValueError(
            f"{path} has no part {begin} ... {_END}: put these two lines where the figures belong"
        )
    path.write_text(f"{before}{begin}\n{text}\n{_END}{after}", encoding="utf-8")
