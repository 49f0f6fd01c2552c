"""What each item of a history counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from textrec_utils.splits import Split


def history_weights(
    split: Split, half_life: float | None = None, *, latest: int = 0,
    weigh: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> sparse.csr_matrix:  # fmt: skip
    """(users, items) float32, each user's row sums to 1; `half_life` in items, newest heaviest.

    weigh: (item rows oldest first, their age in items) -> weights, instead of half_life. latest: only so many (0: all).
    """
    histories = [history[-latest:] for history in split.histories]
    length = np.array([len(history) for history in histories])
    items, users, end = np.concatenate(histories), np.repeat(np.arange(len(length)), length), np.cumsum(length)
    age = end[users] - 1 - np.arange(len(items))
    if weigh is not None:
        weight = np.concatenate([weigh(h, age[b - len(h) : b]) for h, b in zip(histories, end) if len(h)])
    else:
        weight = np.ones(len(items)) if half_life is None else 0.5 ** (age / half_life)
    weight = weight / np.bincount(users, weight)[users]
    return sparse.csr_matrix((weight.astype(np.float32), (users, items)), shape=(split.n_users, split.n_items))


def heard(split: Split, half_life: float | None) -> sparse.csr_matrix:
    """(users, items) float32: ones for the history, or `history_weights` where the older likes count less."""
    return split.train_matrix if half_life is None else history_weights(split, half_life)
