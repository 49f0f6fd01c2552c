"""Cleaning and segmentation on strings that break naive code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textrec_utils.text import Segmenter, han_share, load_stopwords, normalize, user_dictionary, word_counts


@pytest.mark.parametrize(
    "raw, clean",
    [
        ("ＡＢＣ１２３", "ABC123"),
        ("好看！！，真的", "好看！！，真的"),
        ("<b>粗体</b>&amp;链接 http://a.b/c?d=1 完", "粗体 &链接 完"),
        ("零\u200b宽\ufeff字符", "零宽字符"),
        ("  多  个\t空\n白 ", "多 个 空 白"),
        ("3 < 5 > 2", "3 < 5 > 2"),
        ("㎏和①", "kg和1"),
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


def test_stop_words_and_empty_texts():
    segment = Segmenter()
    assert segment("") == [] and segment("，。！😀") == [] and segment("的了吗") == []
    assert "的" in load_stopwords() and "爱情" not in load_stopwords()


def test_user_dictionary_of_the_films(movielens):
    words = user_dictionary(movielens)
    assert {"玩具总动员", "汤姆·汉克斯"} <= set(words)
    segment = Segmenter(words)
    assert "玩具总动员" in segment("他喜欢玩具总动员。")


def test_counts_and_shares():
    table = word_counts([["猫", "狗"], ["猫"]])
    assert table.iloc[0].tolist() == [1, "猫", 2, 2 / 3]
    assert han_share("汉字ab") == 0.5 and han_share("") == 0
