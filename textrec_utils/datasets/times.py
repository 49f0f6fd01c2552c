"""Times as people write them: seconds to nanoseconds since 1970, 20240115, dates in words. One reading a column."""

import numpy as np
import pandas as pd

from textrec_utils.datasets.tables import refuse

OLDEST = 631_152_000  # 1990-01-01: older times are likelier a wrong unit than an old shop
_UNITS = {"秒": 1, "毫秒": 1e3, "微秒": 1e6, "纳秒": 1e9}
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE = "请写成 2024-03-21 或 2024-03-21 06:11:00，整列一种写法"
_RANGE = "不在 1990 年到今天之间"


def seconds_of(table: pd.DataFrame, column: str) -> tuple[pd.Series, list[str]]:
    """UTC seconds (int64) from a column, and notes on how it was read.

    Numbers are seconds, milliseconds, microseconds or nanoseconds, all alike; 20240115 and 20240115123000 are dates.
    Small numbers (row numbers, days since the start) can only tell what came first: kept, with a note.
    Raises DataError with the line where a time can't be read, has another unit than the rest, lies before 1990 or
    after tomorrow, or is a date whose day and month nobody can tell apart. `published` may be any date in words.
    """
    text = table[column].str.strip()
    number = pd.to_numeric(text.where(text.str.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")), errors="coerce")
    compact = text.str.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d{4}|\d{6})?")
    newest = pd.Timestamp.now(tz="UTC").timestamp() + 86400
    if number.isna().all() or compact.all():
        seconds = _dates(table, text)
        strange = (seconds < OLDEST) | (seconds > newest)
        if column != "published":
            refuse(table, strange, f"{column} {{}} {_RANGE}", "请改好或删掉该行")
        first, last = (str(np.datetime64(int(s), "s"))[:10] for s in (seconds.min(), seconds.max()))
        return seconds, [f"{column} 是日期文字，按 UTC 换算成秒（{first} 至 {last}）"]
    refuse(table, number.isna(), f"{column} {{}} 读不懂", f"别的行是数；{_DATE}，或全用 UTC 秒数")
    unit = pd.Series("", index=table.index, name=column)
    for name, factor in _UNITS.items():
        unit[number.between(OLDEST * factor, newest * factor)] = name
    if (unit == "").all() and number.between(0, 1e8).all() and not (number % 1).any():
        refuse(table, compact.any() & ~compact, f"{column} {{}} 不是日期，别的行是", _DATE)
        note = f"{column}（{number.min():.0f} 至 {number.max():.0f}）不像真实的时间，只用来排先后"
        return number.astype("int64"), [note] if number.any() else [f"{column} 全是 0，分不出先后"]
    refuse(table, unit == "", f"{column} {{}} {_RANGE}", "请改好或删掉该行")
    usual = unit.mode()[0]
    other = unit[unit != usual]
    if len(other):
        refuse(table, unit != usual, f"{column} {{}} 像是{other.iloc[0]}，别的行是{usual}", "请统一成一种单位")
    return (number / _UNITS[usual]).astype("int64"), [] if usual == "秒" else [f"{column} 是{usual}，已换算成秒"]


def _dates(table: pd.DataFrame, text: pd.Series) -> pd.Series:
    """UTC seconds of dates in words."""
    text = text.str.replace(r"^(\d{4})(\d\d)(\d\d)(?=$|\d{4}$|\d{6}$)", r"\1-\2-\3 ", regex=True)
    text = text.str.replace(r"^(\S{10} )(\d\d)(\d\d)(\d\d)?$", r"\1\2:\3:\4", regex=True).str.strip(": ")
    text = text.str.replace(r"^(\d{4})[年/.](\d{1,2})[月/.](\d{1,2})日?", r"\1-\2-\3", regex=True)
    short = text.str.extract(r"^(\d{1,2})([/.-])(\d{1,2})\2(\d{4}.*)$")
    first, second = pd.to_numeric(short[0]), pd.to_numeric(short[2])
    if (first > 12).any() and (second > 12).any():
        turned = (second > 12) if first.gt(12).to_numpy().argmax() < second.gt(12).to_numpy().argmax() else (first > 12)
        refuse(table, turned.rename(text.name), f"{text.name} {{}} 的日和月同前面的行次序相反", _DATE)
    unclear = short[0].notna() & ~(first > 12).any() & ~(second > 12).any()
    refuse(table, unclear.rename(text.name), f"{text.name} {{}} 分不清哪个是日、哪个是月", _DATE)
    day, month = (short[0], short[2]) if (first > 12).any() else (short[2], short[0])
    year, rest = short[3].str[:4], short[3].str[4:]
    text = text.where(short[0].isna(), year + "-" + month + "-" + day + rest)
    named = text.str.contains(rf"(?i)(?=.*\d{{4}}).*\b(?:{_MONTHS})")
    readable = text.where(text.str.contains(r"^\d{4}-\d{1,2}-\d{1,2}(?:$|[T ])") | named)
    dates = pd.to_datetime(readable, errors="coerce", utc=True, format="mixed")
    refuse(table, dates.isna(), f"{text.name} {{}} 读不懂", f"{_DATE}，或用 UTC 秒数")
    seconds = dates.dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype("int64")
    return pd.Series(seconds, index=text.index, name=text.name)
