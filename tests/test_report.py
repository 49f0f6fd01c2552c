"""Profiles run on any dataset under the contract and on any split."""

import pytest

from textrec_utils.datasets import load_dataset
from textrec_utils.finetuning import TwoTowerConfig
from textrec_utils.report import COLLABORATIVE, NAMES, PROFILES, TEXT_METHODS, run_profile
from textrec_utils.splits import make_split

SMALL = TwoTowerConfig(steps=3, users=16, hidden=16, dim=8, max_length=16)


@pytest.mark.parametrize("protocol", ["leave_last_out", "cold_items", "random"])
def test_full_profile_on_own_data(own_folder, protocol):
    split = make_split(load_dataset(own_folder), protocol)
    results = list(run_profile(split, "full", ["recall@5", "ndcg@5"], two_tower=SMALL, progress=False))
    assert [r.method for r in results] == [NAMES[m] for m in PROFILES["full"]]
    for result in results:
        assert len(result.users) == len(split.test_users) and result.users.notna().all(axis=None)
        assert result.cost.seconds > 0


def test_profiles_are_known():
    assert set(PROFILES["quick"]) <= set(PROFILES["full"]) == set(NAMES)
    assert set(TEXT_METHODS) | set(COLLABORATIVE) | {"random", "popularity"} == set(NAMES)
    with pytest.raises(ValueError, match="没有方案"):
        next(run_profile(None, "huge", []))
