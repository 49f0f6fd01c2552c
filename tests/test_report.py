"""Profiles run on any dataset under the contract and on any split."""

from unittest import mock

import pytest

from textrec_utils.datasets import load_dataset
from textrec_utils.finetuning import TwoTowerConfig
from textrec_utils.report import COLLABORATIVE, NAMES, PROFILES, TEXT_METHODS, TUNED, run_profile, tune_baselines
from textrec_utils.splits import make_split

SMALL = TwoTowerConfig(steps=3, users=16, hidden=16, dim=8, max_length=16)


@pytest.mark.parametrize("protocol", ["leave_last_out", "cold_items", "random"])
def test_full_profile_on_own_data(own_folder, protocol):
    split = make_split(load_dataset(own_folder), protocol)
    tuned = tune_baselines(split, "full", "recall@5", budget=2)
    assert {name: len(found.table) for name, found in tuned.items()} == dict.fromkeys(TUNED, 2)
    results = list(run_profile(split, "full", ["recall@5", "ndcg@5"], two_tower=SMALL, tuned=tuned, progress=False))
    assert [r.method for r in results] == [NAMES[m] for m in PROFILES["full"]]
    for result in results:
        assert len(result.users) == len(split.test_users) and result.users.notna().all(axis=None)
        assert result.cost.seconds > 0


def test_hybrid_takes_what_validation_prefers(own_folder):
    """With nothing to choose from but the tower (share 1) or the baseline (share 0), the hybrid is one of the two."""
    split = make_split(load_dataset(own_folder), "leave_last_out")
    tuned = tune_baselines(split, "quick", "recall@5", budget=1)
    for method in tuned:
        assert tuned[method].table.shape[0] == 1 and tuned[method].metric == "recall@5"
    with mock.patch("textrec_utils.report.SHARES", [0.0]):
        made = {r.method: r for r in run_profile(split, "full", ["recall@5"], two_tower=SMALL, tuned=tuned, progress=False)}
    alone = {NAMES[name]: made[NAMES[name]].ranked for name in tuned}
    assert any((made[NAMES["hybrid"]].ranked == ranked).all() for ranked in alone.values())
    plain = [r.method for r in run_profile(split, "quick", ["recall@5"], two_tower=SMALL, progress=False)]
    assert NAMES["hybrid"] not in plain


def test_profiles_are_known():
    assert set(PROFILES["quick"]) <= set(PROFILES["full"]) == set(NAMES)
    assert set(TEXT_METHODS) | set(COLLABORATIVE) | {"random", "popularity", "hybrid"} == set(NAMES)
    assert set(TUNED) < set(COLLABORATIVE)
    with pytest.raises(ValueError, match="没有方案"):
        next(run_profile(None, "huge", []))
