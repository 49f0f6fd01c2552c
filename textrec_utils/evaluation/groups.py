"""Where a method fails: its hits by the user's history, the item's popularity, age and category."""

from __future__ import annotations

import numpy as np
import pandas as pd

from textrec_utils.evaluation.results import Result
from textrec_utils.evaluation.statistics import FEW_USERS, bootstrap_interval
from textrec_utils.splits import Split


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
    table["popularity"] = split.likes[table["item"]].astype(int)
    if split.dataset.has_time:
        first = split.train.groupby("item")["timestamp"].min().reindex(range(split.n_items))
        born = (
            split.dataset.items["published"].reset_index(drop=True)
            if "published" in split.dataset.items.columns
            else first
        )
        table["age"] = (split.test["timestamp"].to_numpy() - born.to_numpy(dtype=float)[table["item"]]).clip(0) / 86400
    if "category" in split.dataset.items.columns:
        table["category"] = split.dataset.items["category"].to_numpy()[table["item"]]
    return table


def group_recall(hits: pd.DataFrame, groups: pd.Series, *, min_count: int = FEW_USERS) -> pd.DataFrame:
    """Recall of each group of test positives with its 95% interval over users, who may have several of them.

    hits: from `pair_hits`. Groups of fewer than `min_count` users are left out.
    """
    rows = []
    for group, part in hits.groupby(groups.to_numpy(), sort=False, observed=True):
        if part["user"].nunique() >= min_count:
            low, high = bootstrap_interval(part["hit"].to_numpy(), users=part["user"])
            rows.append({"组": group, "测试条数": len(part), "命中率": part["hit"].mean(), "low": low, "high": high})
    return pd.DataFrame(rows, columns=["组", "测试条数", "命中率", "low", "high"])
