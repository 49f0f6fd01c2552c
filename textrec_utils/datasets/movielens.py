"""movielens-zh: the ratings of MovieLens 100K, and the course's own Chinese text of every film."""

import io
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import pandas as pd

from textrec_utils.core.paths import project_data
from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.downloads import fetch, read_source
from textrec_utils.datasets.tables import read_table

_ARCHIVE = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
_WHEEL = "recbole==1.2.1 --hash=sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"

OCCUPATIONS = {
    "administrator": "行政人员", "artist": "艺术家", "doctor": "医生", "educator": "教育工作者",
    "engineer": "工程师", "entertainment": "演艺从业者", "executive": "企业高管", "healthcare": "医护人员",
    "homemaker": "家庭主妇（夫）", "lawyer": "律师", "librarian": "图书管理员", "marketing": "市场营销人员",
    "none": "无业", "other": "其他职业", "programmer": "程序员", "retired": "退休人员",
    "salesman": "销售人员", "scientist": "科学家", "student": "学生", "technician": "技术员", "writer": "作家",
}  # fmt: skip


@cache  # one download serves both files
def _archive() -> bytes:
    return read_source(_ARCHIVE)


def from_archive(name: str) -> bytes:
    """官方压缩包 ml-100k.zip"""
    with zipfile.ZipFile(io.BytesIO(_archive())) as archive:
        return archive.read(f"ml-100k/{name}")


@cache
def _wheel() -> bytes:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text(_WHEEL, encoding="utf-8")
        # An sdist would run code of its own before anyone could look at its checksum.
        safe = ["--only-binary", ":all:", "--require-hashes", "-r", str(wanted), "-d", folder]
        subprocess.run([*pip, *safe], check=True, capture_output=True, timeout=300)
        return next(Path(folder).glob("*.whl")).read_bytes()


def from_wheel(name: str) -> bytes:
    """PyPI 包 recbole 1.2.1"""
    kind = {"u.data": "inter", "u.user": "user"}[name]
    with zipfile.ZipFile(io.BytesIO(_wheel())) as wheel:
        raw = wheel.read(f"recbole/dataset_example/ml-100k/ml-100k.{kind}").split(b"\n", 1)[1]
    return raw if kind == "inter" else raw.replace(b"\t", b"|")  # the official files' own bytes


def load_movielens() -> Dataset:
    ratings, people = fetch("movielens-zh", from_archive, from_wheel)
    interactions = read_table(ratings, "\t", names=["user_id", "item_id", "value", "timestamp"])
    interactions = interactions.astype({"value": float, "timestamp": "int64"})
    users = read_table(people, "|", names=["user_id", "age", "gender", "occupation"]).astype({"age": "int64"})
    gender = users["gender"].map({"M": "男性", "F": "女性"})
    users["text"] = users["age"].astype(str) + "岁，" + gender + "，职业：" + users["occupation"].map(OCCUPATIONS)
    return Dataset(
        "movielens-zh", load_film_texts(), users, interactions[["user_id", "item_id", "timestamp", "value"]],
        licence="交互：GroupLens 研究用途，不得再分发；中文文本：CC BY 4.0（本课程）",
        source="MovieLens 100K (Harper & Konstan 2015) + data/movielens-zh/items.csv",
        min_value=4.0, entity_columns=("director_zh", "cast_zh"),
    )  # fmt: skip


def load_film_texts() -> pd.DataFrame:
    """The course's Chinese text of every ML-100K film: the columns of items.csv, and title, text, category."""
    films = read_table(project_data() / "movielens-zh" / "items.csv").reset_index(drop=True)
    text = [film_text(row) for row in films.to_dict("records")]
    return films.assign(title=films["title_zh"], category=films["genres_zh"], text=text)


def film_text(film: dict[str, str]) -> str:
    """One film's fields as running text; empty fields leave no trace."""
    parts = [film["title_zh"]]
    for label, column in (("年份", "year"), ("类型", "genres_zh"), ("导演", "director_zh"), ("主演", "cast_zh")):
        if film[column]:
            parts.append(f"{label}：{film[column].replace('|', '、')}")
    return "。".join([*parts, film["synopsis_zh"]])
