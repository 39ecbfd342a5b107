"""Several processes that train one network: each takes its part of every batch.

Lightning Fabric starts and connects them. One process does without it: it would gain nothing and
its import takes seconds. Gradients are averaged behind a step's last backward pass, not by hooks
on each pass (torch's DistributedDataParallel): hooks break on what is allowed here, a frozen
encoder, a head whose loss has weight 0 for a while, a student's two passes a step.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import torch
from torch import nn

from salt.errors import TrainingError
from salt.seeding import derive_seed


class Processes:
    """This process among those that train together; without `fabric` it is alone.

    Attributes:
        device: where this one computes.
        rank, count: its number, from 0, and how many there are on all hosts.
        part: its tiles of every batch.
    """

    def __init__(self, device: torch.device, fabric: Any = None) -> None:
        self._fabric = fabric
        self.device = device if fabric is None else fabric.device
        self.rank = 0 if fabric is None else fabric.global_rank
        self.count = 1 if fabric is None else fabric.world_size
        self.part = slice(self.rank, None, self.count)
        self._seed = torch.initial_seed()

    @property
    def first(self) -> bool:
        """Whether this is the one that validates, writes and reports."""
        return self.rank == 0

    def prepared(self, model: nn.Module) -> nn.Module:
        """Return the model, its batch norm counting all processes' tiles where that is possible.

        torch synchronises batch norm on GPUs alone: on CPUs each process normalises by its own
        part, and the first one's running statistics are kept.
        """
        if self.count == 1 or self.device.type != "cuda":
            return model
        from timm.layers import convert_sync_batchnorm  # torch's own would drop timm's activations

        return convert_sync_batchnorm(model)

    def reseed(self, epoch: int) -> None:
        """Give each of several processes its own draws of dropout, in a resumed run the same."""
        if self.count > 1:
            torch.manual_seed(derive_seed(self._seed, "process", self.rank, epoch))

    def mean(self, value: torch.Tensor) -> float:
        """Return a number's mean over the processes; NaN in one is NaN in all."""
        if self.count == 1:
            return value.item()
        return self._fabric.all_reduce(value.detach().clone()).item()

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.count == 1:
            return
        gradients = [weight.grad for weight in parameters if weight.grad is not None]
        joined = torch.cat([gradient.reshape(-1) for gradient in gradients])
        parts = self._fabric.all_reduce(joined).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def told_by_first(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return what the first process passes here, whatever this one does; all wait for it."""
        return dict(values if self.count == 1 else self._fabric.broadcast(dict(values)))

    def joined(self, ids: list[str]) -> list[str]:
        """Return the ids of all processes."""
        if self.count == 1:
            return ids
        parts: list[list[str]] = [[] for _ in range(self.count)]
        torch.distributed.all_gather_object(parts, ids)
        return [name for part in parts for name in part]

    def refuse(self, message: str) -> NoReturn:
        """End the run for a reason that all processes know, on each host with one message.

        Raises:
            TrainingError: always, on the process that started its host's others; these leave
                without complaint, or their starter would be killed before it can tell.
        """
        if self._fabric is None or self._fabric.local_rank == 0:
            raise TrainingError(message)
        raise SystemExit(0)


def launch(device: torch.device, devices: int, nodes: int, batch_size: int) -> Processes:
    """Start the other processes, which run this same command, and return this one's place.

    On several hosts the command is started once on each, with the environment that Lightning's
    documentation names (MASTER_ADDR, MASTER_PORT, NODE_RANK), by torchrun or by Slurm.

    Args:
        device: its kind decides between CPU processes and GPUs.
        devices: processes, or GPUs, on each host.
        nodes: hosts.
        batch_size: tiles that they share at every step.

    Raises:
        TrainingError: there are fewer GPUs, or the tiles cannot be shared out evenly.
    """
    count = devices * nodes
    if count == 1:
        return Processes(device)
    if batch_size % count or batch_size < 2 * count:  # batch norm needs two
        raise TrainingError(
            f"a batch of {batch_size} tiles for {count} processes (train.devices * train.nodes); "
            "expected a multiple of them, two tiles each at least. Change either number."
        )
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise TrainingError(
            f"train.devices is {devices}, but torch sees {torch.cuda.device_count()} GPUs; "
            "expected at least as many. Lower train.devices, or set runtime.device to cpu."
        )
    from lightning_fabric import Fabric  # with `lightning`, without its trainer: imports faster

    threads = torch.get_num_threads()
    fabric = Fabric(accelerator=device.type, devices=devices, num_nodes=nodes, strategy="ddp")
    fabric.launch()
    torch.set_num_threads(threads)  # Fabric shares out the cores instead
    return Processes(device, fabric)
