"""kuairec: short videos watched more than twice over, from KuaiRec's small matrix; ships with the course."""

import pandas as pd

from textrec_utils.datasets.dataset import Dataset, users_seen
from textrec_utils.datasets.downloads import shipped
from textrec_utils.datasets.tables import read_table


def load_kuairec() -> Dataset:
    interactions, videos = (read_table(path) for path in shipped("kuairec"))
    videos = videos.replace("UNKNOWN", "")
    tags = videos["topic_tag"].str.strip("[]").str.replace(",", " ")
    levels = [f"{level}_level_category_name" for level in ("first", "second", "third")]
    text = (videos["caption"] + " " + videos["manual_cover_text"] + " " + tags).str.split().str.join(" ")
    for level in levels:
        text = text + "。" + videos[level]
    items = pd.DataFrame({
        "item_id": videos["item_id"], "title": videos["caption"].where(videos["caption"] != "", videos[levels[0]]),
        "text": text.str.replace(r"。(?=。)", "", regex=True).str.strip("。 "), "category": videos[levels[0]],
    })  # fmt: skip
    silent = items["text"] == ""
    items.loc[silent, ["title", "text"]] = "（没有文字的视频）"
    return Dataset(
        "kuairec", items, users_seen(interactions), interactions.assign(timestamp=0, value=1.0),
        licence="CC BY-SA 4.0", source="KuaiRec 小矩阵（Gao et al. 2022），观看比例 > 2 的视频", has_time=False,
        removed=(  # the first two were done before the files were shipped: data/kuairec/README.md
            "去掉 4 行残行（标题里有换行，被源文件拆开）",
            "去掉 7452 个没有任何观看记录的视频",
            f"{int(silent.sum())} 个视频没有标题、标签和类别，文本写作“（没有文字的视频）”",
        ),
    )  # fmt: skip
