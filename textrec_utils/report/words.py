"""The report's phrases: numbers of a test, a cost or a tie as a reader wants them told."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from textrec_utils.baselines.content import tfidf_vectors
from textrec_utils.core.cost import Cost
from textrec_utils.core.errors import TooLittleData
from textrec_utils.datasets.dataset import TIMED, Dataset
from textrec_utils.evaluation.results import Result
from textrec_utils.tuning import HALF_LIVES

ALIKE = 0.9  # a cosine from which two texts are nearly the same
PAIRED = 5_000  # items up to which all pairs are compared


def p_words(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    """A p-value within a sentence: p=0.012 or p<0.001."""
    return f"p{'' if p < 0.001 else '='}{p_words(p)}"


def half_life_words(chosen: Mapping[str, float | None]) -> str:
    """Which methods chose which half-life, shortest first, and what of these is an end of what was tried.

    >>> half_life_words({"a": 1.0, "b": None, "c": 1.0})
    '1件的有a、c；不减的有b。1件是试过的最短的，更短的没有试'
    """
    groups: dict[float, list[str]] = {}
    for name, half_life in chosen.items():
        groups.setdefault(math.inf if half_life is None else half_life, []).append(name)
    told = [f"{'不减' if h == math.inf else f'{h:g}件'}的有{'、'.join(groups[h])}" for h in sorted(groups)]
    tried = [h for h in HALF_LIVES if h is not None]
    ends = {min(tried): "是试过的最短的，更短的没有试", max(tried): "再往上只试过不减"}
    told[-1] += "".join(f"。{h:g}件{said}" for h, said in ends.items() if h in groups)
    return "；".join(told)


def setting_words(setting: Mapping[str, float]) -> str:
    return "、".join(f"{name}={'不减' if value is None else f'{value:g}'}" for name, value in setting.items())


def tie_words(results: Mapping[str, Result], metric: str) -> str:
    """What to say of the methods that know nothing of new items; "" where popularity itself can tell them apart.

    results: by key, of a split whose candidates are all new, random and popularity among them.
    """
    popular, chance = results["popularity"], results["random"]
    if (popular.ranked != popular.ranked[0]).any():
        return ""
    same = "、".join(r.method for r in results.values() if np.array_equal(r.ranked, popular.ranked))
    got, luck = popular.mean(metric), chance.mean(metric)
    word = "高一些" if got > luck else "低一些" if got < luck else "正好一样"
    return (
        f"{same}给每件新物品的分数都一样，全是平手，只好照一个与内容无关的固定次序排，人人拿到同一份列表。"
        f"这份列表的{metric}是{got:.4f}，全看排在前面的碰巧是哪几件：可能比随机（每人另抽一份，{luck:.4f}）高，也可能低，"
        f"这一次{word}，说明不了方法的好坏。"
    )


def twin_words(dataset: Dataset) -> str:
    """How many items look like one thing under several ids, which nothing here merges."""
    items = dataset.items[dataset.items["title"].str.strip() != ""]
    same = ["title", *(c for c in ("year", "category", *dataset.entity_columns) if c in items.columns)]
    sizes = items.groupby(same, dropna=False).size()
    groups, several = int((sizes > 1).sum()), int(sizes[sizes > 1].sum())
    columns = f"{'、'.join(same)}全都相同" if len(same) > 1 else "标题相同"
    told = [f"有{groups}组、共{several}件物品的{columns}"] * bool(groups)
    pairs = _alike(list(dataset.items["text"])) if len(dataset.items) <= PAIRED else 0
    told += [f"有{pairs}对物品的文字几乎一样（字的TF-IDF余弦不低于{ALIKE:g}）"] * bool(pairs)
    if told:
        return f"{'，'.join(told)}。它们没有合并：多半是同一件东西的几个编号，或一个系列的几期，喜欢被它们分走了"
    compared = "也没有文字几乎一样的两件" if len(dataset.items) <= PAIRED else "物品太多，文字没有两两比过"
    return f"没有{columns}的物品，{compared}"


def _alike(texts: list[str]) -> int:
    """Pairs of texts whose cosine is ALIKE or more."""
    try:
        vectors = tfidf_vectors(texts)
    except TooLittleData:
        return 0
    found, other = 0, vectors.T.tocsr()
    for start in range(0, len(texts), 512):
        close = (vectors[start : start + 512] @ other).tocoo()
        found += int(((close.data >= ALIKE) & (close.col > close.row + start)).sum())
    return found


def share_words(hybrid: Result) -> str:
    """The tower's share in the fusion, which may leave nothing to one of its parts."""
    share = hybrid.parameters["weights"][0]
    alone = {0: "，融合就是那个协同方法本身", 1: "，融合就是双塔读两样本身"}
    return f"双塔占{share:.0%}{alone.get(share, '')}"


def live_words(report_key: str, protocol: str) -> str:
    """What sets popularity at the moment of the request apart from all other methods; "" for these, and where a split
    has no times."""
    if report_key != "recent" or protocol not in TIMED:
        return ""
    others = "停在训练结束的那一刻" if protocol == "temporal" else "不知道请求是哪一刻，训练里倒有别人后来的喜欢"
    return (
        f"此刻热门看得到请求之前所有人的喜欢，测试里的也算；别的方法{others}：这一比并不对等，"
        "别的方法每天重训会怎样，第09章第2节在新闻上量过"
    )


def cost_words(cost: Cost) -> str:
    """Seconds and megabytes of a method, for a sentence."""
    return f"{f'{cost.seconds:.1f}秒' if cost.seconds >= 0.1 else '不到0.1秒'}、多占{cost.peak_mb:.0f}MB"


def speed_words(text: Cost, other: Cost) -> str:
    """How the text method's time compares with another's: a ratio only where both took a second or more."""
    more = text.seconds - other.seconds
    if abs(more) < 1:
        return "快慢相差不到1秒"
    if min(text.seconds, other.seconds) < 1:
        return f"文本方法{'多' if more > 0 else '少'}用{abs(more):.0f}秒"
    ratio = text.seconds / other.seconds
    if 0.67 < ratio < 1.5:
        return "两者用时差不多"
    return f"文本方法用了约{ratio:.0f}倍的时间" if ratio >= 10 else f"文本方法用了约{ratio:.1f}倍的时间"
