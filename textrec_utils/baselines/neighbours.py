"""Item-item neighbourhoods."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from textrec_utils.baselines.base import Recommender
from textrec_utils.splits import Split


class ItemKNN(Recommender):
    """Item-item cosine on co-likes, the `neighbours` nearest kept (Sarwar et al. 2001).

    similarity(i, j) = |U_i ∩ U_j| / (sqrt(|U_i| |U_j|) + shrink), score(u, j) = Σ_{i in history} similarity(i, j)
    """

    name = "ItemKNN"
    SETTINGS = ("neighbours", "shrink")
    FITTED = ("_train", "_similarity")

    def __init__(self, neighbours: int = 50, shrink: float = 0.0):
        self.neighbours, self.shrink = neighbours, shrink

    def fit(self, split: Split) -> ItemKNN:
        x, n = split.train_matrix, split.train_matrix.shape[1]
        items, size = x.T.tocsr(), np.sqrt(np.asarray(x.sum(axis=0))).ravel()
        k, step, kept = min(self.neighbours, n), max(16, 2**20 // n), []
        for start in range(0, n, step):  # rows of the items × items matrix, which is the same by columns
            similarity = (items[start : start + step] @ x).toarray()
            similarity /= np.maximum(np.outer(size[start : start + step], size) + self.shrink, 1e-9)
            np.fill_diagonal(similarity[:, start:], 0)
            similarity[similarity < np.partition(similarity, n - k, axis=1)[:, n - k, None]] = 0
            kept.append(sparse.csr_matrix(similarity))
        self._train, self._similarity = x, sparse.vstack(kept).T.tocsr()  # column j: the k items nearest to j
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        return (self._train[users] @ self._similarity).toarray()
