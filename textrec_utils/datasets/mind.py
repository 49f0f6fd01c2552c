"""MIND (Wu et al. 2020): news.tsv (id, category, subcategory, title, abstract, …) and behaviors.tsv (impressions)."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.own_folder import from_tables
from textrec_utils.datasets.tables import need, refuse
from textrec_utils.datasets.tabs import read_tabs

LIKE_THIS = "请写成 MIND 的样子：11/11/2019 9:05:58 AM"


def load_mind(folder: Path) -> Dataset:
    """Clicks of the impressions, and each user's history before the first of them."""
    for name in ("news.tsv", "behaviors.tsv"):
        if not (folder / name).exists():
            raise DataError(f"文件夹 {folder} 里没有 {name}，请把 MIND 的 news.tsv 和 behaviors.tsv 都放进去。")
    news = read_tabs(folder / "news.tsv", names=["item_id", "category", "sub", "title", "abstract"])
    need(news)
    headed = news["title"].str.strip().str.lower() == "title"
    refuse(news, headed & (news.index == news.index[0]), "像是表头", "MIND 的文件没有表头，请删掉这一行")
    news["text"] = [f"{a}。{b}" if a and b else a + b for a, b in zip(news["title"].str.strip(), news["abstract"])]
    columns = ["impression", "user_id", "time", "history", "impressions"]
    behaviors = read_tabs(folder / "behaviors.tsv", names=columns)
    need(behaviors)
    behaviors["stamp"] = _seconds(behaviors)
    shown = behaviors["impressions"]
    clicks = shown.str.findall(r"(\S+)-1(?=\s|$)")
    if not clicks.str.len().any():
        told = f"{folder / 'behaviors.tsv'} 里没有一次点击（impressions 一列里 N123-1 这样的）"
        raise DataError(f"{told}；MIND 的测试集不带点击，请换成训练集或验证集。")
    odd = ~shown.str.fullmatch(r"\s*(\S+-[01](\s+|$))*")
    refuse(behaviors, odd, "impressions 读不懂", "请写成 N123-1 N456-0 这样，1 是点了，0 是没点")
    rows = [
        (line, user, item, stamp)
        for line, user, stamp, items in zip(behaviors.index, behaviors["user_id"], behaviors["stamp"], clicks)
        for item in items
    ]
    # History clicks have no time of their own; they lie before the user's first impression, in order.
    for first in behaviors.sort_values("stamp", kind="stable").drop_duplicates("user_id").itertuples():
        history = first.history.split()
        rows += [(first.Index, first.user_id, item, first.stamp - len(history) + n) for n, item in enumerate(history)]
    interactions = pd.DataFrame(rows, columns=["line", "user_id", "item_id", "timestamp"]).set_index("line")
    interactions["timestamp"] = interactions["timestamp"].astype(str)
    interactions.attrs["path"] = folder / "behaviors.tsv"
    dataset = from_tables(folder.name, news, None, interactions)
    notes = ("history 里的点击没有时间，按次序排在该用户第一次曝光之前，每条隔一秒",)
    return replace(dataset, language="en", removed=notes + dataset.removed)


def _seconds(behaviors: pd.DataFrame) -> pd.Series:
    """UTC seconds of the impressions; DataError with the line where one can't be read or was never."""
    when = pd.to_datetime(behaviors["time"], errors="coerce", format="%m/%d/%Y %I:%M:%S %p")
    if pd.isna(when.iloc[0]) and when.notna().any():
        first = f"{behaviors.attrs['path']} 第 {behaviors.index[0]} 行：时间 {behaviors['time'].iloc[0]!r} 读不懂"
        raise DataError(f"{first}，{LIKE_THIS}；若是表头，请删掉：MIND 的文件没有表头。")
    refuse(behaviors, when.isna(), "时间 {} 读不懂", LIKE_THIS)
    now = pd.Timestamp.now() + pd.Timedelta(days=1)
    never = ~when.between(pd.Timestamp(1990, 1, 1), now)
    refuse(behaviors, never, "时间 {} 不在 1990 年到今天之间", "请改好或删掉该行")
    return pd.Series(when.to_numpy().astype("datetime64[s]").astype("int64"), index=behaviors.index)
