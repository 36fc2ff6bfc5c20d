"""Randomness: seeded, saved, given back."""

import random

import numpy as np
import pytest
import torch
from small_tasks import Augmented
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler

from gossamer.train.randomness import (
    loader_generators,
    preserved_randomness,
    random_state,
    restore_random_state,
    seed_everything,
    seed_loader,
)


def draw() -> tuple[float, ...]:
    return (*torch.rand(2).tolist(), torch.randn(()).item(), *np.random.randn(3).tolist(), random.gauss(0, 1))


@pytest.mark.parametrize("key", [(0,), (0, 0), (1, 0), (0, 1), (0, 1, 2), (2**40, 3)], ids=str)
def test_a_key_decides_what_is_drawn(key) -> None:
    with preserved_randomness():
        seed_everything(*key)
        first = draw()
        seed_everything(*key)
        assert draw() == first
        seed_everything(*key, 7)
        assert draw() != first


def test_a_state_continues_exactly() -> None:
    with preserved_randomness():
        draw()  # leaves a second Gaussian waiting in NumPy and Python
        state = random_state()
        first = draw()
        restore_random_state(state)
        assert draw() == first


def test_what_was_preserved_comes_back_even_after_an_error() -> None:
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(Augmented(), generator=generator)
    before = random_state()
    expected, own = draw(), generator.clone_state()
    restore_random_state(before)

    def fail() -> None:
        with preserved_randomness(loader):
            seed_everything(5)
            generator.manual_seed(9)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert draw() == expected
    assert torch.equal(generator.get_state(), own.get_state())


def test_generators_of_loaders_are_found_once() -> None:
    one, two = torch.Generator(), torch.Generator()
    data = Augmented()
    assert loader_generators([1, 2]) == []
    assert loader_generators(DataLoader(data, shuffle=True)) == []
    assert loader_generators(DataLoader(data, shuffle=True, generator=one)) == [one]
    mixed = DataLoader(data, sampler=RandomSampler(data, generator=two), generator=one)
    assert loader_generators(mixed) == [one, two]


def test_a_distributed_sampler_is_told_the_epoch() -> None:
    sampler = DistributedSampler(Augmented(), num_replicas=2, rank=0)
    seed_loader(DataLoader(Augmented(), sampler=sampler), 3, 5)
    assert sampler.epoch == 5
