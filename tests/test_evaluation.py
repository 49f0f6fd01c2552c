"""Metrics against hand-computed values, ranx, and figures that RecTools gave; intervals and tests."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import ANY

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import t

from textrec_utils.baselines import EASE, Popularity, Random
from textrec_utils.core import Cost, TooLittleData
from textrec_utils.evaluation import (
    METRICS,
    Result,
    another_draw,
    another_seed,
    bootstrap_interval,
    compare,
    compare_all,
    evaluate,
    group_recall,
    holm,
    leaderboard,
    list_quality,
    metric_rows,
    pair_hits,
    parse_metric,
    per_user,
    sampled_ranks,
)  # fmt: skip
from textrec_utils.evaluation.statistics import MANY_USERS, Comparison, bootstrap_intervals
from textrec_utils.splits import make_split

EVERY = [f"{m}@{k}" for m in METRICS for k in (1, 5, 10)]


def test_by_hand():
    # relevant: 2, 5, 7; ranked 5, 0, 7, 1 -> hits at ranks 1 and 3
    truth = sparse.csr_matrix(np.array([[0, 0, 1, 0, 0, 1, 0, 1]], dtype=float))
    metrics = ["recall@4", "precision@4", "hit@4", "mrr@4", "map@4", "ndcg@4", "ndcg@2", "map@2"]
    value = per_user(np.array([[5, 0, 7, 1]]), truth, metrics).iloc[0]
    assert value["recall@4"] == pytest.approx(2 / 3)
    assert value["precision@4"] == 0.5 and value["hit@4"] == 1 and value["mrr@4"] == 1
    assert value["map@4"] == pytest.approx((1 + 2 / 3) / 3)
    assert value["ndcg@4"] == pytest.approx(0.703918)  # (1 + 1/2) / (1 + .6309 + 1/2)
    assert value["ndcg@2"] == pytest.approx(0.613147)  # 1 / (1 + .6309): ideal uses min(|R|, k) = 2
    assert value["map@2"] == 0.5  # divides by min(|R|, k) = 2


def test_nothing_found_and_short_lists():
    truth = sparse.csr_matrix(np.array([[1, 0, 0, 0]], dtype=float))
    assert (per_user(np.array([[1, 2, -1]]), truth, [f"{m}@3" for m in METRICS]) == 0).all(axis=None)


def random_case(seed=0, users=60, items=50, k=10):
    rng = np.random.default_rng(seed)
    truth = sparse.csr_matrix(rng.random((users, items)) < 0.1)
    truth = sparse.csr_matrix(truth.toarray() | (np.arange(items) == rng.integers(0, items, (users, 1))))
    ranked = np.array([rng.permutation(items)[:k] for _ in range(users)])
    return ranked, truth.astype(float)


def test_against_ranx(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # to compile each of the six metrics takes over half a minute
    from ranx import Qrels, Run
    from ranx import evaluate as ranx_evaluate

    ranked, truth = random_case()
    qrels = Qrels({str(u): {str(i): 1 for i in truth[u].indices} for u in range(len(ranked))})
    run = Run({str(u): {str(i): float(20 - r) for r, i in enumerate(row)} for u, row in enumerate(ranked)})
    ours = per_user(ranked, truth, EVERY).mean()
    for k in (1, 5, 10):
        for name in ("recall", "precision", "mrr", "hit", "ndcg"):
            theirs = ranx_evaluate(qrels, run, f"{name.replace('hit', 'hit_rate')}@{k}")
            assert ours[f"{name}@{k}"] == pytest.approx(theirs, abs=1e-9)
    # ranx divides AP by |R|, we by min(|R|, k); rescaled per user the two agree
    size = np.diff(truth.indptr)
    ranx_evaluate(qrels, run, "map@5")
    ranx_map = np.array([run.scores["map@5"][str(u)] for u in range(len(ranked))])
    rescaled = per_user(ranked, truth, ["map@5"])["map@5"].to_numpy() * np.minimum(size, 5) / size
    assert rescaled == pytest.approx(ranx_map, abs=1e-9)


def test_against_rectools_figures():
    """tests/rectools_figures.json was made once in a venv of its own; it holds lists, truth and RecTools' values."""
    kept = json.loads((Path(__file__).parent / "rectools_figures.json").read_text())
    ranked, truth = random_case(seed=1)
    assert ranked.tolist() == kept["ranked"] and [truth[u].indices.tolist() for u in range(60)] == kept["truth"]
    ours = per_user(ranked, truth, EVERY).mean()
    for metric, value in kept["values"].items():
        assert ours[metric] == pytest.approx(value, abs=1e-9), metric


