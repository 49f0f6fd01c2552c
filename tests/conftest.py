"""Shared fixtures, and a cache of the tests' own: what a reader has computed can't keep a test green."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with Ctrl-C ignored
collect_ignore = ["make_rectools_figures.py"]  # needs RecTools, which lives in a venv of its own

from textrec_utils.core.paths import cache_dir  # noqa: E402


def _own_cache() -> None:
    """TEXTREC_CACHE and TEXTREC_BUILD in a folder that goes when the tests end.

    Downloaded data sets, whose checksums are compared before every use, are the reader's: linked, so that what the
    tests download is kept; where links fail, copied.
    """
    folder = Path(tempfile.mkdtemp(prefix="textrec-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data = cache_dir() / "data"
    (folder / "cache").mkdir()
    try:
        data.mkdir(parents=True, exist_ok=True)
        (folder / "cache" / "data").symlink_to(data.resolve(), target_is_directory=True)
    except OSError:
        if data.is_dir():
            shutil.copytree(data, folder / "cache" / "data")
    os.environ |= {"TEXTREC_CACHE": str(folder / "cache"), "TEXTREC_BUILD": str(folder / "build")}


if "PYTEST_XDIST_WORKER" not in os.environ:  # workers share the folder of the process that started them
    _own_cache()

from textrec_utils.datasets import Dataset, load_dataset  # noqa: E402
from textrec_utils.splits import make_split  # noqa: E402


@pytest.fixture(scope="session")
def movielens() -> Dataset:
    return load_dataset("movielens-zh")


@pytest.fixture(scope="session")
def leave_last_out(movielens):
    return make_split(movielens, "leave_last_out")


@pytest.fixture
def mirror(request) -> Path:
    """The folder that TEXTREC_MIRROR names; tests that need it are skipped where it is not set.

    `@pytest.mark.in_mirror("kuairec")` above a test: and where it hasn't got this folder, as a cache of downloads.
    """
    folder = os.environ.get("TEXTREC_MIRROR", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TEXTREC_MIRROR names no folder with the other datasets")
    for mark in request.node.iter_markers("in_mirror"):
        for name in mark.args:
            if not (Path(folder) / name).exists():
                pytest.skip(f"the folder that TEXTREC_MIRROR names has no {name}")
    return Path(folder)


@pytest.fixture
def own_folder(tmp_path) -> Path:
    """A valid folder of a reader's own data: 30 items, 20 users, 200 ratings with times."""
    folder = tmp_path / "shop"
    folder.mkdir()
    rng = np.random.default_rng(0)
    kinds = ["茶叶", "登山鞋", "蓝牙耳机"]
    items = pd.DataFrame({
        "item_id": [f"g{i}" for i in range(30)], "title": [f"{kinds[i % 3]}第{i}款" for i in range(30)],
        "text": [f"{kinds[i % 3]}，适合送礼和日常使用，编号{i}" for i in range(30)],
        "category": [kinds[i % 3] for i in range(30)],
    })  # fmt: skip
    pairs = [(f"u{u}", f"g{i}") for u in range(20) for i in rng.choice(30, 10, replace=False)]
    interactions = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    interactions["timestamp"] = 1_600_000_000 + rng.permutation(len(interactions)) * 60
    interactions["value"] = rng.integers(3, 6, len(interactions))
    items.to_csv(folder / "items.csv", index=False)
    interactions.to_csv(folder / "interactions.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def taste():
    """60 users who like one of three kinds of goods each; the text tells the kind."""
    rng = np.random.default_rng(0)
    kinds = ["登山鞋，防滑耐磨", "绿茶，清香回甘", "蓝牙耳机，降噪"]
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(60)], "title": [kinds[n % 3][:3] for n in range(60)]})
    items["text"] = [f"{kinds[n % 3]}，第{n}款" for n in range(60)]
    rows = []
    for user in range(60):
        chosen = rng.choice(np.arange(user % 3, 60, 3), 8, replace=False)
        rows += [(f"u{user}", f"i{i}", t) for t, i in enumerate(chosen)]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).assign(value=1.0)
    users = pd.DataFrame({"user_id": [f"u{n}" for n in range(60)], "text": ["30岁"] * 60})
    return make_split(Dataset("taste", items, users, interactions, "", ""), "leave_last_out")
