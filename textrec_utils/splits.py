"""Train and test, and how each way to part them leaks.

Every split works on positives (`Dataset.positives`), loses none of them (but for users that a rule
leaves out, which the notes count) and shares none between train and test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from textrec_utils.core.errors import DataError, TooLittleData
from textrec_utils.core.files import sha256_of
from textrec_utils.datasets.dataset import TIMED, Dataset

PROTOCOLS = ("leave_last_out", "temporal", "cold_items", "random")  # made by us
GIVEN = "given"  # made by whoever gave the data


@dataclass(frozen=True)
class Split:
    """Positives as row numbers of `dataset.users` and `dataset.items`.

    train, test: columns user, item, timestamp, value. `test` holds only users with a training
        history; items are any of the catalogue.
    new_users: test positives of users without any training history (same columns); they can be
        served from their profile text alone, so they are kept apart.
    candidates: (items,) bool, what may be recommended. cold: (items,) bool, no training positive.
    leaks: what this protocol lets a model know that it could not know in life.
    """

    dataset: Dataset
    protocol: str
    train: pd.DataFrame
    test: pd.DataFrame
    new_users: pd.DataFrame
    leaks: str
    candidates: np.ndarray
    notes: tuple[str, ...] = field(default=())
    seed: int = 0
    options: dict[str, object] = field(default_factory=dict)

    @property
    def n_users(self) -> int:
        return len(self.dataset.users)

    @property
    def n_items(self) -> int:
        return len(self.dataset.items)

    def matrix(self, pairs: pd.DataFrame) -> sparse.csr_matrix:
        """(users, items) float32, 1 for each row of `pairs` (columns user, item: row numbers)."""
        ones = np.ones(len(pairs), dtype=np.float32)
        return sparse.csr_matrix((ones, (pairs["user"], pairs["item"])), shape=(self.n_users, self.n_items))

    @cached_property
    def train_matrix(self) -> sparse.csr_matrix:
        """(users, items) float32, 1 where the user liked the item in training."""
        return self.matrix(self.train)

    @cached_property
    def test_matrix(self) -> sparse.csr_matrix:
        """(users, items) float32, 1 where the user likes the item in the test."""
        return self.matrix(self.test)

    @cached_property
    def test_users(self) -> np.ndarray:
        """Row numbers of the users with at least one test positive, ascending."""
        return np.unique(self.test["user"].to_numpy())

    @cached_property
    def cold(self) -> np.ndarray:
        return self.likes == 0

    @cached_property
    def likes(self) -> np.ndarray:
        """(items,) float32, training positives of each item."""
        return np.asarray(self.train_matrix.sum(axis=0)).ravel()

    @cached_property
    def histories(self) -> list[np.ndarray]:
        """Each user's training items, oldest first."""
        ordered = self.train.sort_values(["user", "timestamp", "item"], kind="stable")
        ends = np.searchsorted(ordered["user"], np.arange(self.n_users + 1))
        items = ordered["item"].to_numpy()
        return [items[a:b] for a, b in zip(ends[:-1], ends[1:])]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that a model may learn from or be judged by: part of the key of every kept result."""
        tables = [t[["user", "item", "timestamp", "value"]] for t in (self.train, self.test, self.new_users)]
        rows = [sha256_of(t.to_numpy("<f8").tobytes()) for t in tables] + [sha256_of(self.candidates.tobytes())]
        made = [self.dataset.checksum(), *rows, self.protocol, self.seed, self.options]
        return sha256_of(json.dumps(made, sort_keys=True, default=float).encode())

    def among_all(self) -> "Split":
        """The same with every item a candidate: new items stand among all others, as users see them."""
        return replace(self, candidates=np.ones(self.n_items, dtype=bool))

    def everything(self) -> "Split":
        """All positives as training, nobody left to judge by: what a method learns from before it serves.

        Those of users that `min_history` has left out are not in it. Every item is a candidate; where the split has
        `fresh_days`, those published at most so long before the last positive, or after it.
        """
        every = pd.concat([self.train, self.test, self.new_users]).sort_values("timestamp", kind="stable")
        candidates = np.ones(self.n_items, dtype=bool)
        if "fresh_days" in self.options:
            oldest = every["timestamp"].max() - self.options["fresh_days"] * 86400
            candidates = (self.dataset.items["published"] >= oldest).to_numpy()
        nothing = self.test.iloc[:0].reset_index(drop=True)
        leaks, every = "没有测试：全部交互都用来训练", every.reset_index(drop=True)
        return replace(
            self, train=every, test=nothing, new_users=nothing, candidates=candidates, leaks=leaks, notes=()
        )  # fmt: skip

    def inner(self) -> "Split":
        """The same protocol once more on the training part: for tuning, without a look at the test."""
        return self._inner(1)

    def _inner(self, n: int) -> "Split":
        inner = _PARTS[self.protocol](self.dataset, self.train, seed=self.seed + n, **self.options)
        return replace(inner, options=self.options)

    def inners(self, count: int) -> list["Split"]:
        """Up to `count` inner splits, `inner()` first: what one of them likes by chance another may not.

        Protocols that draw, draw anew; those by time go on inwards, each time on what the last one trained on, as far
        as the data reach. Of a given split its own validation, where it has one, is the only one.
        """
        found = [self.inner()]
        if found[0].protocol == GIVEN:
            return found
        if found[0].protocol not in TIMED:
            return found + [self._inner(n) for n in range(2, count + 1)]
        while len(found) < count:
            try:
                found.append(found[-1].inner())
            except TooLittleData:
                break
        return found

    def describe(self) -> dict[str, object]:
        """What a table should say of its split."""
        return {
            "protocol": self.protocol, "train": len(self.train), "test": len(self.test),
            "test_users": len(self.test_users), "candidates": int(self.candidates.sum()), "leaks": self.leaks,
        }  # fmt: skip


def make_split(
    dataset: Dataset, protocol: str = "leave_last_out", *, min_value: float | None = None,
    at: int | str | None = None, fraction: float = 0.2, seed: int = 0, fresh_days: float | None = None,
    min_history: int = 1,
) -> Split:  # fmt: skip
    """Part the positives of a dataset.

    protocol:
        leave_last_out: each user's last positive is the test. Leaks across users: a training
            positive of one user may be younger than the test positive of another.
        temporal: one global moment `at` (UTC seconds or a date; default: 80% of the positives lie
            before). Does not leak; items that appear later are cold.
        cold_items: a seeded `fraction` of the items lose all their positives, which become the test.
            Leaks time like a random split does.
        random: a seeded `fraction` of the positives is the test. Leaks the future.
        given: as the data came, by `part` of the interactions: the highest number is the test, the next the validation
            on which settings are chosen, 0 what is left to learn from; where a single number is left, leave_last_out
            (random without times). Leaks what its maker let it leak.
    fresh_days (temporal only): what lives for days, such as news, is worth recommending for days. Candidates
        are the items published at most so many days before the moment, or after it. Test positives on older
        items stay in the count and can't be found, by any method, so that users and denominators are those of
        the table without this rule; the notes say how many.
    min_history: test users have at least so many training positives; the others are left out and counted.
    min_value: the least value of a liking; None is the dataset's own, 0.0 is zero.
    Raises DataError where the dataset has no timestamps (or, for fresh_days, no `published`) but the protocol
    needs them; TooLittleData where nobody is left to judge by, or nothing to recommend.
    """
    if protocol not in (*PROTOCOLS, GIVEN):
        raise DataError(f"没有划分方式 {protocol}：可用的有 {'、'.join((*PROTOCOLS, GIVEN))}。")
    if protocol in TIMED and not dataset.has_time:
        raise DataError(f"数据集 {dataset.name} 没有时间戳，不能用 {protocol}；请改用 random 或 cold_items。")
    if protocol == GIVEN and "part" not in dataset.interactions:
        raise DataError(f"数据集 {dataset.name} 没有给定的划分，不能用 given；请改用 {'、'.join(PROTOCOLS)} 之一。")
    if not 0 < fraction < 1:
        raise DataError(f"fraction 应在 0 和 1 之间，得到 {fraction:g}。")
    options: dict[str, object] = {"min_history": min_history} if min_history > 1 else {}
    if fraction != 0.2:
        options["fraction"] = fraction
    if fresh_days is not None:
        if protocol != "temporal":
            raise DataError(f"fresh_days 只用于 temporal 划分，得到 {protocol}。")
        if "published" not in dataset.items.columns:
            raise DataError(f"数据集 {dataset.name} 的物品没有 published（发布时间）一列，不能按新鲜程度选候选。")
        options["fresh_days"] = fresh_days
    positives = dataset.positives(min_value)
    if positives.empty:
        raise DataError(f"数据集 {dataset.name} 里没有一条达到阈值的交互，请调低 min_value。")
    users = pd.Series(np.arange(len(dataset.users)), index=dataset.users["user_id"])
    items = pd.Series(np.arange(len(dataset.items)), index=dataset.items["item_id"])
    pairs = pd.DataFrame({
        "user": users.loc[positives["user_id"]].to_numpy(), "item": items.loc[positives["item_id"]].to_numpy(),
        "timestamp": positives["timestamp"].to_numpy(), "value": positives["value"].to_numpy(),
    })  # fmt: skip
    if protocol == GIVEN:
        pairs["part"] = positives["part"].to_numpy()
        if pairs["part"].nunique() < 2 or pairs["part"].max() < dataset.interactions["part"].max():
            raise TooLittleData(
                f"{dataset.name} 给定的训练或测试里没有一条喜欢的交互，请换一种划分，或调低 min_value。"
            )
    return replace(_PARTS[protocol](dataset, pairs, at=at, seed=seed, **options), options=options)


def _build(dataset, pairs, is_test, protocol, leaks, seed, candidates=None, min_history=1) -> Split:
    train = pairs[~is_test].reset_index(drop=True)
    test = pairs[is_test].reset_index(drop=True)
    notes = ()
    if candidates is None:
        candidates = np.ones(len(dataset.items), dtype=bool)
    elif not candidates.any():
        raise TooLittleData(f"{dataset.name} 按 {protocol} 划分后没有一个候选物品：请调大 fresh_days，或换一个时刻。")
    known = test["user"].isin(train["user"])
    if not known.all():
        notes += (f"{int((~known).sum())} 条测试交互的用户没有训练历史，不参加评测",)
    if min_history > 1:
        length = test["user"].map(train["user"].value_counts()).fillna(0)
        few = known & (length < min_history)
        if few.any():
            notes += (f"{test.loc[few, 'user'].nunique()} 个用户的训练历史不到 {min_history} 条，不参加评测",)
        test, known = test[~few].reset_index(drop=True), known[~few].reset_index(drop=True)
    if not known.any():
        need = f"测试用户要有至少 {min_history} 条训练历史，请调小 min_history"
        need = "每个用户至少要有两条喜欢的交互" if min_history == 1 else need
        raise TooLittleData(f"{dataset.name} 按 {protocol} 划分后没有可评测的用户：{need}。")
    judged, new = test[known].reset_index(drop=True), test[~known].reset_index(drop=True)
    stale = ~candidates[judged["item"]]
    if stale.any():
        notes += (f"{int(stale.sum())} 条测试交互落在候选之外的旧物品上，谁也推荐不到，仍算作漏掉",)
    return Split(dataset, protocol, train, judged, new, leaks, candidates, notes, seed)


def _leave_last_out(dataset, pairs, *, at=None, fraction=0.2, seed=0, min_history=1) -> Split:
    # Ties in time are common (people rate several films in one second): the seeded shuffle
    # decides, once, instead of the accident of the item number.
    shuffled = pairs.sample(frac=1, random_state=seed).sort_values(["user", "timestamp"], kind="stable")
    last = ~shuffled.duplicated("user", keep="last")
    several = shuffled["user"].map(shuffled["user"].value_counts()) > 1
    is_test = (last & several).reindex(pairs.index)
    leaks = "跨用户泄漏：别人在测试时刻之后的行为也在训练里"
    return _build(dataset, pairs, is_test, "leave_last_out", leaks, seed, min_history=min_history)


def _temporal(dataset, pairs, *, at=None, fraction=0.2, seed=0, fresh_days=None, min_history=1) -> Split:
    moment = np.quantile(pairs["timestamp"], 1 - fraction) if at is None else _seconds(at)
    is_test = pairs["timestamp"] >= moment
    candidates = None
    if fresh_days is not None:
        candidates = (dataset.items["published"] >= moment - fresh_days * 86400).to_numpy()
    return _build(dataset, pairs, is_test, "temporal", "不泄漏：训练全部早于测试", seed, candidates, min_history)


def _cold_items(dataset, pairs, *, at=None, fraction=0.2, seed=0, min_history=1) -> Split:
    rng = np.random.default_rng(seed)
    liked = np.unique(pairs["item"])
    cold = rng.choice(liked, size=max(1, round(fraction * len(liked))), replace=False)
    is_test = pairs["item"].isin(cold)
    candidates = np.zeros(len(dataset.items), dtype=bool)
    candidates[cold] = True
    leaks = "时间不分先后；只在新物品之间排序"
    return _build(dataset, pairs, is_test, "cold_items", leaks, seed, candidates, min_history)


def _random(dataset, pairs, *, at=None, fraction=0.2, seed=0, min_history=1) -> Split:
    is_test = pd.Series(np.random.default_rng(seed).random(len(pairs)) < fraction, index=pairs.index)
    return _build(dataset, pairs, is_test, "random", "泄漏未来：用之后的行为预测之前的", seed, min_history=min_history)


def _given(dataset, pairs, *, at=None, fraction=0.2, seed=0, min_history=1) -> Split:
    is_test, times = pairs["part"] == pairs["part"].max(), pairs["timestamp"]
    if is_test.all():  # what was given is used up
        part = _leave_last_out if dataset.has_time else _random
        return part(dataset, pairs, fraction=fraction, seed=seed, min_history=min_history)
    later = int((times[~is_test] > times[is_test].min()).sum())
    leaks = f"训练里有{later:,}条晚于最早的测试" if later else "不泄漏：训练都不晚于测试"
    leaks = leaks if dataset.has_time else "没有时间，看不出训练里有没有测试之后的行为"
    return _build(dataset, pairs, is_test, "given", leaks, seed, min_history=min_history)


def _seconds(at: int | float | str) -> float:
    try:
        return float(at)
    except ValueError:
        pass
    try:
        return (pd.Timestamp(at, tz="UTC") - pd.Timestamp(0, tz="UTC")).total_seconds()
    except ValueError:
        raise DataError(f"划分时刻 {at!r} 读不懂，请给 UTC 秒数或 2014-03-21 06:11 这样的时间。") from None


_PARTS = {
    "leave_last_out": _leave_last_out, "temporal": _temporal, "cold_items": _cold_items, "random": _random,
    "given": _given,
}  # fmt: skip
