"""Metrics over full rankings, with intervals and tests: what a table must say to be believed."""

from textrec_utils.evaluation.groups import group_recall, pair_hits
from textrec_utils.evaluation.metrics import METRICS, hits_of, list_quality, parse_metric, per_user, sampled_ranks
from textrec_utils.evaluation.results import Result, evaluate
from textrec_utils.evaluation.statistics import (
    FEW_USERS,
    Comparison,
    another_draw,
    another_seed,
    bootstrap_interval,
    compare,
    holm,
)
from textrec_utils.evaluation.tables import compare_all, leaderboard, metric_rows

__all__ = [
    "FEW_USERS", "METRICS", "Comparison", "Result", "another_draw", "another_seed", "bootstrap_interval", "compare",
    "compare_all", "evaluate", "group_recall", "hits_of", "holm", "leaderboard", "list_quality", "metric_rows",
    "pair_hits", "parse_metric", "per_user", "sampled_ranks",
]  # fmt: skip
