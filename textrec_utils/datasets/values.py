"""What a value says of liking: ratings, yes or no, counts, blanks. What was decided is always said."""

from __future__ import annotations

import numpy as np
import pandas as pd

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.columns import is_count
from textrec_utils.datasets.faults import Note, note_rows
from textrec_utils.datasets.ids import by_value, is_blank, visible
from textrec_utils.datasets.tables import refuse

_WORDS = {
    **dict.fromkeys("true yes y 是 喜欢 赞 like liked".split(), 1.0),
    **dict.fromkeys("false no n 否 不喜欢 踩 dislike disliked".split(), 0.0),
}
_CHANGE = "（可用参数 min_value 改）"
_RARE = 0.02  # values far from all others in so few rows are no end of the scale
_SCALES = (4, 5, 10, 100)  # where ratings usually end


def values_of(table: pd.DataFrame, given: float | None = None) -> tuple[pd.Series, float, list[Note]]:
    """(value of each row, the least value of a liking, notes) from the column `value`, which may be missing.

    given: the least value of a liking, of a format where every row has one. None: told by the values; then a blank
    is a purchase without a rating, a like.
    Raises DataError with the line for what is no number, and for a few values off the scale.
    """
    if "value" not in table.columns:
        one = pd.Series(1.0, index=table.index)
        return one, *_liking(one, given, table, counts=False)
    told = table.attrs.get("value", "value")  # what the file calls it
    text = by_value(table["value"], visible)
    blank = is_blank(text) & (given is None)
    words, notes = text.str.lower(), []
    if words.isin(_WORDS).any() and (words.isin(_WORDS) | blank).all():
        number = words.map(_WORDS)
        notes = [Note(f"{told} 是文字，如 {text[~blank].iloc[0]}", "喜欢读成 1，不喜欢读成 0")]
    else:
        number = pd.to_numeric(text, errors="coerce").astype(float)
        refuse(table, ~np.isfinite(number) & ~blank, f"{told} {{}} 不是数", "请填数字，没有评分的留空，或删去整列")
    rated = number[~blank]
    if rated.empty:
        one = pd.Series(1.0, index=table.index)
        return one, 1.0, [Note(f"{told} 全是空的", "每条交互都算喜欢")]
    counts = is_count(told) and rated.min() >= 0
    if given is None and not counts:
        remedy = "请改好或留空（若这一列是次数，请把列名改为 count）"
        refuse(table[~blank], _strays(rated), f"{told} {{}} 远离别的值，不像同一种评分", remedy)
    threshold, more = _liking(rated, given, table[~blank], counts)
    notes += more + note_rows(table, blank, f"{told} 空着", "没有评分，有交互就算喜欢")
    return number.where(~blank, max(float(rated.max()), threshold)), threshold, notes


def _liking(rated: pd.Series, given: float | None, table: pd.DataFrame, counts: bool) -> tuple[float, list[Note]]:
    """The least value of a liking, and sentences that say how the values were read.

    Ratings: the upper fifth of the scale (4 of 5, 8 of 10). Yes or no, also with a nought between (0/1, -1/0/1), and
    scales that reach as far below nought as above: what is positive. Counts: whatever happened at all.
    """
    low, top, levels = float(rated.min()), float(rated.max()), rated.nunique()
    if given is not None:
        return given, [Note(f"value 最高 {top:g}，不低于 {given:g} 的算喜欢{_CHANGE}")]
    told = table.attrs.get("value", "value")
    if top <= 0:
        lacks = f"{table.attrs['path']} 的 {told} 没有一个大于 0，看不出谁喜欢什么"
        raise DataError(f"{lacks}，请让喜欢的值大于 0，没有评分可删去整列。")
    least = float(rated[rated > 0].min())
    if levels == 1:
        return top, [Note("value 没有等级，每条交互都算喜欢")]
    if top <= 1 and levels <= 3:
        below = "、".join(f"{v:g}" for v in sorted(rated.unique())[:-1])
        return top, [Note(f"value 只有 {levels} 种，{top:g} 算喜欢，{below} 不算{_CHANGE}")]
    if counts or _are_counts(rated):
        shape = f"一半不超过 {rated.median():g}，最高 {top:g}"
        return least, [Note(f"value 像是次数（{shape}），大于 0 的都算喜欢{_CHANGE}")]
    if low < 0 and -low >= top / 2:
        return least, [Note(f"value 从 {low:g} 到 {top:g}，大于 0 的算喜欢，0 和负数不算{_CHANGE}")]
    threshold = float(np.ceil(0.8 * top))
    threshold = threshold if 1 < threshold <= top else 0.8 * top  # shares and the like have no whole steps
    notes = [Note(f"value 最高 {top:g}，不低于 {threshold:g} 的算喜欢{_CHANGE}")]
    marks = [(0.0, "0"), (-1.0, "-1")] if top > 1 else []
    for mark, name in marks:
        share = float((rated == mark).mean())
        done = f"按不喜欢算；若 {name} 表示没打分，请把这些格留空（空着算喜欢）"
        notes += note_rows(table, rated == mark, f"value 有 {share:.1%} 是 {name}", done)
    return threshold, notes


def _are_counts(rated: pd.Series) -> bool:
    """True where values look like how often or how long: a long tail, or fewer and fewer from 1 on."""
    top, median = rated.max(), rated.median()
    positive = rated[rated > 0]
    whole, mode = not (positive % 1).any(), positive.mode().min()
    if rated.min() < 0 or top <= 1:
        return False
    if top <= 10:
        sizes = positive.value_counts().sort_index()
        if (positive * 2 % 1).any():  # neither whole nor half: how long, or what share was watched
            return bool(median <= top / 5)
        steady = len(sizes) > 1 and (sizes.to_numpy()[1:] <= 1.1 * sizes.to_numpy()[:-1]).all()
        every = whole and len(sizes) == top
        return bool(len(positive) >= 20 and every and steady and _falls(positive))
    return bool(median <= top / 5 or whole and top != 100 and median <= top / 2 and mode <= top / 5)


def _falls(positive: pd.Series) -> bool:
    """True where the least value is by far the most frequent one, as with counts and hardly ever with ratings."""
    sizes = positive.value_counts().sort_index().to_numpy()
    return bool(sizes[0] == sizes.max() and sizes[0] >= 1.3 * sizes[1:].max(initial=0)) and (
        positive.median() <= positive.max() / 2
    )


def _strays(rated: pd.Series) -> pd.Series:
    """Which values lie off the scale of all others: 99 or -5 in a few rows among ratings of 1 to 5."""
    sizes = rated.value_counts().sort_index()
    levels = sizes.index.to_numpy()
    none = pd.Series(False, index=rated.index, name=rated.name)
    if levels[-1] <= 1:
        return none

    def few(mask: pd.Series, scale: pd.Series) -> bool:
        full = scale.max() in _SCALES and scale.nunique() >= 3
        return mask.any() and (mask.mean() <= _RARE or full and mask.sum() <= 3 and mask.mean() <= 0.2)

    above = none
    for level, following in zip(levels, levels[1:]):
        if not (2 < level <= 100 and following >= 1.5 * level):
            continue
        high, bulk = rated > level, rated[(rated <= level) & (rated > 0)]
        like_ratings = not _falls(bulk) if level <= 10 else bulk.median() >= level / 2
        if few(high, bulk) and like_ratings:
            above = high
            break
    below, rest = rated < 0, rated[(rated >= 0) & ~above]
    return above | below if rest.max() <= 100 and few(below, rest) else above
