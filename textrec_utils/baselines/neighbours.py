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
        x = split.train_matrix
        together = (x.T @ x).toarray().astype(np.float32)
        size = np.sqrt(np.diag(together))
        similarity = together / np.maximum(np.outer(size, size) + self.shrink, 1e-9)
        np.fill_diagonal(similarity, 0)
        k = min(self.neighbours, len(similarity))
        smallest_kept = -np.partition(-similarity, k - 1, axis=0)[k - 1]
        similarity[similarity < smallest_kept] = 0  # column j keeps the k items nearest to j
        self._train, self._similarity = x, sparse.csr_matrix(similarity)
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        return (self._train[users] @ self._similarity).toarray()
