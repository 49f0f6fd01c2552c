"""The report's sentences say what the numbers allow, its figures and groups too."""

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
from textrec_utils.report import METHODS, Report, methods_of, open_split
from textrec_utils.report.comparisons import (
    RIVALS,
    Rivalry,
    Sides,
    front,
    introduction,
    rivalries,
    rivals_table,
    sides_of,
)  # fmt: skip
from textrec_utils.report.examples import pick, situations, with_lists
from textrec_utils.report.figures import group_figure
from textrec_utils.report.groups import Grouping, groupings, thirds
from textrec_utils.report.verdict import among_new_items, in_words, joined, versus, where_it_fails, who_wins
from textrec_utils.report.words import speed_words, tie_words
from textrec_utils.splits import Split

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
    table = rivals_table(sides, against)
    assert list(table["TF-IDF（字）对"]) == [r.rival.method for r in against.values()]
    quick.results = {key: r for key, r in quick.results.items() if METHODS[key].kind != "text" or key == "tfidf_char"}
    assert "tfidf_char" not in rivalries(quick, sides_of(quick))  # and nobody is second


def test_plain_is_never_random_and_may_be_popularity(quick):
    quick.results["random"].users[quick.main] = 1.0
    quick.results["popularity"].users[quick.main] = 0.9
    sides = sides_of(quick)
    assert sides.plain.key == "popularity" and sides.behaviour.key in ("itemknn", "ease")
    said = in_words(quick, sides, rivalries(quick, sides), [])
    assert re.search(r"后者是最好的协同方法；.*热门.*，后者是最好的非文本方法。", said)
    assert said.startswith("- **谁赢**：随机（不看内容的方法），ndcg@5为1.0000") and "合起来" not in said
    assert said.splitlines()[1].startswith("- **协议**：留最后一条（leave_last_out），跨用户泄漏：")


def test_the_second_metric_has_its_say(quick):
    for r in quick.results.values():
        r.users[["ndcg@5", "recall@5"]] = 0.0
    ease, knn = quick.results["ease"], quick.results["itemknn"]
    ease.users[["ndcg@5", "recall@5"]] = 0.6, 0.8
    assert who_wins(quick).endswith("；按recall@5，第一名还是它")
    knn.users["recall@5"] = 0.9
    assert who_wins(quick).endswith("；换成recall@5，第一名是ItemKNN（0.9000对0.8000，显著领先它）")


def test_joining_both_is_compared_with_the_best_single_method(quick):
    users = len(quick.split.test_users)
    quick.results["ease"].users[quick.main] = 0.5
    for value, word in ((0.9, "更高"), (0.1, "更低"), (0.5, "分不出高下")):
        for key in ("two_tower", "two_tower_lexical", "two_tower_both", "tfidf_char", "bert_center", "itemknn"):
            quick.results[key].users[quick.main] = 0.0
        quick.results["popularity"].users[quick.main] = quick.results["random"].users[quick.main] = 0.0
        quick.results["hybrid"] = result("hybrid", [value] * users)
        said = joined(quick)
        assert said.startswith(f"融合（双塔合读＋协同）{value:.4f}，单个方法最好的是EASE0.5000，{word}（差")
    sides = sides_of(quick)
    assert "融合两边都占" in introduction(quick, sides, {})
    assert "**合起来**" in in_words(quick, sides, rivalries(quick, sides), [])


SIDES = Sides(result("two_tower", [0.0]), result("ease", [0.0]), result("ease", [0.0]))


def grouping(name: str, rows: list[tuple]) -> Grouping:
    table = pd.DataFrame(rows, columns=["组", "测试条数", "双塔（微调）", "EASE", "差", "p"])
    return Grouping(name, table, 0)


def test_where_it_fails_names_the_weakest_group_and_only_sure_differences():
    heat = grouping("物品热度", [("1–9", 30, 0.1, 0.3, -0.2, 0.01), ("10–99", 40, 0.4, 0.2, 0.2, 0.001)])
    long = grouping("历史长度", [("2–5", 25, 0.2, 0.25, -0.05, 0.4), ("6–9", 45, 0.3, 0.3, 0.0, 1.0)])
    assert where_it_fails(SIDES, [long, heat]) == (
        "双塔（微调）命中率最低的是物品热度为“1–9”的一组（0.100对0.300，30条）；显著落后EASE最多的也正是这一组；"
        "显著领先最多的是物品热度为“10–99”的一组（0.400对0.200，40条）。括号里先文本后协同"
    )
    assert "；没有哪一组里它和EASE的差距是显著的。" in where_it_fails(SIDES, [long])
    assert where_it_fails(SIDES, [grouping("类别", [("其他", 40, 0.1, 0.3, -0.2, 0.01)])]).startswith("测试太少")
    shifted = grouping("类别", [("a", 30, 0.1, 0.1, 0.0, 1.0), ("b", 30, 0.2, 0.5, -0.3, 0.01)])
    assert "显著落后EASE最多的是类别为“b”的一组（0.200对0.500，30条）" in where_it_fails(SIDES, [shifted])


def test_new_items_are_told_by_the_best_of_both_kinds(quick):
    quick.results["bert_center"].users[quick.main] = 1.0
    for key in ("itemknn", "ease"):
        quick.results[key].users[quick.main] = 0.0
    quick.mixed["bert_center"] = (quick.results["itemknn"], quick.results["bert_center"])
    said = among_new_items(quick)
    assert said.startswith("在只有新物品的候选里，ndcg@5最好的文本方法是BERT 去均值（1.0000），")
    assert "，协同方法最好的是0.0000，文本更高（p<0.001）；" in said
    assert said.endswith("和全部物品混在一起排，BERT 去均值是0.0000，给新物品留位置之后是1.0000")
    quick.results["ease"].users[quick.main] = 1.0
    assert "文本没有显著优势（p=1.000）" in among_new_items(quick)
    assert "**新物品**" in in_words(quick, sides_of(quick), rivalries(quick, sides_of(quick)), [], quick)


