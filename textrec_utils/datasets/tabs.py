"""Tab-separated tables, as RecBole and MIND have them: nobody opens them in Excel, and quotes quote nothing."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.tables import read_table

OTHERS = {",": "逗号", ";": "分号", "|": "竖线", " ": "空格"}


def read_tabs(path: Path, *, names: list[str] | None = None, header: Callable[[str], str] = str) -> pd.DataFrame:
    """`read_table` of a tab-separated file. Raises DataError, one sentence whose remedy fits such a file."""
    try:
        table = read_table(path, sep="\t", names=names, header=header)
    except DataError:
        if path.is_file():
            _refuse(path, names)
        raise
    if len(table.columns) == 1:
        _refuse(path, names)
    return table


def _refuse(path: Path, names: list[str] | None) -> None:
    """Raise DataError for the first line that is no UTF-8 or hasn't as many columns as the others, if any."""
    widths: dict[int, int] = {}  # by line
    with open(path, "rb") as f:
        for number, line in enumerate(f, 1):
            try:
                text = line.decode("utf-8-sig").strip("\r\n")
            except UnicodeDecodeError:
                told = f"{path} 第 {number} 行不是 UTF-8 文字"
                raise DataError(f"{told}，请转成 UTF-8，例如用 iconv -f GB18030 -t UTF-8。") from None
            if text.strip():
                widths[number] = text.count("\t") + 1
            if number == 1 and "\t" not in text and (other := next((c for c in OTHERS if c in text), "")):
                told = f"{path} 第 1 行没有制表符，像是用{OTHERS[other]}分隔的"
                raise DataError(f"{told}，请改成用制表符分隔。")
    if not widths:
        return
    # A header says how many there are; without one the most do, and of as many the narrow ones: a tab strays in.
    count = Counter(widths.values())
    usual = max(count, key=lambda width: (count[width], -width)) if names else next(iter(widths.values()))
    if names and usual < len(names):
        told = f"{path} 只有 {usual} 列，至少应有 {len(names)} 列"
        raise DataError(f"{told}（依次是 {'、'.join(names)}），请补上缺的列，不知道的留空。")
    odd = [number for number, width in widths.items() if width != usual]
    if odd:
        told = f"{path} 第 {odd[0]} 行有 {widths[odd[0]]} 列，应有 {usual} 列"
        more = f"（这样的共 {len(odd)} 行）" if len(odd) > 1 else ""
        raise DataError(f"{told}{more}，请检查该行的制表符：文字里的要换成空格，引号在这种文件里不起作用。")
