"""The data contract: pinned downloads, our film texts, and one clear sentence for each kind of bad input."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from textrec_utils.core.files import sha256_of
from textrec_utils.datasets import DATASETS, DataError, downloads, load_dataset, load_film_texts
from textrec_utils.datasets import movielens as movielens_room
from textrec_utils.text import HAN, han_share

# Words that would tell the encoder how well a film did.
LEAKING = (
    "经典 口碑 奥斯卡 获奖 得奖 票房 影史 名作 佳作 杰作 巨作 评分 好评 差评 热门 热映 卖座 大片 提名 "
    "金棕榈 金球奖 最佳 影帝 影后 传世 脍炙人口 备受 广受 赞誉 必看 神作 烂片 成名作 代表作 续作 深受 风靡 轰动 "
    "受欢迎 人气 影评 殿堂级 不朽"
).split()


def test_movielens_is_the_real_one(movielens):
    assert (len(movielens.users), len(movielens.items), len(movielens.interactions)) == (943, 1682, 100_000)
    assert movielens.interactions["value"].between(1, 5).all()
    assert movielens.interactions["timestamp"].min() == 874_724_710
    assert movielens.users["text"].str.contains("职业").all()


def test_rows_stand_in_an_order_that_tells_nothing(movielens):
    popularity = movielens.interactions["item_id"].value_counts()
    rank = movielens.items["item_id"].map(popularity).fillna(0)
    by_id = movielens.items["item_id"].astype(int)
    # ML-100K's ids grow as popularity falls; the hashed order must not.
    assert np.corrcoef(by_id, rank)[0, 1] < -0.4
    assert abs(np.corrcoef(np.arange(len(rank)), rank)[0, 1]) < 0.08


def test_checksum_changes_with_the_data(movielens):
    other = replace(movielens, interactions=movielens.interactions.iloc[:-1])
    assert movielens.checksum() == load_dataset("movielens-zh").checksum() != other.checksum()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textrec_utils.datasets.dataset.ROWS", 999)  # hashed in pieces, the last one short
        assert replace(movielens).checksum() == movielens.checksum()
    assert movielens.checksum() == "00d19b333e4a39f906ef0dd4b2f8dfc581425a4dcc21aa9cb98d07fba96480b8"


def test_data_tell_their_own_protocol_and_names(movielens):
    assert movielens.default_protocol == "leave_last_out" and movielens.entity_columns == ("director_zh", "cast_zh")
    untimed = replace(movielens, has_time=False)
    assert untimed.default_protocol == "random" and load_dataset("kuairec").default_protocol == "random"


@pytest.fixture(scope="module")
def films() -> pd.DataFrame:
    return load_film_texts()


def test_every_film_once(films):
    assert sorted(films["item_id"].astype(int)) == list(range(1, 1683))
    assert set(films["known"]) == {"true", "false"}


def test_synopsis_lengths(films):
    han = films["synopsis_zh"].map(lambda s: len(HAN.findall(s)))
    known = films["known"] == "true"
    assert han[known].between(50, 110).all(), films.loc[known & ~han.between(50, 110), "item_id"].tolist()
    assert han[~known].between(15, 60).all()


def test_texts_are_chinese(films):
    assert (films["synopsis_zh"].map(han_share) > 0.75).all()
    for column in ("synopsis_zh", "director_zh", "cast_zh"):
        latin = films[column].str.findall(r"[A-Za-z][A-Za-z.]*")
        # acronyms (FBI, E.T.) are proper names; longer Latin words would be English left over
        assert {w for words in latin for w in words if not re.fullmatch(r"[A-Z.]{1,5}", w)} == set()
    assert films["title_zh"].map(lambda t: bool(HAN.search(t)) or len(t) <= 6).all()


def test_no_two_films_share_a_synopsis(films):
    assert not films["synopsis_zh"].duplicated().any()
    openings = films.loc[films["known"] == "true", "synopsis_zh"].str[:12]
    assert openings.value_counts().max() <= 2  # no template with the title filled in


def test_no_leaking_words(films):
    found = [(i, w) for i, s in zip(films["item_id"], films["synopsis_zh"]) for w in LEAKING if w in s]
    assert found == []


def test_unknown_films_claim_nothing(films):
    unknown = films[films["known"] == "false"]
    assert (unknown["director_zh"] == "").all() and (unknown["cast_zh"] == "").all()
    assert "267" in set(unknown["item_id"])


def test_no_more_than_three_actors(films):
    assert (films["cast_zh"].str.count(r"\|") <= 2).all()


# ---------------------------------------------------------------- downloads and the cache


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A fresh cache and no source that answers."""
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TEXTREC_MIRROR", raising=False)

    def refuse(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(downloads, "read_source", refuse)
    monkeypatch.setattr(movielens_room, "read_source", refuse)
    monkeypatch.setattr(movielens_room.subprocess, "run", refuse)
    movielens_room._archive.cache_clear(), movielens_room._wheel.cache_clear()
    return tmp_path


@pytest.fixture(scope="module")
def official(movielens) -> dict[str, bytes]:
    """The two files of MovieLens 100K, which are in the cache once they were loaded."""
    return {path.name: path.read_bytes() for path in downloads.fetch("movielens-zh")}


def test_unreachable_source_is_one_sentence(offline):
    for name, file in (("movielens-zh", "u.data"), ("caixin", "train_date_set1_1.txt")):
        with pytest.raises(DataError, match=f"{name} 的文件 {file} 无法取得.*TEXTREC_MIRROR") as error:
            load_dataset(name)
        assert "\n" not in str(error.value) and "ConnectionError" in str(error.value)


def test_two_that_want_a_dataset_at_once_download_it_once(tmp_path, monkeypatch):
    content, calls = b"many bytes", []

    def source(name: str) -> bytes:
        """a slow server"""
        calls.append(name)
        time.sleep(0.5)
        return content

    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path))
    monkeypatch.delenv("TEXTREC_MIRROR", raising=False)
    monkeypatch.setattr(downloads, "_checksums", lambda dataset: {"file": sha256_of(content)})
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: downloads.fetch("shop", source), range(2)))
    assert calls == ["file"] and paths[0] == paths[1] and paths[0][0].read_bytes() == content


