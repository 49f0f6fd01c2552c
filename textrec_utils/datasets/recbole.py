"""RecBole's atomic files: NAME.inter, NAME.item, optional NAME.user; tab-separated, header `name:type`."""

from pathlib import Path

import pandas as pd

from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.own_folder import from_tables
from textrec_utils.datasets.tables import need, read_table


def load_recbole(folder: Path) -> Dataset:
    """The first .inter of the folder and the files beside it; a text is all columns but the id."""
    inter = min(folder.glob("*.inter"))
    items = _with_text(inter.with_suffix(".item"), "item_id", "。")
    columns = [c for c in items.columns if c != "item_id"]
    # A column called title is the title; else the first that is some title, some name, or anything at all.
    title = min(columns, key=lambda c: (c != "title", "title" not in c, "name" not in c))
    user = inter.with_suffix(".user")
    users = _with_text(user, "user_id", "，") if user.exists() else None
    interactions = _read(inter)
    value = next((c for c in ("value", "rating", "label") if c in interactions.columns), "value")
    interactions = interactions.rename(columns={value: "value"})
    interactions.attrs["value"] = value
    return from_tables(inter.stem, items.rename(columns={title: "title"}), users, interactions)


def _read(path: Path) -> pd.DataFrame:
    return read_table(path, sep="\t", header=lambda name: name.split(":")[0])


def _with_text(path: Path, key: str, glue: str) -> pd.DataFrame:
    table = _read(path)
    need(table, key)
    columns = [table[c] for c in table.columns if c != key]
    return table.assign(text=[glue.join(cells) for cells in zip(*columns)] if columns else "")
