"""From vectors to a list: exact top-k, seen items out, variety, explanations."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from scipy import sparse

from textrec_utils.baselines.base import Recommender, known_rows
from textrec_utils.splits import Split

ROWS = 128  # ranked at once: what they need beside their scores stays small
SCORES = 2**23  # of a method, held at once
USERS, ITEMS = 1024, 4096  # of a block of products: it stays in the processor's cache until it is looked through


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
    scores = np.atleast_2d(scores)
    kept = min(k, scores.shape[1])
    found = np.full((len(scores), k), -1)
    seen = None if exclude is None else exclude.tocsr()
    for start in range(0, len(scores), ROWS):
        rows = slice(start, start + ROWS)
        if seen is None:
            part = np.require(scores[rows], np.float32, "CW")
        else:
            part, barred = np.array(scores[rows], dtype=np.float32, order="C"), seen[rows]
            part[np.repeat(np.arange(barred.shape[0]), np.diff(barred.indptr)), barred.indices] = -np.inf
        found[rows, :kept] = _best(part, kept)
    return found


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """`top_k` of a few rows of float32, k at most the number of items."""
    import torch

    n = scores.shape[1]
    values, index = (found.numpy() for found in torch.topk(torch.from_numpy(scores), min(k + 1, n)))
    if np.isnan(values[:, :1]).any():  # NaN comes first
        raise ValueError("分数里有 NaN，无法排序；请检查向量是否有空文本或除以零。")
    last = values[:, k - 1 : k]
    # Which of several equal ones torch takes is settled only where one of them stays outside.
    tied = np.flatnonzero((values[:, k:] == last) & ~np.isneginf(last)) if k < n else ()
    if len(tied):
        rows, last = scores[tied], last[tied]
        above, equal = rows > last, rows == last
        equal &= np.cumsum(equal, axis=1, dtype=np.int32) <= k - above.sum(axis=1, keepdims=True)
        index[tied, :k] = (np.flatnonzero(above | equal) % n).reshape(-1, k)
    index = np.sort(index[:, :k], axis=1)
    values = np.take_along_axis(scores, index, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.where(np.isneginf(np.take_along_axis(values, order, 1)), -1, np.take_along_axis(index, order, 1))


def recommend(
    model: Recommender, split: Split, k: int, users: np.ndarray | None = None, block: int | None = None
) -> np.ndarray:
    """(users, k) item rows for the test users (or `users`): whole catalogue, seen items and non-candidates out.

    block: users scored at once; None: at most 1,024, and so many that their scores take 32 MB.
    Raises IndexError for a user row that the split hasn't.
    """
    users = split.test_users if users is None else known_rows(users, split.n_users)
    return np.concatenate([lists for _, lists, _ in recommend_in_blocks(model, split, k, users, block=block)])


def recommend_in_blocks(
    model: Recommender, split: Split, k: int, users: np.ndarray, *, repeat: bool = False, block: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """As `recommend`, block by block: user rows (b,), their item rows (b, k) and the scores (b, k), −inf beside a −1.

    repeat: seen items may be recommended again.
    """
    for part in blocks(users, block or min(1024, max(1, SCORES // split.n_items))):
        scores = np.asarray(model.score(part), dtype=np.float32)
        if not split.candidates.all():
            scores = np.where(split.candidates, scores, np.float32(-np.inf))
        lists = top_k(scores, k, exclude=None if repeat else split.train_matrix[part])
        found = np.take_along_axis(scores, np.maximum(lists, 0), axis=1)
        yield part, lists, np.where(lists < 0, np.float32(-np.inf), found)


def blocks(array: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive pieces of at most `size` rows: a full score matrix need never exist."""
    for start in range(0, len(array), size):
        yield array[start : start + size]


def dot_top_k(users: np.ndarray, items: np.ndarray, k: int, block: int = USERS) -> tuple[np.ndarray, np.ndarray]:
    """Exact maximum inner product search: indices and scores, each (users, k), in blocks of users and of items.

    Products are float32. Where k is more than there are items, −1 and −inf fill up. Raises ValueError as `top_k` does.
    """
    import torch
    from threadpoolctl import threadpool_limits

    users, items = np.asarray(users, dtype=np.float32), np.asarray(items, dtype=np.float32)
    threads = torch.get_num_threads()
    parts = list(blocks(users, max(1, min(block, -(-len(users) // threads)))))
    # A thread a block, and none within: looking through the products runs side by side too.
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda part: _search(part, items, k), parts))
    return tuple(np.concatenate(both) for both in zip(*found))


def _search(users: np.ndarray, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """`dot_top_k` of one block of users: of each further block of items only what beats a user's k-th is looked at."""
    room = np.empty(len(users) * min(ITEMS, len(items)), dtype=np.float32)
    room_for_bits = np.empty(len(room), dtype=bool)
    index, best = np.full((len(users), k), -1), np.full((len(users), k), -np.inf, dtype=np.float32)
    waiting = []  # (rows of users, items, scores), each in the order of the items
    for start in range(0, len(items), ITEMS):
        part = items[start : start + ITEMS]
        shape = len(users), len(part)
        scores = np.matmul(users, part.T, out=room[: len(users) * len(part)].reshape(shape))
        if start == 0:
            index = top_k(scores, k)
            best = np.where(index < 0, np.float32(-np.inf), np.take_along_axis(scores, index, 1))
            continue
        bits = np.less_equal(scores, best[:, -1:], out=room_for_bits[: scores.size].reshape(shape))
        better = np.flatnonzero(np.logical_not(bits, out=bits))  # or NaN
        waiting.append((better // len(part), start + better % len(part), scores.ravel()[better]))
        if sum(len(rows) for rows, *_ in waiting) > k * len(users) or start + ITEMS >= len(items):
            index, best = _merged(index, best, waiting)
            waiting = []
    return index, best


def _merged(index: np.ndarray, best: np.ndarray, waiting: list) -> tuple[np.ndarray, np.ndarray]:
    """The (users, k) best of those before and those that wait."""
    n, k = index.shape
    before = np.repeat(np.arange(n), k), index.ravel(), best.ravel()
    row, item, score = (np.concatenate(column) for column in zip(before, *waiting))
    order = np.argsort(row, kind="stable")  # a user's in the order of the items, so that ties stay with the lower one
    row, count = row[order], np.bincount(row)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    items, scores = np.full((n, count.max()), -1), np.full((n, count.max()), -np.inf, dtype=np.float32)
    items[row, place], scores[row, place] = item[order], score[order]
    taken = _best(scores, k)
    there = taken >= 0
    index = np.where(there, np.take_along_axis(items, taken, 1), -1)
    return index, np.where(there, np.take_along_axis(scores, taken, 1), np.float32(-np.inf))


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
