"""A reader's own data: items.csv and interactions.csv (optional users.csv), checked before they are trusted.

The other formats end here too: their files become the same three tables, and meet the same checks.
"""

import difflib
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.columns import is_known, near_names, our_columns
from textrec_utils.datasets.dataset import Dataset, users_seen
from textrec_utils.datasets.faults import MOST_MISSING, Note, gather, left_out, note_rows
from textrec_utils.datasets.ids import NOTHING, clean_ids, is_blank, meet, visible
from textrec_utils.datasets.tables import QUOTED, need, read_table, refuse
from textrec_utils.datasets.times import seconds_of
from textrec_utils.datasets.values import values_of
from textrec_utils.datasets.writing import encoding_of, separator_of

TITLE = 20  # letters of a text that stand for a title that isn't there
_NEEDED = {"items": ("item_id", "title"), "users": ("user_id",), "interactions": ("user_id", "item_id")}
_UNTIMED = "没有 timestamp 列，只能随机划分"


def load_own_folder(folder: Path, *, on_missing: str = "refuse") -> Dataset:
    """Tables as people export them: usual encodings, separators and names of columns are read, and said.

    on_missing: "refuse" or "drop" items without words, and interactions without an id, a time or a listed item
    (up to `faults.MOST_MISSING` of the rows).
    """
    kinds = ["items", "interactions", *["users"] * (folder / "users.csv").exists()]
    tables = dict(zip(kinds, gather(*(partial(_read, folder / f"{kind}.csv", kind) for kind in kinds))))
    users = tables.get("users")
    if spare := sorted(path.name for path in folder.glob("*.csv") if path.stem not in kinds):
        tables["items"].attrs["notes"].append(Note(f"没有读的文件：{'、'.join(spare)}"))
    return from_tables(folder.name, tables["items"], users, tables["interactions"], on_missing=on_missing)


def from_tables(
    name: str, items: pd.DataFrame, users: pd.DataFrame | None, interactions: pd.DataFrame, *,
    min_value: float | None = None, on_missing: str | None = None,
) -> Dataset:  # fmt: skip
    """A dataset from tables as `read_table` gives them: all columns text, index = line, attrs["path"] = file.

    attrs["notes"], where a table has them, are told too. min_value: the least value of a liking (None: told by the
    values' scale). on_missing: as in `load_own_folder`; None: this format can't drop, and doesn't speak of it.
    Raises DataError with file and line; where there are several faults, one sentence tells them all.
    """
    given = [table for table in (items, interactions, users) if table is not None]
    read = [note for table in given for note in table.attrs.get("notes", [])]
    (items, spoken, of_items), (rows, known, of_rows), values, (stamp, timed, of_times), (users, of_users) = gather(
        partial(_check_items, items, on_missing), partial(_check_rows, interactions, items, on_missing),
        partial(values_of, interactions, min_value), partial(_check_times, interactions, on_missing),
        partial(_check_users, users),
    )  # fmt: skip
    value, threshold, of_values = values
    heard = rows["item_id"].isin(items["item_id"][~spoken]).rename("item_id")
    of_rows += note_rows(rows, heard, "交互的物品没有文字", "随物品一起去掉")
    kept = known & timed & ~heard.to_numpy()
    if on_missing == "drop" and (gone := 1 - kept.mean()) > MOST_MISSING:  # each fault by itself may be rare
        raise DataError(
            f"{interactions.attrs['path'].name} 合起来要去掉 {gone:.0%} 的行，比留下的多，on_missing drop 也不去掉："
            "请先补上缺的编号、时间和物品的文字。"
        )
    checked = rows[["user_id", "item_id"]].assign(timestamp=stamp, value=value)[kept]
    has_time = "timestamp" in interactions.columns and not is_blank(interactions["timestamp"]).all()
    notes = [*of_values, *read, *of_items, *of_rows, *of_times]
    everyone = users_seen(checked)
    if users is not None:
        users, same = meet(users, "user_id", everyone["user_id"], interactions.attrs["path"].name)
        unlisted = everyone[~everyone["user_id"].isin(users["user_id"])]
        notes += [*of_users, *same]
        if len(unlisted):
            notes.append(Note(f"{len(unlisted):,} 个用户只有交互、没有资料", "文本按空处理"))
        everyone = pd.concat([users, unlisted], ignore_index=True).fillna("")
    return Dataset(
        name, items[spoken], everyone, checked, licence="由数据所有者决定", source=name, min_value=threshold,
        has_time=has_time, removed=tuple(notes),
    )  # fmt: skip


