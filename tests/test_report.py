"""Profiles run on any dataset under the contract and on any split; the report says what the numbers allow."""

import re
from dataclasses import replace
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest

from textrec_utils.baselines import Popularity, Random
from textrec_utils.cache import Cost
from textrec_utils.datasets import DataError, load_dataset
from textrec_utils.evaluation import FEW_USERS, Result, evaluate
from textrec_utils.finetuning import TwoTowerConfig, train_two_tower
from textrec_utils.report import (
    COLLABORATIVE,
    NAMES,
    PROFILES,
    TEXT_METHODS,
    TUNED,
    open_split,
    run_profile,
    speed_words,
    tie_words,
    tune_baselines,
)
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


def test_hybrid_takes_the_tower_that_reads_both(own_folder):
    split = make_split(load_dataset(own_folder), "leave_last_out")
    tuned = tune_baselines(split, "quick", "recall@5", budget=1)
    with mock.patch("textrec_utils.report.SHARES", [1.0]):
        made = {r.method: r for r in run_profile(split, "full", ["recall@5"], two_tower=SMALL, tuned=tuned, progress=False)}
    assert (made[NAMES["hybrid"]].ranked == made[NAMES["two_tower_both"]].ranked).all()
    assert (made[NAMES["hybrid"]].ranked != made[NAMES["two_tower"]].ranked).any()


def only_users(folder, count: int):
    """Leave the first `count` users of a folder's interactions."""
    table = pd.read_csv(folder / "interactions.csv")
    table[table["user_id"].isin([f"u{n}" for n in range(count)])].to_csv(folder / "interactions.csv", index=False)
    return folder


def test_open_split_chooses_and_refuses_one_user(own_folder):
    data = load_dataset(own_folder)
    assert open_split(data).protocol == "leave_last_out" and open_split(data, "random").protocol == "random"
    strict = open_split(data, min_value=5.0)
    assert (strict.train["value"] >= 5).all() and len(strict.train) < len(open_split(data, min_value=3.0).train)
    table = pd.read_csv(own_folder / "interactions.csv").drop(columns="timestamp")
    table.to_csv(own_folder / "interactions.csv", index=False)
    assert open_split(load_dataset(own_folder)).protocol == "random"
    with pytest.raises(DataError, match="只有 1 位能评测的用户.*第 00 章"):
        open_split(load_dataset(only_users(own_folder, 1)), "random")


def test_ties_on_new_items_are_told_as_they_are(own_folder):
    """One fixed list for everybody: it may score above or below chance, and the sentence says which it did."""
    split = make_split(load_dataset(own_folder), "cold_items")
    results = list(run_profile(split, "quick", ["recall@1"], two_tower=SMALL, progress=False))
    by_name = {r.method: r for r in results}
    popular, chance = by_name["热门"], by_name["随机"]
    assert len(np.unique(popular.ranked, axis=0)) == 1
    for high, word in ((1.0, "高一些"), (0.0, "低一些")):
        popular.users["recall@1"], chance.users["recall@1"] = high, 0.5
        said = tie_words(results, "recall@1")
        assert said.startswith("热门、ItemKNN、EASE给") and word in said and f"{high:.4f}" in said and "0.5000" in said
    warm = make_split(load_dataset(own_folder), "leave_last_out")
    assert tie_words([evaluate(m, warm, ["recall@5"]) for m in (Popularity(), Random(0))], "recall@5") == ""


@pytest.mark.parametrize(
    "text, other, said",
    [
        (0.4, 0.01, "快慢相差不到1秒"),
        (80.0, 0.4, "文本方法多用80秒"),
        (0.4, 9.0, "文本方法少用9秒"),
        (30.0, 2.0, "文本方法用了约15倍的时间"),
        (3.0, 6.0, "文本方法用了约0.5倍的时间"),
        (5.0, 6.2, "两者用时差不多"),
    ],
)
def test_speed_words_give_a_ratio_only_where_it_says_something(text, other, said):
    assert speed_words(Cost(text), Cost(other)) == said


def read_report(**parameters) -> str:
    """Run the report's code cells in this process, with towers of a few steps; what a reader sees, in reading order."""
    shown = []

    def display(*objects, display_id=None):
        shown.extend(objects)
        place = len(shown) - 1
        return mock.Mock(update=lambda what: shown.__setitem__(place, what))

    def tower(split, config, *arguments, **options):
        small = {name: getattr(SMALL, name) for name in ("steps", "users", "hidden", "dim", "max_length")}
        return train_two_tower(split, replace(config, **small), *arguments, **options)

    cells = nbformat.read(Path(__file__).parent.parent / "notebooks" / "report.ipynb", as_version=4).cells
    names: dict = {}
    with mock.patch("IPython.display.display", display), mock.patch("matplotlib.pyplot.show"), mock.patch("textrec_utils.report.train_two_tower", tower):
        for cell in cells:
            if cell.cell_type == "code":
                exec(cell.source, names)
                if "parameters" in cell.metadata.get("tags", []):
                    names |= parameters
            else:
                shown.append(cell.source)
    plt.close("all")
    return "\n".join(str(getattr(what, "data", what)) for what in shown)


def test_a_quick_report_does_not_speak_of_the_hybrid(own_folder):
    said = read_report(dataset=str(own_folder), profile="quick", k=3, budget=1)
    assert "**谁赢**" in said and "**文本值不值**" in said and "融合" not in said
    assert not re.search(r"metrics_csv|run_profile", said)
    assert re.search(r"最好的非文本方法是(?!随机)", said)


def test_a_full_report_explains_the_hybrid(own_folder):
    said = read_report(dataset=str(own_folder), k=3, budget=1)
    assert "表里的“融合”把双塔合读和验证集上最好的协同方法" in said and "**合起来**" in said
    without = read_report(dataset=str(own_folder), k=3, budget=0)
    assert "所以这一份里没有融合" in without and "**合起来**" not in without


def test_a_report_on_few_users_names_no_winner(own_folder):
    said = read_report(dataset=str(only_users(own_folder, FEW_USERS - 1)), profile="quick", k=3, budget=1)
    assert re.search(rf"## 结论先行\n- \*\*没有结论\*\*：能评测的用户只有{FEW_USERS - 1}位", said)
    assert not re.search(r"谁赢|文本值不值|最好的文本方法是|分不出高下（|显著领先|显著落后", said)
    assert "以双塔合读（微调）代表文本方法，以EASE代表协同方法" in said
    with pytest.raises(DataError, match="只有 1 位"):
        read_report(dataset=str(only_users(own_folder, 1)), profile="quick")


def test_where_tfidf_is_best_its_rival_is_explained(own_folder):
    def best_is_tfidf(name, metric, real=Result.mean):
        return 1.0 if name.method == NAMES["tfidf_char"] else real(name, metric)

    with mock.patch("textrec_utils.evaluation.Result.mean", best_is_tfidf):
        said = read_report(dataset=str(own_folder), profile="quick", k=3, budget=1)
    assert "最好的文本方法就是TF-IDF（字），没法和自己比；表里换成第二好的" in said


def test_profiles_are_known():
    assert set(PROFILES["quick"]) <= set(PROFILES["full"]) == set(NAMES)
    assert set(TEXT_METHODS) | set(COLLABORATIVE) | {"random", "popularity", "hybrid"} == set(NAMES)
    assert set(TUNED) < set(COLLABORATIVE)
    with pytest.raises(ValueError, match="没有方案"):
        next(run_profile(None, "huge", []))
