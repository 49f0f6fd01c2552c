"""Intervals and tests over users: what a difference must pass to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from textrec_utils.core.errors import TooLittleData

FEW_USERS = 20  # with fewer test users no verdict is given: any difference may be one person's luck


def bootstrap_interval(
    values: np.ndarray, *, users: np.ndarray | None = None, level: float = 0.95, samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over users (Efron 1979).

    users: whose each value is, where one has several. What one user says twice is not said by two, so users are drawn
    with all their values (cluster bootstrap, Davison & Hinkley 1997, 3.8). Raises TooLittleData without any value.
    """
    sums, sizes = _by_user(values, users)
    rng = np.random.default_rng(seed)
    # Multinomial counts instead of index lists: the same resampling in samples × users numbers.
    means = []
    for _ in range(0, samples, 100):
        counts = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=100)
        means.append(counts @ sums / (counts @ sizes))
    return tuple(np.quantile(np.concatenate(means)[:samples], [(1 - level) / 2, (1 + level) / 2]).tolist())


def _by_user(values: np.ndarray, users: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(users,) sum of each user's values and how many they are, in the order in which the users appear."""
    values = np.asarray(values, dtype=float)
    if not len(values):
        raise TooLittleData("没有一个测试用户的数，区间和检验无从算起：请换一个测试用户更多的划分。")
    codes = np.arange(len(values)) if users is None else pd.factorize(np.asarray(users))[0]
    return np.bincount(codes, values), np.bincount(codes)


@dataclass(frozen=True)
class Comparison:
    """a − b over the same users: mean difference, its bootstrap interval, and a randomisation test's p."""

    difference: float
    low: float
    high: float
    p_value: float

    @property
    def significant(self) -> bool:
        return self.p_value < 0.05


def compare(
    a: np.ndarray, b: np.ndarray, *, users: np.ndarray | None = None, samples: int = 2000, seed: int = 0
) -> Comparison:
    """Paired comparison of two methods' per-user values; users: whose each pair is, where one has several.

    The p-value is two-sided: how often does a random change of sign of the users' differences give a
    mean as far from 0 (Fisher's randomisation test; Smucker et al. 2007)?
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"两个方法的用户数不同（{len(a)} 和 {len(b)}），不能成对比较；请在同一个 split 上评测。")
    difference = a - b
    low, high = bootstrap_interval(difference, users=users, samples=samples, seed=seed)
    rng = np.random.default_rng(seed)
    sums, _ = _by_user(difference, users)
    moved, observed = sums[sums != 0], abs(sums.sum())
    extreme = 0
    for start in range(0, samples, 100):
        signs = rng.integers(0, 2, size=(min(100, samples - start), len(moved))) * 2 - 1
        extreme += int((np.abs(signs @ moved) >= observed - 1e-12).sum())
    return Comparison(float(difference.mean()), low, high, (extreme + 1) / (samples + 1))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values (Holm 1979): with m tests the smallest counts m-fold, the next (m − 1)-fold, and so on.

    Keeps the chance of even one false "significant" among all the tests below the level.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(adjusted, 1.0)
    return out
