"""Why an item stands in a user's list, in a few Chinese words."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from textrec_utils.baselines.base import Product, Recommender
from textrec_utils.baselines.content import unit_rows
from textrec_utils.baselines.history import history_weights
from textrec_utils.hybrids import Blend
from textrec_utils.splits import Split

LONGEST = 30  # characters of a title in a reason
AGAIN, NOTHING = "以前喜欢过", "没有相关的喜好，按顺序补足"


class Reasons:
    """The liked item that adds most to the score, where the score is a sum over the history; else what the method says
    of itself (`Recommender.because`).

    Of factors (ALS, BPR), whose users are no sum over their histories, the liked item whose vector has the highest
    cosine with the listed one. Of blended scores, the reason of the part that adds most.
    """

    def __init__(self, model: Recommender, split: Split):
        self.model, self.split = model, split
        product = model.product()
        self.says, self.parts = "喜欢过《{}》", []
        if product is not None and product.users is not None:
            vectors = unit_rows(product.items)
            product, self.says = Product(vectors, vectors), "接近喜欢过的《{}》"
        if product is not None and product.history is not None:
            self.product, self.weights = product, history_weights(split, product.half_life)
        else:
            self.product = None
        if isinstance(model, Blend):
            self.parts = [Reasons(part, split) for part in model.parts]
        items = split.dataset.items
        self.titles = [_short(title) or item_id for title, item_id in zip(items["title"], items["item_id"])]

    def __call__(self, users: np.ndarray, lists: np.ndarray) -> np.ndarray:
        """(b, k) of str for users (b,) and their items (b, k), rows both; "" beside a −1."""
        if self.parts:
            rows = np.maximum(lists, 0)
            added = np.stack([np.take_along_axis(part, rows, axis=1) for part in self.model.added(users)])
            told = np.stack([part(users, lists) for part in self.parts])
            return np.take_along_axis(told, added.argmax(axis=0)[None], axis=0)[0]
        if self.product is None:
            return np.where(lists < 0, "", self.model.because).astype(object)
        found = np.full(lists.shape, "", dtype=object)
        for row, (user, items) in enumerate(zip(users, lists)):
            there = items[items >= 0]
            found[row, : len(there)] = self._of(user, there)
        return found

    def _of(self, user: int, items: np.ndarray) -> list[str]:
        start, end = self.weights.indptr[user : user + 2]
        history, weight = self.weights.indices[start:end], self.weights.data[start:end]
        if not len(history):
            return [self.model.because or NOTHING] * len(items)
        terms = weight[:, None] * _terms(self.product, history, items)
        best, most = terms.argmax(axis=0), terms.max(axis=0)
        return [
            NOTHING if value <= 0 else AGAIN if history[h] == item else self.says.format(self.titles[history[h]])
            for item, h, value in zip(items, best, most)
        ]


def _terms(product: Product, history: np.ndarray, items: np.ndarray) -> np.ndarray:
    """(history, items): what each liked item says for each listed one."""
    if product.items is None:
        found = product.history[np.ix_(history, items)]
    else:
        found = product.history[history] @ product.items[items].T
    return found.toarray() if sparse.issparse(found) else np.asarray(found)


def _short(title: object) -> str:
    words = " ".join(str(title).split())
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
