"""What another seed would change: a shipped difference has an interval over users, and a value for each seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
