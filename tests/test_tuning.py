"""Tuning: the same care for all, the best on validation chosen, the test never looked at."""

from dataclasses import replace

import numpy as np
import pytest

from textrec_utils import tuning
from textrec_utils.baselines import BPR, EASE, HistoryMean, ItemKNN
from textrec_utils.core import Cost
from textrec_utils.core.store import Cached
from textrec_utils.evaluation import evaluate
from textrec_utils.splits import make_split
from textrec_utils.tuning import GRIDS, HALF_LIVES, settings_of, tune, tune_all, tune_fading, tune_one


def test_budget_is_kept_and_seeded():
    grid = {"a": [1, 2, 3, 4], "b": ["x", "y", "z"]}
    assert len(settings_of(grid, 100)) == 12 and settings_of({"a": [1]}, 5) == [{"a": 1}]
    some = settings_of(grid, 5, seed=1)
    assert some == settings_of(grid, 5, seed=1) and len(some) == 5
    assert len({tuple(s.items()) for s in some}) == 5 and some != settings_of(grid, 5, seed=2)


@pytest.mark.parametrize("key", GRIDS)
def test_every_grid_builds_and_holds_the_defaults(key):
    build, grid = GRIDS[key]
    for setting in settings_of(grid, 3):
        assert build(**setting).settings().items() >= setting.items()
    own = build().settings()
    assert all(own[name] in values for name, values in grid.items())
    assert all(sorted(values) == values for values in grid.values())  # else no end of a list would be its edge


def test_best_on_validation_is_chosen(leave_last_out):
    grid = {"regularization": [1.0, 100.0, 1e6]}
    tuned = tune(EASE, grid, leave_last_out, "ndcg@10", budget=3)
    inners = leave_last_out.inners(3)
    values = {v: [evaluate(EASE(v), s, ["ndcg@10"]).mean("ndcg@10") for s in inners] for v in grid["regularization"]}
    best = max(values, key=lambda v: np.mean(values[v]))
    assert tuned.best == {"regularization": best} and best == 100.0 and tuned.edge == ()
    assert tuned.table.iloc[0, -1] == pytest.approx(np.mean(values[best])) and len(tuned.table) == 3
    assert tuned.table.loc[0, ["#0", "#1", "#2"]].tolist() == pytest.approx(values[best]) and tuned.cost.seconds > 0


def test_an_edge_widens_the_grid(leave_last_out):
    tuned = tune(EASE, {"regularization": [1.0, 4.0, 16.0]}, leave_last_out, validations=1)
    assert tuned.table["regularization"].max() > 200 and tuned.best["regularization"] > 60
    tried = sorted(tuned.table["regularization"])
    assert tried[:5] == [1.0, 4.0, 16.0, 64.0, 256.0] and len(tried) <= 6
    low = tune(ItemKNN, {"neighbours": [200, 400], "shrink": [0.0, 10.0]}, leave_last_out, validations=1)
    assert low.table["neighbours"].min() <= 100 and low.table["shrink"].min() == 0  # 0 has nothing below it
    assert low.table["neighbours"].map(type).eq(int).all() or low.table["neighbours"].dtype.kind == "i"


def test_what_is_still_at_an_edge_is_told(leave_last_out):
    tuned = tune(EASE, {"regularization": [1.0, 5.0]}, leave_last_out, validations=1, widen=0)
    assert tuned.best == {"regularization": 5.0} and tuned.edge == ("regularization",)


def test_quick_methods_are_searched_whole_and_defaults_always_tried(leave_last_out, monkeypatch):
    seen = []

    def judged(model, split, metrics):
        seen.append(model.settings())
        return evaluate(HistoryMean(np.eye(split.n_items, 3), "x"), split, metrics)

    monkeypatch.setattr(tuning, "evaluate", judged)
    monkeypatch.setattr(tuning, "cached_arrays", lambda kind, depends, compute, **how: Cached(compute(), Cost()))
    tune(*GRIDS["itemknn"], leave_last_out, budget=2, validations=1)
    assert len(seen) >= 18
    seen.clear()
    tune(*GRIDS["bpr"], leave_last_out, budget=2, validations=1)
    own = BPR().settings()
    assert len(seen) < 9 and any(all(s[name] == own[name] for name in GRIDS["bpr"][1]) for s in seen)
    seen.clear()
    monkeypatch.setattr(tuning, "_small", lambda split: False)
    tune(*GRIDS["itemknn"], leave_last_out, budget=2, validations=1)
    assert len(seen) < 9