def test_corrupted_download_is_refused(offline, monkeypatch):
    monkeypatch.setenv("TEXTREC_MIRROR", "https://mirror.example")
    monkeypatch.setattr(downloads, "read_source", lambda source: b"half a file")
    for name in ("caixin", "movielens-zh"):
        with pytest.raises(DataError, match="SHA-256 不符"):
            load_dataset(name)
    assert not list((offline / "cache").rglob("*.txt")) and not list((offline / "cache").rglob("u.*"))


def test_corrupted_cache_is_fetched_again_or_refused(official, offline, monkeypatch, capsys):
    kept = offline / "cache" / "data" / "movielens-zh"
    kept.mkdir(parents=True)
    for name, data in official.items():
        (kept / name).write_bytes(data[:-1])
    good = offline / "mirror" / "movielens-zh"
    good.mkdir(parents=True)
    for name, data in official.items():
        (good / name).write_bytes(data)
    monkeypatch.setattr(downloads, "read_source", lambda source: Path(source).read_bytes())
    monkeypatch.setenv("TEXTREC_MIRROR", str(offline / "mirror"))  # asked before the network, which would raise here
    assert len(load_dataset("movielens-zh").interactions) == 100_000
    assert "已损坏" in capsys.readouterr().err
    (kept / "u.data").write_bytes(b"1\t1\t1\t1\n")
    monkeypatch.delenv("TEXTREC_MIRROR")
    with pytest.raises(DataError, match="无法取得"):
        load_dataset("movielens-zh")


