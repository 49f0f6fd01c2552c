"""What is odd about data: told with counts and places, in one pass, and left out only where that was asked for."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from click.testing import CliRunner

from tests.small_folder import ITEMS, VIEWS, folder, refused
from textrec_utils.cli import main
from textrec_utils.datasets import load_dataset
from textrec_utils.datasets.quality import COLUMNS, quality_table


def found(dataset, what, **options) -> tuple[str, str, str]:
    """(how many, where, what is done) of the row whose first cell begins like this."""
    table = quality_table(dataset, **options)
    (row,) = table[table["发现"].str.startswith(what)].itertuples(index=False)
    return row[1:]


def shop(tmp_path, titles, texts=None, interactions=VIEWS):
    texts = texts or [f"第{n}种茶" for n in range(len(titles))]
    items = pd.DataFrame({"item_id": [chr(97 + n) for n in range(len(titles))], "title": titles, "text": texts})
    return folder(tmp_path, items_csv=items.to_csv(index=False), interactions_csv=interactions)


def test_clean_data_have_nothing_to_tell_but_how_they_were_read(tmp_path):
    dataset = load_dataset(folder(tmp_path))
    table = quality_table(dataset)
    assert tuple(table.columns) == COLUMNS and table["发现"].tolist() == list(dataset.removed)
    assert quality_table(replace(dataset, removed=())).empty


def test_twins_markup_traditional_letters_and_long_texts(tmp_path):
    titles = ["绿茶", "红茶", "绿茶", "臺灣烏龍茶與綠茶的歷史", "<b>花茶</b>", "R&amp;B 与 Q&A", "3 < 5 > 2"]
    texts = ["同一段话", "同一段话", "另一段", "這壺茶來自臺灣的高山，葉片飽滿", "第&nbsp;5 种", "一", "很长" * 100]
    dataset = load_dataset(shop(tmp_path, titles, texts))
    assert found(dataset, "标题相同")[0] == "1 组共 2" and set("ac") <= set(found(dataset, "标题相同")[1])
    assert found(dataset, "文字相同")[0] == "1 组共 2" and set("ab") <= set(found(dataset, "文字相同")[1])
    assert found(dataset, "文字里有网页标记")[0] == "2" and "item_id d" in found(dataset, "文字像是繁体")[1]
    assert found(dataset, "文字像是繁体")[0] == "1" and "OpenCC" in found(dataset, "文字像是繁体")[2]
    assert found(dataset, "文字超过 128 字")[:2] == ("1", "item_id g") and "200" in found(dataset, "文字超过 128 字")[2]
    assert found(dataset, "文字超过 3 字", reads=3)[0] == "5"
    english = replace(dataset, language="en")
    assert found(english, "文字超过 160 字", reads=40)[0] == "1"
    assert "繁体" not in "".join(quality_table(english)["发现"])


def test_simplified_texts_with_rare_letters_are_not_traditional(tmp_path):
    texts = ["陶喆和朱镕基与堃哥一起在深圳喝咖啡，聊了很久的电影和音乐", "囧", "喆堃", "茶"]
    dataset = load_dataset(shop(tmp_path, ["绿茶", "红茶", "花茶", "白茶"], texts))
    assert not quality_table(dataset)["发现"].str.contains("繁体").any()


def test_robots_idle_people_and_rows_that_come_again(tmp_path):
    rows = ["robot,a,1705276800"] * 150 + [f"robot,b,{1705276800 + n}" for n in range(151)]
    rows += [f"u{n},{'ab'[n % 2]},1705276800" for n in range(99)] + ["u0,a,1705276900"]
    table = "user_id,item_id,timestamp\n" + "\n".join(rows) + "\n"
    path = folder(tmp_path, items_csv=ITEMS + "c,花茶\n", interactions_csv=table, users_csv="user_id\nu0\nidle\n")
    dataset = load_dataset(path)
    assert (
        found(dataset, "交互多得不像人")[:2] == ("1", "user_id robot")
        and "占全部交互的 75%" in found(dataset, "交互多得")[2]
    )
    assert found(dataset, "没有一条交互的用户")[:2] == ("1", "user_id idle")
    assert found(dataset, "没有一条交互的物品")[:2] == ("1", "item_id c")
    assert found(dataset, "整行重复的交互")[:2] == ("149", "robot→a")
    assert found(dataset, "同一人对同一物品的又一次")[0] == "151"
    assert len(dataset.interactions) == 401  # told, not taken away


def test_people_without_an_order(tmp_path):
    table = (
        "user_id,item_id,timestamp\nu,a,1705276800\nu,b,1705276800\nv,a,1705276800\nw,a,1705276800\nw,b,1705276801\n"
    )
    dataset = load_dataset(folder(tmp_path, interactions_csv=table))
    assert found(dataset, "几次交互全是同一时刻的用户")[:2] == ("1", "user_id u")


def test_words_that_say_nothing(tmp_path):
    titles = ["绿茶", "NULL", "", "nan", "None"]
    dataset = load_dataset(
        shop(tmp_path, titles, ["", "NULL", "<NA>", "好茶", "x" * 30][:1] + ["红茶好喝", "白茶", "好茶", "x" * 30])
    )
    titled = dataset.items.set_index("item_id")
    assert titled["title"].to_dict() == {"a": "绿茶", "b": "红茶好喝", "c": "白茶", "d": "好茶", "e": "x" * 20}
    assert titled.loc["a", "text"] == "绿茶"
    assert found(dataset, "title 写着 NULL 一类的词")[:2] == ("3", "items.csv 第 3、5、6 行")
    assert found(dataset, "title 为空")[0] == "4" and found(dataset, "text 为空")[0] == "1"


MANY = "".join(f"i{n},茶{n}\n" for n in range(60))


def test_missing_words_ids_times_and_items_are_refused_or_dropped_and_counted(tmp_path):
    rows = [f"u{n % 7},i{n % 58},{1705276800 + n}" for n in range(100)]
    rows[3], rows[5], rows[9], rows[11] = "u1,gone,1705276800", ",i1,1705276800", "u2,i2,", "u3,i58,1705276800"
    table = "user_id,item_id,timestamp\n" + "\n".join(rows) + "\n"
    path = folder(tmp_path, items_csv="item_id,title\n" + MANY.replace("茶58\n", "\n"), interactions_csv=table)
    told = refused(path, "有 4 个问题，请一起改好")
    for part in ("items.csv 第 60 行：title 和 text 都为空", "第 5 行：item_id 'gone' 不在", "第 7 行：user_id 为空",
                 "第 11 行：timestamp 为空", "-p on_missing drop 去掉（占 1.0%）"):  # fmt: skip
        assert part in told
    dataset = load_dataset(path, on_missing="drop")
    assert (
        len(dataset.items) == 59
        and len(dataset.interactions) == 96
        and "gone" not in set(dataset.interactions["item_id"])
    )
    assert (dataset.interactions["timestamp"] > 0).all() and "" not in set(dataset.users["user_id"])
    said = "\n".join(dataset.removed)
    for part in (
        "title 和 text 都为空（1 处，items.csv 第 60 行），已去掉",
        "item_id 'gone' 不在 items.csv 里（1 处，",
        "user_id 为空（1 处",
        "timestamp 为空（1 处",
        "交互的物品没有文字（1 处，interactions.csv 第 13 行）",
    ):
        assert part in said


def test_dropping_has_an_end(tmp_path):
    """Where more would go than stay, something else is wrong."""
    for items in ("item_id,title\na,绿茶\nb,\n", "item_id,title\na,绿茶\nc,\nd,\nb,红茶\n"):
        assert load_dataset(
            folder(tmp_path, items_csv=items, interactions_csv="user_id,item_id\nu,a\n"), on_missing="drop"
        )
    for name, items, views in (
        ("items", "item_id,title\na,绿茶\nb,\nc,\n", "user_id,item_id\nu,a\n"),
        ("interactions", ITEMS, "user_id,item_id\nu,a\nu,x\nu,y\n"),
    ):
        path = folder(tmp_path, items_csv=items, interactions_csv=views)
        with pytest.raises(ValueError, match=f"{name}.csv.*占 67%，去掉的会比留下的多，on_missing drop 也不去掉"):
            load_dataset(path, on_missing="drop")
    several = "user_id,item_id,timestamp\n,a,1600000000\nu,a,\nu,b,1600000001\nu,a,1600000002\n,a,1600000003\n"
    path = folder(tmp_path, items_csv="item_id,title\na,绿茶\nb,\n", interactions_csv=several)
    with pytest.raises(ValueError, match="interactions.csv 合起来要去掉 80% 的行，比留下的多"):
        load_dataset(path, on_missing="drop")
    with pytest.raises(ValueError, match="on_missing 可以是 refuse、drop，得到 keep"):
        load_dataset(folder(tmp_path), on_missing="keep")


def test_all_faults_are_told_at_once(tmp_path):
    path = folder(
        tmp_path, users_csv="user_id\nu\nu\n",
        items_csv="item_id,title,published\na,绿茶,2024-01-01\n,红茶,昨天\na,,2024-01-02\n",
        interactions_csv="user_id,item_id,评分,时间\nu,a,很好,2024-01-15\n,a,5,2024-01-32\n",
    )  # fmt: skip
    told = refused(path, "有 8 个问题，请一起改好：（1）")
    for part in (
        "items.csv 第 3 行：item_id 为空", "items.csv 第 4 行：item_id 'a' 重复", "第 4 行：title 和 text 都为空",
        "published '昨天' 读不懂", "评分 '很好' 不是数", "timestamp '2024-01-32' 读不懂", "user_id 为空",
        "users.csv 第 3 行",
    ):  # fmt: skip
        assert part in told
    path = folder(tmp_path, items_csv="item_id\na\n", interactions_csv="用户,物品\n", users_csv="name\nx\n")
    told = refused(path, "有 3 个问题")
    for part in ("items.csv 第 1 行缺少列 title", "interactions.csv 只有表头", "users.csv 第 1 行缺少列 user_id"):
        assert part in told


def test_the_command_tells_enough_and_checks_alone(tmp_path):
    table = "userId,sku,stars,time,shop\nu,a,5,2024-01-15 08:00,x\nu,b,2,2024-02-15 09:30,x\nv,a,4,2024-02-16 09:30,y\n"
    path = str(folder(tmp_path, interactions_csv=table))
    told = CliRunner().invoke(main, ["data", path])
    assert told.exit_code == 0
    for part in ("2 用户，2 物品，3 交互，2 喜欢（value 不低于 4", "时间：2024-01-15 08:00 至 2024-02-16 09:30（UTC）",
                 "userId 列当作 user_id、sku 列当作 item_id、stars 列当作 value、time 列当作 timestamp",
                 "没有用到的列：shop", "数据质量：", "--check"):  # fmt: skip
        assert part in told.output, part
    checked = CliRunner().invoke(main, ["data", path, "--check"])
    assert checked.exit_code == 0 and checked.output.startswith("1. value 最高 5") and "校验和" not in checked.output
    (tmp_path / "interactions.csv").write_text(table + "w,gone,5,2024-02-16 09:30,y\n")
    assert CliRunner().invoke(main, ["data", path]).exit_code != 0
    dropped = CliRunner().invoke(main, ["data", path, "-p", "on_missing", "drop", "--check"])
    assert "不在 items.csv 里：1，interactions.csv 第 5 行；已去掉（占 25.0%）" in dropped.output
