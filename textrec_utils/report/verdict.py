"""The verdict: a sentence a question, worded by the numbers."""

from __future__ import annotations

import pandas as pd

from textrec_utils.core.escape import in_markdown
from textrec_utils.evaluation.results import Result
from textrec_utils.evaluation.statistics import FEW_USERS, compare
from textrec_utils.report.comparisons import Rivalry, Sides
from textrec_utils.report.groups import Grouping
from textrec_utils.report.methods import KINDS, METHODS
from textrec_utils.report.run import Report
from textrec_utils.report.words import cost_words, p_equals, speed_words


def who_wins(report: Report) -> str:
    winner, second = sorted(report.results.values(), key=lambda r: -r.mean(report.main))[:2]
    lead = compare(winner.users[report.main], second.users[report.main], seed=report.seed)
    ahead = f"第二名{second.method}（{second.mean(report.main):.4f}）"
    level = f"和{ahead}分不出高下，名次可能互换（这些用户看得出的最小差别约{lead.visible:.4f}）"
    ahead = f"显著领先{ahead}" if lead.significant else level
    return (
        f"{winner.method}（{KINDS[METHODS[winner.key].kind]}），{report.main}为{winner.mean(report.main):.4f}，{ahead}。"
        f"共{len(report.results)}个方法，{report.users:,}位用户，在{report.candidates:,}件候选里全量排序"
        + _by_the_other_metric(report, winner)
    )


def _by_the_other_metric(report: Report, winner: Result) -> str:
    """Said where the second metric of the board would name another winner."""
    other = report.metrics[1]
    first = max(report.results.values(), key=lambda r: r.mean(other))
    if first is winner:
        return f"；按{other}，第一名还是它"
    test = compare(first.users[other], winner.users[other], seed=report.seed)
    word = "显著领先它" if test.significant else "和它分不出高下"
    return f"；换成{other}，第一名是{first.method}（{first.mean(other):.4f}对{winner.mean(other):.4f}，{word}）"


def versus(against: Rivalry, metric: str) -> str:
    """One sentence on the text method against a rival, by its Holm-corrected test."""
    test, name = against.test, against.rival.method
    detail = f"差{test.difference:+.4f}，95%区间[{test.low:+.4f}, {test.high:+.4f}]，校正后{p_equals(against.p)}"
    if against.p >= 0.05:
        return f"和{name}分不出高下（{detail}，看得出的最小差别约{test.visible:.4f}）"
    base = against.rival.mean(metric)
    relative = f"{abs(test.difference) / base:.0%}" if base > 0 else ""
    return f"比{name}{'高' if test.difference > 0 else '低'}{relative}，差异显著（{detail}）"


def text_or_not(report: Report, sides: Sides, against: dict[str, Rivalry]) -> str:
    other, plain = (versus(against[side.key], report.main) for side in (sides.behaviour, sides.plain))
    also = "，也是最好的非文本方法" if sides.plain.key == sides.behaviour.key else f"；{plain}，后者是最好的非文本方法"
    return f"最好的文本方法{sides.text.method}{other}，后者是最好的协同方法{also}"


def joined(report: Report) -> str:
    """The best method that joins both kinds against the best single one."""
    mixed, single = report.best("both"), report.best("text", "behaviour", "non-personal", but=())
    test = compare(mixed.users[report.main], single.users[report.main], seed=report.seed)
    word = ("更高" if test.difference > 0 else "更低") if test.significant else "分不出高下"
    return (
        f"{mixed.method}{mixed.mean(report.main):.4f}，单个方法最好的是{single.method}{single.mean(report.main):.4f}，"
        f"{word}（差{test.difference:+.4f}，{p_equals(test.p_value)}）"
    )


def what_it_costs(sides: Sides) -> str:
    text, other = sides.text, sides.behaviour
    told = f"{text.method}一共用{cost_words(text.cost)}，{other.method}用{cost_words(other.cost)}"
    return f"{told}：{speed_words(text.cost, other.cost)}"


def where_it_fails(sides: Sides, found: list[Grouping]) -> str:
    """The text method's weakest group, and where it is surely behind and ahead of the collaborative one."""
    several = [g.table.assign(by=g.name) for g in found if len(g.table) > 1]
    if not several:
        return "测试太少，分不出各有20位以上用户的两组，没有分组看"
    gaps, text, other = pd.concat(several, ignore_index=True), sides.text.method, sides.behaviour.method

    def told(row: pd.Series) -> str:
        group = f"{row['by']}为“{in_markdown(row['组'])}”的一组"
        return f"{group}（{row[text]:.3f}对{row[other]:.3f}，{row['测试条数']}条）"

    lowest, sure = gaps[text].idxmin(), gaps[gaps["p"] < 0.05].sort_values("差")
    words = f"{text}命中率最低的是{told(gaps.loc[lowest])}"
    if sure.empty:
        words += f"；没有哪一组里它和{other}的差距是显著的"
    elif sure["差"].iloc[0] < 0:
        where = "也正是这一组" if sure.index[0] == lowest else f"是{told(sure.iloc[0])}"
        words += f"；显著落后{other}最多的{where}"
    if len(sure) and sure["差"].iloc[-1] > 0:
        words += f"；显著领先最多的是{told(sure.iloc[-1])}"
    return f"{words}。括号里先文本后协同"


def among_new_items(cold: Report) -> str:
    text, other = cold.best("text"), cold.best("behaviour")
    test = compare(text.users[cold.main], other.users[cold.main], seed=cold.seed)
    side = ("更高" if test.difference > 0 else "更低") if test.significant else "没有显著优势"
    plain, placed = (r.mean(cold.main) for r in cold.mixed[text.key])
    return (
        f"在只有新物品的候选里，{cold.main}最好的文本方法是{text.method}（{text.mean(cold.main):.4f}），"
        f"协同方法最好的是{other.mean(cold.main):.4f}，文本{side}（{p_equals(test.p_value)}）；"
        f"和全部物品混在一起排，{text.method}是{plain:.4f}，给新物品留位置之后是{placed:.4f}"
    )


def in_words(
    report: Report, sides: Sides, against: dict[str, Rivalry], found: list[Grouping], cold: Report | None = None
) -> str:
    """The list that opens a report, as Markdown. cold: the report on new items, if any."""
    cost = {"代价": what_it_costs(sides)}
    if report.few:
        points = {"没有结论": (
            f"能评测的用户只有{report.users}位，不到{FEW_USERS}位，分不出方法的高下；下面的数字只说明流水线跑通了，"
            "可以看第7节的列表合不合意，等用户多了再比"
        )} | cost  # fmt: skip
    else:
        points = {"谁赢": who_wins(report), "文本值不值": text_or_not(report, sides, against)}
        if any(METHODS[key].kind == "both" for key in report.results):
            points["合起来"] = joined(report)
        points |= cost | {"哪里失败": where_it_fails(sides, found)}
        if cold and not cold.few:
            points["新物品"] = among_new_items(cold)
    first, *others = [f"**{name}**：{sentence}" for name, sentence in points.items()]
    # Right under the winner: what the split lets a method know that it could not know in life.
    lines = [first, f"**协议**：{report.protocol}，{report.split.leaks}", *others]
    lines += [f"**当心**：{in_markdown(c)}" for c in report.cautions + (cold.cautions if cold else [])]
    return "\n".join(f"- {line.rstrip('。')}。" for line in lines)
