"""Neighbourhoods: of items by their users, of users by their items, and by a walk through both."""

from __future__ import annotations

from copy import copy
from typing import Self

import numpy as np
from scipy import sparse

from textrec_utils.baselines.base import Product, Recommender
from textrec_utils.baselines.history import heard
from textrec_utils.splits import Split

CELLS = 2**22  # of a matrix with a row a user or item, handled at once


def _cosines(together: np.ndarray, sizes: np.ndarray, others: np.ndarray, shrink: float) -> np.ndarray:
    """together: (rows, columns) counts, turned in place into together / (sizes othersᵀ + shrink)."""
    together /= np.maximum(np.outer(sizes, others) + shrink, 1e-9)
    return together


def _largest(weights: np.ndarray, k: int) -> sparse.csr_matrix:
    """Each row's k largest; the others are set to 0 in place. Ties with the k-th stay."""
    last = weights.shape[1] - min(k, weights.shape[1])
    weights[weights < np.partition(weights, last, axis=1)[:, last, None]] = 0
    return sparse.csr_matrix(weights)


class _ItemWeights(Recommender):
    """score = X W: W (items × items) keeps, in each column, the `neighbours` largest weights."""

    FITTED = ("_train", "_similarity")
    fades = True
    neighbours: int

    @property
    def needs(self) -> frozenset[str]:
        return self._timed()

    def _keep(self, split: Split, rows) -> Self:
        """rows: (start, end) -> dense rows of Wᵀ, of which each keeps its largest."""
        n, kept = split.train_matrix.shape[1], []
        step = max(16, CELLS // 4 // n)
        for start in range(0, n, step):
            weights = rows(start, min(start + step, n))
            np.fill_diagonal(weights[:, start:], 0)
            kept.append(_largest(weights, self.neighbours))
        self._similarity = sparse.vstack(kept).T.tocsr()
        return self.hear(split)

    def hear(self, split: Split) -> Self:
        self._train = heard(split, self.half_life)
        return self

    def fold_in(self, split: Split) -> Self:
        return copy(self).hear(split)

    def product(self) -> Product:
        return Product(self._similarity, half_life=self.half_life, mean=self.half_life is not None)

    def score(self, users: np.ndarray) -> np.ndarray:
        return (self._train[users] @ self._similarity).toarray()


class ItemKNN(_ItemWeights):
    """Item-item cosine on co-likes, the `neighbours` nearest kept (Sarwar et al. 2001).

    similarity(i, j) = |U_i ∩ U_j| / (sqrt(|U_i| |U_j|) + shrink), score(u, j) = Σ_{i in history} similarity(i, j)
    """

    name = "ItemKNN"
    SETTINGS = ("neighbours", "shrink", "half_life")

    def __init__(self, neighbours: int = 50, shrink: float = 0.0, *, half_life: float | None = None):
        self.neighbours, self.shrink, self.half_life = neighbours, shrink, half_life

    def fit(self, split: Split) -> Self:
        x = split.train_matrix
        items, size = x.T.tocsr(), np.sqrt(np.asarray(x.sum(axis=0))).ravel()

        def similar(start: int, end: int) -> np.ndarray:
            return _cosines((items[start:end] @ x).toarray(), size[start:end], size, self.shrink)

        return self._keep(split, similar)


class RP3Beta(_ItemWeights):
    """Three steps of a random walk, user → item → user → item, popular ends damped (Paudel et al. 2017).

    w(i, j) = Σ_u p(u | i)^α p(j | u)^α / likes(j)^β, with p(u | i) = 1 / likes(i) for those who like i and
    p(j | u) = 1 / |history of u|; the `neighbours` largest of each column are kept. score(u, j) = Σ_{i in history}
    w(i, j).
    """

    name = "RP3β"
    SETTINGS = ("neighbours", "alpha", "beta", "half_life")

    def __init__(
        self, neighbours: int = 100, alpha: float = 1.0, beta: float = 0.5, *, half_life: float | None = None
    ):  # fmt: skip
        self.neighbours, self.alpha, self.beta, self.half_life = neighbours, alpha, beta, half_life

    def fit(self, split: Split) -> Self:
        x = split.train_matrix
        likes, length = (np.maximum(np.asarray(x.sum(axis=axis)).ravel(), 1).astype(np.float32) for axis in (0, 1))
        items, from_user = x.T.tocsr(), sparse.diags_array(length**-self.alpha).tocsr() @ x
        from_item, damped = likes**-self.alpha, likes**-self.beta

        def reached(start: int, end: int) -> np.ndarray:  # rows: the walk's end j, columns: its start i
            walks = (items[start:end] @ from_user).toarray()
            return walks * damped[start:end, None] * from_item

        return self._keep(split, reached)


class UserKNN(Recommender):
    """What the users most alike liked: collaborative filtering as it was first meant (Resnick et al. 1994).

    similarity(u, v) = |H_u ∩ H_v| / (sqrt(|H_u| |H_v|) + shrink), score(u, j) = Σ_v similarity(u, v) x_vj over the
    `neighbours` nearest v. Similarities are computed when a user is served: (users, all users), in blocks.
    """

    name = "UserKNN"
    SETTINGS = ("neighbours", "shrink")
    FITTED = ("_train",)
    because = "口味相近的人喜欢"
    _asked: sparse.csr_matrix | None = None  # histories of those who ask, where they are not those of training

    def __init__(self, neighbours: int = 50, shrink: float = 0.0):
        self.neighbours, self.shrink = neighbours, shrink

    def fit(self, split: Split) -> Self:
        self._train = split.train_matrix
        return self

    def fold_in(self, split: Split) -> Self:
        """A user of the training counts among the neighbours of one with the same history."""
        made = copy(self)
        made._asked = split.train_matrix
        return made

    def score(self, users: np.ndarray) -> np.ndarray:
        x, users, found = self._train, np.asarray(users), []
        asked = x if self._asked is None else self._asked
        size, own = (np.sqrt(np.asarray(m.sum(axis=1))).ravel() for m in (x, asked))
        n = x.shape[0]
        everyone, step = x.T.tocsr(), max(16, CELLS // n)
        for part in (users[start : start + step] for start in range(0, len(users), step)):
            alike = _cosines((asked[part] @ everyone).toarray(), own[part], size, self.shrink)
            if asked is x:
                alike[np.arange(len(part)), part] = 0
            found.append((_largest(alike, self.neighbours) @ x).toarray())
        return np.concatenate(found) if found else np.zeros((0, x.shape[1]), dtype=np.float32)
