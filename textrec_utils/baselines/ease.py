"""EASE: linear item-item weights in closed form."""

from __future__ import annotations

import numpy as np

from textrec_utils.baselines.base import Recommender
from textrec_utils.splits import Split


class EASE(Recommender):
    """Linear item-item weights in closed form (Steck 2019, "Embarrassingly Shallow Autoencoders").

    B = I − P / diag(P) with P = (XᵀX + λI)⁻¹, score = X B. Memory: items² × 8 bytes, twice.
    """

    name = "EASE"
    SETTINGS = ("regularization",)
    FITTED = ("_train", "_weights")

    def __init__(self, regularization: float = 100.0):
        self.regularization = regularization

    def fit(self, split: Split) -> EASE:
        x = split.train_matrix
        gram = (x.T @ x).toarray().astype(np.float64)
        gram[np.diag_indices_from(gram)] += self.regularization
        precision = np.linalg.inv(gram)
        weights = precision / -np.diag(precision)
        np.fill_diagonal(weights, 0)
        self._train, self._weights = x, weights.astype(np.float32)
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        return self._train[users] @ self._weights