def test_pip_takes_the_wheel_alone_and_by_its_hash(official, offline, monkeypatch):
    """An sdist of that name would run its own code while pip looks at it."""
    asked = []

    def download(command, **_):
        asked.append(([*command], Path(command[command.index("-r") + 1]).read_text()))
        wheel = zipfile.ZipFile(Path(command[command.index("-d") + 1]) / "recbole-1.2.1-py3-none-any.whl", "w")
        for kind, data in (("inter", official["u.data"]), ("user", official["u.user"].replace(b"|", b"\t"))):
            wheel.writestr(f"recbole/dataset_example/ml-100k/ml-100k.{kind}", b"header:token\n" + data)
        wheel.close()

    monkeypatch.setattr(movielens_room.subprocess, "run", download)
    assert len(load_dataset("movielens-zh").interactions) == 100_000
    ((command, wanted),) = asked  # one download for both files
    assert "--require-hashes" in command and command[command.index("--only-binary") + 1] == ":all:"
    assert wanted == "recbole==1.2.1 --hash=sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"


def test_kuairec_comes_with_the_course(offline):
    """The same data as the loader made of the three public files, now without a network."""
    videos = load_dataset("kuairec")
    assert (len(videos.users), len(videos.items), len(videos.interactions)) == (1_411, 3_276, 217_175)
    assert videos.checksum() == "eb62444cedca0822d512afe95b6a36f0c2e80bd3f19e5b85ec382774dae52fe1"
    assert videos.licence == "CC BY-SA 4.0" and not videos.has_time
    assert not list(offline.rglob("*.xz"))


def test_what_ships_is_checked_before_use(monkeypatch, tmp_path):
    shutil.copytree(downloads.project_data() / "kuairec", tmp_path / "kuairec")
    shutil.copy(downloads.project_data() / "checksums.csv", tmp_path)
    monkeypatch.setattr(downloads, "project_data", lambda: tmp_path)
    with open(tmp_path / "kuairec" / "videos.csv.xz", "ab") as f:
        f.write(b" ")
    with pytest.raises(DataError, match="videos.csv.xz 缺失或被改动"):
        load_dataset("kuairec")


def test_a_dataset_without_checksums_is_told_what_it_lacks(monkeypatch):
    for load in (downloads.shipped, lambda name: downloads.fetch(name, "https://example.org")):
        with pytest.raises(DataError, match=r"checksums\.csv 里没有数据集 new-data 的一行：.*new-data,文件名,SHA-256"):
            load("new-data")
    monkeypatch.setitem(DATASETS, "new-data", lambda: downloads.shipped("new-data"))
    with pytest.raises(DataError, match="没有数据集 new-data 的一行"):
        load_dataset("new-data")


@pytest.mark.in_mirror("kuairec/valid.txt", "kuairec/test_ood.txt", "kuairec/kuairec_caption_category.csv")
def test_what_ships_is_what_the_sources_hold(mirror):
    """217,175 pairs and 3,276 videos, cell by cell; and the sentences on what was left out are true."""
    pairs, videos = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in downloads.shipped("kuairec"))
    rows = [line.split() for f in ("valid.txt", "test_ood.txt") for line in open(mirror / "kuairec" / f)]
    watched = {(user, video) for user, *videos in rows for video in videos}
    assert watched == set(zip(pairs["user_id"], pairs["item_id"])) and len(pairs) == len(watched)
    source = pd.read_csv(mirror / "kuairec" / "kuairec_caption_category.csv", dtype=str, keep_default_na=False)
    whole = source[source["video_id"].str.fullmatch(r"\d+")].rename(columns={"video_id": "item_id"})
    seen = whole[whole["item_id"].isin(pairs["item_id"])]
    assert len(source) - len(whole) == 4 and whole["item_id"].nunique() - len(seen) == 7452
    merged = videos.merge(seen, on=list(videos.columns))
    assert len(merged) == len(videos) == len(seen)


