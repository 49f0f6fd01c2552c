"""A fitted method that takes ids and gives lists: of a user of the data, or of a history that is not in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from textrec_utils.baselines.base import Recommender
from textrec_utils.baselines.simple import Popularity
from textrec_utils.core.errors import DataError
from textrec_utils.ranking import recommend_in_blocks
from textrec_utils.serving.reasons import Reasons
from textrec_utils.splits import Split

COLUMNS = ["user", "rank", "item", "score", "reason"]
SHOWN = 3  # ids of a kind that an error names


@dataclass(frozen=True)
class Service:
    """A method with what it serves.

    model: fitted on `split.train`, which is all that it knows of the users. method, label: its names in the report.
    about: where it comes from, plain JSON values: data and their checksum, settings, versions, date.
    Whoever has no history gets the popular items, unless the method can do better for new users.
    """

    model: Recommender
    split: Split
    method: str
    label: str
    about: dict[str, object] = field(default_factory=dict)

    @cached_property
    def item_ids(self) -> np.ndarray:
        return self.split.dataset.items["item_id"].to_numpy()

    @cached_property
    def user_ids(self) -> np.ndarray:
        return self.split.dataset.users["user_id"].to_numpy()

    @cached_property
    def _items(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self.item_ids)}

    @cached_property
    def _users(self) -> dict[str, int]:
        return {user: row for row, user in enumerate(self.user_ids)}

    @cached_property
    def _popular(self) -> Recommender:
        return Popularity().fit(self.split)

    @cached_property
    def _reasons(self) -> Reasons:
        return Reasons(self.model, self.split)

    def recommend_for(self, user_id: str, n: int = 20, *, repeat: bool = False) -> pd.DataFrame:
        """The n best items of a user of the data: a table with rank (from 1), item, title, score, reason.

        Fewer rows where fewer items are left. repeat: what the user has liked already may be recommended again.
        Raises DataError for an id that is no text or not in the data.
        """
        row = rows_of([user_id], self._users, "用户")
        return self._titled(pd.concat(self.lists(row, n, repeat=repeat)))

    def recommend_from(self, history: Sequence[str], n: int = 20, *, repeat: bool = False) -> pd.DataFrame:
        """As `recommend_for`, for a history that need not be in the data: item ids, oldest first, each counts once.

        Raises DataError for ids that are no texts or not in the data, and for methods that can't serve others than the
        users whom they were trained on.
        """
        if isinstance(history, str) or not isinstance(history, Sequence | np.ndarray | pd.Series):
            raise DataError(f"历史应是物品编号的列表，例如 ['50', '181']，得到 {type(history).__name__}。")
        items = rows_of(list(history), self._items, "物品")
        items = items[np.sort(len(items) - 1 - np.unique(items[::-1], return_index=True)[1])]  # each where it came last
        users = pd.DataFrame({"user_id": ["这段历史"], "text": [""]})
        train = pd.DataFrame({"user": 0, "item": items, "timestamp": np.arange(len(items)), "value": 1.0})
        one = replace(self.split, dataset=replace(self.split.dataset, users=users), train=train)
        asked = replace(self, model=self.model.fold_in(one), split=one)
        asked.__dict__["_popular"] = self._popular.fold_in(one)
        return asked._titled(pd.concat(asked.lists(np.array([0]), n, repeat=repeat)))

    def lists(
        self, rows: np.ndarray | None = None, n: int = 20, *, repeat: bool = False
    ) -> Iterator[pd.DataFrame]:  # fmt: skip
        """The lists of these users (rows; None: of all), block by block, as tables with COLUMNS; scores are the
        method's own, comparable within a list."""
        if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
            raise DataError(f"n 是列表的长度，应是不小于 1 的整数，得到 {n!r}。")
        rows = np.arange(self.split.n_users) if rows is None else rows
        known = np.ones(len(rows), dtype=bool)
        if not self.model.new_users:
            known = np.diff(self.split.train_matrix.indptr)[rows] > 0
        for part, model in ((rows[known], self.model), (rows[~known], self._popular)):
            reasons = self._reasons if model is self.model else Reasons(model, self.split)
            if len(part):
                for users, items, scores in recommend_in_blocks(model, self.split, n, part, repeat=repeat):
                    yield self._table(users, items, scores, reasons(users, items))

    def _table(self, users: np.ndarray, items: np.ndarray, scores: np.ndarray, reasons: np.ndarray) -> pd.DataFrame:
        row, column = np.nonzero(items >= 0)
        values = (
            self.user_ids[users[row]], column + 1, self.item_ids[items[row, column]], scores[row, column],
            reasons[row, column],
        )  # fmt: skip
        return pd.DataFrame(dict(zip(COLUMNS, values)))

    def _titled(self, table: pd.DataFrame) -> pd.DataFrame:
        titles = self.split.dataset.items["title"].to_numpy()
        table.insert(3, "title", [titles[self._items[item]] for item in table["item"]])
        return table.drop(columns="user").reset_index(drop=True)


def rows_of(ids: Sequence[str], rows: dict[str, int], what: str) -> np.ndarray:
    """Row numbers of these ids. Raises DataError, naming the first few, for ids that are no texts or not there."""
    wrong = next((i for i in ids if not isinstance(i, str)), None)
    if wrong is not None:
        raise DataError(f"{what}编号是文字，得到 {type(wrong).__name__} 的 {wrong!r}：请写成 {str(wrong)!r}。")
    if lost := [i for i in ids if i not in rows]:
        named, like = "、".join(lost[:SHOWN]), "、".join(list(rows)[:SHOWN])
        many = f"等 {len(lost)} 个" if len(lost) > SHOWN else ""
        raise DataError(f"数据里没有{what} {named}{many}：请检查编号，数据里的编号像 {like} 这样。")
    return np.array([rows[i] for i in ids], dtype=np.int64)
