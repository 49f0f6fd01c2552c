"""Folders as people bring them: read right and said, or refused in one sentence that leads on. Several of each kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.small_folder import ITEMS, VIEWS, folder, refused, views
from textrec_utils.datasets import DataError, load_dataset

TEAS = "绿茶 红茶 花茶 白茶 黄茶 黑茶 奶茶 果茶".split()


def notes(dataset) -> str:
    return "\n".join(map(str, dataset.removed))


def rows(header="user_id,item_id", cells=("u,a", "u,b", "v,a")) -> str:
    return "\n".join([header, *cells]) + "\n"


# ---------------------------------------------------------------- how a file is written

COMMAS = VIEWS.replace("\n", ",\n")
WRITTEN = {
    "GBK": ({"items_csv": ITEMS.encode("gbk")}, "items.csv 不是 UTF-8，按 GB18030（GBK）读"),
    "GB18030": ({"items_csv": (ITEMS + "c,𠮷野家的茶\n").encode("gb18030")}, "按 GB18030"),
    "both in GBK": (
        {"items_csv": ITEMS.encode("gbk"), "interactions_csv": VIEWS.encode("gbk")},
        "items.csv 不是 UTF-8",
    ),
    "UTF-16": ({"items_csv": ITEMS.encode("utf-16")}, "items.csv 按 UTF-16 读"),
    "UTF-16 big": ({"items_csv": b"\xfe\xff" + ITEMS.encode("utf-16-be")}, "按 UTF-16"),
    "UTF-16 without its mark": ({"items_csv": ITEMS.encode("utf-16-le")}, "按 UTF-16"),
    "Excel's Unicode text": ({"items_csv": ITEMS.replace(",", "\t").encode("utf-16")}, "items.csv 用制表符分列"),
    "two marks": ({"items_csv": "\ufeff\ufeff" + ITEMS, "interactions_csv": "\ufeff\ufeff" + VIEWS}, ""),
    "a mark within": ({"items_csv": ITEMS.replace("\nb", "\n\ufeffb")}, ""),
    "semicolons": ({"items_csv": ITEMS.replace(",", ";")}, "items.csv 用分号分列"),
    "semicolons and quotes": ({"items_csv": 'item_id;title\na;"绿;茶"\nb;"红""茶"\n'}, "分号"),
    "tabs": ({"items_csv": ITEMS.replace(",", "\t"), "interactions_csv": VIEWS.replace(",", "\t")}, "用制表符分列"),
    "tabs and lone quotes": ({"items_csv": 'item_id\ttitle\na\t5" 茶\nb\t红茶\n'}, "制表符"),
    "bars": ({"interactions_csv": VIEWS.replace(",", "|")}, "interactions.csv 用竖线分列"),
    "full-width commas": ({"interactions_csv": VIEWS.replace(",", "，")}, "全角逗号"),
    "commas at the end": ({"items_csv": ITEMS.replace("\n", ",\n"), "interactions_csv": COMMAS}, ""),
    "commas at the end of rows": ({"interactions_csv": COMMAS.replace("id,\n", "id\n")}, ""),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_files_are_read_as_they_were_written(tmp_path, case):
    files, said = WRITTEN[case]
    dataset = load_dataset(folder(tmp_path, **files))
    assert {"a", "b"} <= set(dataset.items["item_id"]) and (dataset.items["title"].str.contains("茶")).all()
    assert sorted(zip(dataset.interactions["user_id"], dataset.interactions["item_id"])) == [
        ("u", "a"), ("u", "b"), ("v", "a"),
    ]  # fmt: skip
    assert said in notes(dataset) and ("分列" in notes(dataset)) == ("列" in said or "；" in said or case.startswith((
        "semicolons", "tabs", "bars", "full"
    )))  # fmt: skip


UNREADABLE = {
    "a workbook by the name": ({"items_csv": b"PK\3\4" + bytes(range(200))}, "items.csv 其实是 Excel 工作簿.*另存为"),
    "an old workbook": ({"items_csv": b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(90)}, "其实是 旧版的 Excel 工作簿"),
    "packed": ({"interactions_csv": b"\x1f\x8b\x08" + bytes(90)}, "interactions.csv 其实是 gzip 压缩文件"),
    "Latin-1": ({"items_csv": "item_id,title\na,café\nb,thé\n".encode("latin-1")}, "items.csv 第 2 行不是 UTF-8"),
    "Big5": ({"items_csv": "item_id,title\na,綠茶與紅茶的故事\nb,臺灣烏龍\n".encode("big5")}, "第 2 行不是 UTF-8"),
    "UTF-8 with a GBK row": ({"items_csv": ITEMS.encode() + "c,花茶\n".encode("gbk")}, "第 4 行不是 UTF-8"),
    "a backslash before a quote": ({"items_csv": 'item_id,title\na,"19\\" 屏"\nb,红\n'}, r'第 2 行的引号写成了 \\"'),
    "and a comma behind": ({"items_csv": 'item_id,title\na,绿\nb,"19\\", 屏"\n'}, r'第 3 行的引号写成了 \\"'),
    "and the end of a row": ({"items_csv": 'item_id,title\na,"19\\""\nb,"20\\""\n'}, r'第 2 行的引号写成了 \\"'),
    "and line breaks": ({"items_csv": 'item_id,title\na,"绿\n茶 19\\" 屏"\nb,红\n'}, r'第 3 行的引号写成了 \\"'),
    "twice the same header": (
        {"interactions_csv": rows("user_id,item_id, item_id ", ["u,a,a"])},
        "列名 item_id 出现了两次",
    ),
    "a header twice but for a mark": ({"items_csv": "item_id,title,\ufefftitle\na,x,y\n"}, "列名 title 出现了两次"),
    "a semicolon that isn't quoted": (
        {"items_csv": "item_id;title\na;绿;茶\n"},
        "第 2 行有 3 列，应有 2 列.*含有分号的文字",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_files_that_cannot_be_read_say_why(tmp_path, case):
    files, sentence = UNREADABLE[case]
    refused(folder(tmp_path, **files), sentence)


def test_workbooks_beside_or_instead_of_tables(tmp_path):
    (tmp_path / "items.xlsx").write_bytes(b"PK\3\4")
    refused(tmp_path, "里是 Excel 工作簿 items.xlsx，请把每张表另存为“CSV UTF-8”")
    (tmp_path / "item.tsv").write_text("x")
    (tmp_path / "items.xlsx").rename(tmp_path / "books")
    refused(tmp_path, "里没有认识的数据（有 item.tsv）：需要 items.csv")
    (tmp_path / "books").rename(tmp_path / "items.xlsx")
    (tmp_path / "interactions.csv").write_text(VIEWS)
    refused(tmp_path, "items.xlsx 是 Excel 工作簿，请打开后另存为.*items.csv")


# ---------------------------------------------------------------- names of columns

NAMES = {
    "camels": "userId,itemId,rating,Timestamp",
    "capitals": "User_ID,Item_ID,RATING,TIMESTAMP",
    "blanks": "User ID,Item ID,Rating,Time",
    "short": "uid,sku_id,score,time",
    "hyphens": "user-id,item-id,stars,date",
    "Chinese": "用户ID,商品ID,评分,时间",
    "other Chinese": "会员编号,商品编码,打分,购买时间",
    "films": "user,movieId,rating,ts",
    "full width": "ｕｓｅｒ＿ｉｄ,ｉｔｅｍ＿ｉｄ,评级,日期",
    "shop": "customer_id,product_id,star,order_time",
}


@pytest.mark.parametrize("case", NAMES)
def test_usual_names_of_columns_are_taken_and_said(tmp_path, case):
    header = NAMES[case]
    table = rows(header, ["u,a,5,1705276800", "u,b,1,1705276801", "v,a,2,1705276802", "v,b,4,1705276803"])
    dataset = load_dataset(folder(tmp_path, interactions_csv=table))
    assert dataset.has_time and dataset.min_value == 4 and len(dataset.positives()) == 2
    assert dataset.interactions["timestamp"].min() == 1705276800
    for theirs, ours in zip(header.split(","), ("user_id", "item_id", "value", "timestamp")):
        assert (f"{theirs} 列当作 {ours}" in notes(dataset)) == (theirs != ours)


def test_usual_names_in_items_and_users(tmp_path):
    files = {
        "items_csv": "商品ID,标题,简介,类目,品牌\na,绿茶,好喝,茶,甲\nb,红茶,香,茶|饮料,乙\n",
        "users_csv": "uid,简介,age\nu,学生,20\nv,老师,30\n",
    }
    dataset = load_dataset(folder(tmp_path, **files))
    assert set(dataset.items["text"]) == {"好喝", "香"} and set(dataset.items["category"]) == {"茶", "茶|饮料"}
    assert set(dataset.users["text"]) == {"学生", "老师"}
    for said in (
        "标题 列当作 title",
        "类目 列当作 category",
        "items.csv 没有用到的列：品牌",
        "users.csv 没有用到的列：age",
    ):
        assert said in notes(dataset)
    dataset = load_dataset(folder(tmp_path, items_csv="id,name\na,绿茶\nb,红茶\n", users_csv="id\nu\n"))
    assert set(dataset.items["title"]) == {"绿茶", "红茶"} and "id 列当作 item_id" in notes(dataset)
    dataset = load_dataset(folder(tmp_path, items_csv="id,sku,name\n1,a,绿茶\n2,b,红茶\n"))
    assert set(dataset.items["item_id"]) == {"a", "b"} and "items.csv 没有用到的列：id" in notes(dataset)


def test_columns_that_are_not_used_and_slips_of_the_pen(tmp_path):
    table = rows("id,user_id,item_id,timestmap,ratng,device", ["1,u,a,1705276800,5,pc", "2,v,b,1705276800,1,pc"])
    dataset = load_dataset(folder(tmp_path, interactions_csv=table))
    assert "interactions.csv 没有用到的列：id、timestmap、ratng、device" in notes(dataset)
    assert "timestmap 像是 timestamp 写错了" in notes(dataset) and "ratng 像是 value 写错了" in notes(dataset)
    refused(
        folder(tmp_path, interactions_csv=rows("usr_id,item_id")), "缺少列 user_id（现有：.*usr_id 像是 user_id 写错了"
    )
    refused(
        folder(tmp_path, interactions_csv=rows("user_id,item_id,rating,评分", ["u,a,1,2"])),
        "rating、评分 都可能是 value",
    )
    refused(
        folder(tmp_path, interactions_csv=rows("user_id,sku_id,商品ID", ["u,a,a"])), "sku_id、商品ID 都可能是 item_id"
    )
    refused(folder(tmp_path, interactions_csv=rows("user_id,item_id,date,time", ["u,a,1,2"])), "都可能是 timestamp")
    ours = rows("user_id,item_id,value,rating", ["u,a,5,1", "v,b,1,5"])  # our own name goes first
    dataset = load_dataset(folder(tmp_path, interactions_csv=ours))
    assert dataset.positives()["item_id"].tolist() == ["a"] and "没有用到的列：rating" in notes(dataset)


# ---------------------------------------------------------------- ids

MEET = {  # items.csv's ids, interactions.csv's ids, the same in items.csv, what is said
    "noughts in front": (["007", "008"], ["7", "8", "7"], ["007", "008", "007"], "写法不同，如 '7' 对 '007'"),
    "noughts the other way": (["7", "8"], ["007", "08", "7"], ["7", "8", "7"], "如 '007' 对 '7'"),
    "a fraction": (["31", "32"], ["31.0", "32.0", "31.0"], ["31", "32", "31"], "写成了小数，如 '31.0'"),
    "a fraction in items": (["31.0", "32.0"], ["31", "32", "31"], ["31", "32", "31"], "写成了小数"),
    "two noughts": (["31", "32"], ["31.00", "32.00", "31"], ["31", "32", "31"], "写成了小数"),
    "capitals": (["AB1", "AB2"], ["ab1", "ab2", "AB1"], ["AB1", "AB2", "AB1"], "如 'ab1' 对 'AB1'"),
    "full width": (["12", "13"], ["１２", "13", "12"], ["12", "13", "12"], "写法不同"),
    "an apostrophe": (["12", "13"], ["'12", "'13", "12"], ["12", "13", "12"], "写法不同"),
    "zero widths": (["a", "b"], ["a\u200b", "\u200eb", "a"], ["a", "b", "a"], "看不见的字符"),
    "zero widths in items": (["a\u200b", "b\u00ad"], ["a", "b", "a"], ["a", "b", "a"], "items.csv 第 2、3 行"),
    "wide blanks": (["a", "b"], ["\u3000a", "b\xa0", "a"], ["a", "b", "a"], ""),
    "a mark inside": (["a1", "b1"], ["a\ufeff1", "b\u20601", "a1"], ["a1", "b1", "a1"], ""),
}


@pytest.mark.parametrize("case", MEET)
def test_ids_meet_where_they_are_written_differently(tmp_path, case):
    listed, used, meant, said = MEET[case]
    items = pd.DataFrame({"item_id": listed, "title": TEAS[: len(listed)]}).to_csv(index=False)
    table = pd.DataFrame({"user_id": list("uuv"), "item_id": used, "timestamp": [1705276800 + n for n in range(3)]})
    dataset = load_dataset(folder(tmp_path, items_csv=items, interactions_csv=table.to_csv(index=False)))
    assert dataset.interactions["item_id"].tolist() == meant and said in notes(dataset)


def test_ids_that_may_be_several_are_refused(tmp_path):
    items = "item_id,title\n007,绿茶\n07,红茶\n"
    refused(
        folder(tmp_path, items_csv=items, interactions_csv=rows(cells=["u,7", "u,07"])),
        "第 2 行：item_id '7' 不在 items.csv 里",
    )
    views = rows(cells=["u,1.5", "v,2.0"])  # versions, not numbers of a column with gaps
    dataset = load_dataset(folder(tmp_path, items_csv="item_id,title\n1.5,绿茶\n2.0,红茶\n", interactions_csv=views))
    assert set(dataset.items["item_id"]) == {"1.5", "2.0"}


def test_users_meet_and_are_never_merged(tmp_path):
    users = "user_id,text\n\u200bU ,学生\n7.0,老师\n"
    dataset = load_dataset(folder(tmp_path, users_csv=users, interactions_csv=rows(cells=["u,a", "7,b"])))
    assert dict(zip(dataset.users["user_id"], dataset.users["text"])) == {"u": "学生", "7": "老师"}
    assert "users.csv 有 2 位用户，2 位有文字" in notes(dataset)
    (tmp_path / "users.csv").rename(tmp_path / "user.csv")
    assert "没有读的文件：user.csv" in notes(load_dataset(tmp_path))
    (tmp_path / "user.csv").unlink()
    twins = load_dataset(folder(tmp_path, users_csv="user_id\nU\nu\n", interactions_csv=rows(cells=["u,a", "7,b"])))
    assert sorted(twins.users["user_id"]) == ["7", "U", "u"]


LOST = {
    "a column of one number": (
        ["1.23457E+17"] * 9 + ["u1"],
        "第 2 行：user_id '1.23457E\\+17' 被 Excel 改成了科学计数.*共 9 处",
    ),
    "one only": (["u1"] * 9 + ["4.2E+15"], "第 11 行：user_id '4.2E\\+15' 被 Excel"),
    "written by pandas": (["1.23457e+17"] * 5, "被 Excel 改成了科学计数"),
    "no fraction": (["3E+05", "u1", "u2"], "第 2 行.*被 Excel"),
    "digits lost": ([f"1234567890123{n:02}000" for n in range(9)], "9 个长编号从第 16 位起全是 0.*Excel 只留 15 位"),
    "a formula's complaint": (["u1", "#REF!", "u2"], "第 3 行：user_id '#REF!' 是 Excel 的报错"),
    "nothing": (["u1", "", "u2"], "第 3 行：user_id 为空"),
    "NULL": (["u1", "NULL", "u2", "nan"], "第 3 行：user_id 为空（共 2 处，还有第 5 行）"),
    "an invisible one": (["u1", "\u200b\ufeff", "u2"], "第 3 行：user_id 为空"),
}


@pytest.mark.parametrize("case", LOST)
def test_ids_that_are_lost_are_refused(tmp_path, case):
    ids, sentence = LOST[case]
    table = pd.DataFrame({"user_id": ids, "item_id": "a"}).to_csv(index=False)
    refused(folder(tmp_path, interactions_csv=table), f"interactions.csv .*{sentence}")
    swapped = pd.DataFrame({"item_id": [*ids, "a"], "title": "茶"}).drop_duplicates().to_csv(index=False)
    assert "items.csv" in refused(folder(tmp_path, items_csv=swapped, interactions_csv=rows(cells=["u,a"])))


def test_long_ids_and_those_that_only_look_like_it_are_kept(tmp_path):
    ids = ["123456789012345678", "223456789012345679", "1E5", "12e7", "5e1f", "100000000000000000"]
    table = pd.DataFrame({"user_id": ids, "item_id": "a"}).to_csv(index=False)
    assert set(load_dataset(folder(tmp_path, interactions_csv=table)).users["user_id"]) == set(ids)


# ---------------------------------------------------------------- values


def rated(tmp_path, values, name="value"):
    """A dataset of these values, one a row, of many users."""
    table = pd.DataFrame({"user_id": [f"u{n}" for n in range(len(values))], "item_id": "a", name: values})
    return load_dataset(folder(tmp_path, interactions_csv=table.to_csv(index=False)))


rng = np.random.default_rng(0)
STARS = rng.choice([1, 2, 3, 4, 5], 200, p=[0.06, 0.1, 0.2, 0.34, 0.3]).tolist()
PLAYS = np.minimum(np.ceil(rng.pareto(0.7, 400) * 2 + 0.01), 5000).astype(int).tolist()
LIKES = {  # values, their name, the least like, what is said
    "0 and 1": ([0, 1, 1, 0] * 20, "value", 1, "1 算喜欢，0 不算"),
    "0.0 and 1.0": (["0.0", "1.0", "1.0"] * 20, "label", 1, "1 算喜欢，0 不算"),
    "-1 and 1": ([-1, 1, 1] * 20, "value", 1, "1 算喜欢，-1 不算"),
    "-1, 0 and 1": ([-1, 0, 1] * 20, "label", 1, "-1、0 不算"),
    "rarely 1": ([0] * 99 + [1], "value", 1, "1 算喜欢，0 不算"),
    "true and false": (["True", "False", "True"] * 20, "label", 1, "喜欢读成 1"),
    "Chinese words": (["是", "否", "是"] * 20, "value", 1, "喜欢读成 1"),
    "from -2 to 2": ([-2, -1, 0, 1, 2] * 20, "value", 1, "大于 0 的算喜欢"),
    "from -10 to 10": (np.round(rng.uniform(-10, 10, 200), 2).tolist(), "rating", None, "大于 0 的算喜欢"),
    "plays": ([1, 5000, *PLAYS], "value", 1, "像是次数"),
    "plays without a long tail": ([1] * 60 + [2] * 25 + [3] * 10 + [4] * 5, "value", 1, "像是次数"),
    "plays up to a dozen": ([1] * 50 + [2] * 30 + [3] * 15 + [7, 9, 12], "value", 1, "像是次数"),
    "few plays by their name": ([3, 5, 4, 5, 5, 3], "次数", 3, "像是次数"),
    "quantities": ([2, 1, 2, 2, 3], "quantity", 1, "像是次数"),
    "times watched through": ([0.1, 0.7, 0.33, 0.9, 1.02, 0.45, 1.1] * 20 + [9.8], "value", 0.1, "像是次数"),
    "shares a little above 1": ([0.1, 0.52, 0.98, 1.3, 1.1, 0.77] * 20, "value", 1.04, "不低于 1.04 的算喜欢"),
    "seconds watched": (np.round(rng.lognormal(3, 1.5, 300), 1).tolist(), "value", None, "像是次数"),
    "stars": (STARS, "评分", 4, "不低于 4 的算喜欢"),
    "half stars": ([s - 0.5 for s in STARS] + [5], "stars", 4, "不低于 4 的算喜欢"),
    "mostly one star": ([1] * 90 + [5] * 60 + [2, 3, 4] * 5, "rating", 4, "不低于 4 的算喜欢"),
    "ten points": ([s * 2 - n % 2 for n, s in enumerate(STARS)], "score", 8, "不低于 8 的算喜欢"),
    "hundred points": ([s * 20 for s in STARS], "分数", 80, "不低于 80 的算喜欢"),
}


@pytest.mark.parametrize("case", LIKES)
def test_what_counts_as_a_like(tmp_path, case):
    values, name, least, said = LIKES[case]
    dataset = rated(tmp_path, values, name)
    assert said in notes(dataset)
    if least is not None:
        assert dataset.min_value == least
    number = pd.to_numeric(pd.Series(values).replace({"True": 1, "False": 0, "是": 1, "否": 0})).astype(float)
    assert (dataset.interactions["value"] >= dataset.min_value).sum() == (number >= dataset.min_value).sum()
    if "次数" in said or "大于 0" in said:
        assert len(dataset.positives()) == (number > 0).sum()


STRAYS = {
    "a lone 99": ([*STARS, 99], "第 202 行：value '99' 远离别的值"),
    "a 99 among few": ([5, 4, 3, 5, 99, 1, 2], "第 6 行：value '99'"),
    "two 999": ([999, *STARS, 999], "第 2 行：value '999' 远离别的值，不像同一种评分（共 2 处，还有第 203 行）"),
    "55 for 5": ([*STARS, 55], "第 202 行：value '55'"),
    "a -5": ([*STARS, -5], "第 202 行：value '-5'"),
    "a -99 and a 99": ([*STARS, -99, 99], "第 202 行：value '-99'.*共 2 处"),
    "a 100 among ten points": ([*(s * 2 for s in STARS), 100], "第 202 行：value '100'"),
    "a 999 among hundred points": ([*(s * 20 - n % 7 for n, s in enumerate(STARS)), 999], "第 202 行：value '999'"),
    "a -999 among hundred points": ([*(s * 20 for s in STARS), -999], "第 202 行：value '-999'"),
    "an 11 among stars": ([*STARS, 11], "第 202 行：value '11'"),
}


@pytest.mark.parametrize("case", STRAYS)
def test_a_value_off_the_scale_is_refused_and_not_the_scale_changed(tmp_path, case):
    values, sentence = STRAYS[case]
    with pytest.raises(DataError, match=sentence) as error:
        rated(tmp_path, values)
    assert "请改好或留空" in str(error.value)


def test_noughts_and_blanks_among_ratings(tmp_path):
    dataset = rated(tmp_path, [0] * 37 + [5, 3, 4] * 21)
    assert dataset.min_value == 4 and "value 有 37.0% 是 0（37 处，interactions.csv 第 2、3、4 行等）" in notes(dataset)
    assert "若 0 表示没打分，请把这些格留空" in notes(dataset)
    dataset = rated(tmp_path, [-1] * 20 + [9, 7, 10, 8] * 20)
    assert dataset.min_value == 8 and "20.0% 是 -1" in notes(dataset) and len(dataset.positives()) == 60
    for blank in ("", "NULL", "nan", " ", "\\N"):
        dataset = rated(tmp_path, ["5", blank, "1", blank])
        assert len(dataset.positives()) == 3 == len(dataset.positives(5))
        assert "value 空着（2 处，interactions.csv 第 3、5 行），没有评分，有交互就算喜欢" in notes(dataset)
    assert len(rated(tmp_path, ["", "", ""]).positives()) == 3
    for bad in ("五", "5星", "4,5", "10%", "1e999"):
        with pytest.raises(DataError, match=f"第 3 行：评分 '{bad}' 不是数"):
            rated(tmp_path, ["5", bad, "3"], "评分")


# ---------------------------------------------------------------- times

DAY = 86_400
TIMES = {  # what is written, the first in seconds, what is said
    "microseconds": (
        [str((1705276800 + n * DAY) * 10**6) for n in range(9)],
        1705276800,
        "微秒，已换算成秒（2024-01-15",
    ),
    "nanoseconds": ([f"{(1705276800 + n * DAY)}{n}23456789" for n in range(9)], 1705276800, "纳秒"),
    "microseconds with a point": ([f"{1705276800 + n}000000.0" for n in range(9)], 1705276800, "微秒"),
    "milliseconds by a power": (["1.7052768e12", "1.7052769e12"], 1705276800, "毫秒"),
    "a year's days": (["20240305", "20231231"], 1703980800, "2023-12-31 至 2024-03-05"),
    "days with seconds": (["20240305123000", "20240305123001"], 1709641800, "2024-03-05 至"),
    "compact with a T": (["20240305T123000", "20240305 123001"], 1709641800, "日期文字"),
    "Chinese": (["2025年01月01日", "2025年1月2日"], 1735689600, "只有日期、没有钟点"),
    "Chinese afternoon": (["2024年3月5日 下午3:20", "2024年3月5日 上午9时30分"], 1709631000, "没有写时区"),
    "Chinese weekday": (["2024年3月5日 星期二 12:30:00", "2024年3月6日星期三 12:30"], 1709641800, "日期文字"),
    "months alone": (["2024-03", "2024-02"], 1706745600, "日期文字"),
    "years alone": (["2019", "2021", "2024"], 1546300800, "只有年份"),
    "Excel's days": (["45356", "45357"], 1709596800, "像是 Excel 的日期序号，已换算成秒（2024-03-05 至 2024-03-06）"),
    "Excel's days with hours": (["45356.5208333", "45356.75"], 1709641800, "Excel 的日期序号"),
    "day first": (["13/01/2024 08:00", "05/02/2024 08:00"], 1705132800, "（日在前）"),
    "day first, told by one": (["05/02/2024 08:00"] * 9 + ["13/01/2024 08:00"], 1705132800, "（日在前）"),
    "month first": (["01/13/2024 08:00", "02/05/2024 08:00"], 1705132800, "（月在前）"),
    "dots": (["13.01.2024", "05.02.2024"], 1705104000, "（日在前）"),
    "a zone": (["2024-01-15 08:00:00+08:00", "2024-01-15T09:00:00+0800"], 1705276800, "换算成 UTC 秒"),
    "zones": (["2024-01-15T00:00:00Z", "2024-01-14T17:00:00-08:00"], 1705276800, "换算成 UTC 秒"),
    "fractions of a second": (
        ["2024-01-15 00:00:00.123", "2024-01-15T00:00:01.123456Z"[:-1]],
        1705276800,
        "没有写时区",
    ),
    "names": (["Mon, 15 Jan 2024 00:00:00 GMT", "15 Jan 2024 01:00:00 GMT"], 1705276800, "换算成 UTC 秒"),
    "full width": (["２０２４－０１－１５", "2024-01-16"], 1705276800, "日期文字"),
}


@pytest.mark.parametrize("case", TIMES)
def test_times_are_read_by_the_column(tmp_path, case):
    written, first, said = TIMES[case]
    dataset = load_dataset(views(tmp_path, time=written))
    assert dataset.has_time and dataset.interactions["timestamp"].min() == first and said in notes(dataset)
    assert dataset.interactions["timestamp"].max() - first < 366 * DAY * 6


SEC, MS = "1705276800", "1705276800123"
NO_TIMES = {
    "three in milliseconds": (
        [SEC] * 30 + [MS] * 3,
        "第 32 行：.*'1705276800123' 像是毫秒，别的行是秒（共 3 处，还有第 33、34 行）",
    ),
    "three in milliseconds in front": (
        [MS] * 3 + [SEC] * 30,
        "第 2 行：.*像是毫秒，别的行是秒（共 3 处，还有第 3、4 行）",
    ),
    "three in seconds in front": ([SEC] * 3 + [MS] * 30, "第 2 行：.*像是秒，别的行是毫秒"),
    "half in milliseconds": ([SEC] * 5 + [MS] * 5, "第 7 行：.*像是毫秒，别的行是秒（共 5 处，还有第 8、9 行等）"),
    "three units": ([SEC] * 5 + [MS, MS + "000"], "有 2 个问题.*像是毫秒.*像是微秒"),
    "one number among dates": (["1705276800"] + ["2024-01-15"] * 9, "第 2 行：.*像是秒，别的行是日期"),
    "one date among numbers": ([SEC] * 9 + ["2024/1/15"], "第 11 行：.*像是日期，别的行是秒"),
    "one day before first": (["02/13/2024", "03/13/2024", "13/04/2024"], "第 4 行：.*次序相反"),
    "one month before days": (
        ["02/13/2024", "13/04/2024", "14/04/2024"],
        "第 2 行：.*'02/13/2024' 的日和月同别的行次序相反",
    ),
    "nobody can tell": (
        ["01/02/2024 08:00", "05/02/2024 08:00"],
        "分不清哪个是日、哪个是月（共 2 处.*请写成 2024-03-21",
    ),
    "one zone": (["2024-01-15 08:00"] * 5 + ["2024-01-15 08:00+08:00"], "第 7 行：.*写了时区，别的行没有写"),
    "one without": (["2024-01-15 08:00Z"] * 5 + ["2024-01-15 08:00"], "第 7 行：.*没有写时区，别的行写了"),
    "infinite among dates": (["2024-01-15", "inf"], "第 3 行：.*'inf' 读不懂"),
    "minus infinity": ([SEC, "-inf"], "第 3 行：.*'-inf' 读不懂"),
    "huge": ([SEC, "9" * 400], "第 3 行：.*不在 1990 年到今天之间"),
    "the year 9999": (["2024-01-15", "9999-12-31"], "第 3 行：.*'9999-12-31' 不在 1990"),
    "the year 1899": (["2024-01-15 00:00", "1899-12-30 00:00"], "第 3 行：.*不在 1990"),
    "compact days of 1905": (["19050305", "19050306"], "第 2 行：.*不在 1990"),
    "25 o'clock": (["2024-01-15 08:00", "2024-01-15 25:00"], "第 3 行：.*读不懂"),
    "minutes": (["28421280", "28421281.5"], "第 2 行：.*不在 1990"),
    "one blank": ([SEC, "", SEC], "第 3 行：timestamp 为空.*或用 -p on_missing drop 去掉（占 33.3%）"),
    "one NULL": (["2024-01-15", "NULL", "2024-01-15"], "第 3 行：timestamp 为空"),
}


@pytest.mark.parametrize("case", NO_TIMES)
def test_times_that_cannot_be_are_refused_with_their_lines(tmp_path, case):
    written, sentence = NO_TIMES[case]
    refused(views(tmp_path, timestamp=written), sentence)


def test_published_is_read_alike(tmp_path):
    for written, first in (
        ("2015,2020", 1420070400),
        ("2020-09-13,2015-01-01", 1420070400),
        ("1890,2015", -2524521600),
    ):
        table = "item_id,title,published\na,绿茶,{}\nb,红茶,{}\n".format(*written.split(","))
        assert load_dataset(folder(tmp_path, items_csv=table)).items["published"].min() == first
    refused(folder(tmp_path, items_csv="item_id,title,published\na,绿茶,2015\nb,红茶,\n"), "第 3 行：published 为空")


def test_cells_may_hold_what_cannot_be_seen(tmp_path):
    table = rows(
        "user_id,item_id,value,timestamp",
        ["u,a,5\u200b,\ufeff1705276800", "v,b, 1\xa0,1705276801\u200e", "w,b,\u200b,1705276802"],
    )
    dataset = load_dataset(folder(tmp_path, interactions_csv=table))
    assert dataset.interactions["value"].tolist() == [5, 1, 5] and dataset.interactions["timestamp"].min() == 1705276800
    refused(views(tmp_path, timestamp=["2024-01-15 08:00", "0000-00-00 00:00:00"]), "第 3 行：timestamp 为空")


@pytest.mark.parametrize("name", ["Items.csv", "item.csv", "items.CSV", "items.csv.txt"])
def test_a_file_by_nearly_the_right_name_is_named(tmp_path, name):
    (folder(tmp_path) / "items.csv").rename(tmp_path / name)
    refused(tmp_path, f"找不到文件 .*items.csv，{name} 像是它，请改名为 items.csv")
