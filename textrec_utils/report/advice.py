"""What to ship, how large a test with real users must be, and what would change the choice."""

from __future__ import annotations

import math
from statistics import NormalDist

from textrec_utils.evaluation.results import Result
from textrec_utils.report import own_tower
from textrec_utils.report.claims import Claims
from textrec_utils.report.methods import METHODS
from textrec_utils.report.run import Report
from textrec_utils.report.words import cost_words, live_words, p_equals

TOLERATED = 0.1  # of the first's score: a cheaper method is taken where the interval rules out a greater loss
FEW, MANY = 1_000, 10**9  # users below and beyond which a number says nothing


def two_proportions(p: float, q: float, level: float = 0.05, power: float = 0.8) -> float:
    """Users in each of two groups for a two-sided test to tell shares p and q apart; inf where they are equal.

    (z_{1−level/2} √(2 m (1 − m)) + z_power √(p (1 − p) + q (1 − q)))² / (p − q)², m = (p + q) / 2
    (Fleiss, Levin & Paik 2003, "Statistical Methods for Rates and Proportions", chapter 4, without continuity).

    >>> math.ceil(two_proportions(0.10, 0.12))
    3841
    """
    if p == q:
        return math.inf
    a, b, m = NormalDist().inv_cdf(1 - level / 2), NormalDist().inv_cdf(power), (p + q) / 2
    return (a * math.sqrt(2 * m * (1 - m)) + b * math.sqrt(p * (1 - p) + q * (1 - q))) ** 2 / (p - q) ** 2


def paired(visible: float, difference: float, users: int) -> float:
    """Test users for whom a paired difference shows four times in five, where so many showed `visible`: it shrinks
    with the root of their number. inf where there is no difference."""
    return users * (visible / difference) ** 2 if difference else math.inf


def chosen(report: Report, claims: Claims) -> Result:
    """The cheapest of the first and its peers for which the interval rules out that it loses more than TOLERATED."""
    most = TOLERATED * claims.first.mean(report.main)
    close = [r.rival for r in claims.peers.values() if r.test.high < most]
    return min([claims.first, *close], key=lambda r: r.cost.seconds)


def ship(report: Report, claims: Claims) -> str:
    first, taken = claims.first, chosen(report, claims)
    if taken.key == first.key:
        cheaper = [r.rival.method for r in claims.peers.values() if r.rival.cost.seconds < first.cost.seconds]
        why = (
            f"更便宜的{'、'.join(cheaper)}，区间都排除不了比{first.method}低过{TOLERATED:.0%}"
            if cheaper
            else "在各类的代表里也最省时间"
        )
        live = live_words(first.key, report.split.protocol)
        return f"{first.method}（{cost_words(first.cost)}）：验证集上最好，{why}" + (f"。{live}" if live else "")
    test = claims.peers[taken.key].test
    lost, most = test.difference / first.mean(report.main), test.high / first.mean(report.main)
    return (
        f"{taken.method}（{cost_words(taken.cost)}）。验证集上最好的是{first.method}（{cost_words(first.cost)}），"
        f"测试上{taken.method}比{first.method}{'低' if lost > 0 else '高'}{abs(lost):.1%}，"
        f"区间说至多低{max(most, 0):.1%}，"
        f"不到约定的{TOLERATED:.0%}，便宜的就够了"
        + ("（只算换用户；塔换一个种子会怎样，没有算）" if learned(first, taken) else "")
    )


def learned(*results: Result) -> bool:
    """Is there a tower among them, of which another seed makes another one?"""
    towers = [r for r in results if METHODS[r.key].family == "双塔" or r.key == "hybrid"]
    return any(r.key != "own_tower" or own_tower.trained(r.parameters) for r in towers)


def _users(n: float) -> str:
    """To two figures, upwards: what it is reckoned from is known no better."""
    if not FEW < n < MANY:
        return f"不到{FEW:,}人" if n <= FEW else "多得不现实的人数"
    unit = 10 ** (len(str(int(n))) - 2)
    return f"约{math.ceil(n / unit) * unit:,}人"


