"""Randomness that begins and ends with a block."""

from __future__ import annotations

from contextlib import contextmanager


@contextmanager
def seeded(seed: int):
    """torch's own random numbers from `seed` within the block; afterwards they go on as if it had not been.

    Else what a notebook draws later would depend on whether a result came from the cache.
    """
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
