"""The floors of every table: chance, popularity, and popularity at the moment of the request."""

from __future__ import annotations

from copy import copy

import numpy as np
import pandas as pd

from textrec_utils.baselines.base import Product, Recommender, known_rows
from textrec_utils.datasets.dataset import TIMED
from textrec_utils.splits import Split


class Random(Recommender):
    """A seeded random score for each user and item: the floor of every table."""

    name = "随机"
    SETTINGS = ("seed",)
    FITTED = ("_shape",)
    because = "随机"

    def __init__(self, seed: int = 0):
        self.seed = seed

    def fit(self, split: Split) -> Random:
        self._shape = np.array([split.n_users, split.n_items])
        return self

    def fold_in(self, split: Split) -> Random:
        return copy(self).fit(split)

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
    because = "热门"

    def fit(self, split: Split) -> Popularity:
        self._count = np.asarray(split.train_matrix.sum(axis=0), dtype=np.float32).ravel()
        self._shape = np.array([split.n_users, split.n_items])
        return self

    def fold_in(self, split: Split) -> Popularity:
        made = copy(self)
        made._shape = np.array([split.n_users, split.n_items])
        return made

    def product(self) -> Product:
        return Product(scores=self._count)

    def score(self, users: np.ndarray) -> np.ndarray:
        return np.tile(self._count, (len(known_rows(users, self._shape[0])), 1))


class RecentPopularity(Recommender):
    """What everyone likes just now: likes before the user's request, each worth half after so many `hours`.

    The request is the user's first test positive (of others, the end of training), and everybody's likes until then
    count, also those of the test part: a server that answers at that moment has seen them (prequential evaluation,
    Gama et al. 2013). Methods that learn from the training part alone have not. Where a split isn't by time, only
    training likes count.
    """

    name = "此刻热门"
    needs = frozenset({"time"})
    new_users = True
    SETTINGS = ("hours",)
    FITTED = ("_times", "_items", "_asked", "_shape")
    because = "此刻热门"

    def __init__(self, hours: float = 24.0):
        self.hours = hours

    def fit(self, split: Split) -> RecentPopularity:
        told = [split.train, split.test, split.new_users] if split.protocol in TIMED else [split.train]
        events = pd.concat(told, ignore_index=True).sort_values("timestamp", kind="stable")
        self._times, self._items = events["timestamp"].to_numpy(float), events["item"].to_numpy()
        self._asked = np.full(split.n_users, split.train["timestamp"].max() + 1.0)
        for part in told[1:]:
            first = part.groupby("user")["timestamp"].min()
            self._asked[first.index] = first
        self._shape = np.array([split.n_users, split.n_items])
        return self

    def fold_in(self, split: Split) -> RecentPopularity:
        """For requests that come when all that it knows has happened."""
        made = copy(self)
        made._asked = np.full(split.n_users, self._times.max() + 1.0)
        made._shape = np.array([split.n_users, split.n_items])
        return made

    def product(self) -> Product | None:
        """At one moment it is a list like any other; None where requests came at several."""
        moments = np.unique(self._asked)
        return Product(scores=self.at(moments)[0]) if len(moments) == 1 else None

    def score(self, users: np.ndarray) -> np.ndarray:
        return self.at(self._asked[known_rows(users, self._shape[0])])

    def at(self, moments: np.ndarray) -> np.ndarray:
        """(len(moments), items) float32: scores for requests at these moments, in seconds."""
        found = np.empty((len(moments), self._shape[1]), dtype=np.float32)
        worth, done, before = np.zeros(self._shape[1]), 0, -np.inf
        for row in np.argsort(moments, kind="stable"):  # once through all likes, oldest first
            now, until = moments[row], np.searchsorted(self._times, moments[row])
            worth *= 0.5 ** ((now - before) / (3600 * self.hours))
            age = (now - self._times[done:until]) / (3600 * self.hours)
            np.add.at(worth, self._items[done:until], 0.5**age)
            found[row], done, before = worth, until, now
        return found
