"""The floors of every table: chance and popularity."""

from __future__ import annotations

import numpy as np

from textrec_utils.baselines.base import Recommender, known_rows
from textrec_utils.splits import Split


class Random(Recommender):
    """A seeded random score for each user and item: the floor of every table."""

    name = "随机"
    SETTINGS = ("seed",)
    FITTED = ("_shape",)

    def __init__(self, seed: int = 0):
        self.seed = seed

    def fit(self, split: Split) -> Random:
        self._shape = np.array([split.n_users, split.n_items])
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        n_users, n_items = self._shape
        rows = [
            np.random.default_rng([self.seed, int(u)]).random(n_items, np.float32) for u in known_rows(users, n_users)
        ]
        return np.stack(rows)


class Popularity(Recommender):
    """The number of training users who liked the item; the same list for everyone."""

    name = "热门"
    new_users = True
    FITTED = ("_count", "_shape")

    def fit(self, split: Split) -> Popularity:
        self._count = np.asarray(split.train_matrix.sum(axis=0), dtype=np.float32).ravel()
        self._shape = np.array([split.n_users, split.n_items])
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        return np.tile(self._count, (len(known_rows(users, self._shape[0])), 1))