def test_refusals():
    ranked, truth = random_case()
    for wrong in ("auc@10", "recall", "recall@0", "recall@x"):
        with pytest.raises(ValueError, match="不认识指标"):
            parse_metric(wrong)
    with pytest.raises(ValueError, match="长度至少 20"):
        per_user(ranked, truth, ["recall@20"])
    with pytest.raises(ValueError, match="同一组用户"):
        per_user(ranked[:-1], truth)
    with pytest.raises(ValueError, match="没有真值"):
        per_user(ranked, sparse.csr_matrix(truth.shape))


def test_bootstrap_interval_covers():
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(100):
        sample = rng.binomial(1, 0.3, 200)
        low, high = bootstrap_interval(sample, samples=400, seed=trial)
        inside += low <= 0.3 <= high
    assert 88 <= inside <= 99
    assert bootstrap_interval(np.ones(5)) == (1.0, 1.0)
    with pytest.raises(TooLittleData, match="没有一个测试用户"):
        bootstrap_interval(np.zeros(0))


def test_intervals_of_few_are_as_they_were_and_of_many_as_wide():
    values = np.random.default_rng(0).binomial(1, 0.3, 500)
    assert bootstrap_interval(values) == pytest.approx((0.296, 0.38), abs=1e-12)  # the draws of every shipped table
    many = np.tile(values, -(-(MANY_USERS + 1) // 500))
    low, high = bootstrap_interval(many)
    half = 1.96 * many.std() / len(many) ** 0.5
    assert (low, high) == pytest.approx((many.mean() - half, many.mean() + half), abs=0.1 * half)


def opinionated(rng, users=40):
    """(whose, hit or not) of 40 users with 1 to 12 tests each, who are hit .1 to .9 of the time; on average half."""
    whose = np.repeat(np.arange(users), rng.integers(1, 13, users))
    return whose, (rng.random(len(whose)) < rng.uniform(0.1, 0.9, users)[whose]).astype(float)


def test_intervals_cover_where_users_have_several_tests():
    rng = np.random.default_rng(0)
    by_user = by_pair = 0
    for trial in range(60):
        whose, hit = opinionated(rng)
        for clusters in (whose, None):
            low, high = bootstrap_interval(hit, users=clusters, samples=400, seed=trial)
            inside = low <= 0.5 <= high
            by_user, by_pair = (by_user + inside, by_pair) if clusters is not None else (by_user, by_pair + inside)
    assert by_user >= 52 and by_pair < 48  # resampling the tests takes each for a person of its own
    whose, hit = opinionated(rng)
    order = rng.permutation(len(hit))
    assert bootstrap_interval(hit, users=np.arange(len(hit)) + 5) == bootstrap_interval(hit)  # one each: as ever
    table = pd.DataFrame({"user": whose, "hit": hit}).iloc[order]
    found = group_recall(table, pd.Series("所有人", index=table.index)).iloc[0]
    assert (found["low"], found["high"]) == bootstrap_interval(table["hit"], users=table["user"])
    few = table[table["user"] < 5]  # dozens of tests, and five people
    assert len(few) > 20 and group_recall(few, pd.Series("五个人", index=few.index)).empty


def test_tests_of_one_user_are_one_vote():
    rng = np.random.default_rng(1)
    found = {"users": 0, "pairs": 0}
    for trial in range(60):  # a and b differ by each user's own taste, on average not at all
        whose, _ = opinionated(rng)
        a = rng.normal(0, 1, 40)[whose] + rng.normal(0, 0.3, len(whose))
        for kind, clusters in (("users", whose), ("pairs", None)):
            found[kind] += compare(a, np.zeros(len(a)), users=clusters, samples=200, seed=trial).significant
    assert found["users"] <= 8 and found["pairs"] > 15


def test_against_scipy():
    from scipy import stats

    rng = np.random.default_rng(0)
    a, b = rng.random((2, 9))
    exact = stats.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert compare(a, b, samples=20_000).p_value == pytest.approx(exact.pvalue, abs=0.02)
    values = rng.exponential(size=200)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=5000, rng=0).confidence_interval
    assert bootstrap_interval(values, samples=5000) == pytest.approx(tuple(theirs), abs=0.02)


def test_the_visible_difference_is_what_a_test_finds_four_times_in_five():
    rng = np.random.default_rng(0)
    users, spread = 400, 0.2
    told = compare(rng.normal(0, spread, users), np.zeros(users), samples=500).visible
    assert told == pytest.approx(2.8 * spread / users**0.5, rel=0.15)
    found = [compare(rng.normal(told, spread, users), np.zeros(users), samples=200).significant for _ in range(200)]
    assert 0.7 < np.mean(found) < 0.9
    # Bonferroni's level among ten, the strictest of Holm's: a larger difference is needed, and enough of it is found.
    paired = Comparison(0.0, -0.01, 0.01, 1.0)
    assert paired.visible_among(10) == pytest.approx(0.01 / 1.96 * (2.807 + 0.842), rel=1e-3)
    assert paired.visible_among(1) == paired.visible < paired.visible_among(2) < paired.visible_among(10)


def test_not_worse_is_read_off_the_lower_end():
    level = Comparison(-0.001, -0.012, 0.010, 0.8)
    assert not level.significant and not level.not_worse(0.01) and level.not_worse(0.02)


def test_compare():
    rng = np.random.default_rng(0)
    a = rng.random(500)
    same = compare(a, a)
    assert same.p_value == 1 and same.difference == 0 and not same.significant
    better = compare(a + 0.05 + 0.1 * rng.standard_normal(500), a)
    assert better.significant and 0.03 < better.low < better.difference < better.high < 0.07
    worse = [compare(rng.random(200), rng.random(200), samples=300, seed=s).p_value for s in range(60)]
    assert np.mean(np.array(worse) < 0.05) < 0.15  # no difference is found where there is none
    seeds = a + 0.1 * rng.standard_normal((5, 500))
    assert compare(seeds, [a, a]) == compare(seeds.mean(axis=0), a)  # with several seeds a user counts once
    with pytest.raises(ValueError, match="用户数不同"):
        compare(a, a[:-1])


def test_published_level_on_movielens(leave_last_out):
    """EASE's pilot figure on this protocol is Recall@10 = .1465; ours stays within .02 of it."""
    ease, popular = (evaluate(m, leave_last_out, ["recall@10", "ndcg@10"]) for m in (EASE(), Popularity()))
    assert ease.mean("recall@10") == pytest.approx(0.1465, abs=0.02)
    assert popular.mean("recall@10") == pytest.approx(0.079, abs=0.01)
    assert compare(ease.users["ndcg@10"], popular.users["ndcg@10"]).significant
    table = leaderboard([popular, ease])
    assert table["方法"].tolist() == ["EASE", "热门"] and table["recall@10 95%"].str.match(r"\[\d").all()
    rows = metric_rows([ease], leave_last_out)
    assert rows.columns.tolist() == [
        "report", "dataset", "protocol", "min_value", "method", "metric", "k", "value", "low", "high", "users",
        "seconds", "peak_mb", "parameters", "seed",
    ]  # fmt: skip
    assert (rows["min_value"] == 4).all() and rows["parameters"].unique().tolist() == [
        '{"half_life": null, "regularization": 100.0}'
    ]
    assert (rows["low"] < rows["value"]).all() and (rows["value"] < rows["high"]).all() and (rows["users"] == 942).all()


def result_of(name, values, **told):
    return Result(name, np.empty((0, 0)), pd.DataFrame({"recall@10": values}), Cost(), {}, **told)


def test_rows_of_two_reports_stay_apart(taste):
    found = [result_of("=1+1", np.ones(30))]
    split = replace(taste, dataset=replace(taste.dataset, name="@shop"))
    rows = pd.concat([
        metric_rows(found, split, report="a"), metric_rows(found, split, report="b"),
        metric_rows(found, split, report="a", min_value=5),
    ])  # fmt: skip
    assert list(zip(rows["report"], rows["min_value"])) == [("a", 1), ("b", 1), ("a", 5)]
    assert set(rows["method"]) == {"'=1+1"} and set(rows["dataset"]) == {
        "'@shop"
    }  # a spreadsheet shows it, runs nothing


def test_an_interval_is_computed_once(monkeypatch, taste):
    from textrec_utils.evaluation import results
    from textrec_utils.plotting import plot_leaderboard

    asked = []
    monkeypatch.setattr(results, "bootstrap_intervals", lambda values: asked.append(1) or bootstrap_intervals(values))
    one = result_of("x", np.random.default_rng(0).random(50))
    one.users["ndcg@10"] = one.users["recall@10"] / 2
    for table in (
        leaderboard,
        lambda found: metric_rows(found, taste),
        lambda found: plot_leaderboard(found, "recall@10"),
    ):
        table([one])
    assert len(asked) == 1 and one.interval("recall@10") == pytest.approx(bootstrap_interval(one.users["recall@10"]))
    assert one.interval("ndcg@10") == pytest.approx(np.array(one.interval("recall@10")) / 2)
    assert replace(one, users=one.users + 1).interval("recall@10")[0] > 1  # another's values have their own


def test_a_split_without_users_to_judge_by_is_too_little(taste):
    with pytest.raises(TooLittleData, match="没有可评测的用户"):
        evaluate(Popularity(), replace(taste, test=taste.test[:0]))


def test_seen_items_are_never_recommended(leave_last_out):
    result = evaluate(Popularity(), leave_last_out)
    for user, ranked in zip(leave_last_out.test_users[:100], result.ranked):
        assert not set(ranked) & set(leave_last_out.histories[user])


def test_cold_items_rank_only_cold_items(movielens):
    split = make_split(movielens, "cold_items")
    result = evaluate(Random(), split)
    assert split.candidates[result.ranked].all()


def test_group_tables(leave_last_out):
    result = evaluate(EASE(), leave_last_out)
    hits = pair_hits(result, leave_last_out)
    assert hits["hit"].mean() == pytest.approx(result.mean("recall@10"))
    first = leave_last_out.train.groupby("item")["timestamp"].min()
    some = hits["item"].isin(first.index) & (hits.index < 50)
    wanted = (leave_last_out.test["timestamp"] - hits["item"].map(first)).clip(0) / 86400
    assert np.allclose(hits.loc[some, "age"], wanted[some])
    assert hits["age"].isna().sum() == (~hits["item"].isin(first.index)).sum()
    bins = pd.cut(hits["history"], [0, 20, 100, 1000], labels=["短", "中", "长"])
    table = group_recall(hits, bins)
    assert table["测试条数"].sum() == len(hits) and table["low"].le(table["命中率"]).all()


def test_sampled_ranks_flatter(leave_last_out):
    model = Popularity().fit(leave_last_out)
    ranks = sampled_ranks(model, leave_last_out, negatives=99)
    assert ranks.min() >= 1 and ranks.max() <= 100 and ranks.sum() == 18764  # as drawn in chapter 02
    assert (ranks <= 10).mean() > 3 * evaluate(model, leave_last_out, fit=False).mean("recall@10")


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, made non-decreasing: .04 .06 .06 .06
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0] and holm([]).tolist() == []


