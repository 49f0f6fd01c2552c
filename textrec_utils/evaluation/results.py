"""One method judged on one split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from textrec_utils.baselines.base import Recommender
from textrec_utils.core.cost import Cost, measure
from textrec_utils.core.errors import TooLittleData
from textrec_utils.evaluation.metrics import parse_metric, per_user
from textrec_utils.evaluation.statistics import bootstrap_intervals
from textrec_utils.ranking import recommend
from textrec_utils.splits import Split


@dataclass
class Result:
    """One method on one split: its lists, its per-user values, what they cost, and the settings as they were.

    method: the name shown. key: what a registry knows the method by, "" outside of one.
    """

    method: str
    ranked: np.ndarray
    users: pd.DataFrame
    cost: Cost
    parameters: dict[str, object]
    key: str = ""
    _intervals: dict[str, tuple[float, float]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def mean(self, metric: str) -> float:
        return float(self.users[metric].mean())

    def interval(self, metric: str) -> tuple[float, float]:
        """95% bootstrap interval of the mean, computed once for all metrics, tables and figures."""
        if not self._intervals:
            self._intervals |= zip(self.users, map(tuple, bootstrap_intervals(self.users).tolist()))
        return self._intervals[metric]


def evaluate(
    model: Recommender, split: Split, metrics: Sequence[str] = ("recall@10", "ndcg@10"), *,
    name: str | None = None, key: str = "", cost: Cost | None = None, fit: bool = True,
) -> Result:  # fmt: skip
    """Fit a model on a split's training part and judge its lists for every test user.

    cost: what was spent before this call beside `model.cost`, which is counted anyway; no step counts twice.
    Raises TooLittleData where the split has no user to judge by.
    """
    if not len(split.test_users):
        raise TooLittleData(
            f"{split.dataset.name} 的这个划分里没有可评测的用户：请换一种划分，或换一份交互更多的数据。"
        )
    length = max(parse_metric(m)[1] for m in metrics)
    with measure() as spent:
        if fit:
            model.fit(split)
        ranked = recommend(model, split, length)
    values = per_user(ranked, split.test_matrix[split.test_users], metrics)
    total = model.cost + (cost or Cost()) + spent
    return Result(name or model.name, ranked, values, total, model.settings(), key)
