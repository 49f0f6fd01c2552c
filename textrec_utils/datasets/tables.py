"""The one reader of tables, whatever their format: every row counted, every fault named with file and line."""

import csv
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pandas as pd

from textrec_utils.core.errors import DataError

FEW = 3  # lines that a sentence names
LONGEST = 40  # letters of a cell that a sentence quotes
QUOTED = (",", ";", "，")  # separators beside which quotes quote
_CALLED = {",": "逗号", ";": "分号", "，": "全角逗号"}
_NO_TEXT = re.compile("[\0\udc80-\udcff]")  # NUL, or what surrogateescape makes of bytes that are no UTF-8


def lines_of(path: Path, encoding: str = "utf-8-sig") -> Iterator[str]:
    """The lines of a file, packed (.gz, .xz) or not, with their ends; DataError where it can't be read.

    Only line ends end a line: str.splitlines() would also cut at U+2028 and its kind, which texts from the web hold.
    """
    number = 0
    try:
        opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
        with opener(path, "rt", encoding=encoding, errors="surrogateescape", newline="") as f:
            for number, line in enumerate(f, 1):
                if _NO_TEXT.search(line):
                    raise DataError(f"{path} 第 {number} 行不是 UTF-8 文字，请在 Excel 里另存为“CSV UTF-8”。")
                yield line.replace("\ufeff", "")  # files joined from several hold one at each seam
    except UnicodeError:  # of UTF-16, which knows no surrogateescape
        raise DataError(f"{path} 第 {number + 1} 行不是 {encoding} 文字，请另存为“CSV UTF-8”。") from None
    except FileNotFoundError:
        raise DataError(f"找不到文件 {path}，请检查路径。") from None
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        what = f"{path} 在第 {number} 行之后读不下去（{type(error).__name__}）"
        raise DataError(f"{what}，请检查它是不是完整的、有权限读的文件，或重新下载。") from None


def rows_of(path: Path, sep: str = ",", encoding: str = "utf-8-sig") -> Iterator[tuple[int, list[str]]]:
    """(first line, cells) of each row that is not blank. Quotes quote in what Excel calls CSV: after `,` and `;`.

    Raises DataError where quotes don't pair, or where one is written \\" as databases do and thereby ends its cell.
    """
    quoting = csv.QUOTE_MINIMAL if sep in QUOTED else csv.QUOTE_NONE
    reader = csv.reader(lines_of(path, encoding), delimiter=sep, quoting=quoting, strict=True)
    number = 1
    try:
        for row in reader:
            if len(row) > 1 or row and row[0].strip():
                yield number, row
            number = reader.line_num + 1
    except csv.Error:
        _refuse_backslash(path, encoding, number, reader.line_num)
        limit = f"{csv.field_size_limit():,}"
        raise DataError(f"{path} 第 {number} 行的引号没有配对，或者一格超过 {limit} 字，请检查该行的引号。") from None


def _refuse_backslash(path: Path, encoding: str, first: int, last: int) -> None:
    """Where a row that can't be read, of these lines, holds a quote behind a backslash, that is the likely cause."""
    for number, line in enumerate(islice(lines_of(path, encoding), first - 1, last), first):
        if '\\"' in line:
            told = f'{path} 第 {number} 行的引号写成了 \\"，CSV 里一格之内的引号要写成两个双引号 ""'
            raise DataError(f"{told}，请从导出的工具里改（pandas 是 escapechar=None、doublequote=True）。")


def read_table(
    path: Path, sep: str = ",", *, names: list[str] | None = None, header: Callable[[str], str] = str,
    encoding: str = "utf-8-sig",
) -> pd.DataFrame:  # fmt: skip
    """All columns as text, index = each row's line in the file; columns without a name are left out.

    names: the columns of a file that has no header line; more columns may follow and are left out.
    header: what a name in the header is turned into (blanks around it go anyway).
    Raises DataError, one sentence with file and line, where the file can't be read or a row is wider or narrower.
    """
    rows = rows_of(path, sep, encoding)
    if names is None:
        names = [header(name).strip() for name in next(rows, (1, []))[1]]
        if not names:
            raise DataError(f"{path} 是空文件，至少要有表头一行。")
        twice = {name for name in names if name and names.count(name) > 1}
        if twice:
            raise DataError(f"{path} 第 1 行的列名 {'、'.join(sorted(twice))} 出现了两次，请改名或删掉一列。")
        wide = len(names)
    else:
        wide = None
    columns: list[list[str]] = [[] for _ in names]
    lines = []
    spare = 0
    for number, row in rows:
        if not lines:  # a comma at the end of every row, but not of the header, is a last column without anything
            wide = max(len(row), len(names)) if wide is None else wide
            spare = len(row) == wide + 1 and not row[-1].strip()
        if len(row) != wide + spare or (spare and row[-1].strip()):
            if sep in QUOTED:
                _refuse_backslash(path, encoding, number, number + sum(cell.count("\n") for cell in row))
            told = f"{path} 第 {number} 行有 {len(row)} 列，应有 {wide} 列"
            hint = f"（含有{_CALLED[sep]}的文字要放在英文双引号里）" if sep in QUOTED else ""
            raise DataError(f"{told}，请检查该行的分隔符{hint}。")
        lines.append(number)
        for column, cell in zip(columns, row):
            column.append(cell)
    index = pd.Index(lines, dtype="int64")
    table = pd.DataFrame({n: pd.Series(c, index=index, dtype=str) for n, c in zip(names, columns) if n}, index=index)
    for name in {"user_id", "item_id"} & set(table.columns):
        table[name] = table[name].str.strip()
    table.attrs["path"] = path
    return table


def need(table: pd.DataFrame, *columns: str, hint: str = "") -> None:
    """Refuse a table that lacks a column or has no row. hint: what else to say of the columns that are there."""
    path = table.attrs["path"]
    missing = [c for c in columns if c not in table.columns]
    if missing:
        there = "、".join(table.columns)
        raise DataError(f"{path} 第 1 行缺少列 {'、'.join(missing)}（现有：{there}{hint}），请在表头里补上或改名。")
    if table.empty:
        raise DataError(f"{path} 只有表头，没有一行数据；请补上数据再运行。")


def quoted(cell: object) -> str:
    """A cell within a sentence, cut where it is long."""
    text = str(cell)
    return repr(text if len(text) <= LONGEST else text[:LONGEST] + "…")


def refuse(table: pd.DataFrame, mask: pd.Series, wrong: str, remedy: str) -> None:
    """Refuse a table with a marked row: the first one's line is named, all are counted, and the next ones listed.

    `{}` in `wrong` is the first marked row's cell of the column that `mask` is named after.
    """
    if mask.any():
        first = int(mask.to_numpy().argmax())
        wrong = wrong.replace("{}", quoted(table[mask.name].iloc[first])) if "{}" in wrong else wrong
        lines = "、".join(str(line) for line in table.index[mask.to_numpy()][1:FEW])
        count = int(mask.sum())
        more = f"（共 {count:,} 处，还有第 {lines} 行{'等' * (count > FEW)}）" if lines else ""
        raise DataError(f"{table.attrs['path']} 第 {table.index[first]} 行：{wrong}{more}，{remedy}。")
