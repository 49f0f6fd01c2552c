"""A report with small towers, for the tests of its methods and of its sentences."""

from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from textrec_utils.finetuning import TwoTowerConfig
from textrec_utils.report import METHODS, Report
from textrec_utils.splits import Split

SMALL = TwoTowerConfig(steps=3, users=16, hidden=16, dim=8, max_length=16)


def made(split: Split, profile: str = "quick", **options) -> Report:
    report = Report(split, profile, **{"k": 5, "budget": 1, "two_tower": SMALL} | options)
    report.look()
    report.tune()
    report.run()
    return report


@contextmanager
def only(*keys: str):
    """The registry with these methods alone; afterwards it is as it was, also in its order."""
    kept = dict(METHODS)
    try:
        for key in set(kept) - set(keys):
            del METHODS[key]
        yield
    finally:
        METHODS.clear()
        METHODS.update(kept)


def only_users(folder: Path, count: int) -> Path:
    """Leave the first `count` users of a folder's interactions."""
    table = pd.read_csv(folder / "interactions.csv")
    table[table["user_id"].isin([f"u{n}" for n in range(count)])].to_csv(folder / "interactions.csv", index=False)
    return folder
