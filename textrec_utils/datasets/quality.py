"""How good the data are: a table of what was found, where it stands, and what is done about it."""

import re

import pandas as pd

from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.faults import FEW, Note

READS = 128  # tokens that an encoder reads at least (`encoder.lengths.LEAST`), about as many 汉字
WORD = 4  # letters of a token where words are spelled, about
COLUMNS = ("发现", "多少", "在哪里", "怎么办")
ROBOT_ROWS, ROBOT_TIMES = 200, 30  # more rows than both, the second in medians, are more than people make
_MARKUP = re.compile(r"</?[a-z][^<>]*>|&(?:[a-z]{2,8}|#\d{2,6});", re.IGNORECASE)
_HAN = re.compile(r"[\u4e00-\u9fff]")
_TRADITIONAL = 0.1  # of a text's 汉字, from which on it is taken for traditional
_TOLD = "没有改动"


def quality_table(dataset: Dataset, reads: int = READS) -> pd.DataFrame:
    """One row for each note of the loader and each oddity of the data: columns COLUMNS, all text.

    reads: how many tokens of a text the encoder reads. Nothing is changed here.
    """
    found = [_row(note) for note in dataset.removed]
    for look in (_twins, _texts, _people, _pairs, _times):
        found += look(dataset)
    length, limit = dataset.items["text"].str.len(), reads * (1 if dataset.language == "zh" else WORD)
    done = f"编码器只读 {reads} 个词元时读不完，只读开头（最长 {length.max():,} 字）"
    found += _of_items(dataset, length > limit, f"文字超过 {limit} 字的物品", done)
    return pd.DataFrame(found, columns=list(COLUMNS))


def _row(note: str) -> tuple[str, str, str, str]:
    if not isinstance(note, Note):
        return note, "", "", ""
    return note.what, "" if note.count is None else f"{note.count:,}", note.where, note.done


def _some(ids: pd.Series) -> str:
    return "、".join(ids[:FEW]) + " 等" * (len(ids) > FEW)


def _of_items(dataset: Dataset, mask: pd.Series, what: str, done: str = _TOLD) -> list[tuple[str, str, str, str]]:
    ids = dataset.items["item_id"][mask.to_numpy()]
    return [(what, f"{len(ids):,}", f"item_id {_some(ids)}", done)] if len(ids) else []


def _twins(dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """Items that bear the same title or tell the same."""
    found = []
    for column, what in (("title", "标题相同的物品"), ("text", "文字相同的物品")):
        cells = dataset.items[column].str.strip()
        again = cells.duplicated(keep=False) & (cells != "")
        order = cells[again].sort_values(kind="stable").index
        ids = dataset.items["item_id"].loc[order]
        if len(ids):
            done = "没有合并；若是同一件东西的几个编号，喜欢被它们分走了，请合并后再来"
            found.append((what, f"{cells[again].nunique():,} 组共 {len(ids):,}", f"item_id {_some(ids)}", done))
    return found


def _texts(dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """Markup and traditional letters, in titles and texts."""
    words = dataset.items["title"] + "\n" + dataset.items["text"]
    marked, traditional = (words.map(look).astype(bool) for look in (_is_marked, _is_traditional))
    found = _of_items(dataset, marked, "文字里有网页标记，如 <b>、&nbsp;", "分词的方法会去掉，编码器照读；请先去掉再来")
    if dataset.language == "zh":
        advice = "没有转换；自带的编码器主要读过简体，可先用 OpenCC 转成简体再来"
        found += _of_items(dataset, traditional, "文字像是繁体", advice)
    return found


def _is_marked(text: str) -> bool:
    return bool(_MARKUP.search(text))


def _is_traditional(text: str) -> bool:
    """True where many 汉字 are in Big5 and not in GB 2312, which hold the everyday letters of either way to write."""
    letters = _HAN.findall(text)
    odd = "".join(letter for letter in letters if not letter.encode("gb2312", "ignore"))
    return len(odd.encode("big5", "ignore")) // 2 > max(1, _TRADITIONAL * len(letters))


def _people(dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """Users with so many rows that they may be programs, and those who are listed and did nothing."""
    rows = dataset.interactions["user_id"].value_counts()
    many = rows[rows > max(ROBOT_ROWS, ROBOT_TIMES * rows.median())]
    idle = dataset.users["user_id"][~dataset.users["user_id"].isin(rows.index)]
    found = []
    if len(many):
        what = f"交互多得不像人的用户（超过 {ROBOT_ROWS} 行，也超过中位数的 {ROBOT_TIMES} 倍）"
        share = f"占全部交互的 {many.sum() / rows.sum():.0%}，没有去掉；若是程序或公共账号，请先去掉再来"
        found.append((what, f"{len(many):,}", f"user_id {_some(many.index.to_series())}", share))
    if len(idle):
        found.append(("没有一条交互的用户", f"{len(idle):,}", f"user_id {_some(idle)}", _TOLD))
    never = ~dataset.items["item_id"].isin(dataset.interactions["item_id"])
    return [*found, *_of_items(dataset, never, "没有一条交互的物品", "照样是候选")]


def _pairs(dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """Rows that repeat another letter by letter, and pairs that come again at another time or value."""
    table, pair = dataset.interactions, ["user_id", "item_id"]
    same = table.duplicated()
    again = table[~same].duplicated(pair)
    found = []
    kinds = (("整行重复的交互", table[same]), ("同一人对同一物品的又一次交互", table[~same][again]))
    for what, rows in kinds:
        if len(rows):
            where = _some((rows["user_id"] + "→" + rows["item_id"]).drop_duplicates())
            found.append((what, f"{len(rows):,}", where, "喜欢只算最早的一次"))
    return found


def _times(dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """People all of whose rows bear one time: what they did first nobody can tell."""
    if not dataset.has_time:
        return []
    times = dataset.interactions.groupby("user_id")["timestamp"].agg(["nunique", "size"])
    ids = times.index[(times["nunique"] == 1) & (times["size"] > 1)].to_series()
    what = "几次交互全是同一时刻的用户"
    return [(what, f"{len(ids):,}", f"user_id {_some(ids)}", "先后分不出，按编号排")] if len(ids) else []
