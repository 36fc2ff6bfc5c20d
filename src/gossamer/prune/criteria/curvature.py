"""Random vectors whose squares are the Gauss-Newton matrix in the mean.

Schraudolph: Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent. 2002 (the matrix J^T H J). Dangel,
Kunstner, Hennig: BackPACK: Packing more into Backprop. 2020, section 2.3 (by sampling at the outputs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from gossamer._nested import leaves
from gossamer.errors import RecipeError
from gossamer.task import Task, loss_of

from .sampling import Probe

_STEPS = 16  # of Lanczos: the root is then about a thirtieth off where the loss is flat, and exact where it bends most


def gauss_newton(
    probe: Probe, task: Task, inputs: Any, targets: Any, samples: int
) -> Iterator[dict[str, Tensor]]:
    """``samples`` random g by name of a weight, the mean of whose g g^T is J^T H J; RecipeError if the loss is not
    curved.

    J: the derivatives of the network's outputs along the weights; H: the loss's Hessian at the outputs. The second
    derivatives of the network itself are left out. g = J^T H^1/2 v, v random +1 and -1: one backward pass each.
    """
    outputs = probe.outputs(inputs)
    heads = [x for x in leaves(outputs) if isinstance(x, Tensor) and x.requires_grad]
    loss = loss_of(task, outputs, targets)
    slope = _slope(loss, heads, create_graph=True) if heads else loss.detach()
    if not slope.requires_grad:
        raise RecipeError(
            "the loss is linear in the network's outputs, it has no second derivative there; "
            "give a loss that is curved, or prune by Taylor() or OBS(empirical=True)"
        )
    for _ in range(samples):
        signs = torch.randint_like(slope, 2).detach() * 2 - 1
        bent = root(lambda vector: _slope(slope @ vector, heads), signs, _STEPS)
        yield probe.gradients(_flat(heads) @ bent)


def root(times: Callable[[Tensor], Tensor], vector: Tensor, steps: int) -> Tensor:
    """H^1/2 ``vector`` of the symmetric H that ``times`` multiplies by; negative eigenvalues count as zero.

    Lanczos; exact where ``steps`` is at least the number of H's different eigenvalues.
    """
    basis = [vector / vector.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(steps):
        following = times(basis[-1])
        if beside:
            following = following - beside[-1] * basis[-2]
        diagonal.append(float(following @ basis[-1]))
        following = following - diagonal[-1] * basis[-1]
        beside.append(float(following.norm()))
        if beside[-1] <= 1e-6 * max(map(abs, diagonal)):
            break
        basis.append(following / beside[-1])
    size = len(diagonal)
    small = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    off = torch.diag(torch.tensor(beside[: size - 1], dtype=torch.float64), 1)
    values, vectors = torch.linalg.eigh(small + off + off.T)
    weights = vectors @ (values.clamp(min=0).sqrt() * vectors[0]) * float(vector.norm())
    return torch.stack([w * b for w, b in zip(weights.tolist(), basis[:size], strict=True)]).sum(0)


def _slope(of: Tensor, along: Sequence[Tensor], create_graph: bool = False) -> Tensor:
    """d of / d along as one vector; zero where it does not depend on one."""
    slopes = torch.autograd.grad(
        of, along, retain_graph=True, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return _flat(slopes)


def _flat(values: Sequence[Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in values])
