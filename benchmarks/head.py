"""A training step of the head beside the matrix products in it, five seeds at once, and a catalogue of 10⁵.

    python benchmarks/head.py [step | seeds | memory]

step: the default configuration on movielens-zh; the products are those of the same shapes, forward and backward, in
the same process in turn. seeds: `train_two_towers` over five seeds beside one `train_two_tower`. memory: in-batch
training with hard negatives over 10⁵ users × 10⁵ items of 312 numbers, 20 likes each: seconds a step, peak memory.
"""

import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from machine import in_turn, row

from textrec_utils.core import measure
from textrec_utils.core.machine import machine
from textrec_utils.datasets import load_dataset
from textrec_utils.finetuning import TwoTowerConfig, train_two_tower, train_two_towers
from textrec_utils.finetuning.features import Material, read_texts
from textrec_utils.finetuning.trainer import Run
from textrec_utils.splits import Split, make_split


def products(items: int, width: int, hidden: int, dim: int, users: int):
    """All matrix products of a step: (rows, inner) × (inner, columns), forward, then backward."""
    pairs = [
        (items, width, hidden), (items, hidden, dim), (users, items, dim), (users, dim, items),
        (items, users, dim), (users, items, dim), (items, users, dim), (items, dim, hidden), (dim, items, hidden),
        (hidden, items, width),
    ]  # fmt: skip
    matrices = [(torch.randn(n, k), torch.randn(k, m)) for n, k, m in pairs]

    def run() -> None:
        for a, b in matrices:
            a @ b

    return run, 2 * sum(n * k * m for n, k, m in pairs)


def step(rounds: int = 40) -> None:
    split, config = make_split(load_dataset("movielens-zh"), "leave_last_out"), TwoTowerConfig()
    run = Run(split, config, read_texts(split, config, "mini-bert-zh", "", "cpu"))
    run._begin()
    plain, operations = products(split.n_items, run.table.shape[1], config.hidden, config.dim, config.users)

    def one() -> None:
        run._step()
        run.done += 1

    taken = in_turn(rounds, 3, step=one, products=plain)
    row("head, one step", taken["step"], "≤ 1.5 × products", operations=operations, products=taken["products"])


def seeds(steps: int = 300) -> None:
    split, config = make_split(load_dataset("movielens-zh"), "leave_last_out"), TwoTowerConfig(steps=steps)
    read_texts(split, config, "mini-bert-zh", "", "cpu")
    ratios = []
    for first in (0, 5):
        started = time.perf_counter()
        train_two_tower(split, replace(config, seed=first), progress=False, cache=False)
        one = time.perf_counter() - started
        started = time.perf_counter()
        five = [replace(config, seed=first + n) for n in range(5)]
        train_two_towers(split, five, progress=False, cache=False)
        ratios.append((time.perf_counter() - started) / one)
        print(f"one training of {steps} steps: {one:.1f} s, five at once: {ratios[-1]:.2f} × as long; {machine()}")


def memory(count: int = 10**5, likes: int = 20, steps: int = 10) -> None:
    rng = np.random.default_rng(0)
    liked = np.unique(np.c_[np.repeat(np.arange(count), likes), rng.integers(0, count, count * likes)], axis=0)
    train = pd.DataFrame({"user": liked[:, 0], "item": liked[:, 1], "timestamp": np.arange(len(liked)), "value": 1.0})
    catalogue = SimpleNamespace(items=range(count), users=range(count))  # no step reads more of it than how long it is
    split = Split(catalogue, "random", train, train[:0], train[:0], "", np.ones(count, dtype=bool))
    split.histories  # noqa: B018 - prepared before the clock starts
    config = TwoTowerConfig(loss="in_batch", hard_negatives=4, steps=steps)
    encoder = SimpleNamespace(device=torch.device("cpu"))
    material = Material([""] * count, encoder, rng.standard_normal((count, 312), dtype=np.float32))
    with measure() as cost:
        run = Run(split, config, material)
        run._begin()
        run.batches.mined = torch.from_numpy(rng.integers(0, count, (count, 16)))
        started = time.perf_counter()
        for _ in range(steps):
            run._step()
            run.done += 1
        each = (time.perf_counter() - started) / steps
    print(
        f"in-batch training, {count:,} users × {count:,} items, {config.pairs:,} pairs: {each * 1000:.0f} ms a step, "
        f"peak +{cost.peak_mb:.0f} MB; {machine()}"
    )


if __name__ == "__main__":
    for name in sys.argv[1:] or ["step", "seeds", "memory"]:
        {"step": step, "seeds": seeds, "memory": memory}[name]()
