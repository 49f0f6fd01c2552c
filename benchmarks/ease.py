"""EASE by Cholesky in float32 beside the inverse in float64: seconds, ratio, peak memory, share of a matrix product.

    python benchmarks/ease.py [items]

20,000 items by default, and as many users with ten likes each; the inverse then takes minutes and 10 GB.
"""

import platform
import sys
import time

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from textrec_utils.baselines import EASE
from textrec_utils.core import measure
from textrec_utils.datasets import Dataset
from textrec_utils.splits import Split


def likes(n: int) -> Split:
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame({"user": np.repeat(np.arange(n), 10), "item": rng.integers(0, n, 10 * n)}).drop_duplicates()
    pairs = pairs.assign(timestamp=0, value=1.0)
    names = pd.DataFrame({"item_id": np.arange(n).astype(str), "title": "", "text": ""})
    dataset = Dataset("likes", names, names.rename(columns={"item_id": "user_id"}), pairs, "", "")
    return Split(dataset, "random", pairs, pairs, pairs[:0], "", np.ones(n, dtype=bool))


def inverse(split: Split, regularization: float) -> np.ndarray:
    """The closed form as the paper writes it."""
    x = split.train_matrix
    gram = (x.T @ x).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += regularization
    precision = np.linalg.inv(gram)
    weights = precision / -np.diag(precision)
    np.fill_diagonal(weights, 0)
    return weights.astype(np.float32)


def main(n: int = 20_000) -> None:
    split, threads = likes(n), torch.get_num_threads()
    square = np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32)
    with threadpool_limits(threads):
        start = time.perf_counter()
        for _ in range(5):
            square @ square
        peak = 5 * 2 * 2048**3 / (time.perf_counter() - start) / 1e9
        with measure() as ours:
            weights = EASE(100.0).fit(split)._weights
        with measure() as theirs:
            wanted = inverse(split, 100.0)
    assert np.abs(weights - wanted).max() < 1e-5
    print(f"{platform.processor() or platform.machine()}, {threads} threads, matrix product {peak:.0f} GFLOP/s")
    print(f"{n:,} items: {ours.seconds:.1f} s and +{ours.peak_mb:.0f} MB; inverse {theirs.seconds:.1f} s and "
          f"+{theirs.peak_mb:.0f} MB; {theirs.seconds / ours.seconds:.1f} times as quick, "
          f"{n**3 / ours.seconds / 1e9 / peak:.0%} of the matrix product (n³ operations)")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
