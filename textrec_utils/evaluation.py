"""Metrics over full rankings, with intervals and tests: what a table must say to be believed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from textrec_utils.baselines import Recommender, unit_rows
from textrec_utils.cache import Cost, measure
from textrec_utils.ranking import recommend
from textrec_utils.splits import Split

METRICS = ("recall", "ndcg", "precision", "map", "mrr", "hit")
FEW_USERS = 20  # with fewer test users no verdict is given: any difference may be one person's luck


def hits_of(ranked: np.ndarray, truth: sparse.csr_matrix) -> np.ndarray:
    """(users, k) bool: is the item at this rank relevant? ranked: item rows, −1 for no item."""
    n = truth.shape[1]
    rows = np.repeat(np.arange(truth.shape[0]), np.diff(truth.indptr))
    relevant = rows * n + truth.indices
    keys = np.arange(len(ranked))[:, None] * n + ranked
    return np.isin(keys, relevant) & (ranked >= 0)


def per_user(ranked: np.ndarray, truth: sparse.csr_matrix, metrics: Iterable[str] = ("recall@10", "ndcg@10")) -> pd.DataFrame:
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


def bootstrap_interval(values: np.ndarray, *, level: float = 0.95, samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over users (Efron 1979)."""
    return tuple(np.quantile(_bootstrap_means(values, samples, seed), [(1 - level) / 2, (1 + level) / 2]).tolist())


def _bootstrap_means(values: np.ndarray, samples: int, seed: int) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    # Multinomial counts instead of index lists: the same resampling in samples × users numbers.
    means = []
    for _ in range(0, samples, 100):
        counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=100)
        means.append(counts @ values / len(values))
    return np.concatenate(means)[:samples]


@dataclass(frozen=True)
class Comparison:
    """a − b over the same users: mean difference, its bootstrap interval, and a randomisation test's p."""

    difference: float
    low: float
    high: float
    p_value: float

    @property
    def significant(self) -> bool:
        return self.p_value < 0.05


def compare(a: np.ndarray, b: np.ndarray, *, samples: int = 2000, seed: int = 0) -> Comparison:
    """Paired comparison of two methods' per-user values.

    The p-value is two-sided: how often does a random change of sign of the differences give a
    mean as far from 0 (Fisher's randomisation test; Smucker et al. 2007)?
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"两个方法的用户数不同（{len(a)} 和 {len(b)}），不能成对比较；请在同一个 split 上评测。")
    difference = a - b
    low, high = bootstrap_interval(difference, samples=samples, seed=seed)
    rng = np.random.default_rng(seed)
    moved = difference[difference != 0]
    observed = abs(difference.sum())
    extreme = 0
    for start in range(0, samples, 100):
        signs = rng.integers(0, 2, size=(min(100, samples - start), len(moved))) * 2 - 1
        extreme += int((np.abs(signs @ moved) >= observed - 1e-12).sum())
    return Comparison(float(difference.mean()), low, high, (extreme + 1) / (samples + 1))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values (Holm 1979): with m tests the smallest counts m-fold, the next (m − 1)-fold, and so on.

    Keeps the chance of even one false "significant" among all the tests below the level.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(adjusted, 1.0)
    return out


@dataclass
class Result:
    """One method on one split: its lists, its per-user values, and what they cost."""

    method: str
    ranked: np.ndarray
    users: pd.DataFrame
    cost: Cost
    parameters: dict[str, object]

    def mean(self, metric: str) -> float:
        return float(self.users[metric].mean())


def evaluate(
    model: Recommender, split: Split, metrics: Sequence[str] = ("recall@10", "ndcg@10"), *,
    name: str | None = None, cost: Cost | None = None, fit: bool = True,
) -> Result:  # fmt: skip
    """Fit a model on a split's training part and judge its lists for every test user.

    cost: what was spent before this call (encoding, fine-tuning), added to the cost measured here.
    """
    length = max(parse_metric(m)[1] for m in metrics)
    with measure() as spent:
        if fit:
            model.fit(split)
        ranked = recommend(model, split, length)
    if cost is not None:
        spent.seconds, spent.peak_mb = spent.seconds + cost.seconds, max(spent.peak_mb, cost.peak_mb)
    values = per_user(ranked, split.test_matrix[split.test_users], metrics)
    return Result(name or model.name, ranked, values, spent, model.parameters())


def leaderboard(results: Iterable[Result]) -> pd.DataFrame:
    """Best first by the first metric: mean and 95% interval of each metric, seconds, peak memory."""
    rows = []
    for result in results:
        row = {"方法": result.method}
        for metric in result.users.columns:
            low, high = bootstrap_interval(result.users[metric])
            row |= {metric: result.mean(metric), f"{metric} 95%": f"[{low:.3f}, {high:.3f}]"}
        rows.append(row | {"秒": round(result.cost.seconds, 1), "峰值 MB": round(result.cost.peak_mb)})
    table = pd.DataFrame(rows)
    order = table.sort_values(table.columns[1], ascending=False, kind="stable").reset_index(drop=True)
    return order.round({m: 4 for m in order.columns if "@" in m and "95%" not in m})


def compare_all(results: Sequence[Result], against: Result, metric: str, *, samples: int = 2000) -> pd.DataFrame:
    """Every method against one, paired over users, with Holm's correction for the number of comparisons.

    Columns: method, mean, difference, its 95% interval, p, p after Holm, and whether that is below .05.
    A randomisation test of n samples can't give less than 1 / (n + 1): with m methods take n > 20 · m.
    """
    others = [r for r in results if r is not against]
    found = [compare(r.users[metric], against.users[metric], samples=samples) for r in others]
    table = pd.DataFrame({
        "方法": [r.method for r in others], metric: [r.mean(metric) for r in others],
        f"与{against.method}之差": [c.difference for c in found], "95%": [f"[{c.low:+.4f}, {c.high:+.4f}]" for c in found],
        "p": [c.p_value for c in found], "p（Holm）": holm([c.p_value for c in found]),
    })  # fmt: skip
    table["显著"] = table["p（Holm）"] < 0.05
    return table.sort_values(metric, ascending=False, kind="stable", ignore_index=True)


def list_quality(ranked: np.ndarray, split: Split, k: int = 10, vectors: np.ndarray | None = None) -> dict[str, float]:
    """What a list is beyond its hits; ranked: (users, ≥ k) item rows, −1 for no item.

    coverage: share of the candidates that appear in anybody's list.
    popularity: mean number of training users who liked a recommended item.
    novelty: mean self-information −log2 p(i), p = (count + 1) / (users + 1), in bits (Zhou et al. 2010).
    diversity: mean of 1 − cosine over the pairs of a list (Ziegler et al. 2005); needs vectors (items, dim).
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
        for start in range(0, len(lists), 4096):  # blocks: (users, k, dim) of everybody would not fit
            block = unit[safe[start : start + 4096]] * there[start : start + 4096, :, None]
            total = block.sum(axis=1)  # |Σ v|² = Σ |v|² + Σ_{a ≠ b} v_a · v_b
            similar[start : start + 4096] = (total**2).sum(1) - (block**2).sum((1, 2))
        pairs = filled * (filled - 1)
        found["diversity"] = float(1 - (similar[pairs > 0] / pairs[pairs > 0]).mean()) if (pairs > 0).any() else 0.0
    return found


