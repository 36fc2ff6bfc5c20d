"""The public face: exactly these names, each of them there."""

import gossamer

PUBLIC = [
    "Blocks",
    "Channels",
    "Cluster",
    "Elements",
    "Engine",
    "Finetune",
    "Heads",
    "Int8",
    "Layers",
    "NM",
    "PerChannel",
    "PerTensor",
    "Prune",
    "Quantize",
    "Repeat",
    "Result",
    "Task",
    "channel_groups",
    "compress",
    "load",
    "load_recipe",
    "metrics",
    "put_back",
    "save",
    "trace",
]


def test_the_public_names():
    assert gossamer.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(gossamer, name) is not None
    assert set(PUBLIC) <= set(dir(gossamer))
