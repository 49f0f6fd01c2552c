"""The report's phrases: numbers of a test, a cost or a tie as a reader wants them told."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from textrec_utils.core.cost import Cost
from textrec_utils.evaluation.results import Result


def p_words(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    """A p-value within a sentence: p=0.012 or p<0.001."""
    return f"p{'' if p < 0.001 else '='}{p_words(p)}"


def setting_words(setting: Mapping[str, float]) -> str:
    return "、".join(f"{name}={value:g}" for name, value in setting.items())


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
