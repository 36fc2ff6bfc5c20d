"""Every source of chance in a training: seeded, saved, and given back as it was found.

Sources: the global generators of torch (CPU and CUDA), NumPy and Python, and those that a DataLoader was
given.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_everything(*key: int) -> None:
    """Seed the global generators from non-negative integers; different keys give independent streams."""
    words = [int(word) for word in np.random.SeedSequence(key).generate_state(4)]
    torch.manual_seed(words[0] << 32 | words[1])
    np.random.seed(words[2])
    random.seed(words[3])


def seeded_generator(*key: int) -> torch.Generator:
    """A generator of its own on the CPU, seeded from non-negative integers."""
    words = np.random.SeedSequence(key).generate_state(2)
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))


def seed_loader(loader: Any, *key: int) -> None:
    """Seed what a DataLoader draws from besides the global generators; tell its sampler the epoch."""
    words = np.random.SeedSequence((*key, 1)).generate_state(2)
    for generator in loader_generators(loader):
        generator.manual_seed(int(words[0]) << 32 | int(words[1]))
    for sampler in _samplers(loader):
        if callable(getattr(sampler, "set_epoch", None)):
            sampler.set_epoch(key[-1])


def loader_generators(loader: Any) -> list[torch.Generator]:
    """The generators that a DataLoader and its samplers were given; none for other iterables."""
    found = {id(holder.generator): holder.generator for holder in _samplers(loader) if _own_generator(holder)}
    return list(found.values())


def random_state() -> dict[str, Any]:
    """The state of the global generators, of plain types and tensors."""
    algorithm, words, position, has_gauss, gauss = np.random.get_state()  # the legacy form is a tuple
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": (str(algorithm), np.asarray(words).tolist(), int(position), int(has_gauss), float(gauss)),
        "python": random.getstate(),
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Continue where :func:`random_state` was taken."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, words, *rest = state["numpy"]
    np.random.set_state((name, np.asarray(words, dtype=np.uint32), *rest))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


@contextmanager
def preserved_randomness(*loaders: Any) -> Iterator[None]:
    """Leave every generator afterwards as it was before, those of ``loaders`` too."""
    before = random_state()
    generators = [(g, g.get_state()) for loader in loaders for g in loader_generators(loader)]
    try:
        yield
    finally:
        restore_random_state(before)
        for generator, state in generators:
            generator.set_state(state)


def _samplers(loader: Any) -> Iterable[Any]:
    """The loader and the samplers in it, outermost first."""
    holders = (loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None))
    inner = getattr(holders[2], "sampler", None)
    return [holder for holder in (*holders, inner) if holder is not None]


def _own_generator(holder: Any) -> bool:
    return isinstance(getattr(holder, "generator", None), torch.Generator)
