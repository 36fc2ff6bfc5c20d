"""Law 2 on whole networks: what is removed is removed exactly, and what is left trains, is saved and ships.

The quick ones here, which have the ways in which channels meet; all of them: scripts/zoo, which writes
docs/zoo.md.
"""

from __future__ import annotations

from functools import cache

import checks
import pytest
from transformers_zoo import TRANSFORMERS
from zoo import CLASSICS

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporter
ZOO = CLASSICS | TRANSFORMERS
QUICK = (
    *(
        "shufflenet-v2",
        "res2net",
        "unet",
        "mobilenet-v3",
        "resnext",
        "group-norm",
        "computed-weights",
        "autoencoder",
    ),
    *(
        "super-resolution",
        "lstm-tagger",
        "lstm-cells",
        "attention-fused",
        "attention-multi-query",
        "two-towers",
    ),
    *("pyramid", "experts", "swin", "bert", "llama", "wav2vec2"),
)


@cache
def halved(name: str) -> checks.Pruned:
    return checks.halved(ZOO[name])


@pytest.mark.parametrize("name", QUICK)
def test_removed_is_masked(name):
    pruned = halved(name)
    checks.check_exact(pruned)
    before, after = pruned.parameters
    assert after < before
    if not ZOO[name].norms:
        checks.check_zeroed(pruned)


@pytest.mark.parametrize("name", QUICK)
def test_it_trains_and_is_saved(name):
    checks.check_trains(halved(name))
    checks.check_stored(halved(name))


@pytest.mark.parametrize("name", QUICK)
def test_it_ships(name):
    checks.check_ships(halved(name))
