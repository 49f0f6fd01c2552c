"""Content-based: users as means of what they liked, items as vectors of their texts."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import cached_property
from typing import Self

import numpy as np
from scipy import sparse

from textrec_utils.baselines.base import Product, Recommender
from textrec_utils.baselines.history import history_weights
from textrec_utils.core.cost import Cost
from textrec_utils.core.errors import TooLittleData
from textrec_utils.splits import Split

FEW_ITEMS = 5_000  # whose products with each other take 100 MB at most


class HistoryMean(Recommender):
    """Content-based: a user is the mean of the vectors of the liked items, score = dot product.

    vectors: (items, dim) dense or sparse. center subtracts the catalogue's mean vector first,
    normalize scales each item to length 1 (so that the dot product is a cosine per history item).
    cost: what the vectors took. cold_items: False for vectors that were learned from behaviour (item2vec):
    they need no text and say nothing of new items. settings: how the vectors were made, plain JSON values; told in
    `settings()` beside its own.
    """

    SETTINGS = ("center", "normalize", "half_life", "cold_items")
    FITTED = ("_vectors", "_weights")
    fades = True

    def __init__(
        self, vectors, name: str, *, center: bool = False, normalize: bool = True, half_life: float | None = None,
        cost: Cost | None = None, cold_items: bool = True, settings: Mapping[str, object] | None = None,
    ):  # fmt: skip
        self.name, self.center, self.normalize, self.half_life = name, center, normalize, half_life
        self.cost, self.cold_items, self._made = cost or Cost(), cold_items, dict(settings or {})
        if center:
            vectors = vectors - np.asarray(vectors.mean(axis=0))
        if normalize:
            vectors = unit_rows(vectors)
        self._vectors = vectors

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(["text"] * self.cold_items) | self._timed()

    def settings(self) -> dict[str, object]:
        return self._made | super().settings()

    def fit(self, split: Split) -> HistoryMean:
        self._weights = history_weights(split, self.half_life)
        return self

    def fold_in(self, split: Split) -> HistoryMean:
        return copy(self).fit(split)

    def product(self) -> Product:
        return Product(self._vectors, self._vectors, half_life=self.half_life)

    def score(self, users: np.ndarray) -> np.ndarray:
        if self._products is not None:
            return self._weights[users] @ self._products
        scores = (self._weights[users] @ self._vectors) @ self._vectors.T
        return np.asarray(scores.toarray() if sparse.issparse(scores) else scores, dtype=np.float32)

    @cached_property
    def _products(self) -> np.ndarray | None:
        """(items, items) of a small catalogue's sparse vectors: a user's terms are far more than the items."""
        small = sparse.issparse(self._vectors) and self._vectors.shape[0] <= FEW_ITEMS
        return (self._vectors @ self._vectors.T).toarray() if small else None

    @classmethod
    def _restored(cls, settings: dict[str, object], arrays: dict[str, object]) -> Self:
        model = super()._restored(settings, arrays)
        model._made = {name: value for name, value in settings.items() if name not in cls.SETTINGS}
        return model


def unit_rows(vectors):
    """Rows scaled to Euclidean length 1 (zero rows stay zero); dense or sparse."""
    if sparse.issparse(vectors):
        length = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1))).ravel()
        return sparse.diags_array(1 / np.maximum(length, 1e-12)).tocsr() @ vectors
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def tfidf_vectors(texts, segment=None, *, min_df: int = 1) -> sparse.csr_matrix:
    """(texts, terms) TF-IDF with rows of length 1, by scikit-learn.

    segment: text -> tokens (a `Segmenter`); None takes character 1- and 2-grams, which need no dictionary.
    Raises TooLittleData where no text holds a term.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if segment is None:
        vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), min_df=min_df, sublinear_tf=True)
    else:
        vectorizer = TfidfVectorizer(analyzer=segment, min_df=min_df, sublinear_tf=True)
    return counted(vectorizer, texts, "TF-IDF")


def counted(vectorizer, texts, name: str) -> sparse.csr_matrix:
    """(texts, terms) float32 by a vectorizer of scikit-learn. Without a term TooLittleData, with `name` in it."""
    try:
        return vectorizer.fit_transform(texts).astype(np.float32).tocsr()
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        raise TooLittleData(f"全部文字里没有一个词，算不出 {name}；请检查 text 一栏。") from None
