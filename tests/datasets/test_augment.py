"""RandomShift: every image is moved, whole, by an allowed offset, each as often as the others."""

import pytest
import torch
import torch.nn.functional as F

from gossamer.datasets import Examples, RandomShift, loader
from gossamer.errors import TaskError


def moved(image: torch.Tensor, down: int, right: int, by: int) -> torch.Tensor:
    """The window at one offset, from a padding of its own."""
    padded = F.pad(image[None], (by,) * 4, mode="replicate")[0]
    return padded[:, down : down + image.shape[1], right : right + image.shape[2]]


@pytest.mark.parametrize("pixels", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 5, 4)])
def test_each_image_is_one_of_its_shifts_and_all_occur(pixels: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    image = torch.randn(shape)
    offsets = [(down, right) for down in range(2 * pixels + 1) for right in range(2 * pixels + 1)]
    shifted = RandomShift(pixels)(image.expand(400, *shape))
    seen = [[torch.equal(each, moved(image, *offset, pixels)) for offset in offsets] for each in shifted]
    assert all(sum(matches) == 1 for matches in seen)
    counts = torch.tensor(seen).sum(0)
    assert counts.min() >= 400 / len(offsets) / 3


def test_loader_augments_inputs_alone_and_anew_every_epoch() -> None:
    torch.manual_seed(0)
    examples = Examples(torch.randn(8, 1, 6, 6), torch.arange(8))
    batches = loader(examples, 8, augment=RandomShift())
    (first, targets), (second, _) = next(iter(batches)), next(iter(batches))
    assert torch.equal(targets, examples.targets)
    assert first.shape == examples.inputs.shape
    assert not torch.equal(first, second)


def test_negative_pixels_are_an_error() -> None:
    with pytest.raises(TaskError, match="pixels=-1"):
        RandomShift(-1)