def test_holm_keeps_many_equal_methods_from_winning():
    """Twenty methods that differ by chance alone: some win without the correction, hardly any with it."""
    rng = np.random.default_rng(3)
    results = [result_of(str(m), rng.random(300)) for m in range(21)]
    table = compare_all(results, results[0], "recall@10", samples=1000)
    assert len(table) == 20 and (table["p"] < 0.05).any() and not table["显著"].any()
    better = result_of("better", results[0].users["recall@10"] + 0.1 * rng.random(300))
    first = compare_all([*results, better], results[0], "recall@10").iloc[0]
    assert first[["方法", "显著"]].tolist() == ["better", True]


def test_list_quality_by_hand():
    """Seven users, of whom 3, 1, 0, 7, 0 liked the items: these say 1, 2, 3, 0, 3 bits."""
    liked = np.zeros((7, 5))
    for item, count in enumerate((3, 1, 0, 7, 0)):
        liked[:count, item] = 1
    split = SimpleNamespace(train_matrix=sparse.csr_matrix(liked), n_users=7, candidates=np.ones(5, dtype=bool))
    vectors = np.array([[1, 0], [0, 2], [3, 0], [1, 1], [0, 0]])
    found = list_quality(np.array([[0, 1, 2], [2, 3, -1]]), split, 3, vectors)
    assert found["coverage"] == 0.8
    assert found["popularity"] == pytest.approx((4 / 3 + 7 / 2) / 2)
    assert found["novelty"] == pytest.approx((2 + 1.5) / 2)
    assert found["diversity"] == pytest.approx(0.479780)  # cosines 0, 1, 0 and .7071: means 1/3 and .7071


