"""Times as people write them: seconds to nanoseconds since 1970, 20240115, dates in words, Excel's days.

One reading a column, told by most of its rows; the others are refused with their lines.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import pandas as pd

from textrec_utils.datasets.faults import Note, gather
from textrec_utils.datasets.ids import visible
from textrec_utils.datasets.tables import refuse

OLDEST = 631_152_000  # 1990-01-01: older times are likelier a wrong unit than an old shop
_DAY = 86_400
_UNITS = {"秒": 1, "毫秒": 1e3, "微秒": 1e6, "纳秒": 1e9}
_EXCEL_ZERO = -25_569  # days from 1970 to the day 0 of Excel
_DATE = "请写成 2024-03-21 或 2024-03-21 06:11:00，整列一种写法"
_RANGE = "不在 1990 年到今天之间"
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_COMPACT = re.compile(r"((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?:[ T]?(\d\d):?(\d\d)(?::?(\d\d))?)?")
_YEAR_FIRST = re.compile(r"(\d{4})[-/.年] ?(\d{1,2})(?:[-/.月] ?(\d{1,2})日?|月)?(?:(?<=\d)T|(?<=[\d日月])|$)(.*)")
_YEAR_LAST = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?!\d)(.*)")
_NAMED = re.compile(r"\d{4}.*\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)|"
                    r"\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec).*\d{4}", re.IGNORECASE)  # fmt: skip
_LIKE_DATES = re.compile(rf"{_COMPACT.pattern}|\d ?[-/.年月:] ?\d|{_NAMED.pattern}", re.IGNORECASE)
_CLOCK = re.compile(
    r"(?:(?:星期|周)[一二三四五六日天])?\s*(上午|下午|凌晨|早上|中午|晚上)?\s*"
    r"(\d{1,2})[:时点](\d{1,2})?[:分]?(?:(?<=[:分])(\d{1,2})(?:\.\d+)?秒?)?"
    r"\s*([AP]M)?\s*(Z|UTC|GMT)?\s*([+-]\d\d:?(?:\d\d)?)?",
    re.IGNORECASE,
)  # fmt: skip


def seconds_of(table: pd.DataFrame, column: str) -> tuple[pd.Series, list[Note]]:
    """UTC seconds (int64) from a column, and notes on how it was read.

    Numbers are seconds, milliseconds, microseconds or nanoseconds, Excel's days or years; 20240115 and 20240115123000
    are dates. Other small numbers (row numbers, days since the start) can only tell what came first: kept, with a note.
    Raises DataError with the lines where a time can't be read, has another unit than most, lies before 1990 or after
    tomorrow, or is a date whose day and month nobody can tell apart. `published` may be any date in words.
    """
    text = _narrow(table[column])
    number = pd.to_numeric(text.where(text.str.fullmatch(_NUMBER)), errors="coerce")
    wordy = number.isna() | text.str.fullmatch(_COMPACT)
    newest = pd.Timestamp.now(tz="UTC").timestamp() + _DAY
    if not wordy.any() and (small := _small(number, column, newest)):
        return small
    kind = pd.Series("", index=table.index, name=column)
    for name, factor in _UNITS.items():
        kind[number.between(OLDEST * factor, newest * factor)] = name
    kind[wordy & text.map(lambda cell: bool(_LIKE_DATES.search(cell)))] = "日期"
    sizes = kind[kind != ""].value_counts()
    usual = next((name for name in kind if name and sizes[name] == sizes.max()), "")  # the first of several
    strange, odd = (kind == "") & ~wordy, (kind == "") & wordy
    other, remedy = ("不是日期，别的行是", _DATE) if usual == "日期" else (_RANGE, "请改好或删掉该行")
    checks = [
        partial(refuse, table, strange, f"{column} {{}} {other}", remedy),
        partial(refuse, table, odd, f"{column} {{}} 读不懂", f"{_DATE}，或用 UTC 秒数"),
        *(partial(_refuse_unit, table, kind, name, usual) for name in sizes.index if name != usual),
    ]
    if usual == "日期":
        return gather(*checks, partial(_dates, table[(kind == usual).to_numpy()], column, newest))[-1]
    gather(*checks)
    seconds = (number / _UNITS[usual]).astype("int64")
    return seconds, [] if usual == "秒" else [Note(f"{column} 是{usual}", f"已换算成秒（{_span(seconds)}）")]


def _narrow(cells: pd.Series) -> pd.Series:
    """Cells without blanks around them, with digits and marks of the usual width."""
    cells = cells.str.strip()
    return cells if cells.map(str.isascii).all() else cells.map(visible).str.normalize("NFKC").str.strip()


def _refuse_unit(table: pd.DataFrame, kind: pd.Series, name: str, usual: str) -> None:
    refuse(table, kind == name, f"{kind.name} {{}} 像是{name}，别的行是{usual}", "请统一成一种写法")


def _span(seconds: pd.Series) -> str:
    """The first and the last day."""
    first, last = (str(np.datetime64(int(s), "s"))[:10] for s in (seconds.min(), seconds.max()))
    return f"{first} 至 {last}"


def _small(number: pd.Series, column: str, newest: float) -> tuple[pd.Series, list[Note]] | None:
    """A column of numbers too small for seconds since 1970: Excel's days, years, or mere places in an order."""
    whole, this_year = not (number % 1).any(), datetime.fromtimestamp(newest, UTC).year
    days = number + _EXCEL_ZERO
    if number.nunique() > 1 and days.between(OLDEST / _DAY, newest / _DAY).all():
        seconds = (days * _DAY).round().astype("int64")
        return seconds, [Note(f"{column} 像是 Excel 的日期序号", f"已换算成秒（{_span(seconds)}）")]
    if whole and number.between(1000 if column == "published" else 1990, this_year).all():
        seconds = number.map(lambda year: int(datetime(int(year), 1, 1, tzinfo=UTC).timestamp()))
        return seconds, [Note(f"{column} 只有年份", "当作那年的 1 月 1 日")]
    if whole and number.between(0, 1e8).all():
        if not number.any():
            return number.astype("int64"), [Note(f"{column} 全是 0，分不出先后")]
        told = f"{column}（{number.min():.0f} 至 {number.max():.0f}）不像真实的时间"
        return number.astype("int64"), [Note(told, "只用来排先后")]
    return None


