"""The program put together from a graph's nodes, beside the one that torch.export makes of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx_helpers import run_ort
from torch import nn

import gossamer as gs
from gossamer import onnx as gossamer_onnx
from gossamer.onnx import lowering
from gossamer.onnx.assembling import assembled
from gossamer.quantize import Learned, Quantize, Tracked
from gossamer.quantize.activations import quantizers

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Overwriting(nn.Module):
    """In-place operators on tensors that nothing else reads."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1, bias=False)
        self.norm, self.fc = nn.BatchNorm2d(8), nn.Linear(8, 5)

    def forward(self, x):
        y = F.relu(self.one(x), inplace=True)
        z = self.norm(self.two(y))
        z += y
        z = F.dropout(F.adaptive_avg_pool2d(F.hardtanh_(z), 1).flatten(1), 0.5, self.training, inplace=True)
        return self.fc(z)


class Sequence(nn.Module):
    """Sizes that are computed, constants, indices, several inputs and outputs, a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.embed, self.lstm = nn.Embedding(9, 6), nn.LSTM(6, 4, batch_first=True, bidirectional=True)

    def forward(self, words, scale):
        n, length = words.shape
        found, _ = self.lstm(self.embed(words) + torch.arange(length).view(1, -1, 1) / 7)
        first, second = found.reshape(n * length, 8).chunk(2, 1)
        return {"sum": (first * second).view(n, -1) * scale, "top": found.amax(1), "words": words + 1}


CASES = {
    "overwriting": (Overwriting, (X,)),
    "sequence": (Sequence, (torch.arange(20).view(4, 5) % 9, torch.randn(4, 1))),
}


@pytest.mark.parametrize("case", CASES)
def test_it_computes_what_torchs_own_computes(case, monkeypatch):
    torch.manual_seed(2)
    build, inputs = CASES[case]
    graph = gs.trace(build(), inputs if len(inputs) > 1 else inputs[0]).eval()
    assert assembled(graph, 2) is not None
    quick = gossamer_onnx.lower(graph)
    monkeypatch.setattr(lowering, "assembled", lambda *_: None)
    given = {item.name: value.numpy() for item, value in zip(graph.signature, inputs, strict=True)}
    for rows in (1, 3, 4):
        few = {name: value[:rows] for name, value in given.items()}
        models = (gossamer_onnx.to_onnx(each) for each in (quick, gossamer_onnx.lower(graph)))
        ours, theirs = (run_ort(model, few) for model in models)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [Tracked(), Learned()], ids=repr)
def test_quantizers_that_train_are_written_as_they_are_in_eval_mode(training):
    torch.manual_seed(2)
    graph = Quantize(training=training)(gs.trace(Overwriting().eval(), X), gs.Task(calib=[X]))
    weights = {name: gs.graph.represent(graph, name) for name in gs.graph.transformed_weights(graph)}
    program = assembled(lowering._plain(graph, weights), 2)
    written = [n for n in program.graph.nodes if n.target is torch.ops.gossamer.fake_quantize.default]
    assert len(written) == len(list(quantizers(graph))) > 4


class Seen(nn.Module):
    """Its input is overwritten, and read again."""

    def forward(self, x):
        y = x * 2
        z = y[:, 0]
        z.add_(1)
        return y.sum((1, 2, 3)) + z.sum((1, 2))


class Passed(nn.Module):
    """Gives its input back."""

    def forward(self, x):
        return x, x * 2


@pytest.mark.parametrize("build", [Seen, Passed])
def test_the_rest_is_left_to_torch(build):
    graph = gs.trace(build(), X).eval()
    assert assembled(graph, 2) is None
    program = gossamer_onnx.lower(graph)
    wanted = build()(X.clone())
    found = run_ort(gossamer_onnx.to_onnx(program), {graph.signature[0].name: X.numpy()})
    for ours, theirs in zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-5)
