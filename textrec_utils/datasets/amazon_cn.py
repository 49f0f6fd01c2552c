"""amazon-cn: ratings on amazon.cn, 2004–2014, of 96 products."""

from textrec_utils.datasets.dataset import Dataset, users_seen
from textrec_utils.datasets.downloads import fetch
from textrec_utils.datasets.tables import read_table

_SOURCE = (
    "https://raw.githubusercontent.com/RyanCodding/ECommerceRecommendSystem"
    "/32b9c9be29916ad11640292a542d32e0e73b6d8f/recommender/DataLoader/src/main/resources"
)


def load_amazon_cn() -> Dataset:
    about, given = fetch("amazon-cn", _SOURCE)
    names = ["item_id", "title", "category_ids", "asin", "picture", "category", "tags"]
    products = read_table(about, "^", names=names)
    # The tags come from buyers' reviews, after the choice: in the text they would leak what is to be predicted.
    products["review_tags"] = products["tags"].str.replace("|", "、", regex=False)
    products["text"] = products["title"] + "。" + products["category"].str.replace("|", "、", regex=False)
    ratings = read_table(given, names=["user_id", "item_id", "value", "timestamp"])
    ratings = ratings.astype({"value": float, "timestamp": "int64"})
    known = ratings["item_id"].isin(products["item_id"])
    removed = (f"去掉 {int((~known).sum())} 条没有商品信息的评分",) if not known.all() else ()
    ratings = ratings[known]
    return Dataset(
        "amazon-cn", products[["item_id", "title", "text", "category", "review_tags"]], users_seen(ratings),
        ratings[["user_id", "item_id", "timestamp", "value"]],
        licence="未声明（代码 MIT，不覆盖数据）：仅供教学与研究", source="amazon.cn 商品评分 2004–2014",
        min_value=4.0, removed=removed,
    )  # fmt: skip