def _dates(table: pd.DataFrame, column: str, newest: float) -> tuple[pd.Series, list[Note]]:
    """UTC seconds of dates in words, and notes on them."""
    text = _narrow(table[column])
    day_first = _refuse_order(table, text)
    found = text.map({word: _moment(word, day_first) for word in text.unique()})
    refuse(table, found.isna(), f"{column} {{}} 读不懂", f"{_DATE}，或用 UTC 秒数")
    seconds = found.str[0].astype("int64")
    zoned, clocked = found.str[1].astype(bool), found.str[2].astype(bool)
    checks = [_refuse_zone(table, column, zoned, clocked)]
    if column != "published":
        strange = ((seconds < OLDEST) | (seconds > newest)).rename(column)
        checks.append(partial(refuse, table, strange, f"{column} {{}} {_RANGE}", "请改好或删掉该行"))
    gather(*checks)
    if text.empty:
        return seconds, []
    order = "" if day_first is None else f"（{'日' if day_first else '月'}在前）"
    how = "换算成 UTC 秒" if zoned.any() else "按 UTC 换算成秒"
    notes = [Note(f"{column} 是日期文字{order}", f"{how}（{_span(seconds)}）")]
    if clocked.any() and not zoned.any() and column != "published":
        notes.append(Note(f"{column} 没有写时区", "按 UTC 读，先后不受影响；北京时间请在后面加 +08:00"))
    if not clocked.any() and column != "published":
        notes.append(Note(f"{column} 只有日期、没有钟点", "同一天里的先后分不出"))
    return seconds, notes


