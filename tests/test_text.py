"""Cleaning and segmentation on strings that break naive code."""

import json
import marshal
import tempfile
from dataclasses import replace
from pathlib import Path

import jieba
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textrec_utils.core.files import sha256_of
from textrec_utils.text import (
    Segmenter,
    _dictionary,
    han_share,
    load_stopwords,
    normalize,
    user_dictionary,
    word_counts,
)


@pytest.mark.parametrize(
    "raw, clean",
    [
        ("ＡＢＣ１２３", "ABC123"),
        ("好看！！，真的", "好看！！，真的"),
        ("<b>粗体</b>&amp;链接 http://a.b/c?d=1 完", "粗体&链接 完"),
        ("很<b>好</b>看，H<sub>2</sub>O<br>换行<p>成段</p>完", "很好看，H2O 换行 成段 完"),
        ("<SPAN class='x'>周</SPAN><i>星</i>驰<!-- 注 -->主演<td>甲</td><td>乙</td>", "周星驰主演 甲 乙"),
        ("零\u200b宽\ufeff字符", "零宽字符"),
        ("  多  个\t空\n白 ", "多 个 空 白"),
        ("3 < 5 > 2", "3 < 5 > 2"),
        ("㎏和①", "kg和1"),
        ("cafe\u0301，很好", "café，很好"),  # an accent of its own
        ("ｶﾞｲﾄﾞ！", "ガイド！"),  # half-width kana with their marks
        ("e\u200d\u0301", "é"),
        ("，\u0301、", "，\u0301、"),
        ("x<y and y>z", "x<y and y>z"),
        ("a<b and c>d，1<2>0", "a<b and c>d，1<2>0"),
        ("<a href='x y' class=b>文</a><br/><img src=x\nonerror=1>字", "文 字"),
        ("<input disabled><!-- a > b --><!DOCTYPE html></p >字", "字"),
        ("见http://a.b/c，很好（https://d.e/f）。", "见 ，很好（ ）。"),
        ("", ""),
    ],
)
def test_normalize(raw, clean):
    assert normalize(raw) == clean


def test_emoji_modes():
    assert normalize("真好👍🏽") == "真好👍🏽"
    assert normalize("真好👍🏽", emoji="remove") == "真好"
    assert normalize("👍", emoji="name").startswith(":")
    family = "👨‍👩‍👧"  # joined by zero-width joiners, which must survive
    assert normalize(family) == family


def test_normalize_refuses_missing_values():
    with pytest.raises(TypeError, match="float"):
        normalize(float("nan"))


@given(st.text())
def test_normalize_is_idempotent_and_never_fails(text):
    once = normalize(text)
    assert normalize(once) == once or "&" in text or "<" in once  # escaped markup may unfold a second time
    assert once == once.strip()


def test_user_words_are_not_cut():
    plain, own = Segmenter(stopwords=()), Segmenter(["预训练", "汤姆·汉克斯"], stopwords=())
    text = "预训练模型推荐汤姆·汉克斯的电影"
    assert "预训练" not in plain(text) and "汤姆·汉克斯" not in plain(text)
    assert own(text)[:2] == ["预训练", "模型"] and "汤姆·汉克斯" in own(text)


def test_segmenters_do_not_share_words():
    Segmenter(["语言模型推荐"])
    assert "语言模型推荐" not in Segmenter(stopwords=())("语言模型推荐")


def test_the_dictionary_is_read_once(monkeypatch):
    first = Segmenter(stopwords=())
    monkeypatch.setattr("jieba.Tokenizer.initialize", lambda *_: pytest.fail("read again"))
    second = Segmenter(["语言模型推荐"], stopwords=())
    assert first("推荐语言模型推荐") != second("推荐语言模型推荐") == ["推荐", "语言模型推荐"]


def test_stop_words_and_empty_texts():
    segment = Segmenter()
    assert segment("") == [] and segment("，。！😀") == [] and segment("的了吗") == []
    assert "的" in load_stopwords() and "爱情" not in load_stopwords()


def test_user_dictionary_of_the_films(movielens):
    words = user_dictionary(movielens)
    assert {"玩具总动员", "汤姆·汉克斯"} <= set(words)
    segment = Segmenter(words)
    assert "玩具总动员" in segment("他喜欢玩具总动员。")


def test_names_are_those_that_the_data_tell_of(movielens):
    items = movielens.items.head(3).assign(title="无名", singer=["邓丽君|王菲", "", "许巍"])
    dataset = replace(movielens, items=items, entity_columns=("singer",))
    assert user_dictionary(dataset) == ["无名", "王菲", "许巍", "邓丽君"]
    assert user_dictionary(replace(dataset, entity_columns=())) == ["无名"]


def test_the_dictionary_is_cached_in_our_folder_alone(tmp_path, monkeypatch):
    """jieba loads its cache as marshal data: a file that others put into the shared temporary folder is not read."""
    shared = tmp_path / "tmp"
    shared.mkdir()
    (shared / "jieba.cache").write_bytes(marshal.dumps(({"外人的词": 1000}, 1000)))
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "a" / "cache"))
    _dictionary.cache_clear()
    assert "外人的词" not in Segmenter(stopwords=())("这是外人的词吗")
    assert (tmp_path / "a" / "cache" / "jieba" / "jieba.cache").stat().st_size > 1_000_000
    assert [path.name for path in shared.iterdir()] == ["jieba.cache"]
    assert Path(jieba.dt.tmp_dir).name == "jieba"


def test_the_tokens_of_the_films_stay(movielens):
    """What the chapters' numbers stand on: every token of every film, and the normalised texts."""
    segment = Segmenter(user_dictionary(movielens))
    tokens = json.dumps([segment(text) for text in movielens.items["text"]])
    assert sha256_of(tokens.encode()) == "b2a0fd3bba82711e1568bb6a8e167143f362761385598a464c4501fcb0bababa"
    texts = [normalize(t) for t in [*movielens.items["text"], *movielens.items["title"], *movielens.users["text"]]]
    assert sha256_of("\0".join(texts).encode()) == "eb07de7b8ebaeef56bcfe25e8aa2efc80bc792d754485cdbcbeae2524bbcf4c0"


def test_counts_and_shares():
    table = word_counts([["猫", "狗"], ["猫"]])
    assert table.iloc[0].tolist() == [1, "猫", 2, 2 / 3]
    assert han_share("汉字ab") == 0.5 and han_share("") == 0
