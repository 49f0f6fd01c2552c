"""Ids as files write them: what can't be seen goes, what a spreadsheet has destroyed is refused, 7 and 007 meet."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pandas as pd

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.faults import Note, lines_of_rows, note_rows
from textrec_utils.datasets.tables import quoted, refuse

NOTHING = frozenset(r"NULL null NaN nan None <NA> #N/A \N 0000-00-00".split()) | {
    "0000-00-00 00:00:00"
}  # how programs write nothing
_BLANK = NOTHING | {""}
_EXCEL = re.compile(r"[+-]?\d(\.\d+)?E\+\d+", re.IGNORECASE)  # 1.23457E+17
_ERROR = re.compile(r"#(REF|NAME\?|VALUE|DIV/0|NUM|NULL)[!?]?", re.IGNORECASE)
_WHOLE, _BROKEN = re.compile(r"(-?\d+)\.0+"), re.compile(r"-?\d+\.\d+")
_KEPT = 15  # digits of a number that a spreadsheet keeps
_TEXT = "请在 Excel 里用“数据—从文本/CSV”导入并把该列设为文本，或直接从数据库导出 CSV"


def by_value(cells: pd.Series, function: Callable[[str], Any]) -> pd.Series:
    """What the function makes of each cell, asked once for all cells that are alike."""
    codes, values = pd.factorize(cells)
    made = pd.Series([function(value) for value in values], dtype=None if len(values) else object)
    return made.take(codes).set_axis(cells.index).rename(cells.name)


def is_blank(cells: pd.Series) -> pd.Series:
    """Which cells are empty, or hold what programs write for nothing."""
    return by_value(cells, lambda cell: visible(cell) in _BLANK).astype(bool)


def clean_ids(table: pd.DataFrame, column: str) -> tuple[pd.DataFrame, list[Note]]:
    """The table with clean ids in a column, and notes. Blank ids become "".

    Invisible characters go, and the `.0` that pandas writes where a column of numbers has gaps.
    Raises DataError for what is lost for good: 1.23457E+17, numbers whose last digits a spreadsheet made zeros.
    """
    given = table[column]
    seen = given.drop_duplicates()
    told = seen.map(visible)
    whole = told.str.fullmatch(_WHOLE)
    if whole.any() and not told.str.fullmatch(_BROKEN).where(~whole, False).any():
        told = told.where(~whole, told.str.replace(_WHOLE, r"\1", regex=True))
    else:
        whole = whole & False
    clean = given.map(dict(zip(seen, told))).rename(column)
    fractions = given.isin(seen[whole])
    notes = note_rows(table, (given.str.strip() != clean) & ~fractions, f"{column} 里有看不见的字符", "已去掉")
    first = quoted(next(iter(seen[whole]), ""))
    notes += note_rows(table, fractions, f"{column} 写成了小数，如 {first}", "当作整数读")
    table = table.assign(**{column: clean.where(~is_blank(clean), "")})
    damaged, errors = (table[column].str.fullmatch(pattern) for pattern in (_EXCEL, _ERROR))
    refuse(table, damaged, f"{column} {{}} 被 Excel 改成了科学计数，原来的编号已经丢失", _TEXT)
    refuse(table, errors, f"{column} {{}} 是 Excel 的报错，不是编号", "请改好原表的公式再导出")
    _refuse_rounded(table, column)
    return table, notes


def meet(table: pd.DataFrame, column: str, listed: pd.Series, where: str) -> tuple[pd.DataFrame, list[Note]]:
    """The table with ids as another table lists them, where they are the same but for how they are written.

    007 and 7, ABC and abc, １２ and 12 are, as long as one listed id alone can be meant. where: the other file's name.
    """
    known = set(listed)
    odd = ~table[column].isin(known) & (table[column] != "")
    if not odd.any():
        return table, []
    alike = pd.Series(list(known), index=[_bare(i) for i in known], dtype=str)
    alike = alike[~alike.index.duplicated(keep=False)]
    strange = table[column][odd].drop_duplicates()
    found = {i: alike[_bare(i)] for i in strange if _bare(i) in alike.index}
    claimed = pd.Series(list(found.values()), dtype=str)
    taken = set(claimed[claimed.duplicated()]) | set(table[column][~odd])
    if column == "user_id":  # two of one table would become one person
        found = {i: meant for i, meant in found.items() if meant not in taken}
    if not found:
        return table, []
    first, meant = next(iter(found.items()))
    mask = table[column].isin(found)
    what = f"{column} 和 {where} 写法不同，如 {quoted(first)} 对 {quoted(meant)}"
    note = Note(what, "按同一个读", int(mask.sum()), lines_of_rows(table, mask))
    return table.assign(**{column: table[column].map(lambda i: found.get(i, i))}), [note]


def visible(text: str) -> str:
    """Without controls, zero widths and marks of direction, and without blanks of any width at the ends."""
    if text.isascii() and text.isprintable():
        return text.strip()
    return "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc")).strip()


def _bare(text: str) -> str:
    """What two ways to write an id have in common."""
    text = unicodedata.normalize("NFKC", text).casefold().strip("'\" ")
    text = _WHOLE.sub(r"\1", text) if _WHOLE.fullmatch(text) else text
    return text.lstrip("0") or "0" if text.isdecimal() else text


def _refuse_rounded(table: pd.DataFrame, column: str) -> None:
    """Refuse ids that are all numbers of more than 15 digits with noughts behind the fifteenth."""
    ids = table[column].drop_duplicates()
    long = ids[ids.str.fullmatch(rf"\d{{{_KEPT + 2},}}")]
    if len(long) >= 3 and long.str[_KEPT:].str.fullmatch("0+").all():
        where = f"{table.attrs['path']} 第 {long.index[0]} 行"
        told = f"{where}：{column} {quoted(long.iloc[0])} 等 {len(long)} 个长编号从第 {_KEPT + 1} 位起全是 0"
        raise DataError(f"{told}，是 Excel 只留 {_KEPT} 位造成的，{_TEXT}。")
