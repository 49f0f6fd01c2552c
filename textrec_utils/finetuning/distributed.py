"""Several processes that train one model: each encodes its share of a step's texts."""

from __future__ import annotations

import os
from contextlib import contextmanager

import torch
import torch.distributed as dist

from textrec_utils.core.processes import Interrupts


@contextmanager
def processes(device: str = "cpu"):
    """Join the other processes where `torchrun` or `accelerate launch` started several (gloo on CPUs, nccl on GPUs).

    Gives this process's device. Alone it does nothing.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield device
        return
    if device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def world() -> tuple[int, int]:
    """(number of processes, this process's number)."""
    ready = dist.is_available() and dist.is_initialized()
    return (dist.get_world_size(), dist.get_rank()) if ready else (1, 0)


def gather(own: torch.Tensor, share: torch.Tensor, total: int) -> torch.Tensor:
    """All processes' rows in their places, (total, width): each fills in its own, the sum holds all."""
    width = torch.tensor(own.shape[1] if own.ndim == 2 else 0, device=own.device)
    dist.all_reduce(width, dist.ReduceOp.MAX)  # a process without rows doesn't know the width
    full = torch.zeros(total, int(width), device=own.device)
    if len(share):
        full[share] = own
    dist.all_reduce(full)
    return full


def share_signal(interrupts: Interrupts, device: torch.device) -> None:
    """What signal one process got, all have got: they must leave after the same step, or one waits for ever."""
    if world()[0] > 1:
        number = torch.tensor(float(interrupts.number), device=device)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        interrupts.number = int(number)
        interrupts.asked = interrupts.number > 0
