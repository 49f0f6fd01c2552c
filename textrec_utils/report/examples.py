"""People to look at: whom the one side served, whom the other, whom neither."""

from __future__ import annotations

import numpy as np
import pandas as pd

from textrec_utils.core.escape import in_markdown
from textrec_utils.report.comparisons import Sides
from textrec_utils.report.run import Report

SHOWN = 8  # titles of a history


def situations(report: Report, sides: Sides) -> dict[str, np.ndarray]:
    """(test users,) bool by situation: who of the two hit anything."""
    text, other = (r.users[f"hit@{report.k}"].to_numpy() > 0 for r in (sides.text, sides.behaviour))
    return {
        f"只有{sides.text.method}命中": text & ~other, f"只有{sides.behaviour.method}命中": ~text & other,
        "两者都没命中": ~text & ~other, "两者都命中": text & other,
    }  # fmt: skip


def pick(report: Report, found: dict[str, np.ndarray]) -> dict[str, int]:
    """A row of the test users for three situations, by the seed; with a history of three or more where it can be."""
    rng, picked = np.random.default_rng(report.seed), {}
    long_enough = np.array([len(report.split.histories[u]) >= 3 for u in report.split.test_users])
    for situation, mask in found.items():
        pool = np.flatnonzero(mask & long_enough if (mask & long_enough).any() else mask)
        if len(pool) and len(picked) < 3:
            picked[situation] = int(rng.choice(pool))
    return picked


def with_lists(report: Report, sides: Sides, row: int) -> tuple[str, pd.DataFrame]:
    """(who it is, as Markdown; both methods' lists side by side) of one test user."""
    split, items, user = report.split, report.split.dataset.items, report.split.test_users[row]
    titles = items["title"].where(items["title"].str.strip() != "", items["text"]).str.slice(0, 24).to_numpy()
    liked, history = np.sort(split.test_matrix[user].indices), split.histories[user][::-1]
    some, wanted = (
        "、".join(map(in_markdown, titles[rows[:SHOWN]])) + "……" * (len(rows) > SHOWN) for rows in (history, liked)
    )
    order = "，最近的在前" if split.dataset.has_time else ""
    told = f"一位用户，历史{len(history)}件{order}：{some}"  # who it is, nobody needs to know
    lists = {
        r.method: pd.Series([("✓ " if i in liked else "") + titles[i] for i in r.ranked[row, : report.k] if i >= 0])
        for r in (sides.text, sides.behaviour)
    }
    table = pd.DataFrame(lists, dtype=object).fillna("")
    return f"{told}\n\n测试里喜欢的：{wanted}", table.set_axis(table.index + 1)
