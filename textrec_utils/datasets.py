"""Real behaviour and Chinese text under one contract: `load_dataset(name_or_path) -> Dataset`.

Downloads are pinned by SHA-256, checked after the download and again before every use. A folder
or base URL in $TEXTREC_MIRROR is asked first, as `<mirror>/<dataset>/<file>`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from textrec_utils.cache import cache_dir, sha256_of, write_atomic


class DataError(ValueError):
    """Bad input, told in one sentence: which file, which line, what is wrong, how to mend it."""


@dataclass(frozen=True)
class Dataset:
    """Items with text, users, and who chose what when.

    items: item_id (str, unique), title, text; optionally category (several joined by `|`),
        published (UTC seconds) and more columns.
    users: user_id (str, unique), text (empty where nothing is known).
    interactions: user_id, item_id, timestamp (UTC seconds, 0 where unknown), value (float).
    min_value: an interaction of at least this value counts as liking.
    has_time: False where the source has no timestamps; then only a random split is honest.
    removed: what the loader left out or changed, and why, one sentence each.

    Items and users stand in the order of a hash of their ids. Ties in a ranking go to the lower
    row, and ids often grow with age or popularity: a hashed order gives nothing away.
    """

    name: str
    items: pd.DataFrame
    users: pd.DataFrame
    interactions: pd.DataFrame
    licence: str
    source: str
    language: str = "zh"
    min_value: float = 1.0
    has_time: bool = True
    removed: tuple[str, ...] = field(default=())

    def positives(self, min_value: float | None = None) -> pd.DataFrame:
        """First liking of each (user, item) pair, by time: columns user_id, item_id, timestamp, value."""
        threshold = self.min_value if min_value is None else min_value
        liked = self.interactions[self.interactions["value"] >= threshold]
        liked = liked.sort_values(["timestamp", "user_id", "item_id"], kind="stable")
        return liked.drop_duplicates(["user_id", "item_id"], ignore_index=True)

    def checksum(self) -> str:
        """SHA-256 over items, users and interactions, to record what a report was made from."""
        return self._checksum

    @cached_property
    def _checksum(self) -> str:
        parts = (frame.to_csv(index=False, lineterminator="\n") for frame in (self.items, self.users, self.interactions))
        return sha256_of("\0".join(parts).encode())

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}: {len(self.users):,} users, {len(self.items):,} items, "
            f"{len(self.interactions):,} interactions)"
        )


def _hashed_order(ids: pd.Series) -> np.ndarray:
    return np.argsort([sha256_of(str(i).encode()) for i in ids], kind="stable")


def _finish(dataset: Dataset) -> Dataset:
    """Put rows in hashed order and interactions in time order; the one exit of every loader."""
    if dataset.items.empty or dataset.interactions.empty:
        raise DataError(f"{dataset.name}: 没有可用的物品或交互，请检查文件是否为空。")
    items = dataset.items.iloc[_hashed_order(dataset.items["item_id"])].reset_index(drop=True)
    users = dataset.users.iloc[_hashed_order(dataset.users["user_id"])].reset_index(drop=True)
    interactions = dataset.interactions.sort_values(["timestamp", "user_id", "item_id"], kind="stable", ignore_index=True)
    return replace(dataset, items=items, users=users, interactions=interactions)


def _users_seen(interactions: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"user_id": interactions["user_id"].unique(), "text": ""})


# ---------------------------------------------------------------- downloads


def _mirror() -> str | None:
    return os.environ.get("TEXTREC_MIRROR") or None


def fetch(dataset: str, name: str, sha256: str, url: str) -> Path:
    """A pinned file in the cache; asked from $TEXTREC_MIRROR first, then from `url`.

    Raises DataError where no source has the file with the right checksum.
    """
    target = cache_dir() / "data" / dataset / name
    if target.exists():
        if sha256_of(target) == sha256:
            return target
        print(f"缓存文件 {target} 已损坏（SHA-256 不符），重新获取。", file=sys.stderr)
    tried = []
    for source in [f"{_mirror()}/{dataset}/{name}"] * bool(_mirror()) + [url]:
        try:
            data = _read_source(source)
        except Exception as error:  # network errors come in many classes; each is only "not from here"
            tried.append(f"{source}（{type(error).__name__}）")
            continue
        if sha256_of(data) == sha256:
            write_atomic(target, data)
            return target
        tried.append(f"{source}（SHA-256 不符，文件损坏或被改动）")
    raise DataError(
        f"数据集 {dataset} 的文件 {name} 无法取得：{'；'.join(tried)}。"
        f"请联网后重试，或把该文件放进一个镜像文件夹并设置 TEXTREC_MIRROR。"
    )


def _read_source(source: str) -> bytes:
    if not re.match(r"https?://", source):
        return Path(source).expanduser().read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its progress bar asks for widgets, which we do not use
        import pooch

    pooch.get_logger().setLevel("ERROR")
    with tempfile.TemporaryDirectory() as folder:
        path = pooch.retrieve(
            source, known_hash=None, path=folder, fname="file", downloader=pooch.HTTPDownloader(timeout=10)
        )
        return Path(path).read_bytes()


# ---------------------------------------------------------------- movielens-zh

_ML_FILES = {  # the official archive's own files; the RecBole copy is turned into the same bytes
    "u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "u.user": "f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c",
}
_ML_ARCHIVE = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
_ML_WHEEL = ("recbole==1.2.1", "recbole/dataset_example/ml-100k/ml-100k.")

OCCUPATIONS = {
    "administrator": "行政人员", "artist": "艺术家", "doctor": "医生", "educator": "教育工作者",
    "engineer": "工程师", "entertainment": "演艺从业者", "executive": "企业高管", "healthcare": "医护人员",
    "homemaker": "家庭主妇（夫）", "lawyer": "律师", "librarian": "图书管理员", "marketing": "市场营销人员",
    "none": "无业", "other": "其他职业", "programmer": "程序员", "retired": "退休人员",
    "salesman": "销售人员", "scientist": "科学家", "student": "学生", "technician": "技术员", "writer": "作家",
}  # fmt: skip


def project_data() -> Path:
    """The course's own `data` folder (beside the package in a checkout)."""
    return Path(__file__).resolve().parent.parent / "data"


