"""Exercises of chapter 01: what is right passes, what is wrong is told."""

import re

import pytest

from textrec_utils.exercises import verdict


def from_right(text, words, longest):
    found, end = [], len(text)
    while end:
        size = next(size for size in range(min(longest, end), 0, -1) if size == 1 or text[end - size : end] in words)
        found.append(text[end - size : end])
        end -= size
    return found[::-1]


def from_left(text, words, longest):
    return [word[::-1] for word in from_right(text[::-1], {word[::-1] for word in words}, longest)][::-1]


def last_likes(table):
    table = table[table.groupby("user")["item"].transform("size") > 1].sort_values("timestamp")
    return table[~table.duplicated("user", keep="last")]


def unsorted(table):
    return table[table.duplicated("user")].drop_duplicates("user", keep="last")


def all_at_the_last_second(table):
    table = table[table.groupby("user")["item"].transform("size") > 1]
    return table[table["timestamp"] == table.groupby("user")["timestamp"].transform("max")]


RIGHT = {
    "01-1": lambda text: re.sub(r"(\D)\1{2,}", r"\1\1", text),
    "01-2": ["协同过滤", "自注意力"],
    "01-3": from_right,
    "01-4": last_likes,
    "01-5": 414,
    "01-6": 205,
}
WRONG = [
    ("01-1", lambda text: re.sub(r"(\D)\1{3,}", r"\1\1", text)),  # 好好好 stays
    ("01-1", lambda text: re.sub(r"(.)\1{2,}", r"\1\1", text)),  # digits too
    ("01-1", lambda text: re.sub(r"(\D)\1+", r"\1\1", text.strip())),
    ("01-1", lambda text: re.sub(r"(\D)\1{2,}", r"\1", text)),
    ("01-1", lambda text: text.replace("哈哈哈哈哈", "哈哈").replace("！！！！", "！！")),
    ("01-1", lambda text: text),
    ("01-1", lambda text: None),
    ("01-1", "(.)"),
    ("01-2", ["协同过滤"]),
    ("01-2", ["协同过滤", "自注意力", "新影片"]),
    ("01-2", "协同过滤"),
    ("01-2", [1, 2]),
    ("01-3", from_left),
    ("01-3", lambda text, words, longest: from_right(text, words, longest)[::-1]),
    ("01-3", lambda text, words, longest: from_right(text, words, 6)),  # not as long as asked
    ("01-3", lambda text, words, longest: " / ".join(from_right(text, words, longest))),
    ("01-3", lambda text, words, longest: [w for w in from_right(text, words, longest) if w in words]),
    ("01-3", lambda text, words, longest: from_right(text, words, longest) or [""]),
    ("01-3", lambda text, words, longest: list(text)),
    ("01-3", lambda text, words, longest: 1 / 0),
    ("01-4", unsorted),
    ("01-4", all_at_the_last_second),
    ("01-4", lambda table: table.sort_values("timestamp").groupby("user").tail(1)),  # those with one like, too
    ("01-4", lambda table: last_likes(table).head(1)),
    ("01-4", lambda table: last_likes(table).assign(item=1)),
    ("01-4", lambda table: last_likes(table)["item"]),
    ("01-4", lambda table: table.drop(last_likes(table).index)),  # the training part
    ("01-5", 136),
    ("01-5", True),
    ("01-6", 305),
    ("01-6", 0),
    ("01-6", "很多"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    assert verdict(name, RIGHT[name]) is None


@pytest.mark.parametrize("name, answer", WRONG)
def test_wrong_answers_are_told(name, answer):
    assert verdict(name, answer)
