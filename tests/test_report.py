"""The report's sentences say what the numbers allow, its figures and groups too."""

import json
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.cbook import is_math_text

from tests.small_report import SMALL, made, only_users
from textrec_utils.core import Cost, DataError
from textrec_utils.datasets import Dataset, load_dataset
from textrec_utils.evaluation import FEW_USERS, Comparison, Result
from textrec_utils.plotting import plot_leaderboard
from textrec_utils.report import METHODS, Report, advice, methods_of, open_split
from textrec_utils.report.claims import NEW_RIVALS, Claims, corrected, gather
from textrec_utils.report.comparisons import (
    RIVALS,
    Rivalry,
    Sides,
    cost_table,
    front,
    introduction,
    rivalries,
    rivals_table,
    sides_of,
)  # fmt: skip
from textrec_utils.report.examples import pick, situations, with_lists
from textrec_utils.report.figures import cost_figure, group_figure
from textrec_utils.report.groups import Grouping, groupings, thirds
from textrec_utils.report.verdict import among_new_items, in_words, joined, versus, where_it_fails, who_wins
from textrec_utils.report.words import half_life_words, live_words, speed_words, tie_words, twin_words
from textrec_utils.splits import Split
from textrec_utils.tuning import HALF_LIVES

NASTY = ["$\\frac$", "<img src=x onerror=alert(1)>", "**[a](javascript:b)** `c` $x$"]


def known(report: Report) -> dict[str, Result]:
    """The methods that the sentences below are about: one that is added changes none of them."""
    towers = ("two_tower", "two_tower_lexical", "two_tower_both")
    return {
        k: report.results[k] for k in ("random", "popularity", "itemknn", "ease", "tfidf_char", "bert_center", *towers)
    }


@pytest.fixture(scope="module")
def kept_quick(taste) -> Report:
    return made(taste)


@pytest.fixture
def quick(kept_quick) -> Report:
    """A quick report whose numbers a test may change."""
    results = {key: replace(r, users=r.users.copy()) for key, r in known(kept_quick).items()}
    return replace(kept_quick, results=results, cautions=list(kept_quick.cautions))


def test_new_items_are_a_report_of_their_own(quick):
    cold = quick.among_new_items()
    assert cold.split.protocol == "cold_items" and cold.candidates == 12 and cold.k == 2 and not cold.results
    assert quick.results and quick.k == 5 and cold.main == "ndcg@2"
    assert cold.whole_main == quick.main == quick.whole_main  # among all items a list stays as long as it was
    with pytest.raises(DataError):
        quick.among_new_items(min_value=2.0)


# ---------------------------------------------------------------- sentences


def test_ties_on_new_items_are_told_as_they_are(quick):
    """One fixed list for everybody: it may score above or below chance, and the sentence says which it did."""
    cold = quick.among_new_items()
    cold.run()
    cold.results = known(cold)
    popular, chance = cold.results["popularity"], cold.results["random"]
    assert len(np.unique(popular.ranked, axis=0)) == 1
    for high, word in ((1.0, "高一些"), (0.0, "低一些"), (0.5, "正好一样")):
        popular.users["ndcg@2"], chance.users["ndcg@2"] = high, 0.5
        said = tie_words(cold.results, "ndcg@2")
        assert said.startswith("热门、ItemKNN、EASE给") and word in said and f"{high:.4f}" in said and "0.5000" in said
    assert tie_words(quick.results, "ndcg@5") == ""


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


def test_half_lives_are_told_together_and_ends_of_the_grid_as_such():
    told = half_life_words({"a": 1.0, "b": None, "c": 1.0, "d": 5.0})
    assert told == "1件的有a、c；5件的有d；不减的有b。1件是试过的最短的，更短的没有试"
    assert half_life_words({"a": 2.0}) == "2件的有a" and "再往上只试过不减" in half_life_words(
        {"a": max(HALF_LIVES[1:])}
    )


