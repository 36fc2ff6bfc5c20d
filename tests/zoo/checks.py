"""What every network of the zoo must hold: every width halved wherever legal, and removed is masked."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from masked import differences
from torch import Tensor, nn

from gossamer.engine import Engine
from gossamer.errors import UnsupportedError
from gossamer.graph import Channels, Graph, analyse, check, from_state, remove_units, to_state, trace
from gossamer.graph.transform import original
from gossamer.onnx import lower


@dataclass
class Pruned:
    """A network before and after, and what it took. ``whole`` and ``graph`` are in double precision, ``single`` is the
    removed network in single.
    """

    whole: Graph
    channels: Channels
    graph: Graph
    single: Graph
    removed: np.ndarray
    inputs: tuple[Tensor, ...]
    seconds: float

    @property
    def parameters(self) -> tuple[int, int]:
        """Before and after."""
        return tuple(sum(p.numel() for p in g.parameters()) for g in (self.whole, self.graph))  # type: ignore


def lively(model: nn.Module) -> nn.Module:
    """The model with no weight at a value that hides mistakes: no zero biases, no unit variances."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.3)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return model


def traced(animal: Any) -> Graph:
    """The graph, with random numbers of its own wherever zeros and ones would hide mistakes."""
    torch.manual_seed(0)
    return trace(lively(animal.build()), animal.example()).eval()


def halved(animal: Any) -> Pruned:
    """Half of the units of every group that can be pruned, chosen at random, removed."""
    single = traced(animal)
    whole = copy.deepcopy(single).double()
    torch.manual_seed(1)
    example = animal.example()
    began = time.perf_counter()
    channels = analyse(whole)
    keep = choice(channels)
    graph = remove_units(channels, keep)
    seconds = time.perf_counter() - began
    gone = [channels.named(name).ids[~mask.numpy()] for name, mask in keep.items()]
    removed = np.concatenate(gone) if gone else np.zeros(0, np.int64)
    return Pruned(
        whole,
        channels,
        graph,
        remove_units(channels, keep, single),
        removed,
        inputs_of(example, whole),
        seconds,
    )


def choice(channels: Channels) -> dict[str, Tensor]:
    """A random half of the units of every group."""
    generator = torch.Generator().manual_seed(1)
    keep = {}
    for group in channels.groups:
        if group.refused is None:
            order = torch.randperm(group.units, generator=generator)
            keep[group.name] = torch.zeros(group.units, dtype=torch.bool)
            keep[group.name][order[: max(1, group.units // 2)]] = True
    return keep


def inputs_of(example: Any, graph: Graph) -> tuple[Tensor, ...]:
    """Two rows of the example in calling order, in double precision."""
    if isinstance(example, dict):
        example = tuple(example[spec.name] for spec in graph.signature)
    values = example if isinstance(example, tuple) else (example,)
    return tuple(v[:2].double() if v.is_floating_point() else v[:2] for v in values)


def leaves(outputs: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]


def check_exact(pruned: Pruned) -> float:
    """The largest relative difference of any node's value from the masked network's."""
    check(pruned.graph)
    gaps = differences(pruned.channels.flow, pruned.removed, pruned.graph, pruned.inputs)
    worst = max(gaps, key=lambda name: gaps[name])
    assert gaps[worst] <= 1e-10, f"{worst}: {gaps[worst]}"
    return gaps[worst]


def check_zeroed(pruned: Pruned) -> None:
    """The whole network with the removed slices of every weight set to zero gives the same outputs."""
    zeroed = copy.deepcopy(pruned.whole)
    with torch.no_grad():
        for group in pruned.channels.groups:
            gone = np.isin(group.ids, pruned.removed)
            for member in group.members:
                places = torch.from_numpy(member.indices[gone[member.units]])
                original(zeroed, member.weight).index_fill_(member.axis, places, 0)
        wanted, got = leaves(zeroed(*pruned.inputs)), leaves(pruned.graph(*pruned.inputs))
    for a, b in zip(wanted, got, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-10)


def check_trains(pruned: Pruned) -> None:
    """A step forward and back in train mode: finite gradients of the new shapes."""
    graph = copy.deepcopy(pruned.graph).train()
    outputs = [
        leaf for leaf in leaves(graph(*pruned.inputs)) if leaf.is_floating_point() and leaf.requires_grad
    ]
    sum(leaf.square().mean() for leaf in outputs).backward()  # type: ignore[union-attr]
    used = [p.grad for p in graph.parameters() if p.grad is not None]
    assert used
    assert all(torch.isfinite(g).all() for g in used)


def check_stored(pruned: Pruned) -> None:
    """Saved and loaded, it computes the same."""
    again = from_state(to_state(pruned.graph)).eval()
    with torch.no_grad():
        for a, b in zip(leaves(pruned.graph(*pruned.inputs)), leaves(again(*pruned.inputs)), strict=True):
            assert torch.equal(a, b)


def check_ships(pruned: Pruned) -> str:
    """Lowered to ONNX operators and run in single precision: by the Engine, or by ONNX Runtime where that has not the
    operators. Which it was.
    """
    single = pruned.single
    inputs = [v.float() if v.is_floating_point() else v for v in pruned.inputs]
    with torch.no_grad():
        wanted = [leaf.numpy() for leaf in leaves(single(*inputs))]
    given = {spec.name: v.numpy() for spec, v in zip(single.signature, inputs, strict=True)}
    program = lower(single)
    try:
        got, runtime = _engine(program, given), "Engine"
    except UnsupportedError:
        got, runtime = _onnxruntime(program, given), "ONNX Runtime"
    for a, b in zip(wanted, got, strict=True):
        scale = max(1.0, float(np.abs(a[np.isfinite(a)]).max(initial=0.0)))
        np.testing.assert_allclose(b, a, rtol=2e-3, atol=2e-4 * scale)
    return runtime


def _engine(program: Any, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    engine = Engine(program)
    known = {port.name for port in engine.inputs}
    got = engine({name: value for name, value in given.items() if name in known})
    return list(got.values()) if isinstance(got, dict) else [got]


def _onnxruntime(program: Any, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    from gossamer.onnx import to_onnx

    session = onnxruntime.InferenceSession(to_onnx(program).SerializeToString())
    known = {port.name for port in session.get_inputs()}
    return list(session.run(None, {name: value for name, value in given.items() if name in known}))


def removable(pruned: Pruned) -> int:
    """Elements of parameters that lie in a unit of any group that can be pruned."""
    covered: dict[str, list[tuple[int, np.ndarray]]] = {}
    for group in pruned.channels.groups:
        for member in group.members if group.refused is None else ():
            covered.setdefault(member.weight, []).append((member.axis, member.indices))
    total = 0
    for name, parameter in pruned.whole.named_parameters():
        left = [np.ones(size, bool) for size in parameter.shape]
        for axis, indices in covered.get(name, []):
            left[axis][indices] = False
        total += parameter.numel() - int(np.prod([mask.sum() for mask in left]))
    return total
