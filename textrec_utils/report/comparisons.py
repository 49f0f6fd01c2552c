"""Who is compared with whom: the best of each kind, the text method's rivals, the first's; and what all cost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import pandas as pd

from textrec_utils.core.errors import TooLittleData
from textrec_utils.evaluation.results import Result
from textrec_utils.evaluation.statistics import FEW_USERS, Comparison, compare, holm
from textrec_utils.report.methods import KINDS, METHODS
from textrec_utils.report.run import Report
from textrec_utils.report.words import p_words

RIVALS = ("popularity", "itemknn", "ease", "tfidf_char")  # always compared with, whoever else is
STAND_INS = ("two_tower_both", "ease")  # for their kinds, where the best of so few would be the luckiest


@dataclass(frozen=True)
class Sides:
    """text, behaviour: the best of their kinds. plain: the best that reads no text. Where all items are new, which
    behaviour knows nothing of, a random order stands for these two."""

    text: Result
    behaviour: Result
    plain: Result


@dataclass(frozen=True)
class Rivalry:
    """A method against a rival: the paired test, its p after Holm's correction, and among how many tests."""

    rival: Result
    test: Comparison
    p: float
    among: int = 1

    @property
    def visible(self) -> float:
        return self.test.visible_among(self.among)


def sides_of(report: Report) -> Sides:
    """Raises TooLittleData where no text method or no collaborative one ran."""
    text, behaviour = report.best("text"), report.best("behaviour")
    plain = report.best("behaviour", "non-personal")
    if report.few:
        text, behaviour = (report.results.get(key, found) for key, found in zip(STAND_INS, (text, behaviour)))
    if report.blind(behaviour.key) and "random" in report.results:
        plain = behaviour = report.results["random"]
    return Sides(text, behaviour, plain)


def rivalries(report: Report, sides: Sides) -> dict[str, Rivalry]:
    """By key. The text method can't be its own rival: then the next best text method, if any, takes the place. What
    ranks new items blindly is nobody's rival: its one list for all is a fixed draw."""
    keys = [*RIVALS, sides.behaviour.key, sides.plain.key]
    others = [key for key in report.results if METHODS[key].kind == "text" and key != sides.text.key]
    if sides.text.key in keys and others:
        keys[keys.index(sides.text.key)] = report.best("text", but=(sides.text.key,)).key
    keys = [key for key in dict.fromkeys(keys) if key in report.results and key != sides.text.key]
    return versus_each(report, sides.text, [key for key in keys if not report.blind(key)])


def peers(report: Report) -> dict[str, Rivalry]:
    """The first by validation against the best of every other kind and against the second, by key."""
    if report.few:
        return {}
    first, keys = report.best(*KINDS), []
    for kind in KINDS:
        with suppress(TooLittleData):
            keys.append(report.best(kind, but=("random", first.key)).key)
    second = report.best(*KINDS, but=("random", first.key)).key
    keys = [key for key in keys if METHODS[key].kind != METHODS[first.key].kind or key == second]
    return versus_each(report, first, [key for key in keys if not report.blind(key)])


def versus_each(report: Report, first: Result, keys: Sequence[str]) -> dict[str, Rivalry]:
    """The paired tests of one method against others, corrected among themselves."""
    main = report.main
    tests = [compare(first.users[main], report.results[key].users[main], seed=report.seed) for key in keys]
    adjusted = holm([test.p_value for test in tests])
    return {key: Rivalry(report.results[key], test, float(p)) for key, test, p in zip(keys, tests, adjusted)}


def introduction(report: Report, sides: Sides, against: dict[str, Rivalry]) -> str:
    """Who stands for what in the comparisons."""
    text, behaviour = sides.text.method, sides.behaviour.method
    if report.few:
        told = f"测试用户不到{FEW_USERS}位，不做检验，也不挑最好的；后面的图和列表以"
        return f"{told}{text}代表文本方法，以{behaviour}代表协同方法。"
    where = "按验证集" if report.validation else "按测试"
    told = f"{where}，最好的文本方法是{text}，最好的协同方法是{behaviour}，"
    same = sides.plain.key == sides.behaviour.key
    told += f"{behaviour}也是最好的非文本方法。" if same else f"最好的非文本方法是{sides.plain.method}。"
    if sides.behaviour.key == "random":
        told = f"{where}，最好的文本方法是{text}。候选全是新物品，只靠行为的方法给每一件同样的分数，"
        told += "和它们那份人人相同的名单比没有意义，所以拿随机的次序和它比。"
    both = [result.method.partition("（")[0] for key, result in report.results.items() if METHODS[key].kind == "both"]
    told += f"{'、'.join(both)}两边都占，哪一边都不算。" if both else ""
    second = [r.rival.method for key, r in against.items() if METHODS[key].kind == "text"]
    if sides.text.key in RIVALS and second:
        told += f"\n\n最好的文本方法就是{text}，没法和自己比；表里换成第二好的{second[0]}。"
    return told


def rivals_table(first: Result, against: dict[str, Rivalry]) -> pd.DataFrame:
    rows = []
    for r in against.values():
        outcome = "分不出高下" if r.p >= 0.05 else "更高" if r.test.difference > 0 else "更低"
        told = [f"{r.test.difference:+.4f}", f"[{r.test.low:+.4f}, {r.test.high:+.4f}]"]
        rows.append([r.rival.method, *told, p_words(r.test.p_value), p_words(r.p), outcome])
    return pd.DataFrame(rows, columns=[f"{first.method}对", "差", "差的95%区间", "p", "p（Holm）", "结论"])


def cost_table(report: Report) -> pd.DataFrame:
    """What a method takes: once to choose settings, to read the texts, again with every new like, at each request."""
    rows = {}
    for result in sorted(report.results.values(), key=lambda r: -r.mean(report.main)):
        stages, serving = result.cost.by_stage(), report.serving[result.key]
        again = sum(seconds for stage, seconds in stages.items() if stage != "encode")
        search = report.searches.get(result.key)
        rows[result.method] = [
            "没有调" if search is None else f"{search:.1f}", round(stages.get("encode", 0.0), 1), round(again, 1),
            round(serving.ms, 1), round(serving.mb, 1), round(result.cost.peak_mb),
        ]  # fmt: skip
    columns = ["调参（秒）", "读文字（秒）", "重训（秒）", "一次请求（毫秒）", "常驻（MB）", "峰值（MB）"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def front(report: Report) -> list[Result]:
    """The methods that no other beats in both time and quality, fastest first; none where users are few."""
    found: list[Result] = []
    for result in sorted(report.results.values(), key=lambda r: r.cost.seconds):
        better = not found or result.mean(report.main) > found[-1].mean(report.main)
        if better and not report.few and result.key != "random":
            found.append(result)
    return found