def test_what_sets_popularity_of_the_moment_apart_depends_on_the_split():
    assert "停在训练结束的那一刻" in live_words("recent", "temporal")
    said = live_words("recent", "leave_last_out")
    assert "训练里倒有别人后来的喜欢" in said and "停在" not in said
    assert live_words("recent", "random") == live_words("ease", "temporal") == ""


def result(key: str, values, seconds: float = 1.0, metric: str = "ndcg@5") -> Result:
    users = pd.DataFrame({metric: values, "recall@5": values})
    return Result(METHODS[key].label, np.zeros((0, 5), int), users, Cost(seconds), {}, key)


def test_versus_says_higher_lower_or_nothing():
    rival = result("ease", [0.5, 0.5])
    clear = Comparison(0.1, 0.05, 0.15, 0.0001)
    assert versus(Rivalry(rival, clear, 0.0002), "ndcg@5") == (
        "比EASE高20%，差异显著（差+0.1000，95%区间[+0.0500, +0.1500]，校正后p<0.001）"
    )
    assert versus(Rivalry(rival, replace(clear, difference=-0.1), 0.01), "ndcg@5").startswith("比EASE低20%，差异显著")
    assert versus(Rivalry(rival, clear, 0.05), "ndcg@5").startswith("和EASE分不出高下（")  # not below .05
    assert versus(Rivalry(result("ease", [0.0]), clear, 0.01), "ndcg@5").startswith("比EASE高，差异显著")


def test_the_front_is_what_nothing_beats_in_time_and_quality(quick):
    seconds = {"random": 0.1, "popularity": 1, "itemknn": 2, "ease": 3, "tfidf_char": 4}
    values = {"random": 0.9, "popularity": 0.2, "itemknn": 0.1, "ease": 0.5, "tfidf_char": 0.5}
    quick.results = {key: result(key, [values[key]] * 2, seconds[key]) for key in seconds}
    assert [r.key for r in front(quick)] == ["popularity", "ease"]
    quick.few = True
    assert front(quick) == []


def test_rivals_are_the_fixed_ones_the_best_of_their_kinds_and_never_the_method_itself(quick):
    sides = sides_of(quick)
    assert set(rivalries(quick, sides)) == {*RIVALS, sides.behaviour.key, sides.plain.key}
    quick.results["tfidf_char"].users[quick.main] = 1.0
    quick.results["two_tower"].users[quick.main] = 0.99
    sides = sides_of(quick)
    against = rivalries(quick, sides)
    assert sides.text.key == "tfidf_char" and list(against)[3] == "two_tower" and "tfidf_char" not in against
    said = introduction(quick, sides, against)
    assert "最好的文本方法就是TF-IDF（字），没法和自己比；表里换成第二好的双塔（微调）。" in said
    table = rivals_table(sides.text, against)
    assert list(table["TF-IDF（字）对"]) == [r.rival.method for r in against.values()]
    quick.results = {key: r for key, r in quick.results.items() if METHODS[key].kind != "text" or key == "tfidf_char"}
    assert "tfidf_char" not in rivalries(quick, sides_of(quick))  # and nobody is second


def test_plain_is_never_random_and_may_be_popularity(quick):
    quick.results["random"].users[quick.main] = 1.0
    quick.results["popularity"].users[quick.main] = 0.9
    sides = sides_of(quick)
    assert sides.plain.key == "popularity" and sides.behaviour.key in ("itemknn", "ease")
    said = in_words(quick, gather(quick))
    assert re.search(r"后者是最好的协同方法；.*热门.*，后者是最好的非文本方法", said)
    assert "**谁赢**：测试上最好的是热门，属于非个性化方法；测试ndcg@5为0.9000" in said and "合起来" not in said
    assert "分数排第2，最高的是随机（1.0000，看了测试才知道，不作数）" in said
    assert said.splitlines()[1].startswith("- **协议**：留最后一条（leave_last_out），跨用户泄漏：")