def test_the_test_part_has_no_say(leave_last_out):
    """Whatever stands in the test, the choice is the same."""
    test = leave_last_out.test.assign(item=np.roll(leave_last_out.test["item"].to_numpy(), 1))
    other = replace(leave_last_out, test=test)
    grid = {"neighbours": [10, 100], "shrink": [0.0, 50.0]}
    first, second = (tune(ItemKNN, grid, s, budget=4) for s in (leave_last_out, other))
    assert first.best == second.best and first.table.equals(second.table)


def test_anything_with_settings_is_tuned(leave_last_out):
    vectors = np.random.default_rng(0).normal(size=(leave_last_out.n_items, 8)).astype(np.float32)
    grid = {"half_life": [None, 5.0]}
    tuned = tune(lambda half_life: HistoryMean(vectors, "x", half_life=half_life), grid, leave_last_out)
    assert len(tuned.table) == 2 and tuned.best["half_life"] in grid["half_life"]


def test_side_by_side_gives_the_same_and_a_choice_is_kept(leave_last_out, monkeypatch):
    keys, how = ("itemknn", "ease"), {"budget": 1, "validations": 1}
    monkeypatch.setattr(tuning, "QUICK", ())
    here = tune_all(keys, leave_last_out, jobs=1, **how)  # two settings each, and what lies beyond
    monkeypatch.setattr(tuning, "evaluate", None)
    again = tune_all(keys, leave_last_out, jobs=1, **how)
    monkeypatch.undo()
    for key in keys:
        assert again[key].best == here[key].best and again[key].table.equals(here[key].table)
    there = tune_all(keys, leave_last_out, jobs=2, budget=3, validations=1)
    assert list(there) == list(keys)
    assert there["ease"].best == tune(*GRIDS["ease"], leave_last_out, budget=3, validations=1).best


@pytest.mark.parametrize("protocol", ["leave_last_out", "temporal", "cold_items", "random"])
def test_inner_splits_are_several_and_never_reach_the_test(movielens, protocol):
    split = make_split(movielens, protocol)
    inners = split.inners(3)
    assert len(inners) == 3 and inners[0].fingerprint == split.inner().fingerprint
    assert len({part.fingerprint for part in inners}) == 3
    known = set(zip(split.train["user"], split.train["item"]))
    for part in inners:
        assert (
            set(zip(part.train["user"], part.train["item"])) | set(zip(part.test["user"], part.test["item"])) <= known
        )


def test_the_half_life_is_chosen_at_the_best_setting(leave_last_out):
    before = tune(ItemKNN, {"neighbours": [20, 50]}, leave_last_out, validations=2)
    found = tune_fading(ItemKNN, before, leave_last_out, validations=2)
    inners = leave_last_out.inners(2)
    at = {
        h: np.mean([evaluate(ItemKNN(**before.best, half_life=h), s, ["ndcg@10"]).mean("ndcg@10") for s in inners])
        for h in HALF_LIVES
    }
    assert found.best == before.best | {"half_life": max(at, key=at.get)}
    assert found.table.iloc[0, -1] == pytest.approx(max(at.values()))
    assert len(found.table) == len(before.table) + len(HALF_LIVES) - 1  # even weights were tried before
    assert list(found.table.columns) == ["neighbours", "half_life", "#0", "#1", "验证 ndcg@10"]
    assert found.cost.seconds > before.cost.seconds


def test_only_what_fades_on_data_with_times_gets_a_half_life(leave_last_out):
    options = {"validations": 1, "widen": 0, "budget": 2}
    assert "half_life" in tune_one("itemknn", leave_last_out, fading=True, **options).best
    assert "half_life" not in tune_one("itemknn", leave_last_out, **options).best
    assert "half_life" not in tune_one("userknn", leave_last_out, fading=True, **options).best
    timeless = replace(
        leave_last_out, dataset=replace(leave_last_out.dataset, has_time=False, default_protocol="random")
    )
    assert "half_life" not in tune_one("itemknn", timeless, fading=True, **options).best
