"""Metrics over lists: of the whole ranking, of what a list is beyond its hits, and sampled ones as a warning."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import sparse

from textrec_utils.baselines.base import Recommender
from textrec_utils.baselines.content import unit_rows
from textrec_utils.ranking import blocks
from textrec_utils.splits import Split

METRICS = ("recall", "ndcg", "precision", "map", "mrr", "hit")


def hits_of(ranked: np.ndarray, truth: sparse.csr_matrix) -> np.ndarray:
    """(users, k) bool: is the item at this rank relevant? ranked: item rows, −1 for no item."""
    n = truth.shape[1]
    rows = np.repeat(np.arange(truth.shape[0]), np.diff(truth.indptr))
    relevant = rows * n + truth.indices
    keys = np.arange(len(ranked))[:, None] * n + ranked
    return np.isin(keys, relevant) & (ranked >= 0)


def per_user(
    ranked: np.ndarray, truth: sparse.csr_matrix, metrics: Iterable[str] = ("recall@10", "ndcg@10")
) -> pd.DataFrame:
    """One row a user, one column a metric.

    ranked: (users, K) item rows, best first, K ≥ every k asked for. truth: (users, items), R = relevant items.
    With h_r = 1 where the item at rank r is relevant:
        recall@k = Σ_{r≤k} h_r / |R|            precision@k = Σ_{r≤k} h_r / k
        hit@k = 1 if any h_r                    mrr@k = 1 / (first rank with h_r = 1), else 0
        ndcg@k = Σ_{r≤k} h_r / log2(r+1)  ÷  Σ_{r ≤ min(|R|, k)} 1 / log2(r+1)   (Järvelin & Kekäläinen 2002)
        map@k = Σ_{r≤k} h_r · precision@r  ÷  min(|R|, k)
    Raises ValueError for unknown names, lists shorter than k, and users without relevant items.
    """
    size = np.diff(truth.indptr)
    if len(ranked) != truth.shape[0]:
        raise ValueError(f"推荐列表有 {len(ranked)} 个用户，真值有 {truth.shape[0]} 个；请用同一组用户。")
    if (size == 0).any():
        raise ValueError(f"{int((size == 0).sum())} 个用户没有真值，指标无定义；请先去掉这些用户。")
    hits = hits_of(ranked, truth)
    ranks = np.arange(1, ranked.shape[1] + 1)
    discount = 1 / np.log2(ranks + 1)
    columns = {}
    for metric in metrics:
        name, k = parse_metric(metric)
        if k > ranked.shape[1]:
            raise ValueError(f"{metric} 需要长度至少 {k} 的列表，得到 {ranked.shape[1]}。")
        h = hits[:, :k]
        ideal = np.minimum(size, k)
        if name == "recall":
            value = h.sum(1) / size
        elif name == "precision":
            value = h.sum(1) / k
        elif name == "hit":
            value = h.any(1).astype(float)
        elif name == "mrr":
            value = np.where(h.any(1), 1 / (h.argmax(1) + 1), 0.0)
        elif name == "ndcg":
            value = (h @ discount[:k]) / np.cumsum(discount)[ideal - 1]
        else:
            value = (h * np.cumsum(h, axis=1) / ranks[:k]).sum(1) / ideal
        columns[metric] = value
    return pd.DataFrame(columns)


def parse_metric(metric: str) -> tuple[str, int]:
    """("ndcg", 10) from "ndcg@10"; ValueError for anything else."""
    found = re.fullmatch(r"(\w+)@(\d+)", metric)
    if not found or found[1] not in METRICS or int(found[2]) < 1:
        raise ValueError(f"不认识指标 {metric!r}；写法是“名字@k”，名字有 {'、'.join(METRICS)}。")
    return found[1], int(found[2])


def list_quality(ranked: np.ndarray, split: Split, k: int = 10, vectors: np.ndarray | None = None) -> dict[str, float]:
    """What a list is beyond its hits; ranked: (users, ≥ k) item rows, −1 for no item.

    coverage: share of the candidates that appear in anybody's list.
    popularity: mean number of training users who liked a recommended item.
    novelty: mean self-information −log2 p(i), p = (count + 1) / (users + 1), in bits (Zhou et al. 2010).
    diversity: mean of 1 − cosine over the pairs of a list (Ziegler et al. 2005); needs vectors (items, dim), dense
    or sparse, best of a space that none of the judged methods ranks by.
    """
    if k > ranked.shape[1]:
        raise ValueError(f"k = {k} 需要长度至少 {k} 的列表，得到 {ranked.shape[1]}。")
    lists = ranked[:, :k]
    there = lists >= 0
    count = np.asarray(split.train_matrix.sum(axis=0)).ravel()
    information = -np.log2((count + 1) / (split.n_users + 1))
    safe = np.where(there, lists, 0)
    filled = np.maximum(there.sum(1), 1)
    found = {
        "coverage": len(np.unique(lists[there])) / int(split.candidates.sum()),
        "popularity": float(((count[safe] * there).sum(1) / filled).mean()),
        "novelty": float(((information[safe] * there).sum(1) / filled).mean()),
    }
    if vectors is not None:
        unit = unit_rows(vectors)
        similar = np.zeros(len(lists))
        lengths = _squares(unit)
        for start in range(0, len(lists), 4096):  # blocks: (users, dim) of everybody might not fit
            rows, listed = lists[start : start + 4096], there[start : start + 4096]
            shape = len(rows), len(count)
            chosen = sparse.csr_matrix((np.ones(listed.sum()), (np.nonzero(listed)[0], rows[listed])), shape=shape)
            # |Σ v|² = Σ |v|² + Σ_{a ≠ b} v_a · v_b
            similar[start : start + 4096] = _squares(chosen @ unit) - chosen @ lengths
        pairs = filled * (filled - 1)
        found["diversity"] = float(1 - (similar[pairs > 0] / pairs[pairs > 0]).mean()) if (pairs > 0).any() else 0.0
    return found


def _squares(rows: np.ndarray | sparse.csr_matrix) -> np.ndarray:
    """(rows,) squared Euclidean lengths of dense or sparse rows."""
    return np.asarray((rows.multiply(rows) if sparse.issparse(rows) else rows**2).sum(axis=1)).ravel()


def sampled_ranks(model: Recommender, split: Split, negatives: int = 99, seed: int = 0) -> np.ndarray:
    """Rank of one test positive among random unseen `negatives`, for each test user (1 is best).

    For chapter 02b only: such sampled metrics need not order methods as the full ranking does
    (Krichene & Rendle 2020).
    """
    rng = np.random.default_rng(seed)
    ranks = []
    for part in blocks(split.test_users, max(1, 2**22 // split.n_items)):
        known, tests = split.train_matrix[part], split.test_matrix[part]
        open_ = split.candidates & ~(known + tests).astype(bool).toarray()
        for row, scores in enumerate(model.score(part)):
            pool = np.flatnonzero(open_[row])
            drawn = rng.choice(pool, size=min(negatives, len(pool)), replace=False)
            target = tests.indices[tests.indptr[row]]
            ranks.append(1 + int((scores[drawn] >= scores[target]).sum()))
    return np.array(ranks)
