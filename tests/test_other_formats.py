"""RecBole's and MIND's folders: read as their makers meant them, or refused in one sentence with file and line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.small_report import made, only
from textrec_utils.baselines import EASE
from textrec_utils.datasets import DataError, Dataset, load_dataset
from textrec_utils.evaluation import evaluate
from textrec_utils.report import METHODS, advice, open_split
from textrec_utils.report.claims import gather
from textrec_utils.tuning import tune

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
RATED = "u\ta\t5\t1600000000\nu\tb\t2\t1600000100\nv\ta\t4\t1600000200\nv\tb\t5\t1600000300\n"
ITEM = "item_id:token\tmovie_title:token_seq\tclass:token_seq\na\tAlien\tHorror\nb\tBig\tComedy\n"
NEWS = "N1\tnews\tworld\tFirst\tAbout one\t\t[]\t[]\nN2\tsports\tgolf\tSecond\t\t\t[]\t[]\n"
SEEN = "1\tU1\t11/11/2019 9:05:58 AM\tN1\tN2-1 N1-0\n2\tU2\t11/12/2019 9:05:58 PM\t\tN1-1\n"


def folder_of(folder: Path, **files: str | bytes) -> Path:
    """toy_item="…" becomes toy.item; `news` and `behaviors` are MIND's."""
    folder = folder / "toy"
    folder.mkdir()
    for name, text in files.items():
        name = f"{name}.tsv" if name in ("news", "behaviors") else name.replace("_", ".")
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def recbole(folder: Path, inter=INTER + RATED, item=ITEM) -> Dataset:
    return load_dataset(folder_of(folder, toy_inter=inter, toy_item=item))


def test_recbole_as_it_should_be(tmp_path):
    dataset = recbole(tmp_path)
    items = dataset.items.set_index("item_id")
    assert items["text"].to_dict() == {"a": "Alien。Horror", "b": "Big。Comedy"} and items.loc["b", "title"] == "Big"
    assert len(dataset.positives()) == 3 and dataset.removed[0] == "喜欢不喜欢看 .inter 的 rating 一列"


def test_recbole_labels_say_what_is_liked(tmp_path):
    inter = "user_id:token\titem_id:token\trating:float\tlabel:float\tplace:token\nu\ta\t5\t0\tx\nv\tb\t1\t1\tx\n"
    dataset = recbole(tmp_path, inter)
    assert dataset.positives()["user_id"].tolist() == ["v"]
    told = "喜欢不喜欢看 .inter 的 label 一列（rating 也有，没有用；想用它，请删去 label 一列）"
    assert told in dataset.removed and ".inter 里没有用到的列：place" in dataset.removed


def test_recbole_numbers_and_ranks_are_no_text(tmp_path):
    """They once were the title, for they came first."""
    head = "price:float\titem_id:token\tsales_rank:token\tname:token\taverage_rating:float\tvector:float_seq\n"
    item = head + "9.5\ta\t100\tAlien\t4.5\t0.1 0.2\n3\tb\t2\tBig\t1\t0.3 0.4\n"
    dataset = recbole(tmp_path, item=item)
    items = dataset.items.set_index("item_id")
    assert items["title"].to_dict() == items["text"].to_dict() == {"a": "Alien", "b": "Big"}
    assert "toy.item 的 price、sales_rank、average_rating、vector 不算文字（数，或说的是热度）" in dataset.removed


def test_empty_cells_leave_no_trace_in_the_text(tmp_path):
    dataset = recbole(tmp_path, item=ITEM.replace("Horror", " "))
    assert dataset.items.set_index("item_id").loc["a", "text"] == "Alien"


def in_parts(folder: Path, valid: bool = True) -> Path:
    """60 users, 40 items, six likes each in train, one in valid, one in test; who is odd likes what is odd."""
    rng, parts = np.random.default_rng(0), {"train": INTER, "valid": INTER, "test": INTER}
    for user in range(60):
        for n, item in enumerate(rng.choice(np.arange(user % 2, 40, 2), 8, replace=False)):
            part = "train" if n < 6 else ("valid", "test")[n - 6]
            parts[part] += f"u{user}\ti{item}\t5\t{1_600_000_000 + 60 * n}\n"
    item = "item_id:token\ttitle:token_seq\n"
    item += "".join(f"i{i}\t{('绿茶', '登山鞋')[i % 2]}第{i}款\n" for i in range(40))
    files = {f"toy_{part}_inter": text for part, text in parts.items() if valid or part != "valid"}
    return folder_of(folder, toy_item=item, **files)


