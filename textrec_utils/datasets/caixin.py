"""caixin: reads of news on caixin.com, March 2014."""

import pandas as pd

from textrec_utils.datasets.dataset import Dataset, users_seen
from textrec_utils.datasets.downloads import fetch
from textrec_utils.datasets.tables import read_table

_SOURCE = (
    "https://raw.githubusercontent.com/X-Brain/News-Recommend-System/2b5deff84166a7b771c86e0a23bd1835142ed2ff"
    "/test/train_date_set1"
)
CHINA_OFFSET = 8 * 3600  # Beijing time is UTC+8 all year
ROBOT_READS = 1000  # reads in one month; the busiest reader below that has 526, the two above 1,473 and 3,713


def load_caixin() -> Dataset:
    names = ["user_id", "item_id", "timestamp", "title", "day"]
    days = [read_table(path, "\t", names=names) for path in fetch("caixin", _SOURCE)]
    reads = pd.concat(days, ignore_index=True).astype({"timestamp": "int64", "day": int})
    per_user = reads["user_id"].value_counts()
    robots = per_user[per_user > ROBOT_READS]
    removed = f"去掉 {len(robots)} 个疑似机器人的用户（一个月内点击 {'、'.join(map(str, robots))} 次）"
    midnight = int(pd.Timestamp("2014-03-01", tz="UTC").timestamp()) - CHINA_OFFSET
    # One story often stands under several ids (website, magazine, column). Kept apart, a list would repeat what
    # was just read, and a "new" item could have a twin in training: the first published id stands for all.
    ids = reads.drop_duplicates("item_id").sort_values(["day", "item_id"])
    items = ids.drop_duplicates("title")[["item_id", "title", "day"]]
    reads["item_id"] = reads["title"].map(items.set_index("title")["item_id"])
    twins = f"把标题完全相同的 {len(ids)} 个新闻编号合并为 {len(items)} 篇（同一篇的多个编号归到最早发表的一个）"
    items = items.assign(text=items["title"], published=midnight + (items["day"] - 1) * 86400).drop(columns="day")
    kept = reads[~reads["user_id"].isin(robots.index)]
    return Dataset(
        "caixin", items, users_seen(kept), kept[["user_id", "item_id", "timestamp"]].assign(value=1.0),
        licence="未声明：仅供教学与研究，不得再分发",
        source="财新网 2014 年 3 月点击日志（第二届中国大数据技术创新大赛）",
        removed=(removed, twins), default_protocol="temporal", fresh_days=1.0,
    )  # fmt: skip
