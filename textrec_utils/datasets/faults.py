"""What is wrong with a table, and what was done about it: sentences that name file and lines, all in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.tables import FEW, quoted, refuse

MOST_MISSING = 0.5  # on_missing="drop" leaves out up to this share of a table's rows; more is another fault


class Note(str):
    """One sentence on how data were read; its parts stay apart for the table of `quality.py`.

    what: what was found. count: in how many rows (None: it isn't about rows). where: file and first lines.
    done: what was done about it.
    """

    what: str
    count: int | None
    where: str
    done: str

    def __new__(cls, what: str, done: str = "", count: int | None = None, where: str = "") -> Note:
        told = f"{what}（{'，'.join(p for p in (f'{count:,} 处' if count else '', where) if p)}）" if where else what
        note = super().__new__(cls, f"{told}，{done}" if done else told)
        note.what, note.count, note.where, note.done = what, count, where, done
        return note


def lines_of_rows(table: pd.DataFrame, mask: pd.Series) -> str:
    """`items.csv 第 2、5、9 行等`: where the marked rows stand."""
    lines = table.index[mask.to_numpy()]
    first = "、".join(str(line) for line in lines[:FEW])
    return f"{table.attrs['path'].name} 第 {first} 行{'等' * (len(lines) > FEW)}"


def note_rows(table: pd.DataFrame, mask: pd.Series, what: str, done: str) -> list[Note]:
    """A note on the marked rows; none where no row is marked."""
    return [Note(what, done, int(mask.sum()), lines_of_rows(table, mask))] if mask.any() else []


def left_out(
    table: pd.DataFrame, mask: pd.Series, wrong: str, remedy: str, on_missing: str | None
) -> tuple[np.ndarray, list[Note]]:
    """(which rows stay, notes): without the marked ones where on_missing is "drop"; else they are refused.
    on_missing None is of a format that has no such parameter: then the remedy doesn't name it.

    Where more than MOST_MISSING of the rows would go, they are refused in any case. Arguments as `refuse` has them.
    """
    share, count = float(mask.mean()) if len(mask) else 0.0, int(mask.sum())
    told = f"占 {share:.1%}" if share >= 0.001 else "不到 0.1%"
    if on_missing is None:
        refuse(table, mask, wrong, remedy)
    elif share > MOST_MISSING:
        refuse(table, mask, wrong, f"{remedy}（占 {share:.0%}，去掉的会比留下的多，on_missing drop 也不去掉）")
    elif on_missing != "drop":
        refuse(table, mask, wrong, f"{remedy}，或用 -p on_missing drop 去掉（{told}）")
    what = wrong.replace("{}", quoted(table[mask.name][mask.to_numpy()].iloc[0])) if count and "{}" in wrong else wrong
    return ~mask.to_numpy(), note_rows(table, mask, what, f"已去掉（{told}）")


def gather(*checks: Callable[[], Any]) -> list:
    """What the checks give; where several of them raise DataError, one that tells all of it in one sentence."""
    made, faults = [], []
    for check in checks:
        try:
            made.append(check())
        except DataError as error:
            faults += [fault for fault in getattr(error, "faults", [error]) if str(fault) not in map(str, faults)]
    if len(faults) == 1:
        raise faults[0]
    if faults:
        told = "；".join(f"（{n}）{str(fault).rstrip('。')}" for n, fault in enumerate(faults, 1))
        error = DataError(f"有 {len(faults)} 个问题，请一起改好：{told}。")
        error.faults = faults
        raise error
    return made
