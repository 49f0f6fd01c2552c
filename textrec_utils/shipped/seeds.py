"""What the tables of trained towers have in common: a row a seed, and the difference from a baseline over all seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from textrec_utils.evaluation.results import evaluate
from textrec_utils.evaluation.statistics import compare
from textrec_utils.finetuning.result import TwoTower
from textrec_utils.splits import Split

METRICS = ("ndcg@10", "recall@10")


def rows_of(split: Split, towers: Sequence[TwoTower], baseline: Sequence[TwoTower], **label: str) -> pd.DataFrame:
    """A row a seed: `label`, seed, the metrics' means over the split's users, parameters trained, seconds, peak_mb.

    difference, low, high: NDCG@10 less the baseline's, each user's mean over the seeds paired with the same, and its
    95% interval over users; the same in each row, 0 for the baseline itself.
    """
    results, others = ([evaluate(t.recommender(""), split, METRICS) for t in some] for some in (towers, baseline))
    paired = compare(*([r.users[METRICS[0]] for r in some] for some in (results, others)))
    return pd.DataFrame([
        {
            **label, "seed": tower.config.seed, **{metric: result.mean(metric) for metric in METRICS},
            "parameters": tower.trained, "seconds": round(tower.cost.seconds, 1),
            "peak_mb": round(tower.cost.peak_mb), "difference": paired.difference,
            "low": paired.low, "high": paired.high,
        }
        for tower, result in zip(towers, results)
    ])  # fmt: skip
