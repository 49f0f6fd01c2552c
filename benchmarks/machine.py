"""What the benchmarks share: calls timed in turn, the measured peak of this machine, how a row is printed."""

import statistics
import time
from collections.abc import Callable
from functools import cache

import torch

from textrec_utils.core.machine import machine


def in_turn(rounds: int, warm_up: int = 1, **calls: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each call; one round after the other, so that what slows the machine slows them all."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for n in range(warm_up + rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if n >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


@cache
def peak(size: int = 2048, rounds: int = 8) -> float:
    """Floating-point operations a second that a float32 matrix product of torch reaches here: the best of a few."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = min(in_turn(1, warm_up=n == 0, product=lambda: a @ b)["product"] for n in range(rounds))
    return 2 * size**3 / best


def row(what: str, seconds: float, bar: str = "", *, operations: float = 0.0, **others: float) -> None:
    """Print one row: seconds, how many times as long each named peer took, the share of the measured peak where
    `operations` (floating-point, in all) are known, the bar it is held to, threads and machine."""
    said = [f"{what}: {seconds:.4g} s"]
    said += [f"{name} {taken:.4g} s = {taken / seconds:.2f} ×" for name, taken in others.items()]
    if operations:
        rate = operations / seconds
        said.append(f"{rate / 1e9:.0f} Gflop/s = {rate / peak():.0%} of the measured peak {peak() / 1e9:.0f}")
    said += [f"bar {bar}"] if bar else []
    print("; ".join([*said, machine()]), flush=True)
