"""Chinese text: cleaning, segmentation with a user dictionary, stop words."""

from __future__ import annotations

import html
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import cache

import jieba
import pandas as pd

from textrec_utils.core.paths import cache_dir, project_data
from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.tables import read_table

jieba.setLogLevel(logging.WARNING)  # its start-up lines on stderr would sit in every notebook

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")
# An attribute has a value, or is one of those that HTML itself has without: "x<y and y>z" is no tag.
_VALUE = r"""\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+)"""
_BARE = r"(?:async|autoplay|checked|controls|defer|disabled|hidden|loop|muted|nowrap|open|readonly|required|selected)\b"
_ELEMENT = rf"</?[a-z][\w:-]*(?:\s+(?:[\w:-]+{_VALUE}|{_BARE}))*\s*/?>"
_TAG = re.compile(rf"{_ELEMENT}|<![a-z][^<>]*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
# Tags that mark letters within a line and part no words; all others (p, br, td, li, …) do.
_INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd mark nobr q s samp small span strike strong"
    " sub sup time tt u var wbr".split()
)
_NAME = re.compile(r"</?([a-z][\w:-]*)", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s\u2018-\u201f\u2026\u3000-\u9fff\uff00-\uffef]+")
_INVISIBLE = re.compile(r"[\u0000-\u0008\u000b-\u001f\u007f\u00ad\u200b\u200c\u200e\u200f\u202a-\u202e\u2060\ufeff]")
# A zero-width joiner is dirt, except inside an emoji such as a family, which it holds together.
_EMOJI = r"\U0001f000-\U0001faff\u2600-\u27bf"
_STRAY_JOINER = re.compile(rf"(?<![{_EMOJI}\ufe0f])\u200d|\u200d(?![{_EMOJI}])")
_RUN = re.compile("[^，。！？：；（）～…“”‘’、《》]+")
_WORD = re.compile(r"\w")
_NAME_DOT = re.compile(r"(?<=[\u4e00-\u9fffA-Za-z])·(?=[\u4e00-\u9fffA-Za-z])")


def normalize(text: str, *, emoji: str = "keep") -> str:
    """Markup and links out, width and compatibility forms unified (NFKC), blanks collapsed.

    Tags within a line, such as <b>, and comments leave nothing behind, so that no word is cut; others, such as <p>,
    leave a blank.
    emoji: "keep" as they are, "remove", or "name" (`:thumbs_up:` style Chinese names).
    NFKC turns full-width ＡＢＣ１２３ into ABC123 and ㎏ into kg; Chinese punctuation such as
    ，and ！ becomes ASCII by NFKC as well, so it is set aside and kept.
    Raises TypeError where text is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"normalize 需要字符串，得到 {type(text).__name__}；缺失值请先换成空串。")
    text = _URL.sub(" ", _TAG.sub(_without_tag, html.unescape(text)))
    text = _STRAY_JOINER.sub("", _INVISIBLE.sub("", text))
    # Run by run, not letter by letter: e with an accent of its own, or ｶ with ﾞ, become one letter.
    text = _RUN.sub(lambda run: unicodedata.normalize("NFKC", run[0]), text)
    if emoji != "keep":
        import emoji as emoji_names

        replace = "" if emoji == "remove" else (lambda e, _: emoji_names.demojize(e, language="zh"))
        text = emoji_names.replace_emoji(text, replace=replace)
    return " ".join(_STRAY_JOINER.sub("", text).split())


def _without_tag(tag: re.Match[str]) -> str:
    name = _NAME.match(tag[0])
    return "" if tag[0].startswith("<!--") or (name and name[1].lower() in _INLINE) else " "


def is_word(token: str) -> bool:
    """True for tokens with at least one letter, digit or 汉字."""
    return bool(_WORD.search(token)) and token != "_"


def han_share(text: str) -> float:
    """Share of 汉字 among the characters that are not blank (0 for an empty text)."""
    visible = [c for c in text if not c.isspace()]
    return sum(bool(HAN.match(c)) for c in visible) / len(visible) if visible else 0.0


@cache
def load_stopwords() -> frozenset[str]:
    """The course's stop words (data/stopwords.csv, which gives the reason for each group)."""
    table = read_table(project_data() / "stopwords.csv")
    return frozenset(word for row in table["words"] for word in row.split())


def user_dictionary(dataset: Dataset) -> list[str]:
    """Words jieba should not cut: short titles, and the names in the dataset's `entity_columns`."""
    words = [t for t in dataset.items["title"] if 2 <= len(t) <= 8 and HAN.search(t) and not re.search(r"\s", t)]
    for column in dataset.entity_columns:
        words += [name for cell in dataset.items[column] for name in cell.split("|") if len(name) > 1]
    return sorted(set(words))


def _cached_by_us(tokenizer: jieba.Tokenizer) -> jieba.Tokenizer:
    """Its dictionary's cache in our folder: jieba reads it as marshal data, and anyone may write the shared one."""
    folder = cache_dir() / "jieba"
    with suppress(OSError):  # where nothing can be written, jieba goes on without
        folder.mkdir(parents=True, exist_ok=True)
    tokenizer.tmp_dir = str(folder)
    return tokenizer


_cached_by_us(jieba.dt)  # for notebooks that call jieba itself


@cache
def _dictionary() -> tuple[dict[str, int], int]:
    """jieba's own words with their counts, and the sum: half a second, read once for all segmenters."""
    plain = _cached_by_us(jieba.Tokenizer())
    plain.initialize()
    return plain.FREQ, plain.total


class Segmenter:
    """jieba with a dictionary of its own, so that one dataset's words never leak into another's.

    words: user dictionary. stopwords: tokens to drop (None: the course's list; empty set: none).
    lowercase: Latin letters only. Calling it turns a text into a list of tokens.
    """

    def __init__(self, words: Iterable[str] = (), stopwords: Iterable[str] | None = None, lowercase: bool = True):
        self.stopwords = load_stopwords() if stopwords is None else frozenset(stopwords)
        self.lowercase = lowercase
        self._jieba, (counts, total) = jieba.Tokenizer(), _dictionary()
        self._jieba.FREQ, self._jieba.total, self._jieba.initialized = dict(counts), total, True
        self._names = {}
        for word in words:
            # jieba cuts at the middle dot before it looks into any dictionary, so the dot is taken out
            plain = self._prepare(word)
            self._names[plain] = word
            self._jieba.add_word(plain)

    def __call__(self, text: str) -> list[str]:
        tokens = (self._names.get(t, t) for t in self._jieba.lcut(self._prepare(text)))
        return [t for t in tokens if is_word(t) and t not in self.stopwords]

    def _prepare(self, text: str) -> str:
        text = normalize(text)
        return _NAME_DOT.sub("", text.lower() if self.lowercase else text)

    def __reduce__(self):  # so that joblib and pickle can carry it
        return (Segmenter, (list(self._names.values()), self.stopwords, self.lowercase))


def word_counts(documents: Iterable[list[str]]) -> pd.DataFrame:
    """Rank, word, count and share of all words, most frequent first (ties by word)."""
    counts = Counter(word for document in documents for word in document)
    rows = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    table = pd.DataFrame(rows, columns=["word", "count"])
    table.insert(0, "rank", range(1, len(table) + 1))
    table["share"] = table["count"] / max(1, table["count"].sum())
    return table