def test_the_second_metric_has_its_say(quick):
    for r in quick.results.values():
        r.users[["ndcg@5", "recall@5"]] = 0.0
    ease, knn = quick.results["ease"], quick.results["itemknn"]
    ease.users[["ndcg@5", "recall@5"]] = 0.6, 0.8
    assert who_wins(quick, gather(quick)).endswith("；按recall@5，EASE分数也最高")
    knn.users["recall@5"] = 0.9
    told = "；按recall@5，EASE分数排第2，最高的是ItemKNN（0.9000，看了测试才知道，不作数）"
    assert who_wins(quick, gather(quick)).endswith(told)


def test_joining_both_is_compared_with_the_best_single_method(quick):
    users = len(quick.split.test_users)
    quick.results["ease"].users[quick.main] = 0.5
    fused = "融合（双塔读两样＋协同）"
    words = ((0.9, "比EASE高80%"), (0.1, f"比{fused}高，"), (0.5, f"和{fused}分不出高下"))
    for value, word in words:
        for key in ("two_tower", "two_tower_lexical", "two_tower_both", "tfidf_char", "bert_center", "itemknn"):
            quick.results[key].users[quick.main] = 0.0
        quick.results["popularity"].users[quick.main] = quick.results["random"].users[quick.main] = 0.0
        fused = replace(result("hybrid", [value] * users), parameters={"weights": [0.7, 0.3]})
        quick.results["hybrid"] = fused
        said = joined(quick, gather(quick))
        assert word in said and ("（双塔占70%）" in said) == (value < 0.9)
    fused.parameters["weights"] = [1.0, 0.0]  # then nothing has been joined
    assert "（双塔占100%，融合就是双塔读两样本身）" in joined(quick, gather(quick))
    assert "融合两边都占" in introduction(quick, sides_of(quick), {})
    quick.serving["hybrid"] = quick.serving["ease"]
    assert "**合起来**" in in_words(quick, gather(quick))


SIDES = Sides(result("two_tower", [0.0]), result("ease", [0.0]), result("ease", [0.0]))


def grouping(name: str, rows: list[tuple]) -> Grouping:
    table = pd.DataFrame(rows, columns=["组", "测试条数", "双塔（微调）", "EASE", "差", "p"])
    return Grouping(name, table, 0)


def test_where_it_fails_names_the_weakest_group_and_only_sure_differences():
    heat = grouping("物品热度", [("1–9", 30, 0.1, 0.3, -0.2, 0.01), ("10–99", 40, 0.4, 0.2, 0.2, 0.001)])
    long = grouping("历史长度", [("2–5", 25, 0.2, 0.25, -0.05, 0.4), ("6–9", 45, 0.3, 0.3, 0.0, 1.0)])
    assert where_it_fails(SIDES, [long, heat]) == (
        "4组里双塔（微调）命中率最低的是物品热度为“1–9”的一组（0.100对0.300，30条）；显著落后EASE最多的也正是这一组；"
        "显著领先最多的是物品热度为“10–99”的一组（0.400对0.200，40条）。括号里先文本后协同；最低、最多是看着测试挑的，会偏极端"
    )
    assert "；校正之后，没有哪一组里双塔（微调）和EASE的差距是显著的。" in where_it_fails(SIDES, [long])
    assert where_it_fails(SIDES, [grouping("类别", [("其他", 40, 0.1, 0.3, -0.2, 0.01)])]).startswith("测试太少")
    shifted = grouping("类别", [("a", 30, 0.1, 0.1, 0.0, 1.0), ("b", 30, 0.2, 0.5, -0.3, 0.01)])
    assert "显著落后EASE最多的是类别为“b”的一组（0.200对0.500，30条）" in where_it_fails(SIDES, [shifted])


