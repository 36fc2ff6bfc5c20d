"""What calibration runs gives what the graph gives."""

import pytest
import torch
from torch import nn

import gossamer as gs
from gossamer.quantize.run import Run, _conv2d

CONVOLUTIONS = {
    "plain": nn.Conv2d(8, 12, 3),
    "1x1": nn.Conv2d(8, 12, 1, bias=False),
    "strides": nn.Conv2d(8, 12, (3, 2), stride=(2, 1), padding=(1, 0)),
    "dilated": nn.Conv2d(8, 12, 3, padding=(2, 3), dilation=(1, 2)),
    "depthwise": nn.Conv2d(8, 16, 3, padding=1, groups=8),
    "grouped": nn.Conv2d(8, 12, 3, groups=4),
    "by name": nn.Conv2d(8, 12, 3, padding="same"),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_convolutions_are_those_of_torch(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(CONVOLUTIONS[name], nn.ReLU()).to(dtype)
    x = torch.randn(3, 8, 11, 9, dtype=dtype)
    graph = gs.trace(network, x).eval()
    wanted = graph(x)
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            found = Run(graph).outputs([x])
        torch.testing.assert_close(found[0] if isinstance(found, (tuple, list)) else found, wanted)


def test_one_number_stands_for_both_sides() -> None:
    x, weight = torch.randn(2, 4, 9, 9), torch.randn(5, 4, 3, 3)
    with torch.no_grad():
        found = _conv2d(x, weight, None, [2], [1], [1])
    torch.testing.assert_close(found, nn.functional.conv2d(x, weight, None, 2, 1))