@pytest.mark.parametrize(
    "name, users, items, interactions",
    [("caixin", 9_233, 2_110, 79_471), ("amazon-cn", 8_923, 96, 44_852)],
)
def test_the_other_datasets(mirror, name, users, items, interactions):
    dataset = load_dataset(name)
    assert (
        dataset.checksum()
        == {
            "caixin": "aa10ea49488890daf61fe8b9d6cefaa7e2b3b3cd2fa1f0577bb409e51d6456da",
            "amazon-cn": "4bb2d8053727e5efa797b248e3d03404da2ddd91f2467853365b987d55ef121c",
        }[name]
    )
    assert dataset.default_protocol == {"caixin": "temporal", "amazon-cn": "leave_last_out"}[name]
    assert (len(dataset.users), len(dataset.items), len(dataset.interactions)) == (users, items, interactions)
    assert dataset.items["text"].str.len().gt(0).all() and not dataset.items["item_id"].duplicated().any()
    assert dataset.interactions["item_id"].isin(dataset.items["item_id"]).all()


def test_lastfm_knows_who_is_whose_friend(mirror):
    music = load_dataset("hetrec-lastfm")
    assert (len(music.users), len(music.items), len(music.interactions)) == (1_892, 17_632, 92_834)
    assert not music.has_time and music.interactions["item_id"].isin(music.items["item_id"]).all()
    friends = {user: set(text.split("|")) - {""} for user, text in zip(music.users["user_id"], music.users["friends"])}
    assert sum(map(len, friends.values())) == 25_434  # each of the 12,717 links from both of its ends
    assert all(user in friends[friend] for user, known in friends.items() for friend in known)


def test_caixin_tells_of_the_robots_it_removed_and_merges_twins(mirror):
    news = load_dataset("caixin")
    assert "3713、1473" in news.removed[0]
    assert news.items["title"].is_unique and "2305 个新闻编号合并为 2110 篇" in news.removed[1]
    # The column that appeared on the 6th of March and again in the magazine on the 9th keeps its first day.
    story = news.items.set_index("title").loc["【舒立观察】反恐大方略"]
    assert story["published"] == 1394121600 and (news.interactions["item_id"] == story["item_id"]).sum() == 64


def test_amazon_keeps_what_buyers_said_out_of_the_text(mirror):
    items = load_dataset("amazon-cn").items
    for verdict in ("质量好", "到货速度快"):
        assert items["review_tags"].str.contains(verdict).any() and not items["text"].str.contains(verdict).any()
    assert all(text.startswith(title) for title, text in zip(items["title"], items["text"]))


# ---------------------------------------------------------------- your own folder


def test_own_folder(own_folder):
    dataset = load_dataset(own_folder)
    assert (len(dataset.users), len(dataset.items), len(dataset.interactions)) == (20, 30, 200)
    assert dataset.min_value == 4 and dataset.has_time


def one_sentence(error: DataError) -> bool:
    """What, where and a remedy, on one line."""
    text = str(error)
    return "\n" not in text and text.endswith("。") and text.count("。") == 1 and "请" in text


def edit(path, change):
    table = pd.read_csv(path, dtype=str)
    change(table).to_csv(path, index=False)