def test_new_items_are_compared_with_what_reads_the_same_and_with_chance(quick):
    """Popularity gives every new item one score, so its list is one fixed draw: no p-value against it."""
    cold = quick.among_new_items()
    cold.run()
    cold.validation = {key: 0.1 for key in cold.results} | {"bert_center": 0.9}
    cold.mixed_validation = {"both": 0.3, "bert_center": 0.2}
    case = gather(quick, cold)
    new = case.new
    assert new.alone.text.key == "bert_center" and set(new.alone.rivals) == set(NEW_RIVALS)
    assert new.mixed.text.key == "both" and set(new.mixed.rivals) == {*NEW_RIVALS} - {"both"}
    assert all(cold.blind(key) for key in ("popularity", "itemknn", "ease")) and not cold.blind("tfidf_char")
    said = among_new_items(new)
    assert said.startswith("和全部物品混在一起排，验证时最好的文本方法是BERT＋词面（冻结），ndcg@5是")
    both, alone = said.split("只在新物品之间排，验证时最好的文本方法是BERT 去均值")
    assert "后者读的一样，训练过" in both and "后者读BERT和词面，训练过" in alone
    assert "后者是不训练的对手里分数最高的" in said and "随机" in said and "热门" not in said and "EASE" not in said
    assert "**新物品**" in in_words(quick, case)
    own = replace(cold, budget=0)  # a report that stands on new items alone
    sides = sides_of(own)
    assert sides.behaviour.key == sides.plain.key == "random"
    assert set(rivalries(own, sides)) == {"tfidf_char", "random"}
    assert "拿随机的次序和它比" in introduction(own, sides, rivalries(own, sides))
    assert "随机" in in_words(own, gather(own))


def test_the_best_is_chosen_on_validation_and_judged_on_the_test(kept_quick):
    report = replace(kept_quick, validation={}, cautions=[])
    report.chosen = {}
    found = report.validate()
    assert set(found) == set(report.results)
    assert found["ease"] == report.tuned["ease"].table["#0"].iloc[0]
    worst = min((k for k in found if k != "random"), key=lambda k: report.results[k].mean(report.main))
    report.validation[worst] = 2.0
    case = gather(report)
    assert case.first.key == worst and who_wins(report, case).startswith(f"验证集上最好的是{METHODS[worst].label}")
    assert list(report.board().columns)[:2] == ["方法", "验证ndcg@5"]


def test_holm_counts_everything_that_can_reach_the_conclusions(quick):
    case = gather(quick)
    pairs = {frozenset((case.first.key, key)) for key in case.peers}
    pairs |= {frozenset((case.sides.text.key, key)) for key in case.rivals}
    assert case.count == len(pairs) + sum(len(g.table) for g in case.groups)
    assert f"共{case.count}次" in case.words()
    raw = groupings(quick, case.sides)
    for before, after in zip(raw, case.groups):
        assert (after.table["p"] >= before.table["p"]).all()
    assert all(r.p >= r.test.p_value for r in (*case.peers.values(), *case.rivals.values()))
    few = Claims(case.sides, case.first, {}, {"ease": Rivalry(quick.results["ease"], Comparison(0, 0, 0, 0.03), 0)})
    assert corrected(few).rivals["ease"].p == 0.03


# ---------------------------------------------------------------- what to ship


def test_two_proportions_as_the_textbooks_have_them():
    assert advice.two_proportions(0.10, 0.12) == pytest.approx(3840.85, abs=0.1)  # R's power.prop.test
    assert advice.two_proportions(0.12, 0.10) == advice.two_proportions(0.10, 0.12)
    assert advice.two_proportions(0.1, 0.1) == np.inf and advice.paired(0.01, 0.0, 100) == np.inf
    assert advice.paired(0.02, 0.01, 100) == pytest.approx(400)
    assert [advice._users(n) for n in (9, 1001, 32_337)] == ["不到1,000人", "约1,100人", "约33,000人"]