def online(report: Report, claims: Claims) -> str:
    """The size of a test with real users for the difference found between what is shipped and the runner-up."""
    first, taken, hit = claims.first, chosen(report, claims), f"hit@{report.k}"
    if not claims.peers:
        return "只有一个方法，没有可比的"
    key = taken.key if taken.key != first.key else max(claims.peers, key=report.worth)
    rivalry, metric = claims.peers[key], report.main
    p, q, test = first.users[hit].mean(), rivalry.rival.users[hit].mean(), rivalry.test
    told = f"{first.method}对{rivalry.rival.method}，测试里名单命中至少一件的用户占{p:.1%}对{q:.1%}"
    n = two_proportions(p, q)
    if n < MANY:
        told += f"；线上真差这么多的话，两组各要{_users(n)}，才有八成把握看出来（两比例公式，Fleiss等2003）"
    else:
        told += "，一样多，按这个差别算不出A/B要多少人"
    offline = f"。离线成对地比，{metric}差{abs(test.difference):.4f}，{report.users:,}位测试用户"
    if rivalry.p < 0.05:
        told += f"{offline}已经看得出（校正后{p_equals(rivalry.p)}）"
    else:
        needed = _users(paired(test.visible, test.difference, report.users))
        told += f"{offline}看不出；只做这一次检验的话，要{needed}"
    return f"{told}。离线的差只是线上的猜测，A/B的人数应按业务上值得的最小差别再算一遍"


def _on_new_items(report: Report, key: str) -> str:
    if key == "hybrid" and report.results[key].parameters["weights"][1]:
        # A z-score of 0 votes against, where the other half knows nothing.
        why = "协同的一半给新物品的分都是0，化成标准分就成了反对票（第08章第6节）"
        return f"里，{why}，要给新物品留位置，或另出一份名单"
    return "也能排新物品" if report.serving[key].cold_items else "对新物品一无所知，要另配会读文字的"


def what_would_change_it(report: Report, claims: Claims) -> list[str]:
    """Each a sentence on a number of this report that could turn out otherwise."""
    found, first, taken = [], claims.first, chosen(report, claims)
    other = report.metrics[1]
    top = max((r for r in report.results.values()), key=lambda r: r.mean(other))
    if top.key != taken.key:
        found.append(f"更看重{other}：那里分数最高的是{top.method}（{top.mean(other):.4f}对{taken.mean(other):.4f}）")
    if claims.new:
        cold = f"{report.cold_share:.1%}在训练里没有人喜欢过"
        found.append(
            f"新物品变多：现在测试里只有{cold}；{taken.method}" + _on_new_items(report, taken.key)
            if report.cold_share <= 0.5
            else f"新物品变少：现在测试里{cold}，旧物品多了，协同方法才有得学"
        )
    if learned(first, taken):
        found.append("换一个种子：双塔在这里只训练一次，种子之间的起落见第06章第6节，小于它的差别不要当真")
    if report.split.leaks.startswith("不泄漏"):
        found.append("换一个时刻：只切了一刀，区间只说用户之间的起落，不说日子之间的")
    else:
        found.append(f"换成按时间的划分：现在这样分，{report.split.leaks}")
    found.append(f"用户变多：测试用户到四倍，看得出的差别就小一半；现在是{report.users:,}位")
    return found


def in_words(report: Report, claims: Claims) -> str:
    """The closing list, as Markdown; "" where users are too few to advise anything."""
    if report.few:
        return ""
    lines = [f"**先上**：{ship(report, claims)}", f"**A/B要多大**：{online(report, claims)}"]
    lines += [f"**什么会改变它**：{sentence}" for sentence in what_would_change_it(report, claims)]
    return "\n".join(f"- {line.rstrip('。')}。" for line in lines)