BAD = {
    "missing column": ("items.csv", lambda t: t.drop(columns="title"), r"items\.csv 第 1 行缺少列 title"),
    "duplicate id": ("items.csv", lambda t: pd.concat([t, t.iloc[[3]]]), r"items\.csv 第 32 行：item_id 'g3' 重复出现"),
    "empty id": ("items.csv", lambda t: t.assign(item_id=[""] + t["item_id"].tolist()[1:]), r"第 2 行：item_id 为空"),
    "empty text": (
        "items.csv",
        lambda t: t.assign(title=[""] + t["title"].tolist()[1:], text=[""] + t["text"].tolist()[1:]),
        r"第 2 行：title 和 text 都为空",
    ),
    "unknown item": (
        "interactions.csv",
        lambda t: t.assign(item_id=["g99"] + t["item_id"].tolist()[1:]),
        r"interactions\.csv 第 2 行：item_id 'g99' 不在 items\.csv 里",
    ),
    "value not a number": (
        "interactions.csv",
        lambda t: t.assign(value=t["value"].tolist()[:-1] + ["很好"]),
        r"第 201 行：value '很好' 不是数",
    ),
    "bad time": (
        "interactions.csv",
        lambda t: t.assign(timestamp=["昨天"] + t["timestamp"].tolist()[1:]),
        r"第 2 行：timestamp '昨天' 读不懂",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_name_file_line_and_remedy(own_folder, case):
    file, change, message = BAD[case]
    edit(own_folder / file, change)
    with pytest.raises(DataError, match=message) as error:
        load_dataset(own_folder)
    assert one_sentence(error.value)


def test_line_numbers_count_quoted_line_breaks(own_folder):
    path = own_folder / "items.csv"
    text = path.read_text(encoding="utf-8")
    text = text.replace("茶叶，适合送礼和日常使用，编号0", '"茶叶，适合\n送礼"')
    path.write_text(text + "g3,重复,重复,茶叶\n", encoding="utf-8")
    with pytest.raises(DataError, match="第 33 行：item_id 'g3'"):
        load_dataset(own_folder)


def test_missing_and_empty_files_and_other_encodings(own_folder):
    (own_folder / "items.csv").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="是空文件"):
        load_dataset(own_folder)
    (own_folder / "items.csv").write_bytes("item_id,title\n1,thé\n".encode("latin-1"))
    with pytest.raises(DataError, match="第 2 行不是 UTF-8"):
        load_dataset(own_folder)
    (own_folder / "items.csv").write_text("item_id,title\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"items\.csv 只有表头"):
        load_dataset(own_folder)
    (own_folder / "items.csv").unlink()
    with pytest.raises(DataError, match=r"找不到文件 .*items\.csv"):
        load_dataset(own_folder)
    (own_folder / "interactions.csv").unlink()
    with pytest.raises(DataError, match="没有认识的数据"):
        load_dataset(own_folder)


def test_no_timestamps_and_date_words(own_folder):
    edit(
        own_folder / "interactions.csv",
        lambda t: t.assign(timestamp=pd.to_datetime(t["timestamp"].astype(int), unit="s")),
    )
    dated = load_dataset(own_folder)
    assert dated.interactions["timestamp"].min() >= 1_600_000_000 and any("日期" in s for s in dated.removed)
    edit(own_folder / "interactions.csv", lambda t: t.drop(columns="timestamp"))
    assert not load_dataset(own_folder).has_time


def test_recbole_and_mind_folders(tmp_path):
    recbole = tmp_path / "toy"
    recbole.mkdir()
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (recbole / "toy.inter").write_text(header + "u\ta\t5\t100\nu\tb\t2\t200\n")
    header = "item_id:token\tmovie_title:token_seq\tclass:token_seq\n"
    (recbole / "toy.item").write_text(header + "a\tAlien\tHorror\nb\tBig\tComedy\n")
    dataset = load_dataset(recbole)
    assert dataset.items.set_index("item_id").loc["a", "text"] == "Alien。Horror"
    assert len(dataset.positives()) == 1
    mind = tmp_path / "mind"
    mind.mkdir()
    (mind / "news.tsv").write_text(
        "N1\tnews\tworld\tFirst\tAbout one\t\t[]\t[]\nN2\tsports\tgolf\tSecond\t\t\t[]\t[]\n"
    )
    (mind / "behaviors.tsv").write_text("1\tU1\t11/11/2019 9:05:58 AM\tN1\tN2-1 N1-0\n")
    clicks = load_dataset(mind).interactions
    assert clicks["item_id"].tolist() == ["N1", "N2"] and clicks["timestamp"].tolist() == [1573463157, 1573463158]


def test_published_in_a_folder_of_ones_own(own_folder):
    items = pd.read_csv(own_folder / "items.csv", dtype=str)
    items.assign(published="2020-09-13 12:26:40").to_csv(own_folder / "items.csv", index=False)
    assert set(load_dataset(own_folder).items["published"]) == {1_600_000_000}
    items.assign(published=["1600000000"] * 29 + ["昨天"]).to_csv(own_folder / "items.csv", index=False)
    with pytest.raises(DataError, match="第 31 行：published '昨天' 读不懂"):
        load_dataset(own_folder)


def amazon_reviews(folder, reviews, products, suffix=".jsonl.gz"):
    folder.mkdir(exist_ok=True)
    opener = gzip.open if suffix.endswith(".gz") else open
    for name, rows in (("Beauty", reviews), ("meta_Beauty", products)):
        with opener(folder / f"{name}{suffix}", "wt", encoding="utf-8") as f:
            f.writelines((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    return folder


def product(asin, **more):
    return {"parent_asin": asin, "title": f"Soap {asin}", "features": ["mild", "for  hands"], "description": [],
            "categories": ["Beauty", "Soap"], "main_category": "All Beauty"} | more  # fmt: skip


def review(user, asin, rating=5.0, when=1_600_000_000_123):
    return {
        "user_id": user,
        "parent_asin": asin,
        "asin": asin + "x",
        "rating": rating,
        "timestamp": when,
        "text": "love it",
    }


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl"])
def test_amazon_reviews_2023(tmp_path, suffix):
    brush = product("B", title=None, features=[], description=["A brush."])
    products = [product("A"), brush, product("C"), product("D", title="", features=[])]
    reviews = [review("u", "A"), review("u", "B", 2.0), review("v", "A", 4.0), review("v", "D"), review("v", "Z")]
    dataset = load_dataset(amazon_reviews(tmp_path / "shop", reviews, products, suffix))
    items = dataset.items.set_index("item_id")
    assert sorted(items.index) == ["A", "B"] and len(dataset.interactions) == 3 and dataset.language == "en"
    if suffix == ".jsonl":  # one file packed, the other not
        plain = tmp_path / "shop" / "meta_Beauty.jsonl"
        plain.with_suffix(".jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
        assert load_dataset(tmp_path / "shop").checksum() == dataset.checksum()
    assert items.loc["A", "text"] == "Soap A。mild。for hands" and items.loc["B", "text"] == "A brush."
    assert items.loc["A", "category"] == "Beauty|Soap" and "love" not in "".join(items["text"])
    assert set(dataset.interactions["timestamp"]) == {1_600_000_000} and len(dataset.positives()) == 2
    assert any("2 条评论" in note for note in dataset.removed) and any(
        "1 个没有一条评论" in note for note in dataset.removed
    )


def test_amazon_reviews_2023_bad_files(tmp_path):
    good = [review("u", "A"), review("v", "A")]
    cases = {
        "第 2 行不是 JSON": ([good[0], "{oops"], [product("A")]),
        "第 2 行：rating 'five' 不是数": ([good[0], good[1] | {"rating": "five"}], [product("A")]),
        "第 1 行缺少 rating": ([good[0] | {"rating": None}], [product("A")]),
        "第 1 行缺少 parent_asin": (good, [{"title": "x"}]),
        "同一个品类": (good, [product("B")]),
        "第 2 行：rating 'nan' 不是数": ([good[0], good[1] | {"rating": float("nan")}], [product("A")]),
        "第 2 行：timestamp 为空": ([good[0], good[1] | {"timestamp": float("inf")}], [product("A")]),
        "第 1 行不是 JSON": (["[1, 2]"], [product("A")]),
    }
    for n, (sentence, (reviews, products)) in enumerate(cases.items()):
        with pytest.raises(DataError, match=sentence) as error:
            load_dataset(amazon_reviews(tmp_path / str(n), reviews, products))
        assert one_sentence(error.value)
    folder = amazon_reviews(tmp_path / "cut", good, [product(f"{i:09}", title="x" * 50) for i in range(500)])
    meta = folder / "meta_Beauty.jsonl.gz"
    meta.write_bytes(meta.read_bytes()[:-40])  # an unfinished download
    with pytest.raises(DataError, match="读不下去"):
        load_dataset(folder)
    (folder / "Beauty.jsonl.gz").unlink()
    with pytest.raises(DataError, match="评论文件"):
        load_dataset(folder)