def test_the_cheapest_that_cannot_lose_much_is_shipped(quick):
    users = len(quick.split.test_users)
    first = result("two_tower", [0.5] * users, 50.0)
    sides, rival = Sides(first, first, first), result("ease", [0.5] * users, 0.5)
    for r in (first, rival):
        r.users[f"hit@{quick.k}"] = 0.5
    quick.results = {"two_tower": first, "ease": rival}
    for high, key in ((0.04, "ease"), (0.06, "two_tower")):
        close = Rivalry(rival, Comparison(0.01, -0.02, high, 0.4), 0.4)
        case = Claims(sides, first, {"ease": close}, {})
        assert advice.chosen(quick, case).key == key
        said = advice.in_words(quick, case)
        assert "**先上**：" + METHODS[key].label in said and "**A/B要多大**" in said and "**什么会改变它**" in said
        assert ("至多低8.0%" in said) == (key == "ease")
        assert "看不出；只做这一次检验的话，要" in said and "这一比并不对等" not in said
    live = result("recent", [0.5] * users, 0.1)
    live.users[f"hit@{quick.k}"] = 0.9
    quick.results["recent"] = live
    sure = Rivalry(rival, Comparison(0.3, 0.2, 0.4, 0.001), 0.01)
    said = advice.in_words(quick, Claims(sides, live, {"ease": sure}, {}))
    assert "这一比并不对等" in said and "不到1,000人" in said and "已经看得出（校正后p=0.010）" in said


def test_costs_are_told_apart(kept_quick):
    table = cost_table(kept_quick)
    assert len(table) == len(kept_quick.results) and (table["一次请求（毫秒）"] >= 0).all()
    assert table.loc["热门", "调参（秒）"] == "没有调"
    assert all(float(table.loc[label, "调参（秒）"]) >= 0 for label in ("EASE", "TF-IDF（字）", "双塔读两样（微调）"))
    assert table.loc["EASE", "常驻（MB）"] >= 0


def test_items_that_are_there_twice_are_told(own_folder):
    data = load_dataset(own_folder)
    items = data.items.assign(title=[f"t{n}" for n in range(len(data.items))])
    assert twin_words(replace(data, items=items)).startswith("没有title、category全都相同的物品")
    twice = pd.concat([items, items.iloc[:2]], ignore_index=True)
    said = twin_words(replace(data, items=twice))
    assert "有2组、共4件物品的title、category全都相同" in said and "对物品的文字几乎一样" in said and "没有合并" in said


def test_few_users_name_no_winner(own_folder):
    split = open_split(load_dataset(only_users(own_folder, FEW_USERS - 1)))
    report = Report(split, "quick", k=3, budget=1, two_tower=SMALL)
    assert report.look()[0] == f"测试用户只有{FEW_USERS - 1}位，不到{FEW_USERS}位，下面不做比较，分数只看个大概"
    report.run()
    sides = sides_of(report)
    assert (sides.text.key, sides.behaviour.key) == ("two_tower_both", "ease")
    told = introduction(report, sides, rivalries(report, sides))
    case = gather(report)
    assert case.first is None and not case.peers and case.new is None and advice.in_words(report, case) == ""
    assert "以双塔读两样（微调）代表文本方法，以EASE代表协同方法" in told
    said = told + in_words(report, case)
    assert f"- **没有结论**：能评测的用户只有{FEW_USERS - 1}位" in said and "**代价**" in said
    assert not re.search(r"谁赢|文本值不值|最好的文本方法是|分不出高下（|显著领先|显著落后|哪里失败", said)
    assert groupings(report, sides) == [] and group_figure([], sides) is None


# ---------------------------------------------------------------- groups, people, names from data


def test_thirds_keep_equal_counts_together():
    assert list(thirds(pd.Series([1, 2, 3, 4, 5, 6]))) == ["1–2", "1–2", "3–4", "3–4", "5–6", "5–6"]
    assert list(thirds(pd.Series([1, 1, 1, 1, 9]))) == ["1"] * 4 + ["9"]


def heavy_user() -> tuple[Report, Sides]:
    """25 users: one with 30 test likes, all found by text alone, the others with one, found by both; and as many with
    a longer history, to be another group."""
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(60)], "title": "t", "text": "x", "category": NASTY[1]})
    users = pd.DataFrame({"user_id": [f"u{n}" for n in range(50)], "text": ""})
    likes = {"user": [*range(50), *range(25, 50)], "item": [59] * 50 + [58] * 25}
    train = pd.DataFrame(likes | {"timestamp": 0, "value": 1.0})
    pairs = {"user": [0] * 30 + list(range(1, 50)), "item": list(range(30)) + [40] * 49}
    test = pd.DataFrame(pairs | {"timestamp": 1, "value": 1.0})
    data = Dataset("d", items, users, pd.DataFrame(), "", "", has_time=False)
    split = Split(data, "random", train, test, test.iloc[:0], "", np.ones(60, dtype=bool))
    text, other = np.full((50, 30), 40), np.full((50, 30), 40)
    text[0] = np.arange(30)
    results = [replace(result(key, [0.0] * 50), ranked=r) for key, r in (("two_tower", text), ("ease", other))]
    return Report(split, k=30), Sides(*results, results[1])