def test_recbole_parts_are_the_split(tmp_path):
    dataset = load_dataset(in_parts(tmp_path))
    assert dataset.default_protocol == "given"
    told = "划分是给定的（toy.train.inter、toy.valid.inter、toy.test.inter），设置只在 toy.valid.inter 上选，不另分三次"
    assert told in dataset.removed
    split = open_split(dataset)
    assert (split.protocol, len(split.train), len(split.test)) == ("given", 420, 60)
    assert set(split.test["timestamp"]) == {1_600_000_420} and set(split.inner().test["timestamp"]) == {1_600_000_360}
    assert open_split(dataset, "random").protocol == "random"
    found = tune(EASE, {"regularization": [1.0, 100.0]}, split, "recall@5", widen=0)
    inner = evaluate(EASE(found.best["regularization"]), split.inner(), ["recall@5"]).mean("recall@5")
    assert list(found.table)[1:] == ["#0", "验证 recall@5"] and found.table["#0"].iloc[0] == pytest.approx(inner)
    assert evaluate(EASE(), split, ["recall@5"]).mean("recall@5") > 0.2  # of 20 that fit, 14 are open: chance is .13


def test_a_report_stands_on_the_parts(tmp_path):
    with only("popularity", "recent", "ease", "two_tower"):
        report = made(open_split(load_dataset(in_parts(tmp_path, valid=False))))
        assert report.protocol == "给定（given）" and set(report.results) == set(METHODS)
        told = advice.in_words(report, gather(report))
        assert report.split.leaks == "不泄漏：训练都不晚于测试" and "换一个时刻：只切了一刀" in told
        assert set(report.validate()) == set(METHODS) and not re.search("没有跑|没有调参", str(report.cautions))


def test_faults_in_parts_name_the_file_that_has_them(tmp_path):
    folder = in_parts(tmp_path)
    valid = folder / "toy.valid.inter"
    valid.write_text(valid.read_text().replace("\t5\t", "\t0\t"))  # nothing liked: in a part no fault
    with open(folder / "toy.test.inter", "a") as f:
        f.write("u1\ti99\t5\t1600000000\n")
    with pytest.raises(DataError, match=r"toy\.test\.inter 第 62 行：item_id 'i99' 不在 toy\.item 里"):
        load_dataset(folder)
    (folder / "toy.test.inter").write_text((INTER + RATED).replace("rating", "label"))
    with pytest.raises(DataError, match=r"toy\.test\.inter 第 1 行的列和 toy\.train\.inter 的不一样"):
        load_dataset(folder)
    (folder / "toy.test.inter").unlink()
    with pytest.raises(DataError, match=r"缺 toy\.test\.inter"):
        load_dataset(folder)


def test_a_whole_file_goes_before_its_parts(tmp_path):
    folder = in_parts(tmp_path)
    (folder / "toy.inter").write_text((folder / "toy.train.inter").read_text())
    dataset = load_dataset(folder)
    assert dataset.default_protocol == "leave_last_out" and len(dataset.interactions) == 360


RECBOLE = {
    "no types": ({"item": "item_id\ttitle\na\tAlien\n"}, r"toy\.item 第 1 行的 item_id、title 没有写对类型"),
    "another type": ({"item": ITEM.replace("class:token_seq", "class:text")}, r"第 1 行的 class 没有写对类型"),
    "numbers alone": ({"item": "item_id:token\tprice:float\na\t1\n"}, r"toy\.item 第 1 行没有一列文字"),
    "commas": ({"item": ITEM.replace("\t", ",")}, r"toy\.item 第 1 行没有制表符，像是用逗号分隔的"),
    "blanks": ({"inter": (INTER + RATED).replace("\t", " ")}, r"toy\.inter 第 1 行没有制表符，像是用空格分隔的"),
    "a quoted tab": ({"item": ITEM.replace("Alien", '"Ali\ten"')}, r"第 2 行有 4 列，应有 3 列.*引号在这种文件里不起"),
    "a tab too few": ({"inter": INTER + RATED.replace("b\t2\t", "b\t2 ")}, r"toy\.inter 第 3 行有 3 列，应有 4 列"),
    "GBK": ({"item": ITEM.replace("Big", "大人物").encode("gbk")}, r"toy\.item 第 3 行不是 UTF-8 文字.*iconv"),
    "UTF-16": ({"item": ITEM.encode("utf-16")}, r"toy\.item 第 1 行不是 UTF-8"),
    "no ids": ({"inter": INTER.replace("item_id", "movie") + RATED}, r"toy\.inter 第 1 行缺少列 item_id"),
    "sequences": (
        {"inter": "user_id:token\titem_id_list:token_seq\titem_id:token\nu\ta\tb\n"},
        r"toy\.inter 是展开成序列的（有 item_id_list 一列）",
    ),
    "unknown item": ({"inter": INTER + RATED.replace("a\t4", "x\t4")}, r"toy\.inter 第 4 行：item_id 'x' 不在 toy"),
    "a header alone": ({"inter": INTER}, r"toy\.inter 只有表头"),
}  # fmt: skip