def _read(path: Path, kind: str) -> pd.DataFrame:
    """A table under our names, all columns text; attrs["notes"] says how it was read."""
    if not path.exists():
        if other := next(path.parent.glob(f"{path.stem}.xls*"), None):
            raise DataError(f"{other} 是 Excel 工作簿，请打开后另存为“CSV UTF-8”，文件名 {path.name}。")
        there = {other.name.lower(): other for other in path.parent.iterdir()}
        if close := difflib.get_close_matches(path.name, there, n=1, cutoff=0.8):
            raise DataError(f"找不到文件 {path}，{there[close[0]].name} 像是它，请改名为 {path.name}。")
    encoding, notes = encoding_of(path)
    sep, more = separator_of(path, encoding, partial(is_known, kind=kind))
    table = read_table(path, sep, encoding=encoding, header=lambda name: visible(_unquoted(name, sep)))
    if sep not in QUOTED:
        table = table.apply(lambda column: column.map(partial(_unquoted, sep=sep)))
        table.attrs["path"] = path
    table.attrs["notes"] = [*notes, *more]
    table = our_columns(table, kind)
    missing = [name for name in _NEEDED[kind] if name not in table.columns]
    need(table, *_NEEDED[kind], hint=near_names(list(table.columns), missing, kind))
    return table


def _unquoted(cell: str, sep: str) -> str:
    """A cell without quotes around it, where the reader has left them: Excel writes some beside tabs as well."""
    inside = sep not in QUOTED and len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if inside else cell


def _ids(table: pd.DataFrame, *columns: str) -> tuple[pd.DataFrame, list[Note]]:
    """The table with clean ids in these columns; all that is wrong with any of them is told."""
    need(table, *columns)
    cleaned = gather(*(partial(clean_ids, table, column) for column in columns))
    table = table.assign(**{column: one[column] for column, (one, _) in zip(columns, cleaned)})
    return table, [note for _, notes in cleaned for note in notes]


def _once(table: pd.DataFrame, column: str) -> None:
    """Refuse blank ids and those that stand in two rows."""
    gather(
        partial(refuse, table, table[column] == "", f"{column} 为空", "请补上或删掉该行"),
        partial(
            refuse, table, table[column].duplicated() & (table[column] != ""), f"{column} {{}} 重复出现",
            "只能有一行，请合并或改号",
        ),
    )  # fmt: skip


def _check_items(items: pd.DataFrame, on_missing: str | None) -> tuple[pd.DataFrame, np.ndarray, list[Note]]:
    """(items with title and text, which have any words, notes)."""
    need(items, "item_id", "title")
    (items, notes), (words, spoken, of_words), (published, of_published) = gather(
        partial(_listed, items, "item_id"), partial(_words, items, on_missing), partial(_published, items)
    )
    return items.assign(**words, **published), spoken, [*notes, *of_words, *of_published]


def _listed(table: pd.DataFrame, column: str) -> tuple[pd.DataFrame, list[Note]]:
    """The table with clean ids, each of which stands there once."""
    table, notes = _ids(table, column)
    _once(table, column)
    return table, notes


