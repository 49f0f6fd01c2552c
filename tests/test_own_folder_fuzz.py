"""Small folders, broken at random: whatever comes, a dataset or one sentence. TEXTREC_FUZZ sets how many (200)."""

from __future__ import annotations

import os
import random

import pytest

from tests.small_folder import OTHER_ENGLISH
from textrec_utils.datasets import DataError, Dataset, load_dataset
from textrec_utils.datasets.quality import quality_table

ROUNDS = int(os.environ.get("TEXTREC_FUZZ", 200))
PARTS = 20  # rounds are spread over so many tests, so that processes side by side share them

ODD = [
    *("", " ", "NULL", "nan", "None", "\\N", "inf", "-inf", "1e999", "-1", "0", "1", "5", "99", "-5", "1e5", "True"),
    *("1.23457E+17", "007", "7", "7.0", "１２", "'7", "9" * 40, "1_000", "0x10", "٣", "²", "½", "#REF!", "5星", "否"),
    *("\u200b", "\ufeff", "\xa0", "\u3000a", "a\u200bb", "\0", "\r", "\n", "\t", '"', '\\"', '"a', "a,b", "a;b"),
    *("<b>茶</b>", "&nbsp;", "繁體中文字", "$$", "{x}", "{}", "%s", "😀", "\ud800", "é", "茶" * 300, "now", "好"),
    *("2024-01-15", "2024/1/15 8:00", "13/01/2024", "01/13/2024", "01/02/2024", "2024年1月5日 下午3:20", "20240305"),
    *("20240305123000", "1705276800", "1705276800123", "1705276800123456", "1705276800123456789", "45356", "45356.5"),
    *("9999-12-31", "0000-00-00", "2024-02-30", "2024-01-15T08:00:00+08:00", "2024-01-15 25:61", "Jan 15 2024"),
    *("2024-01-15 08:00+99:99", "2024 jan", "0001-01-01 00:00+08:00"),
]
NAMES = """user_id item_id timestamp value title text category published id rating 评分 时间 userId sku 商品ID name
uid date label count usr_id timestmap""".split()


def table(rng: random.Random, names: list[str], rows: int) -> list[list[str]]:
    def cell(name: str, row: int) -> str:
        if name in ("timestamp", "published"):
            return str(1705276800 + row)
        usual = {"user_id": f"u{rng.randrange(4)}", "item_id": f"i{row if 'title' in names else rng.randrange(5)}"}
        return usual.get(name) or (str(rng.randrange(1, 6)) if name == "value" else f"茶{row}")

    return [names, *([cell(name, row) for name in names] for row in range(rows))]


def broken(rng: random.Random, cells: list[list[str]]) -> list[list[str]]:
    """The table with one thing changed: a cell, some cells of a column, a name, a width, a row, a way to write."""
    kind = rng.choice(["cell"] * 4 + ["column"] * 4 + ["name", "width", "rows", "more", "style", "style"])
    row, column = rng.randrange(len(cells)), rng.randrange(max(1, len(cells[0])))
    inside = column < len(cells[row]) and column < len(cells[0])
    if kind == "cell" and inside and row:
        cells[row][column] = rng.choice(ODD)
    elif kind == "column":
        odd, share = [rng.choice(ODD) for _ in range(rng.choice([1, 1, 2, 5]))], rng.choice([0.1, 0.5, 1])
        for line in cells[1:]:
            if column < len(line) and rng.random() < share:
                line[column] = rng.choice(odd)
    elif kind == "name" and inside:
        cells[0][column] = rng.choice(NAMES + ODD)
    elif kind == "width":
        cells[row] = cells[row] + [rng.choice(ODD)] if rng.random() < 0.5 else cells[row][:-1]
    elif kind == "rows":
        cells = cells[: rng.randrange(1, len(cells) + 1)] + [list(cells[row])] * rng.randrange(2)
    elif kind == "more":
        cells = [[*line, rng.choice([*ODD, "x"])] for line in cells]
        cells[0][-1] = rng.choice(NAMES)
    elif kind == "style":
        style = rng.choice(["{}", " {} ", "{}.0", "0{}", "{}\u200b"])
        for line in cells[1:]:
            if column < len(line):
                line[column] = style.format(line[column])
    return cells


def written(rng: random.Random, cells: list[list[str]]) -> bytes:
    """The table as bytes: quoted as CSV is meant to be or not, in usual encodings and others, seldom damaged."""
    sep, careful = rng.choice([","] * 12 + [";", "\t", "|", "，"]), rng.random() < 0.8

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if careful and set(text) & set(',;"\n\r，') else text

    text = rng.choice(["\n"] * 9 + ["\r\n", "\r", ",\n"]).join(sep.join(map(cell, line)) for line in cells)
    text = rng.choice([""] * 9 + ["\ufeff", "\n"]) + text + rng.choice(["\n"] * 9 + ["", "\n\n", sep])
    encoding = rng.choice(["utf-8"] * 20 + ["gb18030", "gbk", "utf-16", "utf-16-le", "big5", "latin-1"])
    data = bytearray(text.encode(encoding, "replace"))
    for _ in range(rng.choice([0] * 30 + [1, 3]) if data else 0):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.01 else data)


def fuzzed(path, seed: int) -> None:
    """A folder that only the seed decides."""
    rng = random.Random(seed)
    tables = {
        "items": table(rng, ["item_id", "title", *rng.choice([[], ["text"], ["text", "category", "published"]])], 5),
        "interactions": table(
            rng, ["user_id", "item_id", *rng.choice([[], ["timestamp"], ["timestamp", "value"]])], 12
        ),
    }
    if rng.random() < 0.3:
        tables["users"] = table(rng, ["user_id", "text"], 1)
    for _ in range(rng.choice([1, 1, 2, 3, 4])):
        name = rng.choice(list(tables))
        tables[name] = broken(rng, tables[name]) or [[""]]
    for old in path.iterdir():
        old.unlink()
    for name, cells in tables.items():
        (path / f"{name}.csv").write_bytes(written(rng, cells))


@pytest.mark.parametrize("part", range(PARTS))
def test_a_broken_folder_is_a_dataset_or_one_sentence(tmp_path, part):
    for seed in range(part, ROUNDS, PARTS):
        fuzzed(tmp_path, seed)
        try:
            dataset = load_dataset(tmp_path, on_missing=("refuse", "drop")[seed % 2])
        except DataError as error:
            told = str(error)
            assert "\n" not in told and told.endswith("。") and told.count("。") == 1, (seed, told)
            assert "请" in told or "至少" in told, (seed, told)
            assert not any(word in told for word in OTHER_ENGLISH), (seed, told)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        else:
            sound(dataset, seed)


def sound(dataset: Dataset, seed: int) -> None:
    """What every dataset promises, however it was come by."""
    items, users, done = dataset.items, dataset.users, dataset.interactions
    assert items["item_id"].is_unique and users["user_id"].is_unique, seed
    assert done["item_id"].isin(items["item_id"]).all() and done["user_id"].isin(users["user_id"]).all(), seed
    assert done["value"].notna().all() and len(dataset.positives()) > 0, seed
    assert done["timestamp"].dtype == "int64" and (done["timestamp"] >= 0).all(), seed
    assert (items["title"].str.strip() + items["text"].str.strip() != "").all(), seed
    assert dataset.has_time or not done["timestamp"].any(), seed
    table = quality_table(dataset)
    assert not table.isna().any().any() and not any("\n" in cell for cell in table.to_numpy().ravel()), seed