def one_sentence(error: DataError) -> bool:
    """What, where and a remedy, on one line."""
    text = str(error)
    return "\n" not in text and text.endswith("。") and text.count("。") == 1 and "请" in text


@pytest.mark.parametrize("case", RECBOLE)
def test_recbole_faults_are_one_sentence(tmp_path, case):
    files, message = RECBOLE[case]
    with pytest.raises(DataError, match=message) as error:
        recbole(tmp_path, **files)
    assert one_sentence(error.value)


def test_recbole_files_that_are_missing_or_too_many(tmp_path):
    folder = folder_of(tmp_path, toy_inter=INTER + RATED, other_item=ITEM)
    with pytest.raises(DataError, match=r"里没有 toy\.item（有 other\.item）") as error:
        load_dataset(folder)
    assert one_sentence(error.value)
    (folder / "other.inter").write_text(INTER + RATED)
    with pytest.raises(DataError, match="里有 2 份数据（other、toy）") as error:
        load_dataset(folder)
    assert one_sentence(error.value)


# ---------------------------------------------------------------- MIND


def test_mind_as_it_should_be(tmp_path):
    dataset = load_dataset(folder_of(tmp_path, news=NEWS, behaviors=SEEN))
    assert dataset.items.set_index("item_id")["text"].to_dict() == {"N1": "First。About one", "N2": "Second"}
    rows = dataset.interactions[["user_id", "item_id", "timestamp"]]
    assert rows.to_numpy().tolist() == [["U1", "N1", 1573463157], ["U1", "N2", 1573463158], ["U2", "N1", 1573592758]]
    assert dataset.removed[0].startswith("history 里的点击没有时间")


MIND = {
    "a stray tab in a title": ({"news": NEWS.replace("First", "Fi\trst")}, r"news\.tsv 第 1 行有 9 列，应有 8 列"),
    "a stray tab in clicks": ({"behaviors": SEEN.replace("N2-1 ", "N2-1\t")}, r"behaviors\.tsv 第 1 行有 6 列，应有 5"),
    "GBK": ({"news": NEWS.replace("Second", "第二").encode("gbk")}, r"news\.tsv 第 2 行不是 UTF-8"),
    "columns missing": ({"behaviors": SEEN.replace("1\tU1", "U1").replace("2\tU2", "U2")}, r"只有 4 列，至少应有 5 列"),
    "commas": ({"news": NEWS.replace("\t", ",")}, r"news\.tsv 第 1 行没有制表符，像是用逗号分隔的"),
    "a header": ({"news": "id\tcategory\tsub\ttitle\ttext\t\t\t\n" + NEWS}, r"news\.tsv 第 1 行：像是表头"),
    "a header of clicks": ({"behaviors": "id\tuser\ttime\thistory\tseen\n" + SEEN}, r"第 1 行：时间 .time. .*表头"),
    "another date": ({"behaviors": SEEN.replace("11/12/2019 9:05:58 PM", "2019-11-12")}, r"第 2 行：时间 '2019-11-12"),
    "no such day": ({"behaviors": SEEN.replace("11/12/", "13/12/")}, r"第 2 行：时间 '13/12/2019 9:05:58 PM' 读不懂"),
    "a year long gone": ({"behaviors": SEEN.replace("/12/2019", "/12/1019")}, r"第 2 行：时间 .* 不在 1990 年到今天"),
    "no clicks told": ({"behaviors": SEEN.replace("-1", "").replace("-0", "")}, r"没有一次点击.*测试集不带点击"),
    "clicks half told": ({"behaviors": SEEN.replace("N1-0", "N1")}, r"behaviors\.tsv 第 1 行：impressions 读不懂"),
    "unknown news": ({"behaviors": SEEN.replace("\tN1-1", "\tN9-1")}, r"第 2 行：item_id 'N9' 不在 news\.tsv 里"),
    "no user": ({"behaviors": SEEN.replace("U2", "")}, r"behaviors\.tsv 第 2 行：user_id 为空"),
    "no words": ({"news": NEWS.replace("Second", "")}, r"news\.tsv 第 2 行：title 和 text 都为空"),
    "twice": ({"news": NEWS.replace("N2", "N1")}, r"news\.tsv 第 2 行：item_id 'N1' 重复出现"),
}  # fmt: skip


@pytest.mark.parametrize("case", MIND)
def test_mind_faults_are_one_sentence(tmp_path, case):
    files, message = MIND[case]
    with pytest.raises(DataError, match=message) as error:
        load_dataset(folder_of(tmp_path, **{"news": NEWS, "behaviors": SEEN} | files))
    assert one_sentence(error.value)


def test_mind_needs_both_files(tmp_path):
    with pytest.raises(DataError, match=r"里没有 behaviors\.tsv") as error:
        load_dataset(folder_of(tmp_path, news=NEWS))
    assert one_sentence(error.value) and re.search("请把 MIND", str(error.value))
