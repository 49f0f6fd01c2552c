"""The report's text method that the data's own validation chooses."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.small_report import SMALL, made
from textrec_utils.baselines import Popularity, TextPopularity
from textrec_utils.core import TooLittleData
from textrec_utils.evaluation import evaluate
from textrec_utils.finetuning import TwoTowerConfig
from textrec_utils.report import METHODS, Workshop, own_tower
from textrec_utils.report.advice import learned
from textrec_utils.report.claims import gather
from textrec_utils.report.own_tower import PLAIN, VECTORS, OwnTower, effort, highest, simplest, standard_error
from textrec_utils.report.verdict import in_words
from textrec_utils.splits import make_split

METRIC = "ndcg@5"


def parts(*means, users=200, noise=0.1, seed=0):
    """Each user's value on as many inner splits as there are means."""
    rng = np.random.default_rng(seed)
    return [mean + noise * rng.standard_normal(users) for mean in means]


@pytest.mark.parametrize(
    ("means", "noise", "chosen"),
    [
        ([(0.3,), (0.5,), (0.4,)], 0.1, 1),  # far below: the best
        ([(0.499,), (0.5,), (0.4,)], 0.1, 0),  # as good within the noise: the simplest
        ([(0.499,), (0.5,), (0.4,)], 0.001, 1),  # the same gap, no noise
        ([(0.5,), (0.5,)], 0.0, 0),  # equal: the first
        ([(0.49, 0.40), (0.47, 0.46)], 0.001, 0),  # the splits don't agree, though all users of each do
        ([(0.40, 0.40), (0.46, 0.47)], 0.001, 1),
        ([(0.20, 0.20, 0.20), (0.50, 0.50, 0.19)], 0.001, 0),  # far ahead on two, behind on the third
        ([(0.20, 0.20, 0.20), (0.50, 0.50, 0.21)], 0.001, 1),
    ],
)
def test_the_simplest_of_what_is_about_as_good_is_taken(means, noise, chosen):
    values = [parts(*one, noise=noise, seed=n) for n, one in enumerate(means)]
    assert simplest(values) == chosen
    assert simplest(values) <= highest(values)


def test_the_standard_error_is_that_of_the_mean_over_users_and_over_splits():
    gap = parts(0.0, users=400, noise=1.0)[0]
    assert standard_error([gap]) == pytest.approx(gap.std(ddof=1) / 20)
    assert standard_error([gap, gap]) == pytest.approx(gap.std(ddof=1) / 20 / np.sqrt(2))
    assert standard_error([np.zeros(9), np.ones(9)]) == pytest.approx(0.5)  # two means that are 1 apart


def test_what_takes_less_comes_first():
    settings = [
        PLAIN,
        PLAIN | {"half_life": 100.0},
        PLAIN | {"half_life": 2.0},
        PLAIN | {"prior": 0.3},
        PLAIN | {"vectors": "both", "steps": 10},
        PLAIN | {"vectors": "both", "steps": 20},
    ]
    assert sorted(settings[::-1], key=effort) == settings
    assert effort(PLAIN) == effort(PLAIN | {"vectors": "both"})  # of what has learned nothing the best is taken


@pytest.fixture
def choice(taste) -> OwnTower:
    return OwnTower(taste, replace(SMALL, steps=20), metric=METRIC, budget=1)


def test_untrained_vectors_are_candidates_and_validation_alone_decides(choice, taste):
    found = choice.choose(fading=True)
    table, figure = found.table, f"验证 {METRIC}"
    assert table.iloc[0][list(found.best)].to_dict() == found.best
    assert {(kind, 0) for kind in VECTORS} <= set(zip(table["vectors"], table["steps"]))
    assert table["steps"].max() == 20 and table["half_life"].notna().any() and table["prior"].max() > 0
    assert not table.duplicated(list(found.best)).any()
    # what the table says of a setting is what the setting's recommender has on the inner split
    for vectors in VECTORS:
        setting = PLAIN | {"vectors": vectors}
        inner = OwnTower(taste.inner(), choice.config, metric=METRIC).build(setting, "x")
        row = table[(table[list(setting)].fillna(0) == pd.Series(setting).fillna(0)).all(axis=1)]
        assert evaluate(inner, taste.inner(), [METRIC]).mean(METRIC) == pytest.approx(row[figure].iloc[0])
    # another test part, the same training part: the same choice
    other = replace(taste, test=taste.test.iloc[::2].reset_index(drop=True))
    again = OwnTower(other, choice.config, metric=METRIC, budget=1).choose(fading=True)
    pd.testing.assert_frame_equal(again.table, table)


