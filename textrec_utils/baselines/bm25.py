"""BM25: words of the history searched in the texts of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Self

import numpy as np
from scipy import sparse

from textrec_utils.baselines.base import Product, Recommender
from textrec_utils.baselines.content import counted
from textrec_utils.baselines.history import history_weights
from textrec_utils.core.cost import Cost
from textrec_utils.splits import Split


class BM25(Recommender):
    """Okapi BM25 (Robertson & Zaragoza 2009): each text of the history is a query, scores are their mean.

    score(u, j) = mean over i in history of Σ_{t in text i} idf(t) f(t, j) (k1 + 1) / (f(t, j) + k1 (1 − b + b |j| /
    mean length)), idf(t) = log(1 + (N − n(t) + ½) / (n(t) + ½)), each term of a query counted once. half_life: weighs
    the mean. texts: (items,). segment: text -> terms; None takes characters and pairs of characters, as `tfidf_vectors`
    does. cost: what segmenting took. Raises TooLittleData where no text holds a term.
    """

    name = "BM25"
    cold_items = True
    SETTINGS = ("k1", "b", "half_life")
    FITTED = ("_terms", "_documents", "_weights")
    fades = True

    def __init__(
        self, texts: Sequence, segment: Callable | None = None, *, k1: float = 1.2, b: float = 0.75,
        half_life: float | None = None, cost: Cost | None = None,
    ):  # fmt: skip
        from sklearn.feature_extraction.text import CountVectorizer

        self.k1, self.b, self.half_life, self.cost = k1, b, half_life, cost or Cost()
        how = {"analyzer": "char", "ngram_range": (1, 2)} if segment is None else {"analyzer": segment}
        count = counted(CountVectorizer(**how), texts, self.name)
        length, n = np.asarray(count.sum(axis=1)).ravel(), count.shape[0]
        there = np.bincount(count.indices, minlength=count.shape[1])
        idf = np.log1p((n - there + 0.5) / (there + 0.5)).astype(np.float32)
        norm = k1 * (1 - b + b * length / length.mean())
        self._terms, self._documents = count.copy(), count
        self._terms.data[:] = 1
        rows = np.repeat(np.arange(n), np.diff(count.indptr))
        count.data *= idf[count.indices] * (k1 + 1) / (count.data + norm[rows].astype(np.float32))

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(["text"]) | self._timed()

    def fit(self, split: Split) -> Self:
        self._weights = history_weights(split, self.half_life)
        return self

    def fold_in(self, split: Split) -> Self:
        return copy(self).fit(split)

    def product(self) -> Product:
        return Product(self._terms, self._documents, half_life=self.half_life)

    def score(self, users: np.ndarray) -> np.ndarray:
        scores = (self._weights[users] @ self._terms) @ self._documents.T
        return np.asarray(scores.toarray() if sparse.issparse(scores) else scores, dtype=np.float32)
