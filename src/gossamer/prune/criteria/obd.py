"""OBD: optimal brain damage, the second derivative along each weight.

LeCun, Denker, Solla: Optimal Brain Damage. 1990, equation 5, with the Levenberg-Marquardt approximation of its section
2.2, which is never negative. That diagonal is estimated as in Dangel, Kunstner, Hennig: BackPACK: Packing more into
Backprop. 2020, section 2.3 (the Gauss-Newton matrix by sampling at the outputs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from gossamer._nested import leaves
from gossamer.errors import RecipeError
from gossamer.graph import Graph
from gossamer.task import Task, loss_of

from .sampling import Probe, Sampled

_STEPS = 16  # of Lanczos: the root is then about a thirtieth off where the loss is flat, and exact where it bends most


@final
@dataclass(frozen=True)
class OBD(Sampled):
    """s = h w^2 / 2, with h the diagonal of J^T H J: J the derivatives of the network's outputs along the weights, H
    the loss's Hessian at the outputs; the second derivatives of the network itself are left out.

    h = mean of (J^T H^1/2 v)^2 over ``probes`` random vectors v of +1 and -1, one backward pass each, for every batch.
    Its relative deviation is about sqrt(2 / (probes x batches)).
    """

    probes: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.probes < 1:
            raise RecipeError(f"{self}: give 1 probe or more")

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""

        def diagonal(probe: Probe, inputs: Any, targets: Any) -> dict[str, Tensor]:
            return self._diagonal(probe, task, probe.outputs(inputs), targets)

        found = self.average(graph, task, weights, diagonal)
        values = Probe.of(graph, weights).leaves
        return {name: found[name] * leaf.detach().square() / 2 for name, leaf in values.items()}

    def _diagonal(self, probe: Probe, task: Task, outputs: Any, targets: Any) -> dict[str, Tensor]:
        heads = [x for x in leaves(outputs) if isinstance(x, Tensor) and x.requires_grad]
        loss = loss_of(task, outputs, targets)
        slope = _slope(loss, heads, create_graph=True) if heads else loss.detach()
        if not slope.requires_grad:
            raise RecipeError(
                f"{self}: the loss is linear in the network's outputs, it has no second derivative there; "
                "give a loss that is curved, or prune by Taylor()"
            )
        total = {name: torch.zeros_like(leaf) for name, leaf in probe.leaves.items()}
        for _ in range(self.probes):
            signs = torch.randint_like(slope, 2).detach() * 2 - 1
            bent = root(lambda vector: _slope(slope @ vector, heads), signs, _STEPS)
            for name, gradient in probe.gradients(_flat(heads) @ bent).items():
                total[name] += gradient.square() / self.probes
        return total


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