def test_a_choice_is_kept_and_no_training_is_done_twice(choice, monkeypatch):
    first = choice.choose()

    def never(*args, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(own_tower, "train_two_tower", never)
    kept = choice.choose()
    assert kept.best == first.best and kept.cost.seconds == first.cost.seconds


@pytest.mark.parametrize(
    "setting",
    [
        {"vectors": "tfidf"}, {"vectors": "both", "half_life": 2.0}, {"vectors": "both", "steps": 4},
        {"vectors": "both", "steps": 4, "prior": 0.6, "half_life": 2.0}, {"vectors": "encoder", "prior": 1.0},
    ],
)  # fmt: skip
def test_a_setting_becomes_the_recommender_that_it_says(choice, taste, setting):
    setting = PLAIN | setting
    model = choice.build(setting, "own")
    told = evaluate(model, taste, [METRIC]).parameters
    history = told["parts"][0] if setting["prior"] else told
    assert own_tower.trained(told) == bool(setting["steps"])
    assert history.get("served_half_life" if setting["steps"] else "half_life") == setting["half_life"]
    assert history["stop" if setting["steps"] else "vectors"] == setting["steps" if setting["steps"] else "vectors"]
    assert told.get("weights", [1.0, 0.0])[1] == setting["prior"]
    assert model.name == "own" and model.cold_items and "text" in model.needs
    assert ("time" in model.needs) == (setting["half_life"] is not None)


def test_no_step_is_the_vectors_own_ranking(choice, taste):
    """A linear head starts at the identity: what training may end below is only what stands among the candidates."""
    still = OwnTower(taste, choice.config, metric=METRIC)
    still.config = replace(still.config, learning_rate=0.0)
    users = taste.test_users
    head = still.build(PLAIN | {"vectors": "both", "steps": 2}, "x").fit(taste).score(users)
    plain = still.build(PLAIN | {"vectors": "both"}, "x").fit(taste).score(users)
    assert head == pytest.approx(plain, abs=1e-4)


def test_popularity_told_by_the_text_ranks_new_items(taste):
    split = make_split(taste.dataset, "cold_items", fraction=0.3)
    vectors = np.random.default_rng(0).standard_normal((split.n_items, 3))
    liked = split.likes > 0
    vectors[:, 0] = np.where(liked, np.log1p(split.likes), np.linspace(0, 3, split.n_items))
    score = TextPopularity(vectors).fit(split).score(np.arange(2))
    assert (score[0] == score[1]).all() and np.isfinite(score).all()
    new = np.flatnonzero(~liked)
    assert (np.diff(score[0, new]) > 0).all()  # by what the text says
    old = np.flatnonzero(liked)
    plain = Popularity().fit(split).score(np.arange(1))[0]
    sure = TextPopularity(np.zeros_like(vectors), smoothing=1e-6).fit(split).score(np.arange(1))[0]
    assert (np.argsort(-sure[old], kind="stable") == np.argsort(-plain[old], kind="stable")).all()
    few = replace(split, train=split.train[split.train["item"].isin(old[:2])])
    assert np.ptp(TextPopularity(vectors).fit(few).score(np.arange(1))[0, new]) == 0  # two items teach nothing


def only(*keys: str) -> None:
    for key in set(METHODS) - {"random", "popularity", "ease", "tfidf_char", "both", *keys}:
        del METHODS[key]


@pytest.fixture
def registry():
    kept = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(kept)


def test_a_report_chooses_for_all_items_and_anew_for_new_ones(registry, taste):
    only("own_tower")
    report = made(taste, budget=2)
    cold = report.among_new_items()
    cold.run()
    cold.validate()
    assert not cold.tuned and cold.fits == 2
    for each in (report, cold):
        found = each.chosen["own_tower"]
        assert each.searches["own_tower"] == found.cost.seconds > 0
        shown = own_tower.candidates(found)
        assert list(shown["选中"]).count("✓") == 1 and not shown.duplicated(["向量", "训练（步）"]).any()
        assert list(shown["训练（步）"][:4]) == [0] * 4 and list(shown["向量"][:4]) == list(VECTORS.values())
        row = shown[shown["选中"] == "✓"].iloc[0]
        assert (row["训练（步）"], row["热度的权重"]) == (found.best["steps"], found.best["prior"])
        assert row.iloc[4] == pytest.approx(found.table.iloc[0, -1], abs=1e-4)
        assert learned(each.results["own_tower"]) == bool(found.best["steps"])
    report.validate()
    assert report.validation["own_tower"] == pytest.approx(report.chosen["own_tower"].table["#0"].iloc[0])
    assert set(cold.mixed_validation) == {"tfidf_char", "both", "own_tower"}
    # of so few new items one draw says little: judged is on several
    inners = cold.split.inners(3)
    plain = [Workshop(inner, two_tower=SMALL).build(METHODS["tfidf_char"]) for inner in inners]
    alone = [evaluate(model, inner, [cold.main]).mean(cold.main) for model, inner in zip(plain, inners)]
    mixed = [
        evaluate(model, inner.among_all(), [cold.whole_main]).mean(cold.whole_main)
        for model, inner in zip(plain, inners)
    ]
    assert len(set(alone)) > 1 and cold.validation["tfidf_char"] == pytest.approx(np.mean(alone))
    assert cold.mixed_validation["tfidf_char"] == pytest.approx(np.mean(mixed))
    columns = ["#0", "#1"]  # as many trainings as the budget allows
    chosen = cold.chosen["own_tower"].table[columns].iloc[0].astype(float)
    assert cold.validation["own_tower"] == pytest.approx(chosen.mean())


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (PLAIN, "没有训练。"),
        (PLAIN | {"prior": 0.3}, "没有训练，热度的权重0.3；热度来自行为，这一比不全是文字的功劳。"),
        (PLAIN | {"vectors": "both", "steps": 2, "prior": 0.3}, "训练2步，热度的权重0.3；训练和热度来自行为，"),
    ],
)
def test_the_verdict_says_what_was_chosen(registry, taste, monkeypatch, setting, said):
    only("own_tower")
    choose = OwnTower.choose
    monkeypatch.setattr(OwnTower, "choose", lambda self, **o: replace(choose(self, **o), best=setting))
    report = made(taste)
    del report.results["tfidf_char"], report.results["both"]
    words = in_words(report, gather(report))
    line = next(line for line in words.splitlines() if "文本值不值" in line)
    assert "它在验证集上选定的是" in line and said in line


