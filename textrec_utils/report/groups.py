"""Where a method fails: hits by history, popularity, age and category of what was to be found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from textrec_utils.core.escape import in_markdown
from textrec_utils.evaluation.groups import group_recall, pair_hits
from textrec_utils.evaluation.statistics import FEW_USERS, compare
from textrec_utils.report.comparisons import Sides
from textrec_utils.report.run import Report

UNITS = {
    "历史长度": "用户在训练里喜欢过几件", "物品热度": "物品在训练里被几人喜欢", "类别": "取第一个类别",
    "物品上架": "从发布到这次喜欢的天数；数据没有发布时间的，从训练里第一次有人喜欢算起",
}  # fmt: skip


@dataclass(frozen=True)
class Grouping:
    """One way to part the test. table: a row a group, with both methods' hit rates, their difference and its p.
    left_out: test positives in groups too small to be shown. spans: by method, (groups, 2) ends of its intervals.
    alone: the name of the one group there was to show, which is no comparison of groups: then the table is empty."""

    name: str
    table: pd.DataFrame
    left_out: int
    spans: dict[str, np.ndarray] = field(default_factory=dict)
    alone: str = ""

    @property
    def title(self) -> str:
        return f"**按{self.name}**（{UNITS[self.name]}）"

    @property
    def note(self) -> str:
        left = f"有{self.left_out}条测试在不足{FEW_USERS}位用户的组里，不单列。" if self.left_out else ""
        if self.alone:
            left = f"够{FEW_USERS}位用户的组只有“{in_markdown(self.alone)}”一个，没有第二组可比，不列表。"
        return left


def thirds(counts: pd.Series) -> pd.Series:
    """Each count's third, as a range such as 3–10; equal counts stay together."""
    part = np.ceil(counts.rank(pct=True) * 3)
    low, high = (counts.groupby(part).transform(f).astype(str) for f in ("min", "max"))
    return low.where(low == high, low + "–" + high)


def ways(pairs: pd.DataFrame) -> dict[str, tuple[pd.Series, pd.Series]]:
    """(group, place in the order) of each test positive, for each way to part them that the data allow."""
    heat = thirds(pairs.loc[pairs["popularity"] > 0, "popularity"]).reindex(pairs.index, fill_value="0（冷）")
    found = {"历史长度": (thirds(pairs["history"]), pairs["history"]), "物品热度": (heat, pairs["popularity"])}
    if "age" in pairs and pairs["age"].notna().any():
        days = pairs["age"].round().astype("Int64")
        found["物品上架"] = (thirds(days.dropna()).reindex(pairs.index, fill_value="不详"), days.fillna(-1))
    if "category" in pairs and (pairs["category"] != "").any():
        first = pairs["category"].str.split("|").str[0].str.strip().replace("", "（无）")
        size = pairs["user"].groupby(first).nunique().sort_values(ascending=False, kind="stable")
        big = first.isin(size.index[size >= FEW_USERS][:8])
        found["类别"] = (first.where(big, "其他"), -first.map(size).where(big, 0))
    return found


def groupings(report: Report, sides: Sides) -> list[Grouping]:
    """Both sides' hits, parted in every way that the data allow; none where users are few."""
    pair = sides.text, sides.behaviour
    hits = [pair_hits(result, report.split, report.k) for result in pair]
    found = []
    for name, (groups, order) in ways(hits[0]).items() if not report.few else ():
        rows = np.argsort(order.to_numpy(), kind="stable")
        a, b = (group_recall(h.iloc[rows], groups.iloc[rows], min_count=FEW_USERS) for h in hits)
        table = a[["组", "测试条数"]].copy()
        for side, part in zip(pair, (a, b)):
            table[side.method] = part["命中率"].round(3)
            table[f"{side.method} 95%"] = [f"[{x:.3f}, {y:.3f}]" for x, y in zip(part["low"], part["high"])]
        table["差"] = (a["命中率"] - b["命中率"]).round(3)
        inside = [[h[(groups == group).to_numpy()] for h in hits] for group in table["组"]]
        tests = [compare(x["hit"], y["hit"], users=x["user"]) for x, y in inside]
        table["p"] = [test.p_value for test in tests]
        spans = {side.method: part[["low", "high"]].to_numpy(float) for side, part in zip(pair, (a, b))}
        if len(table) == 1:  # nothing to compare it with
            found.append(Grouping(name, table.iloc[:0], 0, {}, str(table["组"].iloc[0])))
            continue
        found.append(Grouping(name, table, len(groups) - int(table["测试条数"].sum()), spans))
    return found
