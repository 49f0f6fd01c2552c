"""The contract that every loader fills: items with text, users, and who chose what when."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from textrec_utils.core.errors import DataError
from textrec_utils.core.files import sha256_of

TIMED = ("leave_last_out", "temporal")  # protocols that need timestamps
ROWS = 100_000  # hashed at once


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
    default_protocol: the split that a report makes unasked (one of `splits.PROTOCOLS`, or `splits.GIVEN`; random
        without times).
    fresh_days: items are worth recommending so many days after they were published (a report's candidates), or None.
    entity_columns: columns of items that list names joined by `|`, which a segmenter should not cut.

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
    removed: tuple[str, ...] = ()
    default_protocol: str = "leave_last_out"
    fresh_days: float | None = None
    entity_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.has_time and self.default_protocol in TIMED:
            object.__setattr__(self, "default_protocol", "random")

    def positives(self, min_value: float | None = None) -> pd.DataFrame:
        """First liking of each (user, item) pair, by time: columns user_id, item_id, timestamp, value.

        min_value: the least value of a liking; None is the dataset's own, 0.0 is zero.
        """
        threshold = self.min_value if min_value is None else min_value
        liked = self.interactions[self.interactions["value"] >= threshold]
        liked = liked.sort_values(["timestamp", "user_id", "item_id"], kind="stable")
        return liked.drop_duplicates(["user_id", "item_id"], ignore_index=True)

    def checksum(self) -> str:
        """SHA-256 over items, users and interactions, to record what a report was made from."""
        return self._checksum

    @cached_property
    def _checksum(self) -> str:
        found = hashlib.sha256()
        for number, frame in enumerate((self.items, self.users, self.interactions)):
            found.update(b"\0" * (number > 0))
            for start in range(0, max(1, len(frame)), ROWS):
                part = frame.iloc[start : start + ROWS]
                found.update(part.to_csv(index=False, header=start == 0, lineterminator="\n").encode())
        return found.hexdigest()

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}: {len(self.users):,} users, {len(self.items):,} items, "
            f"{len(self.interactions):,} interactions)"
        )


def users_seen(interactions: pd.DataFrame) -> pd.DataFrame:
    """The users table of data that tell nothing of their users."""
    return pd.DataFrame({"user_id": interactions["user_id"].unique(), "text": ""})


def finish(dataset: Dataset) -> Dataset:
    """Put rows in hashed order and interactions in time order; the one exit of every loader."""
    if dataset.items.empty or dataset.interactions.empty:
        raise DataError(f"{dataset.name}: 没有可用的物品或交互，请检查文件是否为空。")

    def hashed(table: pd.DataFrame, key: str) -> pd.DataFrame:
        order = np.argsort([sha256_of(i.encode()) for i in table[key]], kind="stable")
        return table.iloc[order].reset_index(drop=True)

    items, users = hashed(dataset.items, "item_id"), hashed(dataset.users, "user_id")
    by_time = dataset.interactions.sort_values(["timestamp", "user_id", "item_id"], kind="stable", ignore_index=True)
    for table in (items, users, by_time):
        table.attrs = {}  # the file that it was read from
    return replace(dataset, items=items, users=users, interactions=by_time)