def _words(items: pd.DataFrame, on_missing: str | None) -> tuple[dict[str, pd.Series], np.ndarray, list[Note]]:
    """(title and text of each item, which have any words, notes): each stands for the other where that is empty."""
    given = {column: items[column] for column in ("title", "text") if column in items.columns}
    null = {column: cells.str.strip().isin(NOTHING) for column, cells in given.items()}
    words = {column: cells.where(~null[column] & (cells.str.strip() != ""), "") for column, cells in given.items()}
    title, text = words["title"], words.get("text", words["title"])
    silent = ((title == "") & (text == "")).rename("title")
    spoken, notes = left_out(items, silent, "title 和 text 都为空", "请至少填一个", on_missing)
    for column, mask in null.items():
        notes += note_rows(items, mask, f"{column} 写着 NULL 一类的词", "当作空的")
    untitled = (title == "") & ~silent
    notes += note_rows(items, untitled, "title 为空", f"用 text 的前 {TITLE} 个字代替")
    if "text" in words:
        notes += note_rows(items, (text == "") & ~silent, "text 为空", "用 title 代替")
    short = text.str.strip().str.slice(0, TITLE)
    return {"title": title.where(~untitled, short), "text": text.where(text != "", title)}, spoken, notes


def _published(items: pd.DataFrame) -> tuple[dict[str, pd.Series], list[Note]]:
    if "published" not in items.columns:
        return {}, []
    refuse(items, is_blank(items["published"]), "published 为空", "请补上，或删去整列")
    seconds, notes = seconds_of(items, "published")
    return {"published": seconds}, notes


def _check_rows(
    table: pd.DataFrame, items: pd.DataFrame, on_missing: str | None
) -> tuple[pd.DataFrame, np.ndarray, list[Note]]:
    """(interactions with clean ids, which have both and a listed item, notes)."""
    table, notes = _ids(table, "user_id", "item_id")
    checks = [
        partial(left_out, table, table[column] == "", f"{column} 为空", "请补上或删掉该行", on_missing)
        for column in ("user_id", "item_id")
    ]
    with suppress(DataError):  # what is wrong with the items' own ids is told elsewhere
        listed, where = _listed(items, "item_id")[0]["item_id"], items.attrs["path"].name
        table, same = meet(table, "item_id", listed, where)
        notes += same
        unknown = ~table["item_id"].isin(listed) & (table["item_id"] != "")
        wrong, remedy = f"item_id {{}} 不在 {where} 里", "请补上该物品，或删掉这些交互"
        checks.append(partial(left_out, table, unknown, wrong, remedy, on_missing))
    found = gather(*checks)
    return table, np.all([kept for kept, _ in found], axis=0), [*notes, *(note for _, more in found for note in more)]


def _check_times(table: pd.DataFrame, on_missing: str | None) -> tuple[pd.Series, np.ndarray, list[Note]]:
    """(UTC seconds, 0 where there is none, which rows have a time if any has, notes)."""
    none, every = pd.Series(0, index=table.index), np.ones(len(table), bool)
    if "timestamp" not in table.columns:
        return none, every, [Note(_UNTIMED)]
    blank = is_blank(table["timestamp"])
    if blank.all():
        return none, every, [Note("timestamp 全是空的，只能随机划分")]
    timed, notes = left_out(table, blank, "timestamp 为空", "请补上或删掉该行", on_missing)
    seconds, more = seconds_of(table[timed], "timestamp")
    none.iloc[timed] = seconds.to_numpy()
    return none, timed, [*more, *notes]


def _check_users(users: pd.DataFrame | None) -> tuple[pd.DataFrame | None, list[Note]]:
    if users is None:
        return None, []
    users, notes = _listed(users, "user_id")
    users = users if "text" in users.columns else users.assign(text="")
    told = int((users["text"].str.strip() != "").sum())
    return users, [
        *notes,
        Note(f"{users.attrs['path'].name} 有 {len(users):,} 位用户，{told:,} 位有文字", "报告里的方法都不读它"),
    ]