def _movielens_files() -> dict[str, bytes]:
    folder = cache_dir() / "data" / "movielens-zh"
    kept = {name: folder / name for name in _ML_FILES}
    if all(path.exists() for path in kept.values()):
        files = {name: path.read_bytes() for name, path in kept.items()}
        if all(sha256_of(files[name]) == digest for name, digest in _ML_FILES.items()):
            return files
        print("缓存里的 MovieLens 文件已损坏（SHA-256 不符），重新获取。", file=sys.stderr)
    tried = []
    for source in (_movielens_from_mirror, _movielens_from_archive, _movielens_from_wheel):
        try:
            files = source()
        except Exception as error:  # whatever went wrong, the next source may have it
            tried.append(f"{source.__doc__}（{type(error).__name__}）")
            continue
        if files is None:
            continue
        wrong = [name for name, digest in _ML_FILES.items() if sha256_of(files[name]) != digest]
        if wrong:
            tried.append(f"{source.__doc__}（{'、'.join(wrong)} 的 SHA-256 不符）")
            continue
        for name, data in files.items():
            write_atomic(kept[name], data)
        return files
    raise DataError(
        f"MovieLens 100K 无法取得：{'；'.join(tried)}。请联网后重试，"
        "或从 grouplens.org 下载 ml-100k.zip，把 u.data 和 u.user 放进 $TEXTREC_MIRROR/movielens-zh/。"
    )


def _movielens_from_mirror() -> dict[str, bytes] | None:
    """TEXTREC_MIRROR"""
    if not _mirror() or not (re.match("https?:", _mirror()) or Path(_mirror(), "movielens-zh").is_dir()):
        return None
    return {name: _read_source(f"{_mirror()}/movielens-zh/{name}") for name in _ML_FILES}


def _movielens_from_archive() -> dict[str, bytes]:
    """官方压缩包"""
    with zipfile.ZipFile(io.BytesIO(_read_source(_ML_ARCHIVE))) as archive:
        return {name: archive.read(f"ml-100k/{name}") for name in _ML_FILES}


def _movielens_from_wheel() -> dict[str, bytes]:
    """PyPI 包 recbole 1.2.1"""
    requirement, prefix = _ML_WHEEL
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check"]
        subprocess.run([*command, "-d", folder, requirement], check=True, capture_output=True, timeout=300)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            raw = {kind: wheel.read(prefix + kind).split(b"\n", 1)[1] for kind in ("inter", "user")}
    return {"u.data": raw["inter"], "u.user": raw["user"].replace(b"\t", b"|")}


