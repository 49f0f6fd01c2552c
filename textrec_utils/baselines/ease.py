"""EASE: linear item-item weights in closed form."""

from __future__ import annotations

from copy import copy

import numpy as np
from scipy import sparse

from textrec_utils.baselines.base import Product, Recommender
from textrec_utils.baselines.history import heard
from textrec_utils.core.cost import Cost
from textrec_utils.core.errors import DataError, TooMuchData
from textrec_utils.core.machine import free_memory
from textrec_utils.splits import Split

ROWS = 512  # of the items × items matrix, handled at once


def needed_bytes(items: int) -> int:
    """What fitting takes on so many items: the matrix, and what is handled at once."""
    return 4 * items * (items + 2 * ROWS)


class EASE(Recommender):
    """Linear item-item weights in closed form (Steck 2019, "Embarrassingly Shallow Autoencoders").

    B = I − P / diag(P) with P = (XᵀX + λI)⁻¹, score = X B, in float32 by Cholesky. Memory: items² × 4 bytes, once;
    TooMuchData where so much isn't free.
    """

    name = "EASE"
    SETTINGS = ("regularization", "half_life")
    FITTED = ("_train", "_weights")
    fades = True

    def __init__(self, regularization: float = 100.0, *, half_life: float | None = None):
        self.regularization, self.half_life = regularization, half_life

    @property
    def needs(self) -> frozenset[str]:
        return self._timed()

    def fit(self, split: Split) -> EASE:
        from scipy.linalg.lapack import spotrf, spotri

        x, n = split.train_matrix, split.n_items
        need, free = needed_bytes(n), free_memory()
        if need > free:
            raise TooMuchData(
                f"{self.name} 要 {n:,}² × 4 字节的内存，连中间结果共 {need:,} 字节，现在只有 {free:,} 字节可用："
                "请先去掉少有人喜欢的物品，或换用 ItemKNN、ALS。"
            )
        matrix, items = np.empty((n, n), dtype=np.float32), x.T.tocsr()
        for start in range(0, n, ROWS):
            (items[start : start + ROWS] @ x).toarray(out=matrix[start : start + ROWS])
        self._add_side(matrix)
        matrix[np.diag_indices(n)] += self.regularization
        # LAPACK reads columns first: its lower triangle is our upper one. Both work in place.
        factor, wrong = spotrf(matrix.T, lower=1, overwrite_a=1)
        inverse, wrong = (factor, wrong) if wrong else spotri(factor, lower=1, overwrite_c=1)
        if wrong:
            raise DataError(f"{self.name} 的方程解不出（regularization = {self.regularization:g}）：请把它调大。")
        matrix = inverse.T
        scale = -np.diag(matrix)
        for start in range(0, n, ROWS):
            end = start + ROWS
            square = matrix[start:end, start:end]
            square[:] = np.triu(square) + np.triu(square, 1).T
            matrix[end:, start:end] = matrix[start:end, end:].T
        matrix /= scale
        np.fill_diagonal(matrix, 0)
        self._weights = matrix
        return self.hear(split)

    def hear(self, split: Split) -> EASE:
        self._train = heard(split, self.half_life)
        return self

    def _add_side(self, gram: np.ndarray) -> None:
        """Add to XᵀX, (items, items), in place, what else is known of the items."""

    def fold_in(self, split: Split) -> EASE:
        return copy(self).hear(split)

    def product(self) -> Product:
        return Product(self._weights, half_life=self.half_life, mean=self.half_life is not None)

    def score(self, users: np.ndarray) -> np.ndarray:
        return self._train[users] @ self._weights


class EASEWithText(EASE):
    """EASE that also explains each item by items with like texts (Jeunen et al. 2020, "Closed-form models with side
    information"): every dimension of `vectors` is one more row of X, weighing `weight`.

    P = (XᵀX + weight VVᵀ + λI)⁻¹ with V (items, dim): rows of length 1, dense or sparse. New items have their weights
    from the text alone. cost: what the vectors took.
    """

    name = "EASE＋文字"
    cold_items = True
    SETTINGS = ("regularization", "weight", "half_life")

    def __init__(
        self, vectors, *, regularization: float = 100.0, weight: float = 50.0, half_life: float | None = None,
        cost: Cost | None = None,
    ):  # fmt: skip
        super().__init__(regularization, half_life=half_life)
        self._vectors, self.weight, self.cost = vectors, weight, cost or Cost()

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(["text"]) | self._timed()

    def _add_side(self, gram: np.ndarray) -> None:
        other = self._vectors.T.tocsr() if sparse.issparse(self._vectors) else self._vectors.T
        for start in range(0, len(gram), ROWS):
            alike = self._vectors[start : start + ROWS] @ other
            gram[start : start + ROWS] += self.weight * (alike.toarray() if sparse.issparse(alike) else alike)