def _refuse_zone(table: pd.DataFrame, column: str, zoned: pd.Series, clocked: pd.Series) -> partial:
    """A check that refuses the fewer of those times that have a zone and those that have none."""
    bare = clocked & ~zoned
    fewer, what = (bare, "没有写时区，别的行写了") if bare.sum() < zoned.sum() else (zoned, "写了时区，别的行没有写")
    mixed = fewer & bool(bare.any() and zoned.any())
    return partial(refuse, table, mixed.rename(column), f"{column} {{}} {what}", "请统一成一种写法")


def _refuse_order(table: pd.DataFrame, text: pd.Series) -> bool | None:
    """Whether the day comes first in dates like 13/01/2024, told by the whole column; None where there are none."""
    found = {word: _YEAR_LAST.match(word) for word in text.unique()}
    found = {word: (int(m[1]), int(m[3])) for word, m in found.items() if m}
    if not found:
        return None
    day = text.isin([word for word, (first, _) in found.items() if first > 12])
    month = text.isin([word for word, (_, second) in found.items() if second > 12])
    if day.any() and month.any():  # the fewer are blamed, of as many the later
        fewer = min((day, month), key=lambda rows: (rows.sum(), -rows.argmax()))
        refuse(table, fewer, f"{text.name} {{}} 的日和月同别的行次序相反", _DATE)
    if not day.any() and not month.any():
        refuse(table, text.isin(list(found)), f"{text.name} {{}} 分不清哪个是日、哪个是月", _DATE)
    return bool(day.any())


def _moment(text: str, day_first: bool | None) -> tuple[int, bool, bool] | None:
    """(UTC seconds, whether a zone was written, whether a time of day was); None where it is no date."""
    if found := _COMPACT.fullmatch(text):
        year, month, day, *clock = found.groups(default="0")
        return _made((year, month, day), tuple(clock), None, found[4] is not None)
    if found := _YEAR_FIRST.fullmatch(text):
        date, rest = (found[1], found[2], found[3] or "1"), found[4]
    elif found := _YEAR_LAST.fullmatch(text):
        first, second = (found[3], found[1]) if day_first else (found[1], found[3])
        date, rest = (found[4], first, second), found[5]
    else:
        return _named(text)
    rest = rest.strip(" T,")
    if not rest:
        return _made(date, ("0", "0", "0"), None, False)
    clock = _CLOCK.fullmatch(rest)
    if not clock:
        return None
    part, hour, minute, second, half, zero, offset = clock.groups()
    late = part in ("下午", "晚上") or (part == "中午" and int(hour) < 3) or (half or "").upper() == "PM"
    early = part in ("上午", "凌晨") or (half or "").upper() == "AM"
    hour = str(int(hour) + 12) if late and int(hour) < 12 else "0" if early and int(hour) == 12 else hour
    return _made(date, (hour, minute or "0", second or "0"), offset or zero, True)


def _made(date: Iterable[str], clock: Iterable[str], zone: str | None, clocked: bool) -> tuple[int, bool, bool] | None:
    shift = timedelta(0)
    if zone and zone[0] in "+-":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:])) * (-1 if zone[0] == "-" else 1)
    try:
        moment = datetime(*map(int, date), *map(int, clock), tzinfo=UTC) - shift
    except (ValueError, OverflowError):
        return None
    return int(moment.timestamp()), zone is not None, clocked


def _named(text: str) -> tuple[int, bool, bool] | None:
    """A date with the month's English name, as pandas reads it."""
    if not _NAMED.search(text):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            moment = pd.Timestamp(text)
        except (ValueError, OverflowError, TypeError):
            return None
    if moment is pd.NaT:
        return None
    zoned = moment.tzinfo is not None
    moment = moment.tz_convert("UTC") if zoned else moment.tz_localize("UTC")
    return int(moment.timestamp()), zoned, ":" in text
