"""Tuning: the same budget for all, the best on validation chosen, the test never looked at."""

import numpy as np
import pytest

from textrec_utils.baselines import EASE, HistoryMean, ItemKNN
from textrec_utils.evaluation import evaluate
from textrec_utils.tuning import GRIDS, settings_of, tune


def test_budget_is_kept_and_seeded():
    grid = {"a": [1, 2, 3, 4], "b": ["x", "y", "z"]}
    assert len(settings_of(grid, 100)) == 12 and settings_of({"a": [1]}, 5) == [{"a": 1}]
    some = settings_of(grid, 5, seed=1)
    assert some == settings_of(grid, 5, seed=1) and len(some) == 5
    assert len({tuple(s.items()) for s in some}) == 5 and some != settings_of(grid, 5, seed=2)


def test_every_grid_builds():
    for build, grid in GRIDS.values():
        for setting in settings_of(grid, 3):
            assert build(**setting).settings().items() >= setting.items()


def test_best_on_validation_is_chosen(leave_last_out):
    grid = {"regularization": [1.0, 100.0, 1e6]}
    tuned = tune(EASE, grid, leave_last_out, "ndcg@10", budget=3)
    inner = leave_last_out.inner()
    values = {v: evaluate(EASE(v), inner, ["ndcg@10"]).mean("ndcg@10") for v in grid["regularization"]}
    assert tuned.best == {"regularization": max(values, key=values.get)}
    assert tuned.table.iloc[0, -1] == pytest.approx(max(values.values())) and len(tuned.table) == 3


def test_the_test_part_has_no_say(leave_last_out):
    """Whatever stands in the test, the choice is the same."""
    from dataclasses import replace

    test = leave_last_out.test.assign(item=np.roll(leave_last_out.test["item"].to_numpy(), 1))
    other = replace(leave_last_out, test=test)
    grid = {"neighbours": [10, 100], "shrink": [0.0, 50.0]}
    first, second = (tune(ItemKNN, grid, s, budget=4) for s in (leave_last_out, other))
    assert first.best == second.best and first.table.equals(second.table)


def test_anything_with_settings_is_tuned(leave_last_out):
    vectors = np.random.default_rng(0).normal(size=(leave_last_out.n_items, 8)).astype(np.float32)
    grid = {"half_life": [1.0, 5.0]}
    tuned = tune(lambda half_life: HistoryMean(vectors, "x", half_life=half_life), grid, leave_last_out)
    assert tuned.table["half_life"].sort_values().tolist() == grid["half_life"]
    assert tuned.best == {"half_life": tuned.table["half_life"].iloc[0]}
