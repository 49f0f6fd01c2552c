"""The one table reader, times and values as people write them, and files made to break it."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from tests.small_folder import ITEMS, VIEWS, folder, refused, views
from textrec_utils.corpora import read_corpus, read_pairs
from textrec_utils.datasets import DataError, load_dataset
from textrec_utils.datasets.tables import read_table
from textrec_utils.splits import make_split

# ---------------------------------------------------------------- the reader

BREAKING = {
    "binary": (bytes(range(256)) * 40, "第 1 行不是 UTF-8"),
    "NUL bytes": (b"item_id,title\na,\0tea\nb,x\n", "第 2 行不是 UTF-8"),
    "empty": ("", "是空文件"),
    "nothing but blank lines": ("\n\n\n", "是空文件"),
    "a mark and nothing else": ("\ufeff", "是空文件"),
    "header alone": ("item_id,title\n", "只有表头"),
    "one column": ("item_id\na\nb\n", "第 1 行缺少列 title"),
    "twice the same header": ("item_id,title, title \na,绿茶,x\n", "列名 title 出现了两次"),
    "a quote never closed": ('item_id,title\na,"绿茶\nb,红茶\n', "第 2 行的引号"),
    "a quote closed too early": ('item_id,title\na,绿茶\nb,"红"茶"\n', "第 3 行的引号"),
    "a huge cell": ("item_id,title\na," + "茶" * 200_000 + "\n", "第 2 行的引号没有配对，或者一格超过 131,072 字"),
    "a row too wide": ("item_id,title\na,绿茶\nb,红茶,浓的\n", "第 3 行有 3 列，应有 2 列"),
    "the first row too wide": ("item_id,title\na,绿茶,浓的\nb,红茶\n", "第 2 行有 3 列，应有 2 列"),
    "a row too narrow": ("item_id,title\na,绿茶\nb\n", "第 3 行有 1 列，应有 2 列"),
    "a comma at the end of one row": ("item_id,title\na,绿茶\nb,红,\n", "第 3 行有 3 列"),
    "blank ids": ("item_id,title\na,绿茶\n  ,红茶\n", "第 3 行：item_id 为空"),
    "equal ids after stripping": ("item_id,title\na,绿茶\na ,红茶\n", "第 3 行：item_id 'a' 重复出现"),
    "nothing to read": ("item_id,title\na,绿茶\nb, \n", "第 3 行：title 和 text 都为空"),
}  # fmt: skip


@pytest.mark.parametrize("case", BREAKING)
def test_any_file_gives_one_sentence(tmp_path, case):
    content, sentence = BREAKING[case]
    assert "items.csv" in refused(folder(tmp_path, items_csv=content), sentence)


def test_folders_that_are_no_files_and_files_that_are_no_folders(tmp_path):
    folder(tmp_path)
    (tmp_path / "items.csv").unlink()
    (tmp_path / "items.csv").mkdir()
    refused(tmp_path, "items.csv 在第 0 行之后读不下去")
    refused(tmp_path / "interactions.csv", "没有数据集")
    refused("~nobody-of-that-name/\0", "没有数据集")
    (tmp_path / "shop").mkdir()
    refused(tmp_path / "shop", "没有认识的数据")


def test_what_spreadsheets_write_is_read(tmp_path):
    """A mark at the start, \\r\\n, blank lines, a comma at the end of each row, an index column without a name."""
    plain = load_dataset(folder(tmp_path)).checksum()
    for items in (
        "\ufeff" + ITEMS.replace("\n", "\r\n"), "\n" + ITEMS.replace("\n", "\n\n"), ITEMS.replace("\n", "\r"),
        "item_id,title\na,绿茶,\nb,红茶,\n", "item_id,title,\na,绿茶,\nb,红茶,\n",
        ",item_id,title\n0,a,绿茶\n1,b,红茶\n",
        ' item_id , title\n" a ",绿茶\nb,红茶\n',
    ):  # fmt: skip
        assert load_dataset(folder(tmp_path, items_csv=items)).checksum() == plain


def test_ids_are_stripped_alike_everywhere(tmp_path):
    dataset = load_dataset(folder(
        tmp_path, items_csv=ITEMS.replace("a,", " a ,"), interactions_csv=VIEWS.replace("u,", "u ,"),
        users_csv="user_id,text\nu\t,三十岁\n v,学生\n",
    ))  # fmt: skip
    assert sorted(dataset.users["user_id"]) == ["u", "v"] and (dataset.users["text"] != "").all()
    assert set(dataset.interactions["item_id"]) == {"a", "b"}
    refused(folder(tmp_path, users_csv="user_id,text\nu,x\nu ,y\n"), "users.csv 第 3 行：user_id 'u' 重复出现")
    refused(folder(tmp_path, users_csv="user_id,text\nu,x\n ,y\n"), "users.csv 第 3 行：user_id 为空")


def test_lines_are_those_of_the_file(tmp_path):
    """Blank lines and quoted line breaks count; a row is named by the line where it begins."""
    items = 'item_id,title\n\na,"绿\n茶"\n\n\nb,"红\n\n茶"\n'
    assert read_table(folder(tmp_path, items_csv=items) / "items.csv").index.tolist() == [3, 7]
    refused(folder(tmp_path, items_csv=items + 'a,"又\n一个"\n'), "items.csv 第 10 行：item_id 'a'")


def test_packed_and_cut_off(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(ITEMS.encode()))
    assert read_table(tmp_path / "t.csv.gz")["title"].tolist() == ["绿茶", "红茶"]
    rows = "".join(f"i{n},{n * n}\n" for n in range(5000))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"item_id,title\n" + rows.encode())[:-2000])
    with pytest.raises(DataError, match="行之后读不下去（EOFError）"):
        read_table(tmp_path / "t.csv.gz")


# ---------------------------------------------------------------- the other formats


def recbole(tmp_path, item, inter):
    for kind, rows in (("item", item), ("inter", inter)):
        (tmp_path / f"toy.{kind}").write_text("\n".join("\t".join(row.split()) for row in rows) + "\n")
    return tmp_path


def test_recbole_with_two_titles_and_two_values(tmp_path):
    inter = ["user_id:token item_id:token rating:float label:float", "u a 5 0", "u b 1 1", "v a 4 1"]
    for header in ("item_id:token brand_name:token title:token", "item_id:token brand_name:token movie_title:token"):
        dataset = load_dataset(recbole(tmp_path, [header, "a Acme Kettle", "b Acme Cup"], inter))
        assert set(dataset.items["title"]) == {"Kettle", "Cup"}
        assert set(dataset.items["text"]) == {"Acme。Kettle", "Acme。Cup"}
        assert dataset.interactions["value"].max() == 1 and len(dataset.positives()) == 2  # the label goes first
    alone = load_dataset(recbole(tmp_path, ["item_id:token text:token_seq", "a Kettle", "b Cup"], inter)).items
    assert set(alone["title"]) == set(alone["text"]) == {"Kettle", "Cup"}
    bad = [inter[0], "u a 5 five"]
    refused(recbole(tmp_path, [header, "a Acme Kettle"], bad), r"toy.inter 第 2 行：label 'five' 不是数")
    refused(recbole(tmp_path, [header, "a Acme"], inter), r"toy.item 第 2 行有 2 列，应有 3 列")
    refused(recbole(tmp_path, ["item_id:token title:token title:token_seq", "a x y"], inter), "title 出现了两次")
    (tmp_path / "toy.user").write_text("user_id:token\tage:token\n")  # a table without rows, once a raw ValueError
    refused(recbole(tmp_path, [header, "a Acme Kettle", "b Acme Cup"], inter), "toy.user 只有表头")


def mind(tmp_path, news, behaviors):
    for name, rows in (("news", news), ("behaviors", behaviors)):
        (tmp_path / f"{name}.tsv").write_text("".join(row.replace("|", "\t") + "\n" for row in rows))
    return tmp_path


def test_mind_names_its_own_lines(tmp_path):
    news = ["N1|news|world|First|About one||[]|[]", "N2|sports|golf|Second|||[]|[]"]
    clicks = ["1|U1|11/11/2019 9:05:58 AM|N1|N2-1 N1-0", "2|U2|11/12/2019 9:05:58 PM||N2-1"]
    dataset = load_dataset(mind(tmp_path, news, clicks))
    assert dataset.interactions["timestamp"].tolist() == [1573463157, 1573463158, 1573592758]
    refused(mind(tmp_path, news, [*clicks, "3|U3|11/12/2019 9:05:58 PM||N9-1"]), "behaviors.tsv 第 3 行：item_id 'N9'")
    refused(mind(tmp_path, news, [clicks[0].replace("9:05", "29:05")]), "behaviors.tsv 第 1 行：时间 '11/11/2019 29:05")
    refused(mind(tmp_path, [news[0], news[0]], clicks), "news.tsv 第 2 行：item_id 'N1' 重复")
    refused(mind(tmp_path, news, [*clicks, "3|U2|11/12/2019 9:05:58 PM"]), "behaviors.tsv 第 3 行有 3 列，应有 5 列")
    refused(mind(tmp_path, [row[:-6] for row in news[:1]] + news[1:], clicks), "news.tsv 第 2 行有 8 列，应有 6 列")
    refused(mind(tmp_path, ["N1|news|world"], clicks), "news.tsv 只有 3 列，至少应有 5 列")
    refused(mind(tmp_path, [], clicks), "news.tsv .*没有一行数据")
    refused(mind(tmp_path, news, []), "behaviors.tsv .*没有一行数据")
    (tmp_path / "news.tsv").unlink()
    refused(tmp_path, "里没有 news.tsv")


def test_pairs_and_corpora_from_files(tmp_path):
    path = tmp_path / "p.tsv"
    for bad in ("nan", "inf", "1_000", "-Infinity", "高"):
        path.write_text(f"甲\t乙\t1\n\n丙\t丁\t{bad}\n", encoding="utf-8")
        with pytest.raises(DataError, match=f"p.tsv 第 3 行的分数 '{bad}' 不是数"):
            read_pairs(path)
    path.write_text("甲\t乙\t1\n\n丙\t丁\t-0.5\n", encoding="utf-8")
    assert read_pairs(path).label.tolist() == [1, -0.5]
    path.write_bytes("甲\t乙\t1\n".encode("gbk"))
    for read in (lambda: read_pairs(path), lambda: read_corpus(tmp_path, {"p.tsv": ""})):
        with pytest.raises(DataError, match="第 1 行不是 UTF-8"):
            read()


# ---------------------------------------------------------------- times

JANUARY, NOON = 1_705_276_800, 1_705_321_800  # 2024-01-15 00:00:00 and 12:30:00 UTC
TIMES = {
    "seconds": (["1705276800", "1705321800"], [JANUARY, NOON], None),
    "with a fraction": (["1705276800.9", "1705321800.0"], [JANUARY, NOON], None),
    "milliseconds": (["1705276800123", "1705321800000"], [JANUARY, NOON], "毫秒"),
    "microseconds": (["1705276800123456", "1705321800000000"], [JANUARY, NOON], "微秒"),
    "nanoseconds": (["1705276800123456789", "1705321800000000000"], [JANUARY, NOON], "纳秒"),
    "days": (["20240115", "20240116"], [JANUARY, JANUARY + 86400], "2024-01-15 至 2024-01-16"),
    "days with seconds": (["20240115000000", "20240115123000"], [JANUARY, NOON], "日期"),
    "days with minutes": (["202401150000", "202401151230"], [JANUARY, NOON], "日期"),
    "year first": (["2024-01-15", "2024/1/15 12:30"], [JANUARY, NOON], "日期"),
    "Chinese": (["2024年01月15日", "2024年1月15日 12:30:00"], [JANUARY, NOON], "日期"),
    "with a zone": (["2024-01-15T08:00:00+08:00", "2024-01-15T12:30:00Z"], [JANUARY, NOON], "日期"),
    "day first": (["15/01/2024", "01/02/2024"], [JANUARY, 1_706_745_600], "日期"),
    "month first": (["01/15/2024 12:30 PM", "02/01/2024 12:00 AM"], [NOON, 1_706_745_600], "日期"),
    "month by name": (["15 January 2024", "Jan 15, 2024 12:30"], [JANUARY, NOON], "日期"),
    "places in a row": (["1", "2"], [1, 2], "只用来排先后"),
}  # fmt: skip


@pytest.mark.parametrize("case", TIMES)
def test_times(tmp_path, case):
    written, seconds, note = TIMES[case]
    dataset = load_dataset(views(tmp_path, timestamp=written))
    assert dataset.interactions.sort_values("user_id")["timestamp"].tolist() == seconds
    told = [sentence for sentence in dataset.removed if "timestamp" in sentence]
    assert (told == []) if note is None else (note in told[0])


NO_TIMES = {
    "another unit": (["1705276800", "1705276801", "1705276800123"], "第 4 行：.*'1705276800123' 像是毫秒，别的行是秒"),
    "seconds among milliseconds": (["1705276800", "1705276800123", "1705276800124"], "第 2 行：.*像是秒，别的行是毫秒"),
    "infinite": (["1705276800", "inf"], "第 3 行：timestamp 'inf' 读不懂"),
    "all infinite": (["inf", "-inf"], "第 2 行：timestamp 'inf' 读不懂"),
    "beyond floats": (["1705276800", "1e999"], "第 3 行：timestamp '1e999' 不在 1990 年到今天之间"),
    "an underscore": (["1705276800", "1_705_276_800"], "第 3 行：.*读不懂"),
    "blank": (["1705276800", ""], "第 3 行：timestamp 为空"),
    "zero among times": (["1705276800", "0"], "第 3 行：timestamp '0' 不在 1990 年到今天之间"),
    "negative": (["-5", "-4"], "第 2 行：timestamp '-5' 不在 1990 年到今天之间"),
    "the day after tomorrow": (["2024-01-15", "2999-01-01"], "第 3 行：timestamp '2999-01-01' 不在 1990 年到今天之间"),
    "long ago": (["2024-01-15", "1924-01-15"], "第 3 行：timestamp '1924-01-15' 不在 1990 年到今天之间"),
    "no such day": (["2024-01-15", "2024-02-31"], "第 3 行：.*读不懂"),
    "no such month": (["20240115", "20241501"], "第 3 行：timestamp '20241501' 不是日期"),
    "dates among seconds": (["1705276800", "2024-01-15"], "第 3 行：timestamp '2024-01-15' 像是日期，别的行是秒"),
    "day or month": (["01/02/2024", "03/04/2024"], "第 2 行：.*'01/02/2024' 分不清哪个是日、哪个是月.*请写成 2024"),
    "both orders": (["01/13/2024", "13/01/2024"], "第 3 行：timestamp '13/01/2024' 的日和月同别的行次序相反"),
    "two digits a year": (["21/03/24", "22/03/24"], "第 2 行：.*读不懂"),
    "words that pandas knows": (["today", "now"], "第 2 行：timestamp 'today' 读不懂"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_TIMES)
def test_times_that_are_refused(tmp_path, case):
    written, sentence = NO_TIMES[case]
    refused(views(tmp_path, timestamp=written), f"interactions.csv {sentence}")


def test_a_book_may_be_older_than_the_shop(tmp_path):
    items = "item_id,title,published\na,绿茶,1890-01-01\nb,红茶,2024-01-15\n"
    dataset = load_dataset(folder(tmp_path, items_csv=items))
    assert sorted(dataset.items["published"]) == [-2_524_608_000 + 86_400, JANUARY]
    assert any("1890-01-01 至 2024-01-15" in note for note in dataset.removed)


# ---------------------------------------------------------------- values

SCALES = {
    "five stars": ([1, 2, 3, 4, 5, 5], 4, "不低于 4 的算喜欢"),
    "ten points": ([2, 7, 8, 9, 10, 3], 8, "不低于 8 的算喜欢"),
    "yes or no": ([0, 1, 0, 1, 0, 0], 1, "1 算喜欢，0 不算"),
    "yes, no, neither": ([-1, 0, 1, -1, -1, 0], 1, "1 算喜欢，-1、0 不算"),
    "up or down": ([-1, 1, -1, -1], 1, "1 算喜欢，-1 不算"),
    "shares": ([0.1, 0.5, 0.8, 1.0, 0.79], 0.8, "不低于 0.8 的算喜欢"),
    "one value": ([1, 1, 1], 1, "每条交互都算喜欢"),
    "play counts": ([1, 1, 2, 1, 3, 250, 1], 1, "像是次数（一半不超过 1，最高 250）"),
    "play counts with noughts": ([0, 0, 2, 7, 3, 250, 1], 1, "大于 0 的都算喜欢"),
}  # fmt: skip


@pytest.mark.parametrize("case", SCALES)
def test_which_values_are_likes(tmp_path, case):
    values, threshold, note = SCALES[case]
    dataset = load_dataset(views(tmp_path, value=values))
    assert dataset.min_value == threshold and note in dataset.removed[0]
    liked = dataset.interactions["value"] >= threshold
    assert liked.sum() == sum(v >= threshold for v in values) and 0 < liked.sum()
    assert (dataset.positives()["value"] >= threshold).all()


def test_values_that_tell_no_likes(tmp_path):
    refused(views(tmp_path, value=[0, -1, 0]), "interactions.csv 的 value 没有一个大于 0")
    for bad in ("inf", "1_000", "-", "很好"):
        refused(views(tmp_path, value=["1", bad]), f"第 3 行：value '{bad}' 不是数")


def test_zero_overrides_the_threshold(tmp_path):
    rows = {"user_id": list("uuvv"), "item_id": list("abab"), "timestamp": 1_700_000_000, "value": [0, 1, -1, 1]}
    dataset = load_dataset(folder(tmp_path, interactions_csv=pd.DataFrame(rows).to_csv(index=False)))
    assert len(dataset.positives()) == len(dataset.positives(None)) == 2
    assert len(dataset.positives(0.0)) == 3 and len(dataset.positives(-1.0)) == 4
    split = make_split(dataset, "leave_last_out", min_value=0.0)
    assert (len(split.train), len(split.test)) == (2, 1)
