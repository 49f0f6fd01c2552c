"""RecBole's atomic files: NAME.inter, NAME.item, optional NAME.user; tab-separated, header `name:type`.

Instead of NAME.inter a folder may hold a split: NAME.train.inter, NAME.test.inter and, to choose by, NAME.valid.inter.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.own_folder import from_tables
from textrec_utils.datasets.tables import need
from textrec_utils.datasets.tabs import read_tabs

PARTS = ("train", "valid", "test")
TYPES = ("token", "token_seq", "float", "float_seq")
VALUES = ("label", "value", "rating")  # what says how much somebody likes something; the first that is there
POPULAR = {"rank", "rating", "ratings", "stars", "score", "votes", "popularity"}  # words in a column's name


def load_recbole(folder: Path) -> Dataset:
    """The one dataset of the folder. A text is all columns of words but the id; numbers, ranks and ratings are none."""
    name, files = _files(folder)
    items, notes = _items(folder, name)
    user = folder / f"{name}.user"
    users = _with_text(user, "user_id", "，")[0] if user.exists() else None
    tables = [_read(path) for path in files]
    for table in tables:
        need(table, "user_id", "item_id")
        if "item_id_list" in table:
            told = f"{table.attrs['path']} 是展开成序列的（有 item_id_list 一列），前面几次交互不在行里"
            raise DataError(f"{told}，请换成每次交互一行的 .inter。")
        if set(table.columns) != set(tables[0].columns):
            told = f"{table.attrs['path']} 第 1 行的列和 {files[0].name} 的不一样"
            raise DataError(f"{told}，请改成同样的列。")
    value = next((column for column in VALUES if column in tables[0]), None)
    used = ["user_id", "item_id", *(c for c in (value, "timestamp") if c in tables[0])]
    spare = [column for column in tables[0] if column not in used]
    if value:
        others = "、".join(column for column in VALUES if column in spare)
        more = f"（{others} 也有，没有用；想用它，请删去 {value} 一列）" if others else ""
        notes.append(f"喜欢不喜欢看 .inter 的 {value} 一列{more}")
    if rest := [column for column in spare if column not in VALUES]:
        notes.append(f".inter 里没有用到的列：{'、'.join(rest)}")
    tables = [table[used].rename(columns={value: "value"}) for table in tables]
    for table, path in zip(tables, files):
        table.attrs |= {"path": path, "value": value}
    dataset = from_tables(name, items, users, tables[0]) if len(tables) == 1 else _given(name, items, users, tables)
    return replace(dataset, removed=(*notes, *dataset.removed))


def _files(folder: Path) -> tuple[str, list[Path]]:
    """The dataset's name and its files of interactions: one, or those of a split that is given."""
    stems = {path.name.removesuffix(".inter") for path in folder.glob("*.inter")}
    whole = {s for s in stems if s.rpartition(".")[2] not in PARTS}
    names = sorted(whole or {s.rpartition(".")[0] for s in stems})
    if len(names) > 1:
        raise DataError(f"文件夹 {folder} 里有 {len(names)} 份数据（{'、'.join(names)}），请每次只放一份。")
    (name,) = names
    if whole:
        return name, [folder / f"{name}.inter"]
    if lost := [part for part in ("train", "test") if f"{name}.{part}" not in stems]:
        told = f"文件夹 {folder} 里缺 {name}.{lost[0]}.inter：要么 train 和 test 都给"
        raise DataError(f"{told}，要么请把全部交互写进 {name}.inter。")
    return name, [folder / f"{name}.{part}.inter" for part in PARTS if f"{name}.{part}" in stems]


def _given(name: str, items: pd.DataFrame, users: pd.DataFrame | None, tables: list[pd.DataFrame]) -> Dataset:
    """The parts as one, `part` telling which. The lines of later files count on after those of the earlier ones."""
    paths = [table.attrs["path"] for table in tables]
    last = 0
    joined = []
    for number, table in enumerate(tables):
        joined.append(table.set_axis(table.index + last).assign(part=number))
        last = joined[-1].index[-1]
    whole = pd.concat(joined)
    whole.attrs = tables[0].attrs | {"path": paths[0].with_name("、".join(path.name for path in paths))}
    try:
        dataset = from_tables(name, items, users, whole.drop(columns="part"))
    except DataError as error:
        for table in tables:  # the one at fault tells its own line; alone it may have other faults
            try:
                from_tables(name, items, users, table)
            except DataError as own:
                if _remedy(own) == _remedy(error):
                    raise own from None
        raise
    rows = dataset.interactions.assign(part=whole["part"])
    where = f"只在 {paths[1].name} 上选，不另分三次" if len(paths) == 3 else "在 train 里另分出来的验证上选"
    notes = [f"划分是给定的（{'、'.join(path.name for path in paths)}），设置{where}"]
    pairs = rows.drop_duplicates(["user_id", "item_id", "part"])
    if twice := int(pairs.duplicated(["user_id", "item_id"]).sum()):
        notes.append(f"{twice} 对用户和物品在不止一个文件里，只算时间最早的一次")
    removed = (*notes, *dataset.removed)
    return replace(dataset, interactions=rows, default_protocol="given", removed=removed)


def _remedy(error: DataError) -> str:
    return str(error).rpartition("，")[2]


def _items(folder: Path, name: str) -> tuple[pd.DataFrame, list[str]]:
    """The items with title and text, and notes on what is no text."""
    path = folder / f"{name}.item"
    if not path.exists():
        there = "、".join(sorted(p.name for p in folder.glob("*.item")))
        told = f"文件夹 {folder} 里没有 {path.name}{f'（有 {there}）' if there else ''}，物品的文字要在那里"
        raise DataError(f"{told}；请补上，表头像 item_id:token、title:token_seq。")
    items, texts, numbers = _with_text(path, "item_id", "。")
    if not texts:
        raise DataError(f"{path} 第 1 行没有一列文字（token 或 token_seq），请补上一列，例如 title:token_seq。")
    # A column called title is the title; else the first that is some title, some name, or anything at all.
    title = min(texts, key=lambda c: (c != "title", "title" not in c, "name" not in c))
    notes = [f"{path.name} 的 {'、'.join(numbers)} 不算文字（数，或说的是热度）"] if numbers else []
    return items.assign(title=items[title]), notes


def _read(path: Path) -> pd.DataFrame:
    """A table whose columns are called by their names alone; attrs["types"]: {name: type}."""
    types: dict[str, str] = {}

    def named(told: str) -> str:
        name, _, types[name] = told.strip().partition(":")
        return name

    table = read_tabs(path, header=named)
    untyped = [name for name, kind in types.items() if name and kind not in TYPES]
    if untyped:
        told = f"{path} 第 1 行的 {'、'.join(untyped)} 没有写对类型"
        raise DataError(f"{told}，请写成 title:token_seq 这样，类型有 {'、'.join(TYPES)}。")
    table.attrs["types"] = types
    return table


def _with_text(path: Path, key: str, glue: str) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The table with a column `text`; which columns it is made of, and which are numbers or tell of popularity."""
    table = _read(path)
    need(table, key)
    types = table.attrs["types"]
    others = [column for column in table if column != key]
    texts = [c for c in others if types[c].startswith("token") and not POPULAR & set(c.lower().split("_"))]
    text = [glue.join(filter(None, map(str.strip, cells))) for cells in zip(*(table[c] for c in texts))] or ""
    return table.assign(text=text), texts, [column for column in others if column not in texts]
