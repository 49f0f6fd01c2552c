"""Splits lose nothing, share nothing, and leak only what they say."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textrec_utils.core.errors import TooLittleData
from textrec_utils.datasets import DataError, Dataset, load_dataset
from textrec_utils.splits import GIVEN, PROTOCOLS, make_split


def small(rows, has_time=True) -> Dataset:
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).astype(
        {"user_id": str, "item_id": str}
    )
    items = pd.DataFrame({"item_id": sorted(interactions["item_id"].unique())}).assign(title="题", text="文")
    users = pd.DataFrame({"user_id": sorted(interactions["user_id"].unique()), "text": ""})
    return Dataset("small", items, users, interactions.assign(value=1.0), "", "", has_time=has_time)


rows = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 50)), min_size=12, max_size=80)


@settings(max_examples=60, deadline=None)
@given(rows, st.sampled_from([*PROTOCOLS, GIVEN]), st.integers(0, 3))
def test_nothing_lost_nothing_shared(rows, protocol, seed):
    dataset = small(rows)
    dataset = replace(dataset, interactions=dataset.interactions.assign(part=np.arange(len(rows)) % 4 // 2))
    try:
        split = make_split(dataset, protocol, seed=seed)
    except DataError as error:
        assert re.search("没有可评测的用户|给定的训练或测试里没有一条", str(error))
        return
    parts = [set(map(tuple, p[["user", "item"]].to_numpy())) for p in (split.train, split.test, split.new_users)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(dataset.positives())
    assert set(split.test["user"]) <= set(split.train["user"])
    assert not set(split.new_users["user"]) & set(split.train["user"])
    assert sorted(np.concatenate(split.histories)) == sorted(split.train["item"])


def test_leave_last_out_takes_the_last(leave_last_out):
    newest = leave_last_out.train.groupby("user")["timestamp"].max()
    assert (leave_last_out.test.set_index("user")["timestamp"] >= newest.loc[leave_last_out.test["user"]]).all()
    assert leave_last_out.test["user"].is_unique and len(leave_last_out.test) == 942


def test_temporal_has_no_future(movielens):
    split = make_split(movielens, "temporal")
    assert split.train["timestamp"].max() < split.test["timestamp"].min()
    at = make_split(movielens, "temporal", at="1998-01-01")
    assert at.train["timestamp"].max() < pd.Timestamp("1998-01-01").timestamp() <= at.test["timestamp"].min()


def test_cold_items_are_cold(movielens):
    split = make_split(movielens, "cold_items")
    assert split.cold[split.test["item"]].all() and (split.candidates[split.test["item"]]).all()
    assert not split.candidates[split.train["item"]].any()
    liked = movielens.positives()["item_id"].nunique()
    assert split.candidates.sum() == round(0.2 * liked)


def test_inner_split_never_sees_the_test(leave_last_out, movielens):
    for split in (leave_last_out, make_split(movielens, "cold_items")):
        inner = split.inner()
        test = set(map(tuple, split.test[["user", "item"]].to_numpy()))
        used = pd.concat([inner.train, inner.test, inner.new_users])
        assert not test & set(map(tuple, used[["user", "item"]].to_numpy()))
        assert len(used) == len(split.train)


def news(rows, published):
    dataset = small(rows)
    items = dataset.items.copy()
    items["published"] = [published.get(int(i), 0) for i in items["item_id"].str.extract(r"(\d+)")[0]]
    return replace(dataset, items=items)


def test_fresh_candidates_and_short_histories():
    day = 86400
    rows = [(0, 0, 1 * day), (0, 1, 2 * day), (0, 2, 9 * day), (0, 3, 9 * day), (1, 0, 3 * day), (1, 3, 9 * day)]
    dataset = news(rows, {0: day, 1: 2 * day, 2: 2 * day, 3: 9 * day - 100})
    split = make_split(dataset, "temporal", at=8 * day)
    fresh = make_split(dataset, "temporal", at=8 * day, fresh_days=1)
    published = dataset.items["published"].to_numpy()
    assert split.candidates.all() and (fresh.candidates == (published >= 7 * day)).all()
    assert fresh.test.equals(split.test) and any("旧物品" in note for note in fresh.notes)
    steady = make_split(dataset, "temporal", at=8 * day, min_history=2)
    assert len(steady.test_users) == 1 and len(split.test_users) == 2
    assert any("1 个用户的训练历史不到 2 条" in note for note in steady.notes)
    with pytest.raises(DataError, match="没有一个候选"):
        make_split(news(rows, {0: day, 1: day, 2: day, 3: day}), "temporal", at=8 * day, fresh_days=1)
    with pytest.raises(DataError, match="调小 min_history"):
        make_split(dataset, "temporal", at=8 * day, min_history=9)
    with pytest.raises(DataError, match="只用于 temporal"):
        make_split(dataset, "random", fresh_days=1)
    with pytest.raises(DataError, match="published"):
        make_split(small(rows), "temporal", fresh_days=1)


def test_inner_split_keeps_the_fraction(movielens):
    split = make_split(movielens, "cold_items", fraction=0.4)
    liked = split.train["item"].nunique()
    assert split.inner().candidates.sum() == round(0.4 * liked) and split.inner().options == {"fraction": 0.4}


def test_inner_split_keeps_the_rules(mirror):
    caixin = load_dataset("caixin")
    split = make_split(caixin, "temporal", at="2014-03-21 06:11", fresh_days=1, min_history=3)
    assert len(split.test_users) == pytest.approx(1579, abs=1) and 700 < split.candidates.sum() < 800
    inner = split.inner()
    assert inner.options == split.options and 0 < inner.candidates.sum() < len(caixin.items)
    assert inner.train["timestamp"].max() < inner.test["timestamp"].min() < split.test["timestamp"].min()


GIVEN = [
    (0, 0, 1, 0), (0, 1, 2, 0), (0, 2, 3, 1), (0, 3, 4, 2), (1, 1, 1, 0), (1, 2, 2, 0), (1, 3, 3, 1), (1, 0, 5, 2),
]  # fmt: skip


def given_parts(rows, has_time=True) -> Dataset:
    """rows: user, item, timestamp, part."""
    dataset = small([row[:3] for row in rows], has_time)
    return replace(dataset, interactions=dataset.interactions.assign(part=[row[3] for row in rows]))


def test_a_given_split_learns_from_what_is_before_and_validates_on_its_own_part():
    split = make_split(given_parts(GIVEN), "given")
    rows = [
        sorted(part[["user", "timestamp"]].itertuples(index=False, name=None)) for part in (split.train, split.test)
    ]
    assert rows == [[(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)], [(0, 4), (1, 5)]]
    (inner,) = split.inners(3)  # the given validation is the only one
    assert inner.protocol == "given" and sorted(inner.test["timestamp"]) == [3, 3] and len(inner.train) == 4
    last = inner.inner()  # nothing is given any more
    assert last.protocol == "leave_last_out" and len(last.train) == len(last.test) == 2
    assert split.leaks == "不泄漏：训练都不晚于测试"


def test_a_given_split_tells_what_it_leaks():
    late = make_split(given_parts([(0, 4, 9, 0), *GIVEN]), "given")
    assert late.leaks == "训练里有1条晚于最早的测试"
    untimed = make_split(given_parts(GIVEN, has_time=False), "given")
    assert "没有时间，看不出" in untimed.leaks and untimed.inner().inner().protocol == "random"


def test_a_given_split_without_a_validation_is_parted_by_time():
    split = make_split(given_parts([(u, i, t, p // 2) for u, i, t, p in GIVEN]), "given")
    assert len(split.train) == 6 and [s.protocol for s in split.inners(2)] == ["leave_last_out"] * 2
    assert len(split.inners(2)[1].train) == 2  # inwards


def test_a_given_split_that_is_none_is_refused():
    with pytest.raises(DataError, match="没有给定的划分，不能用 given；请改用 leave_last_out、"):
        make_split(small([row[:3] for row in GIVEN]), "given")
    whole = given_parts(GIVEN)
    for liked in ([2], [0, 1]):  # nothing to learn from, nothing to judge by
        value = whole.interactions["part"].isin(liked) * 1.0
        with pytest.raises(TooLittleData, match="给定的训练或测试里没有一条喜欢"):
            make_split(replace(whole, interactions=whole.interactions.assign(value=value)), "given")


def test_seeds(movielens):
    a, b, c = (make_split(movielens, "cold_items", seed=s) for s in (0, 0, 1))
    assert a.test.equals(b.test) and not a.test.equals(c.test)


def test_a_fingerprint_tells_all_that_a_result_depends_on(movielens):
    """Change one input, expect another key; change none, expect the same in another object."""
    whole = make_split(movielens, "leave_last_out")
    assert whole.fingerprint == make_split(movielens, "leave_last_out").fingerprint and len(whole.fingerprint) == 64
    turned = whole.train.iloc[::-1].reset_index(drop=True)
    later = whole.train.assign(timestamp=whole.train["timestamp"] + 1)
    fewer = whole.candidates.copy()
    fewer[0] = False
    renamed = replace(movielens, items=movielens.items.assign(text=movielens.items["text"] + "。"))
    others = [
        replace(whole, dataset=renamed), replace(whole, train=turned), replace(whole, train=later),
        replace(whole, train=whole.train.assign(value=1.0)), replace(whole, test=whole.test.iloc[1:]),
        replace(whole, new_users=whole.test.iloc[:1]), replace(whole, candidates=fewer),
        replace(whole, protocol="random"), replace(whole, seed=1), replace(whole, options={"min_history": 2}),
    ]  # fmt: skip
    assert len({split.fingerprint for split in [whole, whole.inner(), *others]}) == 12


def test_too_little_is_told_from_wrong(movielens):
    """What stands sound but too few lets other methods go on; a wrong parameter does not."""
    one_each = small([(u, u, 1) for u in range(4)])
    with pytest.raises(TooLittleData, match="没有可评测的用户：每个用户至少要有两条"):
        make_split(one_each, "leave_last_out")
    with pytest.raises(TooLittleData, match="调小 min_history"):
        make_split(movielens, "leave_last_out", min_history=10_000)
    for wrong in ({"protocol": "by_moon"}, {"min_value": 6}, {"fraction": 0.0}, {"fraction": 2}, {"fresh_days": 1}):
        with pytest.raises(DataError) as error:
            make_split(movielens, **{"protocol": "cold_items", **wrong})
        assert not isinstance(error.value, TooLittleData)


def test_refusals(own_folder, movielens):
    with pytest.raises(DataError, match="没有划分方式"):
        make_split(movielens, "by_moon")
    with pytest.raises(DataError, match="min_value"):
        make_split(movielens, "random", min_value=6)
    with pytest.raises(DataError, match="读不懂"):
        make_split(movielens, "temporal", at="明天")
    untimed = small([(0, 0, 0), (0, 1, 0), (1, 0, 0)], has_time=False)
    with pytest.raises(DataError, match="没有时间戳"):
        make_split(untimed, "leave_last_out")
    one_each = small([(u, u, 1) for u in range(4)])
    with pytest.raises(DataError, match="没有可评测的用户"):
        make_split(one_each, "leave_last_out")


def test_one_user(own_folder):
    table = pd.read_csv(own_folder / "interactions.csv")
    table[table["user_id"] == "u0"].to_csv(own_folder / "interactions.csv", index=False)
    split = make_split(load_dataset(own_folder), "leave_last_out", min_value=1)
    assert len(split.test_users) == 1