def test_popular_lists_are_neither_new_nor_wide(leave_last_out):
    popular, random = (
        list_quality(evaluate(m, leave_last_out).ranked, leave_last_out) for m in (Popularity(), Random())
    )
    assert popular["novelty"] < random["novelty"] and popular["coverage"] < random["coverage"]
    assert popular["popularity"] > 5 * random["popularity"]


def test_an_interval_over_draws_is_wider_than_if_they_did_not_overlap():
    gaps = np.array([0.01, 0.03, 0.02, 0.04])
    mean, low, high = another_draw(gaps, new=0.2)
    half = 3.182446 * gaps.std(ddof=1) * (1 / 4 + 1 / 4) ** 0.5  # Student's t with 3 degrees of freedom
    assert mean == pytest.approx(0.025) and (low, high) == (pytest.approx(mean - half), pytest.approx(mean + half))
    assert another_draw(gaps, new=0.0)[1] > low


def test_an_interval_over_users_and_seeds_is_wider_than_either():
    low, high, each = 0.01 - 1.96 * 0.003, 0.01 + 1.96 * 0.003, [0.006, 0.014, 0.01]
    error = (0.003**2 + 0.004**2 / 3) ** 0.5
    freedom = 2 * (error / (0.004 / 3**0.5)) ** 4
    wide = another_seed(low, high, each)
    assert wide[:2] == (pytest.approx(0.01 - t.ppf(0.975, freedom) * error), pytest.approx(0.02 - wide[0]))
    assert wide[2] == pytest.approx(2 * t.sf(0.01 / error, freedom))
    assert another_seed(low, high, [0.01]) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6), ANY)
    assert another_seed(0.0, 0.0, [0.0]) == (0.0, 0.0, 1.0)  # the same list