def _load_movielens() -> Dataset:
    files = _movielens_files()
    interactions = pd.read_csv(
        io.BytesIO(files["u.data"]), sep="\t", names=["user_id", "item_id", "value", "timestamp"],
        dtype={"user_id": str, "item_id": str, "value": float, "timestamp": "int64"},
    )  # fmt: skip
    users = pd.read_csv(
        io.BytesIO(files["u.user"]), sep="|", names=["user_id", "age", "gender", "occupation", "zip"],
        dtype={"user_id": str}, keep_default_na=False,
    ).drop(columns="zip")  # fmt: skip
    gender = users["gender"].map({"M": "男性", "F": "女性"})
    users["text"] = users["age"].astype(str) + "岁，" + gender + "，职业：" + users["occupation"].map(OCCUPATIONS)
    items = load_film_texts()
    return Dataset(
        "movielens-zh", items, users, interactions[["user_id", "item_id", "timestamp", "value"]],
        licence="交互：GroupLens 研究用途，不得再分发；中文文本：CC BY 4.0（本课程）",
        source="MovieLens 100K (Harper & Konstan 2015) + data/movielens-zh/items.csv",
        min_value=4.0,
    )  # fmt: skip


def load_film_texts() -> pd.DataFrame:
    """The course's Chinese text of every ML-100K film: the columns of items.csv, and title, text, category."""
    path = project_data() / "movielens-zh" / "items.csv"
    films = pd.read_csv(path, dtype=str, keep_default_na=False)
    films["title"] = films["title_zh"]
    films["category"] = films["genres_zh"]
    films["text"] = [film_text(row) for row in films.to_dict("records")]
    return films


def film_text(film: dict[str, str]) -> str:
    """One film's fields as running text; empty fields leave no trace."""
    parts = [film["title_zh"]]
    for label, column in (("年份", "year"), ("类型", "genres_zh"), ("导演", "director_zh"), ("主演", "cast_zh")):
        if film[column]:
            parts.append(f"{label}：{film[column].replace('|', '、')}")
    return "。".join([*parts, film["synopsis_zh"]])


# ---------------------------------------------------------------- caixin, kuairec, amazon-cn

_GITHUB = "https://raw.githubusercontent.com"
_CAIXIN = f"{_GITHUB}/X-Brain/News-Recommend-System/2b5deff84166a7b771c86e0a23bd1835142ed2ff/test/train_date_set1"
_KUAI_INTERACTIONS = f"{_GITHUB}/LehengTHU/AdvInfoNCE/e7c0416d6d0047343a90c338fa37cc2d8fa85da3/data/kuairec2"
_KUAI_CAPTIONS = f"{_GITHUB}/iamztq666-commits/OneRec--GRPO/54d0c2288c07756cfe44342ce92d464bfe13f7df"
_AMAZON = (
    f"{_GITHUB}/RyanCodding/ECommerceRecommendSystem/32b9c9be29916ad11640292a542d32e0e73b6d8f"
    "/recommender/DataLoader/src/main/resources"
)

CHINA_OFFSET = 8 * 3600  # Beijing time is UTC+8 all year
ROBOT_READS = 1000  # reads in one month; the busiest reader below that has 526, the two above 1,473 and 3,713


def _load_caixin() -> Dataset:
    frames = []
    for day, digest in enumerate(_checksums("caixin"), start=1):
        name = f"train_date_set1_{day}.txt"
        path = fetch("caixin", name, digest, f"{_CAIXIN}/{name}")
        names = ["user_id", "item_id", "timestamp", "title", "day"]
        frames.append(pd.read_csv(path, sep="\t", names=names, dtype=str, quoting=csv.QUOTE_NONE, keep_default_na=False))
    reads = pd.concat(frames, ignore_index=True).astype({"timestamp": "int64", "day": int})
    per_user = reads["user_id"].value_counts()
    robots = per_user[per_user > ROBOT_READS]
    removed = f"去掉 {len(robots)} 个疑似机器人的用户（一个月内点击 {'、'.join(map(str, robots))} 次）"
    midnight = int(pd.Timestamp("2014-03-01", tz="UTC").timestamp()) - CHINA_OFFSET
    # One story often stands under several ids (website, magazine, column). Kept apart, a list would repeat what
    # was just read, and a "new" item could have a twin in training: the first published id stands for all.
    ids = reads.drop_duplicates("item_id").sort_values(["day", "item_id"])
    items = ids.drop_duplicates("title")[["item_id", "title", "day"]]
    reads["item_id"] = reads["title"].map(items.set_index("title")["item_id"])
    twins = f"把标题完全相同的 {len(ids)} 个新闻编号合并为 {len(items)} 篇（同一篇的多个编号归到最早发表的一个）"
    items = items.assign(text=items["title"], published=midnight + (items["day"] - 1) * 86400).drop(columns="day")
    kept = reads[~reads["user_id"].isin(robots.index)]
    return Dataset(
        "caixin", items, _users_seen(kept), kept[["user_id", "item_id", "timestamp"]].assign(value=1.0),
        licence="未声明：仅供教学与研究，不得再分发",
        source="财新网 2014 年 3 月点击日志（第二届中国大数据技术创新大赛）",
        removed=(removed, twins),
    )  # fmt: skip


