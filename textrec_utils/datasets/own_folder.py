"""A reader's own data: items.csv and interactions.csv (optional users.csv), checked before they are trusted.

The other formats end here too: their files become the same three tables, and meet the same checks.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.dataset import Dataset, users_seen
from textrec_utils.datasets.tables import need, read_table, refuse
from textrec_utils.datasets.times import seconds_of


def load_own_folder(folder: Path) -> Dataset:
    items, users, interactions = (folder / f"{name}.csv" for name in ("items", "users", "interactions"))
    users = read_table(users) if users.exists() else None
    return from_tables(folder.name, read_table(items), users, read_table(interactions))


def from_tables(
    name: str, items: pd.DataFrame, users: pd.DataFrame | None, interactions: pd.DataFrame, *,
    min_value: float | None = None,
) -> Dataset:  # fmt: skip
    """A dataset from tables as `read_table` gives them: all columns text, index = line, attrs["path"] = file.

    min_value: the least value of a liking (None: told by the values' scale). Raises DataError with file and line.
    """
    items, notes = _check_items(items)
    checked, more = _check_interactions(interactions, items)
    has_time = "timestamp" in interactions.columns
    threshold, note = _liking(checked["value"], min_value, interactions.attrs["path"])
    notes = [note, *notes, *more] if has_time else [note, *notes, *more, "没有 timestamp 列，只能随机划分"]
    everyone = users_seen(checked)
    if users is not None:
        _check_ids(users, "user_id", unique=True)
        users = users if "text" in users.columns else users.assign(text="")
        unlisted = everyone[~everyone["user_id"].isin(users["user_id"])]
        if len(unlisted):
            notes.append(f"{len(unlisted)} 个用户只有交互、没有资料，文本按空处理")
        everyone = pd.concat([users, unlisted], ignore_index=True).fillna("")
    return Dataset(
        name, items, everyone, checked, licence="由数据所有者决定", source=name, min_value=threshold,
        has_time=has_time, removed=tuple(notes),
    )  # fmt: skip


def _check_ids(table: pd.DataFrame, *columns: str, unique: bool = False) -> None:
    need(table, *columns)
    for column in columns:
        refuse(table, table[column] == "", f"{column} 为空", "请补上或删掉该行")
        if unique:
            refuse(table, table[column].duplicated(), f"{column} {{}} 重复出现", "只能有一行，请合并或改号")


def _check_items(items: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    need(items, "item_id", "title")
    _check_ids(items, "item_id", unique=True)
    text = items.get("text", items["title"])
    items = items.assign(text=text.where(text.str.strip() != "", items["title"]))
    refuse(items, items["text"].str.strip() == "", "title 和 text 都为空", "请至少填一个")
    if "published" not in items.columns:
        return items, []
    seconds, notes = seconds_of(items, "published")
    return items.assign(published=seconds), notes


def _check_interactions(table: pd.DataFrame, items: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The four columns of `Dataset.interactions`, and notes on what was changed."""
    _check_ids(table, "user_id", "item_id")
    unknown = ~table["item_id"].isin(items["item_id"])
    refuse(table, unknown, f"item_id {{}} 不在 {items.attrs['path'].name} 里", "请补上该物品，或删掉这些交互")
    value, (stamp, notes) = pd.Series(1.0, index=table.index), (pd.Series(0, index=table.index), [])
    if "value" in table.columns:
        value = pd.to_numeric(table["value"], errors="coerce").astype(float)
        told = table.attrs.get("value", "value")  # what the file calls it
        refuse(table, ~np.isfinite(value), f"{told} {{}} 不是数", "请填数字，没有评分可删去整列")
    if "timestamp" in table.columns:
        stamp, notes = seconds_of(table, "timestamp")
    return table[["user_id", "item_id"]].assign(timestamp=stamp, value=value), notes


def _liking(value: pd.Series, given: float | None, path: Path) -> tuple[float, str]:
    """The least value of a liking, and the sentence that says how the values were read.

    Ratings: the upper fifth of the scale (4 of 5, 8 of 10). Yes or no, also with a nought between (0/1, -1/0/1): yes.
    Counts, told by half of them lying in the lowest fifth: whatever happened at all. One value only: every event.
    """
    top, levels = value.max(), value.nunique()
    change = "（可用参数 min_value 改）"
    if given is not None:
        return given, f"value 最高 {top:g}，不低于 {given:g} 的算喜欢{change}"
    if top <= 0:
        raise DataError(f"{path} 的 value 没有一个大于 0，看不出谁喜欢什么，请让喜欢的值大于 0，没有评分可删去整列。")
    if levels == 1:
        return float(top), "value 没有等级，每条交互都算喜欢"
    if top <= 1 and levels <= 3:
        below = "、".join(f"{v:g}" for v in sorted(value.unique())[:-1])
        return float(top), f"value 只有 {levels} 种，{top:g} 算喜欢，{below} 不算{change}"
    if value.min() >= 0 and value.median() <= top / 5:
        least = value[value > 0].min()
        return float(least), f"value 像是次数（一半不超过 {value.median():g}，最高 {top:g}），大于 0 的都算喜欢{change}"
    threshold = float(np.ceil(0.8 * top)) if top > 1 else 0.8 * float(top)
    return threshold, f"value 最高 {top:g}，不低于 {threshold:g} 的算喜欢{change}"
