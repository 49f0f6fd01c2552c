"""Results as tables: the leaderboard, all against one, the long form for metrics.csv."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pandas as pd

from textrec_utils.core.escape import in_csv
from textrec_utils.evaluation.metrics import parse_metric
from textrec_utils.evaluation.results import Result
from textrec_utils.evaluation.statistics import compare, holm
from textrec_utils.splits import Split


def leaderboard(results: Iterable[Result]) -> pd.DataFrame:
    """Best first by the first metric: mean and 95% interval of each metric, seconds, peak memory."""
    rows = []
    for result in results:
        row = {"方法": result.method}
        for metric in result.users.columns:
            low, high = result.interval(metric)
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
        f"与{against.method}之差": [c.difference for c in found],
        "95%": [f"[{c.low:+.4f}, {c.high:+.4f}]" for c in found],
        "p": [c.p_value for c in found], "p（Holm）": holm([c.p_value for c in found]),
    })  # fmt: skip
    table["显著"] = table["p（Holm）"] < 0.05
    return table.sort_values(metric, ascending=False, kind="stable", ignore_index=True)


def metric_rows(
    results: Iterable[Result], split: Split, seed: int = 0, *, report: str = "", min_value: float | None = None
) -> pd.DataFrame:
    """Long form for metrics.csv: a row for each method, metric and k, with interval and cost.

    report, min_value: whose rows these are, and the least value that counted as a like (None: the dataset's own);
    without them the rows of two reports could not be told apart.
    """
    least = split.dataset.min_value if min_value is None else min_value
    rows = []
    for result in results:
        for metric in result.users.columns:
            name, k = parse_metric(metric)
            low, high = result.interval(metric)
            rows.append({
                "report": in_csv(report), "dataset": in_csv(split.dataset.name), "protocol": split.protocol,
                "min_value": least, "method": in_csv(result.method), "metric": name, "k": k,
                "value": result.mean(metric), "low": low, "high": high, "users": len(result.users),
                "seconds": round(result.cost.seconds, 2), "peak_mb": round(result.cost.peak_mb, 1),
                "parameters": json.dumps(result.parameters, ensure_ascii=False, sort_keys=True), "seed": seed,
            })  # fmt: skip
    return pd.DataFrame(rows)
