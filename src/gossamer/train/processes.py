"""The processes that train together (``torchrun``, ``accelerate launch``), or the one that trains alone.

Every process iterates the whole loader, with the same seeds, and computes its share of each batch, weighted
so that the averaged gradient is that of the whole batch. So N processes take the same steps as one: the
same batches, schedule and epochs. A loader that is split already (DistributedSampler) is used as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data.distributed import DistributedSampler

from gossamer._nested import batch_size, slice_batch


class Processes:
    """This process and the others.

    ``home``: the device of the network, where a process alone also trains it.
    """

    def __init__(self, home: torch.device) -> None:
        # Told of no accelerator, Accelerate lets the processes of a torchrun on CPUs train each for itself.
        self.accelerator = Accelerator(device_placement=False, cpu=not torch.accelerator.is_available())
        self.count: int = self.accelerator.num_processes
        self.rank: int = self.accelerator.process_index
        self.is_main: bool = self.accelerator.is_main_process
        self.device = home if self.count == 1 else self.accelerator.device

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network as it is called while training: gradients averaged, mixed precision as launched."""
        # Accelerate marks and patches what it prepares: it gets a shell, so that the network stays as it is.
        prepared: nn.Module = self.accelerator.prepare_model(_Shell(network))
        if isinstance(prepared, DistributedDataParallel):
            # Buffers are averaged after an epoch; by default the main process's would overwrite the others.
            prepared.broadcast_buffers = False
        return prepared

    def share(self, loader: Any, inputs: Any, targets: Any) -> tuple[Any, Any, float]:
        """This process's part of a batch, and the weight of its loss: examples here over the average."""
        if self.count == 1 or _is_split(loader):
            return inputs, targets, 1.0
        size = batch_size(inputs)
        start, stop = size * self.rank // self.count, size * (self.rank + 1) // self.count
        weight = (stop - start) * self.count / size
        if start == stop:
            # Fewer examples than processes: take part in the exchange all the same, with weight zero.
            start, stop = 0, 1
        return slice_batch(inputs, start, stop), slice_batch(targets, start, stop), weight

    def sum(self, *numbers: float) -> list[float]:
        """Each number summed over the processes."""
        if self.count == 1:
            return list(numbers)
        every: list[tuple[float, ...]] = gather_object([numbers])
        return [float(sum(column)) for column in zip(*every, strict=True)]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        return [value] if self.count == 1 else list(gather_object([value]))

    def from_main(self, value: Any) -> Any:
        """The main process's value."""
        return value if self.count == 1 else broadcast_object_list([value])[0]

    @torch.no_grad()
    def average_buffers(self, network: nn.Module) -> None:
        """Replace every floating-point buffer by its mean over the processes.

        Running means are linear in the batches' means, so the result is that of the whole batches. In
        float64, so that what is equal everywhere (a mask) stays exactly what it is.
        """
        if self.count == 1:
            return
        for buffer in averaged_buffers(network).values():
            buffer.copy_(self.accelerator.reduce(buffer.to(torch.float64), "mean"))


def averaged_buffers(network: nn.Module) -> dict[str, Tensor]:
    """The floating-point buffers, by name: running statistics, and constants, which averaging keeps."""
    return {name: buffer for name, buffer in network.named_buffers() if buffer.is_floating_point()}


class _Shell(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.network(*inputs, **named)


def _is_split(loader: Any) -> bool:
    inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    return isinstance(getattr(loader, "sampler", None), DistributedSampler) or isinstance(
        inner, DistributedSampler
    )