@pytest.mark.parametrize("budget", [0, 1])
def test_without_a_budget_nothing_is_chosen_and_nothing_said(registry, taste, budget):
    only("own_tower")
    report = made(taste, budget=budget)
    assert ("own_tower" in report.results) == bool(budget)
    assert not any("没有跑" in caution for caution in report.cautions)
    shop = Workshop(taste, two_tower=SMALL, budget=budget)
    if not budget:
        with pytest.raises(TooLittleData, match="budget是0"):
            shop.build(METHODS["own_tower"])


def test_the_budget_bounds_the_trainings(taste, monkeypatch):
    trained, train = [], own_tower.train_two_tower
    monkeypatch.setattr(
        own_tower, "train_two_tower", lambda split, *args, **o: trained.append(split) or train(split, *args, **o)
    )
    for budget, least in ((1, 1), (2, 2), (12, 3)):
        trained.clear()
        OwnTower(taste, TwoTowerConfig(steps=2, seed=budget), metric=METRIC, budget=budget).choose()
        assert len(trained) == least
    trained.clear()
    monkeypatch.setattr(own_tower, "MANY_ITEMS", 10)
    OwnTower(taste, TwoTowerConfig(steps=2, seed=20), metric=METRIC, budget=12).choose()
    assert len(trained) == 2
