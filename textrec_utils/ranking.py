"""From vectors to a list: exact top-k, seen items out, variety, explanations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import sparse

from textrec_utils.baselines.base import Recommender, known_rows
from textrec_utils.splits import Split


def top_k(scores: np.ndarray, k: int, exclude: sparse.csr_matrix | None = None) -> np.ndarray:
    """Indices of the k best items of each user, best first.

    scores: (users, items), higher is better, compared as float32; −inf bars an item.
    exclude: items already seen, same shape. Ties go to the lower item index, so that a ranking
    never depends on the machine. Returns (users, k) int64; −1 fills up where fewer than k are left.
    Raises ValueError for NaN, and for k < 1.

    >>> top_k(np.array([[0.1, 0.9, 0.9, 0.2]]), k=3)
    array([[1, 2, 3]])
    """
    if k < 1:
        raise ValueError(f"k 至少是 1，得到 {k}。")
    scores = np.array(scores, dtype=np.float32, ndmin=2)
    if np.isnan(scores).any():
        raise ValueError("分数里有 NaN，无法排序；请检查向量是否有空文本或除以零。")
    if exclude is not None:
        exclude = exclude.tocsr()
        rows = np.repeat(np.arange(exclude.shape[0]), np.diff(exclude.indptr))
        scores[rows, exclude.indices] = -np.inf
    n = scores.shape[1]
    # A float's bits, with the sign bit turned, sort like the number; the index below them breaks ties.
    scores += 0.0  # −0.0 and 0.0 are a tie
    bits = scores.view(np.int32).astype(np.int64)
    ordered = np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))
    keys = ordered * 2**32 + (n - 1 - np.arange(n))
    kept = min(k, n)
    best = np.argpartition(-keys, kept - 1, axis=1)[:, :kept]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(keys, best, 1), axis=1), 1)
    best[np.isneginf(np.take_along_axis(scores, best, 1))] = -1
    return np.pad(best, ((0, 0), (0, k - kept)), constant_values=-1)


def recommend(
    model: Recommender, split: Split, k: int, users: np.ndarray | None = None, block: int = 1024
) -> np.ndarray:
    """(users, k) item rows for the test users (or `users`): whole catalogue, seen items and non-candidates out.

    Raises IndexError for a user row that the split hasn't.
    """
    users = split.test_users if users is None else known_rows(users, split.n_users)
    lists = []
    for part in blocks(users, block):
        scores = np.array(model.score(part), dtype=np.float32)
        scores[:, ~split.candidates] = -np.inf
        lists.append(top_k(scores, k, exclude=split.train_matrix[part]))
    return np.concatenate(lists)


def blocks(array: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive pieces of at most `size` rows: a full score matrix need never exist."""
    for start in range(0, len(array), size):
        yield array[start : start + size]


def dot_top_k(users: np.ndarray, items: np.ndarray, k: int, block: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    """Exact maximum inner product search: indices and scores, each (users, k), in blocks of users.

    Where k is more than there are items, −1 and −inf fill up.
    """
    found = [top_k(part @ items.T, k) for part in blocks(users, block)]
    index = np.concatenate(found)
    return index, np.where(index < 0, -np.inf, np.einsum("ud,ukd->uk", users, items[index]))


def faiss_top_k(users: np.ndarray, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The same search by faiss' exact inner-product index; ties may come in another order."""
    import faiss

    index = faiss.IndexFlatIP(items.shape[1])
    index.add(np.ascontiguousarray(items, dtype=np.float32))
    scores, found = index.search(np.ascontiguousarray(users, dtype=np.float32), k)
    return found, scores


def mmr(scores: np.ndarray, vectors: np.ndarray, k: int, trade_off: float = 0.7) -> np.ndarray:
    """Maximal marginal relevance (Carbonell & Goldstein 1998): k indices for one user, fewer where fewer are open.

    scores: (items,) relevance, −inf bars an item; vectors: (items, dim), rows of length 1.
    Each step takes argmax of trade_off · relevance − (1 − trade_off) · max cosine to those taken,
    with relevance scaled to 0…1 so that both terms speak on one scale; a negative cosine counts as 0.
    """
    if not 0 <= trade_off <= 1:
        raise ValueError(f"trade_off 应在 0 和 1 之间，得到 {trade_off}。")
    open_ = np.isfinite(scores)
    low, high = scores[open_].min(initial=np.inf), scores[open_].max(initial=-np.inf)
    relevance = np.where(open_, scores - low, 0) / max(high - low, 1e-12)
    nearest = np.zeros(len(scores))
    taken: list[int] = []
    for _ in range(min(k, int(open_.sum()))):
        gain = np.where(open_, trade_off * relevance - (1 - trade_off) * nearest, -np.inf)
        best = int(np.argmax(gain))
        taken.append(best)
        open_[best] = False
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return np.array(taken, dtype=np.int64)


def explain(item: int, history: np.ndarray, vectors: np.ndarray, n: int = 3) -> list[tuple[int, float]]:
    """The n history items that speak most for an item: (item row, share of the score).

    With user = mean of history vectors, score = mean of vectors[h] · vectors[item]: a sum over
    the history, so each term is exactly what that item contributed.
    """
    terms = vectors[history] @ vectors[item] / len(history)
    order = np.argsort(-terms, kind="stable")[:n]
    return [(int(history[i]), float(terms[i])) for i in order]


def as_lines(items: pd.DataFrame, ranked: np.ndarray) -> list[str]:
    """The list as the article prints it: «物品45: …», one line an item, best first."""
    chosen = items.iloc[[i for i in ranked if i >= 0]]
    return [f"物品{item_id}: {title}" for item_id, title in zip(chosen["item_id"], chosen["title"])]
