"""How popular an item may become, by its likes and by its text."""

from __future__ import annotations

import numpy as np

from textrec_utils.baselines.simple import Popularity
from textrec_utils.splits import Split

ALPHAS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # of the ridge regression, chosen by leaving one item out

ENOUGH = 5  # items to learn from; with fewer, their mean is all that can be expected of the others


class TextPopularity(Popularity):
    """log(1 + likes), the same list for everyone; of items with few likes drawn towards what their text lets expect.

    prior = w · log(1 + n) + (1 − w) · ridge(vector), w = n / (n + smoothing), where n are the item's training likes.
    The regression learns from items with at least `smoothing` likes, or from the more popular half of those that have
    any, where that is more. vectors: (items, dim) dense, of texts alone; after `fit` they are not needed any more.
    """

    name = "热门（由文字推断）"
    needs = frozenset({"text"})
    cold_items = True
    SETTINGS = ("smoothing",)

    def __init__(self, vectors: np.ndarray, *, smoothing: float = 20.0):
        self._vectors, self.smoothing = vectors, smoothing

    def fit(self, split: Split) -> TextPopularity:
        from sklearn.linear_model import RidgeCV

        likes = split.likes.astype(np.float64)
        told = np.log1p(likes)
        known = likes >= min(self.smoothing, max(1.0, np.median(likes[likes > 0])))
        guessed = told[known].mean()
        if known.sum() >= ENOUGH:
            guessed = RidgeCV(ALPHAS).fit(self._vectors[known], told[known]).predict(self._vectors)
        weight = likes / (likes + self.smoothing)
        self._count = (weight * told + (1 - weight) * guessed).astype(np.float32)
        self._shape = np.array([split.n_users, split.n_items])
        return self
