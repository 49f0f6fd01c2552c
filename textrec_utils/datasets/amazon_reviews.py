"""Amazon Reviews 2023 (Hou et al. 2024): meta_NAME.jsonl[.gz] and NAME.jsonl[.gz], one JSON object a line."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.own_folder import from_tables
from textrec_utils.datasets.tables import lines_of


def load_amazon_reviews(folder: Path, *, on_missing: str = "refuse") -> Dataset:
    """Item = parent_asin, text = title, features, description. Products without text or reviews are left out.

    The reviews' own words are left out: they are written after the choice that a recommender is to predict.
    """
    metas = sorted(folder.glob("meta_*.jsonl*"))
    if len(metas) > 1:
        raise DataError(f"文件夹 {folder} 里有 {len(metas)} 个 meta_*.jsonl 文件，请每次只放一个品类。")
    meta = metas[0]
    beside = meta.with_name(meta.name.removeprefix("meta_"))
    name = beside.name.split(".")[0]
    review = next((p for p in (beside, *sorted(folder.glob(name + ".jsonl*"))) if p.exists()), None)
    if review is None:
        raise DataError(f"找不到 {meta.name} 对应的评论文件 {beside}，请放在同一个文件夹里。")
    products: dict[str, tuple[str, str, str]] = {}
    for _, row in _objects(meta, "parent_asin"):
        title, features, description, main = map(row.get, ("title", "features", "description", "main_category"))
        text = "。".join(" ".join(p.split()) for field in (title, features, description) for p in _words(field))
        category = "|".join(_words(row.get("categories")) or _words(main))
        products[_id(row["parent_asin"])] = ("".join(_words(title)), text, category)
    known = {item for item, (_, text, _) in products.items() if text.strip()}
    rows, lost = [], 0
    for line, row in _objects(review, "user_id", "parent_asin", "rating", "timestamp"):
        user, item, rating, stamp = map(row.get, ("user_id", "parent_asin", "rating", "timestamp"))
        if _id(item) not in known:
            lost += 1
            continue
        seconds = stamp // 1000 if isinstance(stamp, int | float) else stamp  # milliseconds
        rows.append((line, _id(user), _id(item), str(seconds), str(rating)))
    if not rows:
        raise DataError(f"{review} 里没有一条评论的商品在 {meta.name} 里，请检查两个文件是不是同一个品类。")
    interactions = pd.DataFrame(rows, columns=["line", "user_id", "item_id", "timestamp", "value"]).set_index("line")
    interactions.attrs.update(path=review, value="rating")
    reviewed = set(interactions["item_id"])
    kept = [(item, *fields) for item, fields in products.items() if item in reviewed]
    items = pd.DataFrame(kept, columns=["item_id", "title", "text", "category"])
    items.attrs["path"] = meta
    dataset = from_tables(name, items, None, interactions, min_value=4.0, on_missing=on_missing)
    removed = [*dataset.removed, f"去掉 {lost} 条评论，其商品没有资料或没有文字"] if lost else [*dataset.removed]
    if idle := len(known) - len(items):
        removed.append(f"去掉 {idle} 个没有一条评论的商品")
    licence, source = "由数据所有者决定（研究用途）", "Amazon Reviews 2023（Hou et al. 2024）"
    return replace(dataset, licence=licence, source=source, language="en", removed=tuple(removed))


def _id(value: object) -> str:
    return str(value).strip()


def _words(field: object) -> list[str]:
    """The non-empty strings of a field that is a string, a list of them, or nothing."""
    return [str(part) for part in (field if isinstance(field, list) else [field]) if part]


def _objects(path: Path, *needed: str) -> Iterator[tuple[int, dict]]:
    """(line number, object) of each line; DataError with the line where one is no JSON object or lacks a field."""
    for number, line in enumerate(lines_of(path), 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{path} 第 {number} 行不是 JSON 对象，请重新下载或删掉该行。")
        missing = [name for name in needed if row.get(name) in (None, "")]
        if missing:
            raise DataError(f"{path} 第 {number} 行缺少 {'、'.join(missing)}，请补上或删掉该行。")
        yield number, row
