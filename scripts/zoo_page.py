"""The zoo: every architecture with every width halved where that is legal, checked, and written to docs/zoo.md.

python scripts/zoo_page.py            all of them (half an hour on one core), and the page
python scripts/zoo_page.py vgg bert   the rows of these, printed
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "zoo"), str(ROOT / "tests" / "oracles")]

import checks  # noqa: E402
import classics_residual  # noqa: E402
from transformers_zoo import TRANSFORMERS  # noqa: E402
from zoo import CLASSICS, Animal, images  # noqa: E402

PAGE = ROOT / "docs" / "zoo.md"
ZOO = CLASSICS | TRANSFORMERS


def row(name: str, animal: Animal) -> str:
    """One line of the table. Raises what the checks raise."""
    began = time.perf_counter()
    pruned = checks.halved(animal)
    difference = checks.check_exact(pruned)
    if not animal.norms:
        checks.check_zeroed(pruned)
    checks.check_trains(pruned)
    checks.check_stored(pruned)
    runtime = checks.check_ships(pruned)
    before, after = pruned.parameters
    refused = Counter(
        group.refused
        for group in pruned.channels.groups
        if group.refused not in (None, "output of the network")
    )
    why = "; ".join(f"{reason} ({count})" if count > 1 else str(reason) for reason, count in refused.items())
    print(f"{name}: {time.perf_counter() - began:.0f} s in all", file=sys.stderr)
    share = checks.removable(pruned) / before
    return (
        f"| {name} | {before:,} | {share:.0%} | {1 - after / before:.0%} | {difference:.0e} | {pruned.seconds:.2f} "
        f"| {runtime} | {why} |"
    )


def resnet_50() -> str:
    """Grouping and removal of the real ResNet-50, timed alone."""
    whole = checks.traced(Animal(classics_residual.resnet_50, images(224)))
    began = time.process_time()
    channels = checks.analyse(whole)
    grouped = time.process_time() - began
    small = checks.remove_units(channels, checks.choice(channels))
    total = time.process_time() - began
    left = sum(p.numel() for p in small.parameters())
    before = sum(p.numel() for p in whole.parameters())
    return (
        f"ResNet-50 at its real size ({before:,} parameters, {left:,} after halving): grouping {grouped:.2f}, "
        f"grouping and removal {total:.2f} seconds of processor time on one core.\n"
    )


HEAD = """# The zoo

Architectures, small and randomly initialized, with every width halved that may be: half of the units of every channel
group (channels, hidden units, attention heads, dimensions within heads), chosen at random, are removed from the traced
graph. For each one it was checked that every operator of the removed network gives what the masked network gives at the
places that are left (in double precision; the largest difference relative to the tensor's largest element), that it
trains, is saved and loaded as the same network, and runs from its ONNX operators. Networks without a norm over channels
were compared with the whole network whose removed weights are set to zero, too. Written by `scripts/zoo`; the functions
are in `tests/zoo`.

*Removable*: the share of parameters that lie in any unit that can be removed. *Removed*: the share that halving all
widths took. *Seconds*: grouping and removal. *Refused*: groups that cannot be pruned, other than the network's outputs,
with the operator that forbids it.

"""
TABLE = """
| architecture | parameters | removable | removed | difference | seconds | runs in | refused |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def main(names: list[str]) -> int:
    """Rows of these, or of all and the page."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows, failed = [], []
    for name in names or ZOO:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                rows.append(row(name, ZOO[name]))
            print(rows[-1], flush=True)
        except Exception as error:
            failed.append(name)
            text = str(error).strip()[:600]
            print(f"FAILED {name}: {type(error).__name__}: {text}", flush=True)
    if failed:
        print(f"{len(failed)} failed: {' '.join(failed)}")
        return 1
    if not names:
        count = f"{len(rows)} architectures, all exact. "
        PAGE.write_text(HEAD + count + resnet_50() + TABLE + "\n".join(rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