def _load_kuairec() -> Dataset:
    digests = dict(zip(("kuairec_caption_category.csv", "test_ood.txt", "valid.txt"), _checksums("kuairec")))
    rows = []
    for name in ("valid.txt", "test_ood.txt"):
        path = fetch("kuairec", name, digests[name], f"{_KUAI_INTERACTIONS}/{name}")
        for line in path.read_text().splitlines():
            user, *videos = line.split()
            rows += [(user, video) for video in videos]
    name = "kuairec_caption_category.csv"
    path = fetch("kuairec", name, digests[name], f"{_KUAI_CAPTIONS}/{name}")
    videos = pd.read_csv(path, dtype=str, keep_default_na=False)
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id"]).assign(timestamp=0, value=1.0)
    broken = ~videos["video_id"].str.fullmatch(r"\d+")
    videos = videos[~broken].drop_duplicates("video_id").replace("UNKNOWN", "")
    watched = videos["video_id"].isin(interactions["item_id"])
    removed = (
        f"去掉 {int(broken.sum())} 行残行（标题里有换行，被源文件拆开）",
        f"去掉 {int((~watched).sum())} 个没有任何观看记录的视频",
    )
    videos = videos[watched]
    tags = videos["topic_tag"].str.strip("[]").str.replace(",", " ")
    levels = [f"{level}_level_category_name" for level in ("first", "second", "third")]
    text = (videos["caption"] + " " + videos["manual_cover_text"] + " " + tags).str.split().str.join(" ")
    for level in levels:
        text = text + "。" + videos[level]
    items = pd.DataFrame({
        "item_id": videos["video_id"], "title": videos["caption"].where(videos["caption"] != "", videos[levels[0]]),
        "text": text.str.replace(r"。(?=。)", "", regex=True).str.strip("。 "), "category": videos[levels[0]],
    })  # fmt: skip
    silent = items["text"] == ""
    items.loc[silent, ["title", "text"]] = "（没有文字的视频）"
    removed += (f"{int(silent.sum())} 个视频没有标题、标签和类别，文本写作“（没有文字的视频）”",)
    return Dataset(
        "kuairec", items, _users_seen(interactions), interactions,
        licence="CC BY-SA 4.0", source="KuaiRec 小矩阵（Gao et al. 2022），观看比例 > 2 的视频",
        has_time=False, removed=removed,
    )  # fmt: skip


def _load_amazon() -> Dataset:
    digests = dict(zip(("products.csv", "ratings.csv"), _checksums("amazon-cn")))
    paths = {name: fetch("amazon-cn", name, digest, f"{_AMAZON}/{name}") for name, digest in digests.items()}
    names = ["item_id", "title", "category_ids", "asin", "picture", "category", "tags"]
    products = pd.read_csv(paths["products.csv"], sep="^", names=names, dtype=str, keep_default_na=False, quoting=3)
    # The tags come from buyers' reviews, after the choice: in the text they would leak what is to be predicted.
    products["review_tags"] = products["tags"].str.replace("|", "、", regex=False)
    products["text"] = products["title"] + "。" + products["category"].str.replace("|", "、", regex=False)
    ratings = pd.read_csv(
        paths["ratings.csv"], names=["user_id", "item_id", "value", "timestamp"],
        dtype={"user_id": str, "item_id": str, "value": float, "timestamp": "int64"},
    )  # fmt: skip
    known = ratings["item_id"].isin(products["item_id"])
    removed = (f"去掉 {int((~known).sum())} 条没有商品信息的评分",) if not known.all() else ()
    ratings = ratings[known]
    return Dataset(
        "amazon-cn", products[["item_id", "title", "text", "category", "review_tags"]], _users_seen(ratings),
        ratings[["user_id", "item_id", "timestamp", "value"]],
        licence="未声明（代码 MIT，不覆盖数据）：仅供教学与研究", source="amazon.cn 商品评分 2004–2014",
        min_value=4.0, removed=removed,
    )  # fmt: skip