def test_few_users_name_no_winner(own_folder):
    split = open_split(load_dataset(only_users(own_folder, FEW_USERS - 1)))
    report = Report(split, "quick", k=3, budget=1, two_tower=SMALL)
    assert report.look()[0] == f"测试用户只有{FEW_USERS - 1}位，不到{FEW_USERS}位，下面不做比较，分数只看个大概"
    report.run()
    sides = sides_of(report)
    assert (sides.text.key, sides.behaviour.key) == ("two_tower_both", "ease")
    told = introduction(report, sides, rivalries(report, sides))
    assert "以双塔合读（微调）代表文本方法，以EASE代表协同方法" in told
    said = told + in_words(report, sides, rivalries(report, sides), groupings(report, sides))
    assert f"- **没有结论**：能评测的用户只有{FEW_USERS - 1}位" in said and "**代价**" in said
    assert not re.search(r"谁赢|文本值不值|最好的文本方法是|分不出高下（|显著领先|显著落后|哪里失败", said)
    assert groupings(report, sides) == [] and group_figure([], sides) is None


# ---------------------------------------------------------------- groups, people, names from data


def test_thirds_keep_equal_counts_together():
    assert list(thirds(pd.Series([1, 2, 3, 4, 5, 6]))) == ["1–2", "1–2", "3–4", "3–4", "5–6", "5–6"]
    assert list(thirds(pd.Series([1, 1, 1, 1, 9]))) == ["1"] * 4 + ["9"]


def heavy_user() -> tuple[Report, Sides]:
    """25 users: one with 30 test likes, all found by text alone, the others with one, found by both."""
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(60)], "title": "t", "text": "x", "category": NASTY[1]})
    users = pd.DataFrame({"user_id": [f"u{n}" for n in range(25)], "text": ""})
    train = pd.DataFrame({"user": range(25), "item": 59, "timestamp": 0, "value": 1.0})
    pairs = {"user": [0] * 30 + list(range(1, 25)), "item": list(range(30)) + [40] * 24}
    test = pd.DataFrame(pairs | {"timestamp": 1, "value": 1.0})
    data = Dataset("d", items, users, pd.DataFrame(), "", "", has_time=False)
    split = Split(data, "random", train, test, test.iloc[:0], "", np.ones(60, dtype=bool))
    text, other = np.full((25, 30), 40), np.full((25, 30), 40)
    text[0] = np.arange(30)
    results = [replace(result(key, [0.0] * 25), ranked=r) for key, r in (("two_tower", text), ("ease", other))]
    return Report(split, k=30), Sides(*results, results[1])


def test_group_tests_count_users_and_not_their_test_likes():
    report, sides = heavy_user()
    found = {g.name: g.table.iloc[0] for g in groupings(report, sides) if len(g.table)}
    by_history = found["历史长度"]
    assert by_history["测试条数"] == 54 and by_history["双塔（微调）"] == 1.0 and by_history["EASE"] == 0.444
    assert by_history["p"] == 1.0  # one user's difference, however many likes it came from
    low = float(by_history["EASE 95%"][1:6])
    assert low < 0.3  # by test likes it would be .315 and more


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
    several = [replace(category, table=pd.concat([category.table] * 2))]
    for said in (told, in_words(quick, sides, rivalries(quick, sides), several)):
        assert "img" in said and not re.search(r"<img|(?<!\\)[$`]|(?<!\\)\]\(", said)
    axes = group_figure(found, sides)
    labels = [text.get_text() for text in axes[-1].get_yticklabels()]
    axes[-1].figure.canvas.draw()  # a formula that isn't one would raise here
    assert not any(map(is_math_text, labels))
    assert [label.replace(r"\$", "$") for label in labels] == [group[:9] for group in category.table["组"]]
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
    parameters["metrics_csv"] = str(tmp_path / "metrics.csv")
    papermill.execute_notebook(source, tmp_path / "out.ipynb", parameters, progress_bar=False, cwd=str(tmp_path))
    outputs = [o for c in nbformat.read(tmp_path / "out.ipynb", 4).cells if c.cell_type == "code" for o in c.outputs]
    said = "\n".join(o.data["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {}))
    html = "\n".join(o.data["text/html"] for o in outputs if "text/html" in o.get("data", {}))
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 4
    assert not re.search(r"<img|(?<!\\)\$", said) and "<img" not in html and "tex2jax_ignore" in html
    assert re.search(r"## 结论先行\n- \*\*谁赢\*\*.*\n- \*\*协议\*\*.*\n- \*\*文本值不值\*\*", said)
    told = ("**代价**", "**哪里失败**", "**当心**", "**协议**", "说明不了方法的好坏", "测试里喜欢的")
    assert all(word in said for word in told)
    assert "表里的“融合”" in said and "**合起来**" in said
    rows = pd.read_csv(tmp_path / "metrics.csv")
    assert set(rows["report"]) == {"mine"} and set(rows["min_value"]) == {4.0}
    assert set(rows["protocol"]) == {"leave_last_out", "cold_items"}
    assert rows["method"].nunique() == len(methods_of("full")) and "Error" not in said
