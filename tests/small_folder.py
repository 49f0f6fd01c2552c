"""Small folders of items.csv and interactions.csv, and what it means that one is refused."""

from __future__ import annotations

import pandas as pd
import pytest

from textrec_utils.datasets import DataError, load_dataset

ITEMS = "item_id,title\na,绿茶\nb,红茶\n"
VIEWS = "user_id,item_id\nu,a\nu,b\nv,a\n"

OTHER_ENGLISH = ("Error tokenizing", "Traceback", "expected", "codec", "invalid", "convert")  # of pandas and Python


def folder(tmp_path, **files):
    """A folder with these files (`items_csv` is items.csv), over a small valid one."""
    for name, content in {"items_csv": ITEMS, "interactions_csv": VIEWS, **files}.items():
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name.replace("_", ".")).write_bytes(data)
    return tmp_path


def refused(path, match=None):
    """The one sentence with which a folder is refused: what is wrong, where, what to do."""
    with pytest.raises(DataError, match=match) as error:
        load_dataset(path)
    text = str(error.value)
    assert "\n" not in text and text.endswith("。") and any(word in text for word in ("请", "至少", "可以", "需要"))
    assert not any(word in text for word in OTHER_ENGLISH)
    return text


def views(tmp_path, **columns):
    """A dataset of as many views as the columns have rows."""
    size = len(next(iter(columns.values())))
    table = pd.DataFrame({"user_id": [f"u{n % 3}" for n in range(size)], "item_id": "a", **columns})
    return folder(tmp_path, interactions_csv=table.to_csv(index=False))