def test_group_tests_count_users_and_not_their_test_likes():
    report, sides = heavy_user()
    found = {g.name: g.table.iloc[0] for g in groupings(report, sides) if len(g.table)}
    by_history = found["历史长度"]
    assert by_history["测试条数"] == 54 and by_history["双塔（微调）"] == 1.0 and by_history["EASE"] == 0.444
    assert by_history["p"] == 1.0  # one user's difference, however many likes it came from
    low = float(by_history["EASE 95%"][1:6])
    assert low < 0.3  # by test likes it would be .315 and more


def test_one_group_alone_is_no_comparison():
    report, sides = heavy_user()
    found = {g.name: g for g in groupings(report, sides)}
    alone = found["类别"]  # every item has the same
    assert alone.table.empty
    assert alone.note.startswith("够20位用户的组只有“") and alone.note.endswith("”一个，没有第二组可比，不列表。")
    assert not re.search(r"<img|(?<!\\)[$`]", alone.note) and len(found["历史长度"].table) == 2
    assert len(group_figure(list(found.values()), sides)) == sum(len(g.table) > 0 for g in found.values())
    plt.close("all")


def test_groups_of_few_users_are_not_shown(own_folder):
    report = made(open_split(load_dataset(own_folder)), k=3, budget=0)
    found = groupings(report, sides_of(report))
    assert [g.name for g in found] == ["历史长度", "物品热度", "物品上架", "类别"]
    assert all(len(g.table) == 0 and g.note == "有20条测试在不足20位用户的组里，不单列。" for g in found[:3])
    assert found[3].title == "**按类别**（取第一个类别）"


def test_people_are_picked_from_three_situations(quick):
    sides = sides_of(quick)
    hit = f"hit@{quick.k}"
    sides.text.users[hit] = [1.0, 0.0] * 30
    sides.behaviour.users[hit] = [1.0] * 30 + [0.0] * 30
    masks = situations(quick, sides)
    assert [mask.sum() for mask in masks.values()] == [15, 15, 15, 15]
    picked = pick(quick, masks)
    assert list(picked) == list(masks)[:3] and all(masks[name][row] for name, row in picked.items())
    assert pick(quick, masks) == picked
    sides.text.users[hit] = sides.behaviour.users[hit]
    assert list(pick(quick, situations(quick, sides))) == ["两者都没命中", "两者都命中"]
    told, table = with_lists(quick, sides, 0)
    user = quick.split.test_users[0]
    assert f"历史{len(quick.split.histories[user])}件，最近的在前：" in told and "测试里喜欢的：" in told
    assert list(table.index) == [1, 2, 3, 4, 5] and list(table.columns) == [sides.text.method, sides.behaviour.method]


def test_names_from_data_are_no_markup_and_no_formula(quick):
    items = quick.split.dataset.items.copy()
    items["title"], items["category"] = np.resize(NASTY, len(items)), np.resize(NASTY, len(items))
    users = quick.split.dataset.users.assign(user_id=NASTY[1])
    quick.split = replace(quick.split, dataset=replace(quick.split.dataset, items=items, users=users))
    sides = sides_of(quick)
    found = groupings(quick, sides)
    category = found[-1]
    assert category.name == "类别" and len(category.table)
    quick.cautions.append(NASTY[0] + NASTY[1])
    told, _ = with_lists(quick, sides, 0)
    case = gather(quick)
    case.groups = [replace(category, table=pd.concat([category.table] * 2))]
    for said, has in ((told, "frac"), (in_words(quick, case), "img")):
        assert has in said and not re.search(r"<img|(?<!\\)[$`]|(?<!\\)\]\(", said)
    axes = group_figure(found, sides)
    labels = [text.get_text() for text in axes[-1].get_yticklabels()]
    axes[-1].figure.canvas.draw()  # a formula that isn't one would raise here
    assert not any(map(is_math_text, labels))
    assert [label.replace(r"\$", "$") for label in labels] == [group[:9] for group in category.table["组"]]
    plt.close("all")


