"""Names that people give to the columns of their tables, and what the course calls them."""

import difflib
import re
import unicodedata
from functools import partial
from pathlib import Path

import pandas as pd

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.faults import Note, gather

_USER = """user uid member_id customer_id buyer_id visitor_id account_id reviewer_id 用户 用户id 用户编号 用户名 会员id
会员编号 会员号 买家id 客户id 客户编号 读者id"""
_ITEM = """item iid goods_id product_id sku_id sku spu_id movie_id film_id book_id news_id article_id video_id song_id
content_id doc_id asin 物品 物品id 物品编号 商品id 商品编号 商品编码 货号 电影id 影片id 图书id 书籍id 新闻id 文章id
视频id 歌曲id 内容id"""
_TIME = """time ts date datetime event_time created_at create_time created_time rating_timestamp review_time
unix_review_time order_time pay_time click_time 时间 时间戳 日期 下单时间 购买时间 付款时间 支付时间 成交时间 点击时间
浏览时间 评分时间 评价时间 交互时间 创建时间"""
_RATING = "rating score star stars rate label 评分 打分 分数 得分 星级 评级"
COUNTS = "count counts plays play_count quantity qty 次数 数量 播放次数 播放量 购买次数 购买数量 点击次数"
_USUAL = {
    "items": {
        "item_id": f"id {_ITEM}",
        "title": """name item_name item_title product_name product_title goods_name movie_title 标题 名称 题目 品名
            商品名称 商品名 商品标题 物品名称 片名 电影名 书名 歌名""",
        "text": """description desc content abstract summary intro introduction synopsis overview 文本 描述 简介 内容
            正文 摘要 介绍 详情 商品描述 商品简介 剧情简介 内容简介""",
        "category": "categories cate genre genres 类目 类别 分类 品类 类型 商品类目 商品分类",
        "published": "published_at publish_time 发布时间 上架时间",
    },
    "users": {"user_id": f"id {_USER}", "text": "profile bio intro 资料 简介 描述 自我介绍"},
    "interactions": {"user_id": _USER, "item_id": _ITEM, "timestamp": _TIME, "value": f"{_RATING} {COUNTS}"},
}


def plain(name: str) -> str:
    """A name without case, blanks and hyphens: userId, User ID and user_id are one.

    >>> plain("User ID") == plain("userId") == plain("user_id")
    True
    """
    return re.sub(r"[\s_.\-]+", "", unicodedata.normalize("NFKC", name)).lower()


_MEANT = {
    kind: {plain(word): ours for ours, words in columns.items() for word in (ours, *words.split())}
    for kind, columns in _USUAL.items()
}
_COUNTS = frozenset(map(plain, COUNTS.split()))


def is_known(name: str, kind: str) -> bool:
    return plain(name) in _MEANT[kind]


def is_count(name: str) -> bool:
    """True for a column that is called a number of times."""
    return plain(name) in _COUNTS


def our_columns(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The table with our names for usual ones, and notes in attrs["notes"] on columns that were taken or aren't used.

    kind: items, users or interactions. Columns that aren't used stay. attrs["value"] is what the file calls the value.
    Raises DataError where several columns might be one of ours, and none bears our name itself.
    """
    path, meant = table.attrs["path"], _MEANT[kind]
    found: dict[str, list[str]] = {}
    for name in table.columns:
        if plain(name) in meant:
            found.setdefault(meant[plain(name)], []).append(name)
    chosen = {ours: _ours_first(names, ours) for ours, names in found.items()}
    gather(*(partial(_refuse_several, path, ours, names) for ours, names in chosen.items() if len(names) > 1))
    names = {theirs[0]: ours for ours, theirs in chosen.items()}
    taken = [f"{theirs} 列当作 {ours}" for theirs, ours in names.items() if theirs != ours]
    unused = [name for name in table.columns if name not in names]
    near = {name: close for name in unused if (close := _near(name, kind)) and close not in chosen}
    notes = [Note(f"{path.name}：{'、'.join(taken)}")] if taken else []
    if unused:
        likely = "".join(f"，{name} 像是 {ours} 写错了，要用请改名" for name, ours in near.items())
        notes.append(Note(f"{path.name} 没有用到的列：{'、'.join(unused)}{likely}"))
    value = next((theirs for theirs, ours in names.items() if ours == "value"), "value")
    table = table.rename(columns=names)
    table.attrs |= {"path": path, "value": value, "notes": [*table.attrs.get("notes", []), *notes]}
    return table


def near_names(columns: list[str], missing: list[str], kind: str) -> str:
    """What a missing column may be called instead, for the end of a sentence; "" where nothing is like it."""
    near = {name: _near(name, kind) for name in columns}
    return "".join(f"，{name} 像是 {ours} 写错了" for name, ours in near.items() if ours in missing)


def _near(name: str, kind: str) -> str | None:
    """Our name of the column that this one is likely a slip of the pen for."""
    if plain(name) in _MEANT[kind]:
        return None
    close = difflib.get_close_matches(plain(name), _MEANT[kind], n=1, cutoff=0.8)
    return _MEANT[kind][close[0]] if close and len(plain(name)) > 3 else None


def _ours_first(names: list[str], ours: str) -> list[str]:
    """The one that bears our name, letter by letter or nearly; else all. A bare `id` is a row's, beside others."""
    names = [name for name in names if plain(name) != "id"] or names
    return [ours] if ours in names else [name for name in names if plain(name) == plain(ours)] or names


def _refuse_several(path: Path, ours: str, theirs: list[str]) -> None:
    raise DataError(f"{path} 第 1 行的列 {'、'.join(theirs)} 都可能是 {ours}，请把要用的一列改名为 {ours}。")
