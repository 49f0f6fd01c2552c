"""hetrec-lastfm: who listened to which artists on Last.fm, and who is whose friend (Cantador et al. 2011)."""

from itertools import islice
from pathlib import Path

import pandas as pd

from textrec_utils.datasets.dataset import Dataset, users_seen
from textrec_utils.datasets.downloads import fetch
from textrec_utils.datasets.tables import read_table, rows_of

_SOURCE = "https://raw.githubusercontent.com/slarsen88/CS401/30ae72b333b516cd9482208270890fa841d52f46"
HEAD = 2  # lines of counts before each table of pairs


def load_lastfm() -> Dataset:
    """users: with a column `friends`, ids joined by `|`; the links go both ways. No times; texts are artists' names."""
    artists, listened, links = fetch("hetrec-lastfm", _SOURCE)
    artists = read_table(artists, "\t").rename(columns={"id": "item_id", "name": "title"})
    plays = _pairs(listened, ["user_id", "item_id", "value"]).astype({"value": float})
    friends = _pairs(links, ["user_id", "friend"]).groupby("user_id")["friend"].agg("|".join)
    heard = artists["item_id"].isin(plays["item_id"])
    users = users_seen(plays)
    return Dataset(
        "hetrec-lastfm", artists[heard].assign(text=artists["title"])[["item_id", "title", "text"]],
        users.assign(friends=users["user_id"].map(friends).fillna("")), plays.assign(timestamp=0),
        licence="GroupLens：研究用途，不再分发", source="HetRec 2011 的 Last.fm：每人听得最多的50位艺人，和朋友关系",
        language="en", has_time=False,
        removed=(f"去掉 {int((~heard).sum())} 位没有人听的艺人",) if not heard.all() else (),
    )  # fmt: skip


def _pairs(path: Path, names: list[str]) -> pd.DataFrame:
    """A table of pairs after its two lines of counts: of users, and of rows."""
    return pd.DataFrame([row for _, row in islice(rows_of(path, "\t"), HEAD, None)], columns=names)
