"""Intervals and tests over users: what a difference must pass to be believed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import pandas as pd

from textrec_utils.core.errors import TooLittleData

FEW_USERS = 20  # with fewer test users no verdict is given: any difference may be one person's luck
MANY_USERS = 10_000  # with more, resamples are drawn another way


def bootstrap_interval(
    values: np.ndarray, *, users: np.ndarray | None = None, level: float = 0.95, samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over users (Efron 1979).

    users: whose each value is, where one has several. What one user says twice is not said by two, so users are drawn
    with all their values (cluster bootstrap, Davison & Hinkley 1997, 3.8). Raises TooLittleData without any value.
    """
    found = bootstrap_intervals(np.asarray(values)[:, None], users=users, level=level, samples=samples, seed=seed)
    return tuple(found[0].tolist())


def bootstrap_intervals(
    values: np.ndarray, *, users: np.ndarray | None = None, level: float = 0.95, samples: int = 1000, seed: int = 0
) -> np.ndarray:
    """(columns, 2): `bootstrap_interval` of each column of values (values, columns), from the same draws."""
    sums, sizes = _by_user(values, users)
    means = [counts @ sums / (counts @ sizes)[:, None] for counts in _draws(len(sizes), samples, seed)]
    return np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2], axis=0).T


def _draws(n: int, samples: int, seed: int) -> Iterable[np.ndarray]:
    """How often each of n users is drawn in each of `samples` resamples, in blocks (resamples, n)."""
    return [_multinomial(n, samples, seed)] if n <= MANY_USERS else _indices(n, samples, seed)


@lru_cache(maxsize=2)  # all methods of a table are judged by the same users
def _multinomial(n: int, samples: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=samples).astype(np.int16)


def _indices(n: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """The same distribution, twenty times quicker for many; other numbers, so what was drawn for few stays."""
    rng = np.random.default_rng(seed)
    for start in range(0, samples, 20):
        drawn = rng.integers(n, size=(min(20, samples - start), n), dtype=np.int32)
        yield np.stack([np.bincount(row, minlength=n) for row in drawn])


def _by_user(values: np.ndarray, users: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(users, columns) sums of each user's values and (users,) how many, in the order in which the users appear."""
    values = np.asarray(values, dtype=float)
    if not len(values):
        raise TooLittleData("没有一个测试用户的数，区间和检验无从算起：请换一个测试用户更多的划分。")
    if users is None:
        return values, np.ones(len(values))
    codes = pd.factorize(np.asarray(users))[0]
    return np.column_stack([np.bincount(codes, column) for column in values.T]), np.bincount(codes)


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

    @property
    def visible(self) -> float:
        """The least true difference that so many users would show four times in five: 2.8 standard errors, for a
        two-sided test at 5% and a power of 80% (Cohen 1988), the standard error read off the interval's width. What
        "not told apart" leaves open lies below it."""
        return self.visible_among(1)

    def visible_among(self, tests: int) -> float:
        """The same where this is one of so many tests, corrected after Holm: at the level 5%/tests, which the smallest
        p has to pass."""
        level, power = NormalDist().inv_cdf(1 - 0.025 / tests), NormalDist().inv_cdf(0.8)
        return (self.high - self.low) / (2 * NormalDist().inv_cdf(0.975)) * (level + power)

    def columns(self, difference: str = "difference", before: str = "") -> dict[str, float]:
        """Of a table: `difference`, and low, high, p, each with `before` in front."""
        values = {"low": self.low, "high": self.high, "p": self.p_value}
        return {difference: self.difference} | {before + name: value for name, value in values.items()}

    def not_worse(self, margin: float) -> bool:
        """Is a at most `margin` below b? Said by the interval's lower end (non-inferiority, Piaggio et al. 2012): that
        a difference was not found does not show that there is none."""
        return self.low > -margin


def compare(
    a: np.ndarray, b: np.ndarray, *, users: np.ndarray | None = None, samples: int = 2000, seed: int = 0
) -> Comparison:
    """Paired comparison of two methods' per-user values; users: whose each pair is, where one has several.

    a, b: (pairs,), or (seeds, pairs): then each pair's mean over the seeds counts.
    The p-value is two-sided: how often does a random change of sign of the users' differences give a
    mean as far from 0 (Fisher's randomisation test; Smucker et al. 2007)?
    """
    a, b = (np.atleast_2d(np.asarray(some, dtype=float)).mean(axis=0) for some in (a, b))
    if a.shape != b.shape:
        raise ValueError(f"两个方法的用户数不同（{len(a)} 和 {len(b)}），不能成对比较；请在同一个 split 上评测。")
    difference = a - b
    low, high = bootstrap_interval(difference, users=users, samples=samples, seed=seed)
    rng = np.random.default_rng(seed)
    sums = _by_user(difference[:, None], users)[0].ravel()
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


def another_seed(low: float, high: float, differences: Sequence[float]) -> tuple[float, float, float]:
    """(low, high, p): 95% interval and two-sided p of a mean difference, over users and over seeds.

    low, high: its 95% interval over users, each user's mean over the seeds. differences: (seeds,) one value a seed, all
    over the same users. Both variances are added, that of the seeds divided by their number; Student's t with
    Satterthwaite's (1946) degrees of freedom. One seed: there is nothing to add, the interval is that over users.
    """
    from scipy.stats import t

    mean, n = float(np.mean(differences)), len(differences)
    seeds = float(np.std(differences, ddof=1)) / np.sqrt(n) if n > 1 else 0.0
    error = np.hypot((high - low) / (2 * 1.96), seeds)
    if error == 0:
        return mean, mean, 1.0 if mean == 0 else 0.0
    freedom = (n - 1) * (error / seeds) ** 4 if seeds else np.inf
    half = t.ppf(0.975, freedom) * error
    return mean - half, mean + half, float(2 * t.sf(abs(mean) / error, freedom))


def another_draw(differences: np.ndarray, new: float = 0.2) -> tuple[float, float, float]:
    """(mean, low, high): 95% interval of a difference of which a value is known for each draw of the new items.

    Draws overlap, so their spread is too small a measure: its square is multiplied by 1/draws + new/(1 − new) instead
    of 1/draws (Nadeau & Bengio 2003). new: the share of items that a draw makes new.
    """
    from scipy.stats import t

    mean, n = float(np.mean(differences)), len(differences)
    half = t.ppf(0.975, n - 1) * np.std(differences, ddof=1) * np.sqrt(1 / n + new / (1 - new))
    return mean, mean - half, mean + half
