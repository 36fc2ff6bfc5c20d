"""The reference networks: the papers' sizes and layer names, and batches that do not mix."""

import pytest
import torch

from gossamer.networks import lenet_5, lenet_300_100, residual_cnn

SIZES = [
    (lenet_300_100, 266_610, {"fc1.weight": 235_200, "fc2.weight": 30_000, "fc3.weight": 1_000}),
    (
        lenet_5,
        431_080,
        {"conv1.weight": 500, "conv2.weight": 25_000, "fc1.weight": 400_000, "fc2.weight": 5_000},
    ),
]


@pytest.mark.parametrize(("build", "total", "weights"), SIZES)
def test_sizes_and_names_are_the_papers(build, total: int, weights: dict[str, int]) -> None:
    parameters = dict(build().named_parameters())
    assert sum(p.numel() for p in parameters.values()) == total
    assert {name: p.numel() for name, p in parameters.items() if name.endswith("weight")} == weights


NETWORKS = [lenet_300_100, lenet_5, residual_cnn, lambda: residual_cnn(4, stages=2, blocks=2)]


@pytest.mark.parametrize("build", NETWORKS)
def test_each_image_gives_its_own_ten_logits(build) -> None:
    torch.manual_seed(0)
    network = build().eval()
    images = torch.randn(3, 1, 28, 28)
    logits = network(images)
    assert logits.shape == (3, 10)
    torch.testing.assert_close(logits[1:2], network(images[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", NETWORKS)
def test_every_parameter_learns(build) -> None:
    torch.manual_seed(0)
    network = build()
    network(torch.randn(8, 1, 28, 28)).logsumexp(1).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("build", [lenet_300_100, lenet_5])
def test_dropout_is_for_training_alone(build) -> None:
    torch.manual_seed(0)
    network = build(dropout=0.5)
    images = torch.randn(4, 1, 28, 28)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))
