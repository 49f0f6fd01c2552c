"""MIND (Wu et al. 2020): news.tsv (id, category, subcategory, title, abstract, …) and behaviors.tsv (impressions)."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.own_folder import from_tables
from textrec_utils.datasets.tables import need, read_table, refuse


def load_mind(folder: Path) -> Dataset:
    """Clicks of the impressions, and each user's history before the first of them."""
    news = read_table(folder / "news.tsv", "\t", names=["item_id", "category", "sub", "title", "abstract"])
    news["text"] = news["title"] + "。" + news["abstract"]
    columns = ["impression", "user_id", "time", "history", "impressions"]
    behaviors = read_table(folder / "behaviors.tsv", "\t", names=columns)
    need(behaviors)
    when = pd.to_datetime(behaviors["time"], errors="coerce", format="%m/%d/%Y %I:%M:%S %p")
    refuse(behaviors, when.isna(), "时间 {} 读不懂", "请写成 MIND 的样子：11/11/2019 9:05:58 AM")
    behaviors["stamp"] = when.to_numpy().astype("datetime64[s]").astype("int64")
    clicks = behaviors["impressions"].str.findall(r"(\S+)-1(?=\s|$)")
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
    return replace(from_tables(folder.name, news, None, interactions), language="en")
