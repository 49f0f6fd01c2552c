"""What a fitted method takes when it serves: time of a request, memory."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from textrec_utils.baselines.base import Recommender
from textrec_utils.ranking import recommend
from textrec_utils.splits import Split

REQUESTS = 20  # timed one by one


@dataclass(frozen=True)
class Serving:
    """ms: milliseconds that one user's list takes (median of REQUESTS). mb: megabytes of what scoring reads.
    cold_items: can the method tell new items apart?"""

    ms: float
    mb: float
    cold_items: bool


def served(model: Recommender, split: Split, k: int) -> Serving:
    """k: length of a list. The first request warms up and does not count, unless it is the only one."""
    spent = []
    for user in split.test_users[: REQUESTS + 1]:
        start = time.perf_counter()
        recommend(model, split, k, users=np.array([user]))
        spent.append(time.perf_counter() - start)
    return Serving(1000 * float(np.median(spent[1:] or spent)), _held(model) / 2**20, model.cold_items)


def _held(model: Recommender) -> int:
    """Bytes of what a fitted recommender and its parts keep."""
    total = sum(_held(part) for part in model.parts)
    for name in model.FITTED:
        value = getattr(model, name, None)
        arrays = (value.data, value.indices, value.indptr) if sparse.issparse(value) else (value,)
        total += sum(getattr(array, "nbytes", 0) for array in arrays)
    return total
