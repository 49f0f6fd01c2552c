"""A report with small towers, for the tests of its methods and of its sentences."""

from pathlib import Path

import pandas as pd

from textrec_utils.finetuning import TwoTowerConfig
from textrec_utils.report import Report
from textrec_utils.splits import Split

SMALL = TwoTowerConfig(steps=3, users=16, hidden=16, dim=8, max_length=16)


def made(split: Split, profile: str = "quick", **options) -> Report:
    report = Report(split, profile, **{"k": 5, "budget": 1, "two_tower": SMALL} | options)
    report.look()
    report.tune()
    report.run()
    return report


def only_users(folder: Path, count: int) -> Path:
    """Leave the first `count` users of a folder's interactions."""
    table = pd.read_csv(folder / "interactions.csv")
    table[table["user_id"].isin([f"u{n}" for n in range(count)])].to_csv(folder / "interactions.csv", index=False)
    return folder