def metric_rows(results: Iterable[Result], split: Split, seed: int = 0) -> pd.DataFrame:
    """Long form for metrics.csv: a row for each method, metric and k, with interval and cost."""
    rows = []
    for result in results:
        for metric in result.users.columns:
            name, k = parse_metric(metric)
            low, high = bootstrap_interval(result.users[metric])
            rows.append({
                "dataset": split.dataset.name, "protocol": split.protocol, "method": result.method, "metric": name,
                "k": k, "value": result.mean(metric), "low": low, "high": high, "users": len(result.users),
                "seconds": round(result.cost.seconds, 2), "peak_mb": round(result.cost.peak_mb, 1),
                "parameters": json.dumps(result.parameters, ensure_ascii=False, sort_keys=True), "seed": seed,
            })  # fmt: skip
    return pd.DataFrame(rows)


def sampled_ranks(model: Recommender, split: Split, negatives: int = 99, seed: int = 0) -> np.ndarray:
    """Rank of one test positive among random unseen `negatives`, for each test user (1 is best).

    For chapter 02 only: such sampled metrics need not order methods as the full ranking does
    (Krichene & Rendle 2020).
    """
    rng = np.random.default_rng(seed)
    ranks = []
    for user in split.test_users:
        scores = model.score(np.array([user]))[0]
        seen = np.concatenate([split.train_matrix[user].indices, split.test_matrix[user].indices])
        pool = np.setdiff1d(np.flatnonzero(split.candidates), seen)
        drawn = rng.choice(pool, size=min(negatives, len(pool)), replace=False)
        target = split.test_matrix[user].indices[0]
        ranks.append(1 + int((scores[drawn] >= scores[target]).sum()))
    return np.array(ranks)


def pair_hits(result: Result, split: Split, k: int = 10) -> pd.DataFrame:
    """One row a test positive: user, item, whether it is in the user's first k, the user's history
    length, the item's training popularity, its age and its category. Grouped means are recalls of the group.

    age: days from the item's publication (where the data don't tell: from its first training interaction) to this
    test interaction; NaN for what has neither, and no such column for data without time.
    """
    row = {user: n for n, user in enumerate(split.test_users)}
    table = split.test[["user", "item"]].copy()
    lists = result.ranked[table["user"].map(row).to_numpy(), :k]
    table["hit"] = (lists == table["item"].to_numpy()[:, None]).any(axis=1)
    table["history"] = np.asarray(split.train_matrix.sum(axis=1)).ravel()[table["user"]].astype(int)
    table["popularity"] = np.asarray(split.train_matrix.sum(axis=0)).ravel()[table["item"]].astype(int)
    if split.dataset.has_time:
        first = split.train.groupby("item")["timestamp"].min().reindex(range(split.n_items))
        born = split.dataset.items["published"].reset_index(drop=True) if "published" in split.dataset.items.columns else first
        table["age"] = (split.test["timestamp"].to_numpy() - born.to_numpy(dtype=float)[table["item"]]).clip(0) / 86400
    if "category" in split.dataset.items.columns:
        table["category"] = split.dataset.items["category"].to_numpy()[table["item"]]
    return table


def group_recall(hits: pd.DataFrame, groups: pd.Series, *, min_count: int = 20) -> pd.DataFrame:
    """Recall of each group of test positives with its 95% interval; groups under `min_count` are left out."""
    rows = []
    for group, part in hits.groupby(groups.to_numpy(), sort=False, observed=True):
        if len(part) >= min_count:
            low, high = bootstrap_interval(part["hit"].to_numpy())
            rows.append({"组": group, "测试条数": len(part), "命中率": part["hit"].mean(), "low": low, "high": high})
    return pd.DataFrame(rows, columns=["组", "测试条数", "命中率", "low", "high"])
