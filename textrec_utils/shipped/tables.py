"""The shipped tables: which there are, read with their checksum, and the assertion that code and table agree."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textrec_utils.core.errors import DataError
from textrec_utils.core.files import sha256_of
from textrec_utils.core.paths import project_data

if TYPE_CHECKING:
    import pandas as pd

# name: what it holds, for `textrec list`. The file `textrec_utils/shipped/NAME.py` makes it.
TABLES = {
    "ablation": "双塔的消融：一次改一处，验证集，五个种子（06b）",
    "controls": "文字添了什么：不读、读噪声、读错文字的双塔与读文字的，五个种子（06）",
    "draws": "换一批新片：冻结的、训练过的，读编码器、词面、两样，抽十次（06）",
    "newcomers": "新片混在全目录里，从没有喜欢到有一百条，留不留位置，五个种子（08）",
    "pairs": "句对分类训练到两万对：学习率、负例、曲线，给短名单重排值多少，五个种子（06）",
    "rungs": "编码器训练多少：质量、参数、秒、内存，五个种子（06b）",
}

SPREADS = 1.0  # how many times the seeds' own spread a live value may lie outside of it
LEAST = 0.01  # and at least this part of the shipped value, where seeds agree or there is one


def path_of(name: str, suffix: str = ".csv") -> Path:
    """`data/results/NAME.csv`; with suffix `.json` the note on how it was made."""
    return project_data() / "results" / f"{name}{suffix}"


def about(name: str) -> dict:
    """How a table was made: command, seeds, versions, seconds, date, machine, rows, sha256, code; {} if it wasn't yet.

    Raises DataError for a name that isn't in `TABLES` and for a damaged note.
    """
    if name not in TABLES:
        raise DataError(f"没有结果表 {name}：可用的有 {'、'.join(TABLES) or '（还没有）'}。")
    try:
        return json.loads(path_of(name, ".json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise DataError(_mend(name, "的说明读不懂")) from None


def read(name: str) -> pd.DataFrame:
    """A shipped table; in its `attrs` stand its `name` and what `about` says. Raises DataError where it isn't whole."""
    import pandas as pd

    note = about(name)
    if not note or not path_of(name).exists():
        raise DataError(_mend(name, "不在"))
    content = path_of(name).read_bytes()
    if sha256_of(content) != note.get("sha256"):
        raise DataError(_mend(name, "和它的校验和不符"))
    # "none" and "NA" may be names of settings: only an empty cell is missing
    table = pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values=[""], float_precision="round_trip")
    table.attrs = {"name": name, **note}
    return table


def _mend(name: str, what: str) -> str:
    how = f"请用 git checkout data/results 取回它，或用 textrec remake {name} 重做"
    return f"结果表 data/results/{name}.csv {what}：{how}。"


def assert_within(live: pd.DataFrame, shipped: pd.DataFrame, by: Sequence[str], value: str) -> None:
    """AssertionError, which names the row, unless each live `value` agrees with the shipped rows of the same `by`.

    Agrees: it lies between their least and greatest value over the seeds, widened at both ends by `SPREADS` times
    the distance between these two and at least by `LEAST` of the value. The same seed gives the same value on the
    same machine; on another processor sums round otherwise and training takes another path, at worst as another
    seed would. Five seeds widened so far miss a sixth three times in a hundred.
    """
    by, name = list(by), shipped.attrs.get("name", "?")
    spread = shipped.groupby(by)[value].agg(["min", "max", "count"])
    for row in live[[*by, value]].itertuples(index=False):
        *key, found = row
        said = "，".join(f"{column}={part}" for column, part in zip(by, key))
        key = tuple(key) if len(key) > 1 else key[0]
        assert key in spread.index, f"结果表 {name} 里没有 {said} 这一行：请用 textrec remake {name} 重做。"
        low, high, seeds = spread.loc[key]
        margin = max(SPREADS * (high - low), LEAST * max(abs(low), abs(high)))
        assert low - margin <= found <= high + margin, (
            f"{said}：现在算出的 {value} 是 {found:.4g}，结果表 {name} 里 {seeds:.0f} 行在 {low:.4g} 到 {high:.4g} 之间"
            f"（容许再宽 {margin:.2g}）：代码和表对不上了，请用 textrec remake {name} 重做。"
        )