def _checksums(dataset: str) -> list[str]:
    """The pinned SHA-256 digests of a dataset's files, in the loader's order (data/checksums.csv)."""
    table = pd.read_csv(project_data() / "checksums.csv", dtype=str)
    return table.loc[table["dataset"] == dataset, "sha256"].tolist()


# ---------------------------------------------------------------- your own data


def _read_table(path: Path, sep: str = ",") -> pd.DataFrame:
    """All columns as text; one sentence for what can't be read."""
    quoting = csv.QUOTE_MINIMAL if sep == "," else csv.QUOTE_NONE
    try:
        table = pd.read_csv(path, sep=sep, dtype=str, keep_default_na=False, encoding="utf-8-sig", quoting=quoting)
    except FileNotFoundError:
        raise DataError(f"找不到文件 {path}，请检查路径。") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} 不是 UTF-8 编码（第 {error.start} 字节附近），请在 Excel 里另存为“CSV UTF-8”。"
        ) from None
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} 是空文件，至少要有表头一行。") from None
    except pd.errors.ParserError as error:
        raise DataError(f"{path} 有一行的列数与表头不同（{' '.join(str(error).split())}），请检查该行的分隔符和引号。") from None
    table.columns = [c.strip() for c in table.columns]
    table.attrs["path"] = path
    return table


def _line(table: pd.DataFrame, mask: pd.Series) -> int:
    """Line number in the file of the first marked row (quoted line breaks counted)."""
    first = int(np.flatnonzero(mask.to_numpy())[0])
    path = table.attrs["path"]
    if path.suffix == ".csv":
        with open(path, encoding="utf-8-sig", newline="") as f:
            reader = csv.reader(f)
            rows = -1  # the header
            for row in reader:
                rows += bool(row)
                if rows == first + 1:
                    return reader.line_num
    return first + 2


def _need(table: pd.DataFrame, *columns: str) -> None:
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise DataError(
            f"{table.attrs['path']} 第 1 行缺少列 {'、'.join(missing)}（现有：{'、'.join(table.columns)}），"
            "请在表头里补上或改名。"
        )


def _need_rows(table: pd.DataFrame) -> None:
    if table.empty:
        raise DataError(f"{table.attrs['path']} 只有表头，没有一行数据；请补上数据再运行。")


def _refuse(table: pd.DataFrame, mask: pd.Series, wrong: str, remedy: str) -> None:
    if mask.any():
        more = f"（共 {int(mask.sum())} 处）" if mask.sum() > 1 else ""
        raise DataError(f"{table.attrs['path']} 第 {_line(table, mask)} 行：{wrong}{more}，{remedy}。")


def _check_items(items: pd.DataFrame) -> pd.DataFrame:
    _need(items, "item_id", "title")
    _need_rows(items)
    items["item_id"] = items["item_id"].str.strip()
    _refuse(items, items["item_id"] == "", "item_id 为空", "请给每个物品一个编号")
    repeated = items["item_id"].duplicated()
    if repeated.any():
        name = items.loc[repeated, "item_id"].iloc[0]
        _refuse(items, repeated, f"item_id {name} 重复出现", "每个物品只能有一行，请合并或改号")
    if "text" not in items.columns:
        items["text"] = items["title"]
    items["text"] = items["text"].where(items["text"].str.strip() != "", items["title"])
    _refuse(items, items["text"].str.strip() == "", "title 和 text 都为空", "至少填一个")
    if "published" in items.columns:
        items["published"] = _seconds_of(items, "published")[0]
    return items


def _check_users(users: pd.DataFrame) -> pd.DataFrame:
    _need(users, "user_id")
    repeated = users["user_id"].duplicated()
    _refuse(users, repeated, "user_id 重复出现", "每个用户只能有一行")
    if "text" not in users.columns:
        users["text"] = ""
    return users


