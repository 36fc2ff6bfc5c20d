"""What cannot be traced is an error that shows the user's own line and what to do."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gossamer.errors import TraceError
from gossamer.graph import trace
from gossamer.networks import lenet_5


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(12, 4)


class Branches(Base):
    def forward(self, x):
        if x.sum() > 0:  # HERE
            return self.fc(x)
        return -self.fc(x)


class ReadsANumber(Base):
    def forward(self, x):
        factor = x.abs().max().item()  # HERE
        return self.fc(x) * factor


class TakesAFloat(Base):
    def forward(self, x):
        return self.fc(x) * float(x.mean())  # HERE


class CallsNumpy(Base):
    def forward(self, x):
        scale = np.abs(x.detach().numpy()).mean()  # HERE
        return self.fc(x) * torch.tensor(scale)


class WritesTheBatchSize(Base):
    def forward(self, x):
        x = x.view(16, -1)  # HERE
        return self.fc(x)


class WritesTheBatchSizeLate(Base):
    def forward(self, x):
        y = self.fc(x)
        return y + torch.zeros(16, 4)  # HERE


class LoopsOverTheBatch(Base):
    def forward(self, x):
        return torch.stack([self.fc(row) for row in x])  # HERE


class FixesTheBatchSize(Base):
    def forward(self, x):
        noise = torch.zeros(int(x.shape[0]), 12)  # HERE
        return self.fc(x + noise)


class SelectsRows(Base):
    def forward(self, x):
        y = self.fc(x)
        return y[y.sum(1) > 0]  # HERE


class Wrapped:
    def __init__(self, value):
        self.value = value


class ReturnsAnObject(Base):
    def forward(self, x):  # HERE
        return Wrapped(self.fc(x))


CASES = {
    ReturnsAnObject: "tuples, lists and dicts",
    Branches: "torch.where",
    ReadsANumber: ".item()",
    TakesAFloat: "float()",
    CallsNumpy: "the torch function of the same name",
    WritesTheBatchSize: "write x.shape[0] or -1",
    WritesTheBatchSizeLate: "write x.shape[0] or -1",
    LoopsOverTheBatch: "do not loop over the batch",
    FixesTheBatchSize: "write x.shape[0] or -1",
    SelectsRows: "multiply by a mask",
}


def marked_line(cls):
    """file:line of the line that is marked with HERE in ``cls``."""
    lines = Path(__file__).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"class {cls.__name__}("))
    here = next(i for i in range(start, len(lines)) if lines[i].endswith("# HERE"))
    return f"{__file__}:{here + 1}: {lines[here].strip()}"


@pytest.mark.parametrize("cls", CASES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("training", [True, False])
def test_the_message_shows_the_users_line_and_the_repair(cls, training, capfd):
    model = cls().train(training)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(TraceError) as error:
        trace(model, torch.randn(16, 12))
    assert marked_line(cls) in str(error.value)
    assert CASES[cls] in str(error.value)
    assert model.training == training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_model_itself_is_shown_as_it_is():
    with pytest.raises(TraceError, match=r"input \(2, 5\).*mat1 and mat2 shapes"):
        trace(nn.Sequential(nn.Linear(12, 4)), torch.randn(2, 5))


def test_wrong_arguments():
    with pytest.raises(TraceError, match=r"Branches.forward\(x\).*missing a required argument"):
        trace(Branches(), ())
    with pytest.raises(TraceError, match="unexpected keyword argument 'y'"):
        trace(Branches(), {"x": torch.zeros(2, 12), "y": torch.zeros(2)})


@pytest.mark.parametrize("example", ["x", None, 3.0, np.zeros((2, 12), np.float32)], ids=repr)
def test_examples_that_are_none(example):
    with pytest.raises(TraceError, match="an example is a tensor"):
        trace(Branches(), example)


def test_inputs_that_are_no_tensors_are_named():
    with pytest.raises(TraceError, match="input 'x' is list"):
        trace(Branches(), {"x": [torch.zeros(2)]})
    with pytest.raises(TraceError, match="batch dimension"):
        trace(Branches(), torch.tensor(1.0))


def test_models_that_are_none():
    with pytest.raises(TraceError, match="not function: wrap the function"):
        trace(lambda x: x, torch.zeros(2))  # ty: ignore


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value):
    model = lenet_5()
    with torch.no_grad():
        model.conv2.weight[0, 0, 0, 0] = value
    with pytest.raises(TraceError, match=r"'conv2.weight' has NaN"):
        trace(model, torch.randn(2, 1, 28, 28))


def test_lazy_modules_are_named():
    with pytest.raises(TraceError, match=r"'0.weight' has no values yet.*call the model once"):
        trace(nn.Sequential(nn.LazyLinear(3)), torch.randn(2, 3))


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_modules_that_are_no_float_models_are_refused():
    with pytest.raises(TraceError, match="TorchScript"):
        trace(torch.jit.script(nn.Linear(3, 3)), torch.randn(2, 3))
    with pytest.raises(TraceError, match="already quantized"):
        trace(nn.Sequential(torch.ao.nn.quantized.Linear(3, 3)), torch.randn(2, 3))


def test_names_that_graphs_have_themselves_are_refused():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.graph = nn.Linear(3, 3)

        def forward(self, x):
            return self.graph(x)

    with pytest.raises(TraceError, match="'graph' cannot be a member's name"):
        trace(Named(), torch.randn(2, 3))