def test_a_family_looks_the_same_in_every_report(quick):
    def looks() -> dict:
        handles, names = cost_figure(quick, sides_of(quick)).get_legend_handles_labels()
        return {n: (tuple(h.get_facecolor()[0]), len(h.get_paths()[0].vertices)) for h, n in zip(handles, names)}

    before = looks()
    for key in ("random", "popularity", "bert_center"):
        del quick.results[key]
    after = looks()
    assert len(before) == len(set(before.values())) == len(after) + 2 and after.items() <= before.items()
    plt.close("all")


def test_a_title_with_dollar_signs_is_drawn_as_it_is(quick):
    """The notebook escaped it as well: the reader then saw the backslash."""
    title = plot_leaderboard(quick.results.values(), quick.main, title="a$b$c").title
    assert title._preprocess_math(title.get_text()) == ("a$b$c", False)
    plt.close("all")
    cells = nbformat.read(Path(__file__).parent.parent / "notebooks" / "report.ipynb", 4).cells
    assert "plot_leaderboard" in str(cells) and "in_figure" not in str(cells)


# ---------------------------------------------------------------- the notebook


def test_the_notebook_shows_it_all(own_folder, tmp_path):
    """Run as a reader runs it, on data whose every name is hostile; new items are run with the quick profile."""
    import papermill

    folder = own_folder.rename(tmp_path / "a$\\frac$<img src=x>")
    items = pd.read_csv(folder / "items.csv")
    items["category"], items["title"] = "<img src=x onerror=alert(1)>$\\frac$", items["title"] + "$\\frac$<img src=x>"
    items.to_csv(folder / "items.csv", index=False)
    source = Path(__file__).parent.parent / "notebooks" / "report.ipynb"
    parameters = {"dataset": str(folder), "profile": "full", "k": 3, "budget": 1, "report_id": "mine"}
    parameters |= {"metrics_csv": str(tmp_path / "metrics.csv"), "summary_json": str(tmp_path / "report.json")}
    papermill.execute_notebook(source, tmp_path / "out.ipynb", parameters, progress_bar=False, cwd=str(tmp_path))
    outputs = [o for c in nbformat.read(tmp_path / "out.ipynb", 4).cells if c.cell_type == "code" for o in c.outputs]
    said = "\n".join(o.data["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {}))
    html = "\n".join(o.data["text/html"] for o in outputs if "text/html" in o.get("data", {}))
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 3  # no two groups: no figure of them
    assert not re.search(r"<img|(?<!\\)\$", said) and "<img" not in html and "tex2jax_ignore" in html
    opens = r"## 结论先行\n- \*\*先上哪个\*\*.*\n- \*\*协议\*\*.*\n- \*\*谁赢\*\*.*\n- \*\*文本值不值\*\*"
    assert re.search(opens, said)
    told = ("**代价**", "**哪里失败**", "**当心**", "**协议**", "说明不了方法的好坏", "测试里喜欢的")
    assert all(word in said for word in told)
    assert "表里的“融合”" in said and "**合起来**" in said
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert "\n".join(found["verdict"]) in said and found["parameters"]["k"] == 3 and len(found["encoder"]) == 64
    rows = pd.read_csv(tmp_path / "metrics.csv")
    assert set(rows["report"]) == {"mine"} and set(rows["min_value"]) == {4.0}
    assert set(rows["protocol"]) == {"leave_last_out", "cold_items"}
    assert rows["method"].nunique() == len(methods_of("full")) and "Error" not in said