def _seconds_of(table: pd.DataFrame, column: str) -> tuple[pd.Series, list[str]]:
    """UTC seconds from a column of seconds, milliseconds or date words, and notes on what was converted."""
    notes = []
    number = pd.to_numeric(table[column], errors="coerce")
    if number.isna().all():
        dates = pd.to_datetime(table[column], errors="coerce", utc=True, format="mixed")
        number = (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
        notes.append(f"{column} 是日期文字，按 UTC 换算成秒")
    bad = number.isna()
    if bad.any():
        wrong = f"{column} {table.loc[bad, column].iloc[0]!r} 读不懂"
        _refuse(table, bad, wrong, "请用 UTC 秒数或 2014-03-21 06:11:00 这样的日期")
    if number.median() > 1e11:
        number = number / 1000
        notes.append(f"{column} 像是毫秒，已除以 1000")
    return number, notes


def _check_interactions(table: pd.DataFrame, items: pd.DataFrame) -> tuple[pd.DataFrame, bool, list[str]]:
    """(interactions, has_time, notes on what was changed)."""
    _need(table, "user_id", "item_id")
    _need_rows(table)
    notes: list[str] = []
    for column in ("user_id", "item_id"):
        table[column] = table[column].str.strip()
        _refuse(table, table[column] == "", f"{column} 为空", "请补上或删掉该行")
    unknown = ~table["item_id"].isin(items["item_id"])
    if unknown.any():
        name = table.loc[unknown, "item_id"].iloc[0]
        _refuse(table, unknown, f"item_id {name} 不在 {items.attrs['path'].name} 里", "请补上该物品，或删掉这些交互")
    if "value" in table.columns:
        value = pd.to_numeric(table["value"], errors="coerce")
        bad = value.isna() | ~np.isfinite(value)
        if bad.any():
            _refuse(table, bad, f"value {table.loc[bad, 'value'].iloc[0]!r} 不是数", "请填数字，没有评分可删去整列")
    else:
        value = pd.Series(1.0, index=table.index)
    has_time = "timestamp" in table.columns
    stamp = pd.Series(0, index=table.index, dtype="int64")
    if has_time:
        number, note = _seconds_of(table, "timestamp")
        notes += note
        stamp = number.astype("int64")
    out = pd.DataFrame({"user_id": table["user_id"], "item_id": table["item_id"], "timestamp": stamp, "value": value})
    return out.astype({"value": float}), has_time, notes


def _default_threshold(value: pd.Series) -> tuple[float, str]:
    """Liking on a rating scale means the upper fifth of it (4 of 5, 8 of 10); without a scale, any event."""
    if value.nunique() <= 1 or value.max() <= 1:
        return float(value.min()), "value 没有等级，每条交互都算喜欢"
    threshold = float(np.ceil(0.8 * value.max()))
    return threshold, f"value 最高 {value.max():g}，不低于 {threshold:g} 的算喜欢（可用参数 min_value 改）"


def _from_tables(name: str, items: pd.DataFrame, users: pd.DataFrame | None, interactions: pd.DataFrame) -> Dataset:
    items = _check_items(items)
    checked, has_time, notes = _check_interactions(interactions, items)
    threshold, note = _default_threshold(checked["value"])
    everyone = _users_seen(checked)
    if users is not None:
        users = _check_users(users)
        unlisted = everyone[~everyone["user_id"].isin(users["user_id"])]
        if len(unlisted):
            notes.append(f"{len(unlisted)} 个用户只有交互、没有资料，文本按空处理")
        everyone = pd.concat([users, unlisted], ignore_index=True).fillna("")
    if not has_time:
        notes.append("没有 timestamp 列，只能随机划分")
    dataset = Dataset(
        name, items, everyone, checked, licence="由数据所有者决定", source=name, min_value=threshold,
        has_time=has_time, removed=(note, *notes),
    )  # fmt: skip
    return _finish(dataset)


def _load_folder(folder: Path) -> Dataset:
    if (folder / "items.csv").exists() or (folder / "interactions.csv").exists():
        users = folder / "users.csv"
        return _from_tables(
            folder.name, _read_table(folder / "items.csv"), _read_table(users) if users.exists() else None,
            _read_table(folder / "interactions.csv"),
        )  # fmt: skip
    if list(folder.glob("*.inter")):
        return _load_recbole(folder)
    if (folder / "news.tsv").exists() or (folder / "behaviors.tsv").exists():
        return _load_mind(folder)
    if list(folder.glob("meta_*.jsonl*")):
        return _load_amazon_reviews(folder)
    raise DataError(
        f"文件夹 {folder} 里没有认识的数据：需要 items.csv 和 interactions.csv，"
        "或 RecBole 的 .inter/.item，或 MIND 的 news.tsv/behaviors.tsv，或 Amazon Reviews 2023 的 meta_*.jsonl.gz。"
    )


def _load_recbole(folder: Path) -> Dataset:
    """RecBole atomic files: tab-separated, header `name:type`."""

    def read(path: Path) -> pd.DataFrame:
        table = _read_table(path, sep="\t")
        table.columns = [c.split(":")[0] for c in table.columns]
        return table

    inter = next(iter(sorted(folder.glob("*.inter"))))
    item, user = inter.with_suffix(".item"), inter.with_suffix(".user")
    items = read(item)
    _need(items, "item_id")
    title = next((c for c in items.columns if "title" in c or "name" in c), None)
    texts = [c for c in items.columns if c != "item_id"]
    if not texts:
        raise DataError(f"{item} 第 1 行只有 item_id，没有可读的文字列，请补上 title 或其他文字列。")
    items = items.rename(columns={title: "title"}) if title else items.assign(title=items[texts[0]])
    columns = [c for c in items.columns if c != "item_id"]
    items["text"] = items[columns].agg("。".join, axis=1)
    interactions = read(inter)
    interactions = interactions.rename(columns={"rating": "value", "label": "value"})
    users = None
    if user.exists():
        users = read(user)
        columns = [c for c in users.columns if c != "user_id"]
        users["text"] = users[columns].agg("，".join, axis=1) if columns else ""
    return _from_tables(inter.stem, items, users, interactions)


def _load_mind(folder: Path) -> Dataset:
    """MIND: news.tsv (id, category, subcategory, title, abstract, …), behaviors.tsv (clicks in impressions)."""
    news = _read_headless(folder / "news.tsv", ["item_id", "category", "sub", "title", "abstract"])
    news["text"] = news["title"] + "。" + news["abstract"]
    behaviors = _read_headless(folder / "behaviors.tsv", ["impression", "user_id", "time", "history", "impressions"])
    when = pd.to_datetime(behaviors["time"], errors="coerce", utc=True, format="mixed")
    _refuse(behaviors, when.isna(), "时间读不懂", "MIND 的时间形如 11/11/2019 9:05:58 AM")
    stamp = (when - pd.Timestamp(0, tz="UTC")).dt.total_seconds().astype("int64")
    clicks = behaviors["impressions"].str.findall(r"(\S+)-1(?:\s|$)")
    first = behaviors.assign(stamp=stamp).sort_values("stamp").drop_duplicates("user_id")
    # History clicks have no time of their own; they lie before the user's first impression, in order.
    earlier = [
        (row.user_id, item, row.stamp - len(row.history.split()) + n)
        for row in first.itertuples() for n, item in enumerate(row.history.split())
    ]  # fmt: skip
    later = [(u, item, t) for u, items, t in zip(behaviors["user_id"], clicks, stamp) for item in items]
    interactions = pd.DataFrame(earlier + later, columns=["user_id", "item_id", "timestamp"]).astype({"timestamp": str})
    interactions.attrs["path"] = folder / "behaviors.tsv"
    return replace(_from_tables(folder.name, news, None, interactions), language="en")


def _load_amazon_reviews(folder: Path) -> Dataset:
    """Amazon Reviews 2023 (Hou et al. 2024): meta_NAME.jsonl[.gz] and NAME.jsonl[.gz], one JSON object a line.

    Item = parent_asin. Text = title, features, description. The reviews' own words are left out: they are
    written after the choice that a recommender is to predict.
    """
    metas = sorted(folder.glob("meta_*.jsonl*"))
    if len(metas) > 1:
        raise DataError(f"文件夹 {folder} 里有 {len(metas)} 个 meta_*.jsonl 文件，请每次只放一个品类。")
    meta = metas[0]
    name = meta.name.removeprefix("meta_")
    review = next((p for p in (meta.with_name(name), *meta.parent.glob(name.split(".")[0] + ".jsonl*")) if p.exists()), None)
    if review is None:
        raise DataError(f"找不到 {meta.name} 对应的评论文件 {meta.with_name(name)}，请放在同一个文件夹里。")
    products: dict[str, tuple[str, str, str]] = {}
    for _, row in _json_lines(meta, "parent_asin"):
        lists = [row.get(field) or [] for field in ("features", "description")]
        parts = [row.get("title") or "", *(p for field in lists for p in ([field] if isinstance(field, str) else field))]
        category = "|".join(row.get("categories") or [row.get("main_category") or ""])
        products[row["parent_asin"]] = (row.get("title") or "", "。".join(" ".join(p.split()) for p in parts if p), category)
    items = pd.DataFrame([(i, *fields) for i, fields in products.items()], columns=["item_id", "title", "text", "category"])
    silent = items["text"].str.strip() == ""
    known = set(items.loc[~silent, "item_id"])
    rows, lost = [], 0
    for number, row in _json_lines(review, "user_id", "parent_asin", "rating", "timestamp"):
        if row["parent_asin"] not in known:
            lost += 1
            continue
        try:
            rows.append((row["user_id"], row["parent_asin"], int(row["timestamp"]) // 1000, float(row["rating"])))
        except (TypeError, ValueError):
            raise DataError(f"{review} 第 {number} 行的 rating 或 timestamp 不是数，请改好或删掉该行。") from None
    if not rows:
        raise DataError(f"{review} 里没有一条评论的商品在 {meta.name} 里，请检查两个文件是不是同一个品类。")
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "value"])
    items = items[items["item_id"].isin(interactions["item_id"])]
    removed = ["value 最高 5，不低于 4 的算喜欢（可用参数 min_value 改）"]
    if lost:
        removed.append(f"去掉 {lost} 条评论，其商品没有资料或没有文字")
    idle = len(known) - len(items)
    if idle:
        removed.append(f"去掉 {idle} 个没有一条评论的商品")
    dataset = Dataset(
        review.name.split(".")[0], items, _users_seen(interactions), interactions, licence="由数据所有者决定（研究用途）",
        source="Amazon Reviews 2023（Hou et al. 2024）", language="en", min_value=4.0, removed=tuple(removed),
    )  # fmt: skip
    return _finish(dataset)


def _json_lines(path: Path, *needed: str):
    """(line number, object) of each line; DataError with the line where one is no JSON or lacks a field."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as f:
        number = 0
        try:
            for number, line in enumerate(f, 1):
                row = json.loads(line)
                missing = [name for name in needed if row.get(name) in (None, "")]
                if missing:
                    raise DataError(f"{path} 第 {number} 行缺少 {'、'.join(missing)}，请补上或删掉该行。")
                yield number, row
        except (json.JSONDecodeError, AttributeError):
            raise DataError(f"{path} 第 {number} 行不是 JSON 对象，请重新下载或删掉该行。") from None
        except (EOFError, OSError, zlib.error, UnicodeDecodeError):
            raise DataError(f"{path} 在第 {number} 行之后读不下去（压缩文件不完整或编码不是 UTF-8），请重新下载。") from None


def _read_headless(path: Path, names: list[str]) -> pd.DataFrame:
    if not path.exists():
        raise DataError(f"找不到文件 {path}，MIND 需要 news.tsv 和 behaviors.tsv 两个文件。")
    table = pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)
    if table.shape[1] < len(names):
        raise DataError(f"{path} 第 1 行只有 {table.shape[1]} 列，MIND 格式至少要 {len(names)} 列。")
    table = table.iloc[:, : len(names)]
    table.columns = names
    table.attrs["path"] = path
    return table


# ---------------------------------------------------------------- the one door

DATASETS = {
    "movielens-zh": _load_movielens,
    "caixin": _load_caixin,
    "kuairec": _load_kuairec,
    "amazon-cn": _load_amazon,
}


def load_dataset(name_or_path: str | Path = "movielens-zh") -> Dataset:
    """Load a named dataset or a folder of your own under the contract of `Dataset`.

    name_or_path: `movielens-zh`, `caixin`, `kuairec`, `amazon-cn`, or a folder with items.csv and
        interactions.csv (optional users.csv), RecBole atomic files, MIND's two files, or the two
        .jsonl.gz files of a category of Amazon Reviews 2023.
    Raises DataError, one sentence, for anything missing, damaged or malformed.

    >>> load_dataset("no-such-data")
    Traceback (most recent call last):
    ...
    textrec_utils.datasets.DataError: 没有数据集 no-such-data：可用的名字有 movielens-zh、caixin、kuairec、amazon-cn，也可以给一个文件夹的路径。
    """
    if str(name_or_path) in DATASETS:
        return _finish(DATASETS[str(name_or_path)]())
    path = Path(name_or_path).expanduser()
    if not path.is_dir():
        raise DataError(
            f"没有数据集 {name_or_path}：可用的名字有 {'、'.join(DATASETS)}，也可以给一个文件夹的路径。"
        )
    return _load_folder(path)
