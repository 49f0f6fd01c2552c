"""The report's methods run on any data and any split; one is added by one entry and steps aside alone."""

import json
from dataclasses import replace

import pytest
from matplotlib import pyplot as plt

from tests.small_report import SMALL, made, only, only_users
from textrec_utils import ranking
from textrec_utils.baselines import EASE, Popularity, Recommender, ease
from textrec_utils.core import DataError, TooLittleData
from textrec_utils.core.escape import in_markdown
from textrec_utils.datasets import load_dataset
from textrec_utils.evaluation import evaluate
from textrec_utils.finetuning.features import _spelled
from textrec_utils.report import (
    METHODS,
    Method,
    Report,
    Workshop,
    methods,
    methods_of,
    open_split,
    register,
    run,
    threshold,
)
from textrec_utils.report.claims import gather
from textrec_utils.report.comparisons import introduction, sides_of
from textrec_utils.report.figures import cost_figure
from textrec_utils.report.verdict import in_words, who_wins
from textrec_utils.splits import make_split


@pytest.fixture
def registry():
    """Methods that a test adds are gone after it."""
    with only(*METHODS):
        yield register


class Oracle(Recommender):
    """Knows the test."""

    def fit(self, split):
        self._truth = split.test_matrix
        return self

    def score(self, users):
        return self._truth[users].toarray()


@pytest.mark.parametrize("protocol", ["leave_last_out", "cold_items", "random"])
def test_the_full_profile_runs_on_own_data(own_folder, protocol, monkeypatch):
    knows_new = {}  # by method, what its recommender says

    def judged(model, *args, **options):
        knows_new[options["key"]] = model.cold_items
        return evaluate(model, *args, **options)

    monkeypatch.setattr("textrec_utils.report.run.evaluate", judged)
    split = make_split(load_dataset(own_folder), protocol)
    report = made(split, "full", budget=2)
    assert set(report.tuned) == {m.key for m in METHODS.values() if m.grid}
    assert all(len(found.table) >= 2 for found in report.tuned.values())
    assert list(report.results) == [m.key for m in methods_of("full")]
    for key, result in report.results.items():
        assert result.key == key and result.method == METHODS[key].label and result.cost.seconds > 0
        assert len(result.users) == len(split.test_users) and result.users.notna().all(axis=None)
        assert ("model" in result.parameters) == METHODS[key].encodes
    told = {(METHODS[key].grid, json.dumps(r.parameters, sort_keys=True)) for key, r in report.results.items()}
    assert len(told) == len(report.results)  # no two methods that are built alike say the same of themselves
    if protocol == "cold_items":  # what a recommender says of new items is so
        same = {key for key, r in report.results.items() if (r.ranked == r.ranked[0]).all()}
        assert not same & {key for key, known in knows_new.items() if known and key != "hybrid"}  # its share may be 0
        assert same >= {"popularity", "itemknn", "ease", "item2vec"} and not knows_new["item2vec"]


def test_a_method_is_added_in_one_place(registry, taste):
    every = {"profiles": ("quick", "full")}
    registry(Method("oracle", "先知", "text", "先知一族", lambda w: Oracle(), **every))
    registry(Method("crowd", "人群", "behaviour", "人群一族", lambda w: Popularity(), **every))
    with pytest.raises(ValueError, match="已经有了"):
        registry(Method("oracle", "另一个", "text", "x", lambda w: Oracle()))
    for wrong in ({"kind": "magic"}, {"profiles": ("slow",)}, {"needs": frozenset({"luck"})}, {"grid": "none"}):
        with pytest.raises(ValueError, match="不认识"):
            registry(replace(METHODS["oracle"], **{"key": "other", "label": "别的"} | wrong))
    only = {"random", "popularity", "ease", "tfidf_char", "oracle", "crowd"}
    for key in set(METHODS) - only:
        del METHODS[key]
    report = made(taste)
    assert list(report.results) == ["random", "popularity", "ease", "tfidf_char", "oracle", "crowd"]
    assert report.board()["方法"].iloc[0] == "先知"
    sides = sides_of(report)
    assert sides.text.key == "oracle" and "最好的文本方法是先知" in introduction(report, sides, {})
    legend = [text.get_text() for text in cost_figure(report, sides).get_legend().get_texts()]
    assert legend == ["非个性化", "协同", "TF-IDF", "先知一族", "人群一族"]
    said = who_wins(report, gather(report))
    assert said.startswith("测试上最好的是先知，属于文本方法；测试ndcg@5为1.0000") and "显著高于" in said
    plt.close("all")


@pytest.mark.parametrize("place", ["random", "itemknn", "tfidf_char", "two_tower_both"])
def test_a_method_with_too_little_data_steps_aside_alone(registry, taste, place):
    def fails(workshop):
        raise TooLittleData("文字太少")

    METHODS[place] = replace(METHODS[place], build=fails)
    report = made(taste, budget=0)
    assert list(report.results) == [m.key for m in methods_of("quick") if m.key not in (place, "own_tower")]
    assert report.cautions[1:] == [f"留最后一条划分上，“{METHODS[place].label}”没有跑：文字太少"]
    said = in_words(report, gather(report))
    assert f"**当心**：留最后一条划分上，“{in_markdown(METHODS[place].label)}”没有跑" in said


def test_an_error_that_is_no_lack_of_data_is_an_error(registry, taste):
    def fails(workshop):
        raise ValueError("a mistake in the code")

    METHODS["tfidf_char"] = replace(METHODS["tfidf_char"], build=fails)
    with pytest.raises(ValueError, match="a mistake"):
        made(taste, budget=0)


def test_what_a_method_needs_and_data_lack_is_told(registry, taste):
    bare = replace(taste.dataset, items=taste.dataset.items.assign(text=" "), has_time=False)
    registry(Method("clock", "看钟", "behaviour", "钟", lambda w: Popularity(), ("quick",), frozenset({"time"})))
    report = made(make_split(bare, "random"), budget=0)
    assert list(report.results) == [m.key for m in methods_of("quick") if not m.needs]
    assert {"random", "popularity", "itemknn", "ease"} <= set(report.results)
    assert "随机划分上，“看钟”没有跑：数据没有时间" in report.cautions
    assert "随机划分上，“TF-IDF（字）”没有跑：物品没有文字" in report.cautions
    with pytest.raises(TooLittleData, match="文本方法一个也没有跑成，无从比较；.*物品没有文字"):
        sides_of(report)


def test_what_a_recommender_needs_counts_though_its_method_says_nothing(registry, taste):
    fits = []

    class Clock(Oracle):
        needs = frozenset({"time", "model"})

        def fit(self, split):
            fits.append(split)
            return super().fit(split)

    registry(Method("clock", "看钟", "behaviour", "钟", lambda w: Clock(), ("quick",)))
    for key in set(METHODS) - {"popularity", "clock"}:
        del METHODS[key]
    report = made(make_split(replace(taste.dataset, has_time=False), "random"), budget=0)
    assert list(report.results) == ["popularity"] and not fits
    assert "随机划分上，“看钟”没有跑：数据没有时间" in report.cautions
    assert list(made(taste, budget=0).results) == ["popularity", "clock"] and fits


def test_what_the_memory_will_not_hold_is_left_out_before_anything_runs(registry, taste, monkeypatch):
    for key in set(METHODS) - {"popularity", "itemknn", "tfidf_char", "ease", "ease_text"}:
        del METHODS[key]
    need = ease.needed_bytes(taste.n_items)
    monkeypatch.setattr(EASE, "fit", lambda *_: pytest.fail("started"))
    monkeypatch.setattr(run, "free_memory", lambda: need)  # it would just fit, without a margin
    report = Report(taste, "full", k=4, budget=1)
    told = [sentence for sentence in report.look() if "内存" in sentence]
    assert len(told) == 1 and told[0].startswith("EASE、EASE＋文字没有跑：60件物品要0.0 GB内存")
    report.tune(), report.run()
    assert list(report.results) == ["popularity", "itemknn", "tfidf_char"] and list(report.tuned) == ["itemknn"]
    assert report.cautions.count(told[0]) == 1 and f"**当心**：{in_markdown(told[0])}。" in in_words(
        report, gather(report)
    )
    last = report.board().iloc[-2:]
    assert list(last["方法"]) == ["EASE（内存放不下，没有跑）", "EASE＋文字（内存放不下，没有跑）"]
    assert set(last.iloc[:, 1:].to_numpy().ravel()) == {"—"}
    monkeypatch.setattr(run, "free_memory", lambda: 2 * need)
    assert not Report(taste, "full").no_room
    cold = report.among_new_items()  # by the same memory: what is left out there has been told
    assert [method.key for method in cold.no_room] == ["ease"]


def test_a_large_category_names_its_gigabytes(taste, monkeypatch):
    monkeypatch.setattr(run, "free_memory", lambda: 8 * 10**9)
    monkeypatch.setattr(type(taste), "n_items", 112_000)
    (told,) = Report(taste, "quick").no_room_words()
    assert "EASE没有跑：112,000件物品要50.6 GB内存（和物品数的平方成正比），可用的只有8.0 GB，还要留20%的余地" in told


def test_what_memory_takes_at_the_last_moment_is_left_out_too(registry, taste, monkeypatch):
    for key in set(METHODS) - {"popularity", "ease"}:
        del METHODS[key]
    monkeypatch.setattr(ease, "free_memory", lambda: 1000)
    report = made(taste, k=4)  # what no other test has tuned: the store would have it
    assert list(report.results) == ["popularity"] and not report.tuned
    assert any("“EASE”没有跑：EASE 要 60² × 4 字节的内存" in caution for caution in report.cautions)


def test_a_hybrid_is_scored_block_by_block(registry, taste, monkeypatch):
    """Parts' scores of everyone are never held: at 10⁵ users and items that would be 40 GB each."""
    asked, score = [], EASE.score
    monkeypatch.setattr(EASE, "score", lambda self, users: asked.append(len(users)) or score(self, users))
    for key in set(METHODS) - {"popularity", "ease", "two_tower_both", "hybrid"}:
        del METHODS[key]
    workshop = Workshop(taste, tuned=Report(taste, "full", k=5, budget=2).tune(), two_tower=SMALL)
    asked.clear()
    monkeypatch.setattr(ranking, "SCORES", 7 * taste.n_items)
    evaluate(workshop.build(METHODS["hybrid"]), taste, ["recall@5"])
    assert max(asked) == 7


def test_texts_without_words_leave_the_others_running(taste):
    """Punctuation alone: no words, vectors all alike; each method says so itself and popularity still runs."""
    mute = replace(taste.dataset, items=taste.dataset.items.assign(text="……"))
    report = made(make_split(mute, "leave_last_out"), "full", budget=0)
    lost = [METHODS[key].label for key in METHODS if key not in (*report.results, "own_tower", "hybrid")]
    known = [m.label for m in METHODS.values() if m.key.startswith(("word2vec", "two_tower"))]
    assert {"TF-IDF（词）", *known} <= set(lost) and {"popularity", "bert_mean"} <= set(report.results)
    assert [c.partition("“")[2].partition("”")[0] for c in report.cautions[1:]] == lost


def test_costs_come_from_the_ledgers_and_count_each_step_once(own_folder):
    split = make_split(load_dataset(own_folder), "leave_last_out")
    report = made(split, "full", two_tower=replace(SMALL, max_length=128))  # as long as the frozen encoder reads
    encoding = Workshop(split).encoded.cost
    spelling = _spelled(list(split.dataset.items["text"]), seed=SMALL.seed).cost  # from the store, with its cost
    assert encoding.seconds > 0 and spelling.seconds > 0
    for key in ("bert_mean", "two_tower", "two_tower_lexical", "two_tower_both", "hybrid"):
        cost = report.results[key].cost
        read = encoding + spelling if key not in ("bert_mean", "two_tower") else encoding
        assert cost.by_stage()["encode"] == pytest.approx(read.seconds), key
        assert cost.seconds == pytest.approx(sum(cost.by_stage().values()))
    towers = [report.results[key].cost.by_stage()["train"] for key in ("two_tower_both", "hybrid")]
    assert towers[0] == towers[1] > 0


def test_the_hybrid_takes_what_validation_prefers(own_folder, monkeypatch):
    """With nothing to choose from but the baseline (share 0) or the tower (share 1), the hybrid is one of the two."""
    split = make_split(load_dataset(own_folder), "leave_last_out")
    monkeypatch.setattr(methods, "SHARES", [0.0])
    alone = made(split, "full").results
    rivals = [m.key for m in METHODS.values() if m.grid]
    assert any((alone["hybrid"].ranked == alone[key].ranked).all() for key in rivals)
    monkeypatch.setattr(methods, "SHARES", [1.0])
    tower = made(split, "full").results
    assert (tower["hybrid"].ranked == tower["two_tower_both"].ranked).all()
    assert (tower["hybrid"].ranked != tower["two_tower"].ranked).any()


def test_what_takes_longest_is_trained_side_by_side(taste, monkeypatch):
    shops = [Workshop(split, two_tower=replace(SMALL, steps=2)) for split in (taste, taste.inner())]
    towers, keys = ("two_tower_lexical",), ["two_tower_lexical", "item2vec"]
    methods.train_ahead(shops, keys)  # so few likes: each waits for its turn
    assert not any(methods._kept(shop, key) for shop in shops for key in towers)
    monkeypatch.setattr(methods, "MANY", 1)
    monkeypatch.setattr("textrec_utils.report.methods.torch.get_num_threads", lambda: 2)
    methods.train_ahead(shops, keys)
    assert all(methods._kept(shop, key) for shop in shops for key in towers)
    monkeypatch.setattr(methods, "side_by_side", None)  # all is there
    methods.train_ahead(shops, keys)


def test_without_tuning_there_is_no_hybrid(own_folder):
    report = made(make_split(load_dataset(own_folder), "leave_last_out"), "full", budget=0)
    assert not report.tuned and "hybrid" not in report.results
    assert list(report.results) == [m.key for m in methods_of("full") if not m.needs & {"tuning", "budget"}]
    assert not any("没有跑" in caution for caution in report.cautions)


def test_where_the_data_can_be_parted_only_once_defaults_are_used_and_told(taste):
    likes = taste.dataset.interactions
    two = replace(taste.dataset, interactions=likes[likes.groupby("user_id").cumcount() < 2])
    report = made(make_split(two, "leave_last_out"))
    assert not report.tuned and "ease" in report.results
    rivals = "、".join(method.label for method in methods_of("quick") if method.grid)
    assert report.cautions[1].startswith(f"留最后一条划分上，{rivals}没有调参，用默认设置：taste 按 leave_last_out")
    assert sum("没有调参" in caution for caution in report.cautions) == 1


def test_tuning_one_method_in_vain_leaves_the_others_their_settings(taste, monkeypatch):
    def too_few(*values, **settings):
        raise TooLittleData("太少。")

    def mistake(*values, **settings):
        raise DataError("a mistake in the data")

    monkeypatch.setattr("textrec_utils.tuning.torch.get_num_threads", lambda: 1)  # another process sees no patch
    monkeypatch.setitem(methods.GRIDS, "itemknn", (too_few, methods.GRIDS["itemknn"][1]))
    report = Report(taste, "quick", k=5, budget=1)
    assert list(report.tune()) == ["recent", "ease"]
    assert report.cautions == ["留最后一条划分上，ItemKNN没有调参，用默认设置：太少。"]
    monkeypatch.setitem(methods.GRIDS, "itemknn", (mistake, methods.GRIDS["itemknn"][1]))
    with pytest.raises(DataError, match="a mistake"):
        Report(taste, "quick", k=5, budget=1).tune()


def test_the_split_is_the_datasets_own_choice_and_one_user_is_refused(own_folder, monkeypatch):
    data = load_dataset(own_folder)
    assert open_split(data).protocol == "leave_last_out" and open_split(data, "random").protocol == "random"
    with monkeypatch.context() as enough:  # what does not leak, where enough users are left to judge by
        enough.setattr("textrec_utils.report.run.ENOUGH", 1)
        assert open_split(data).protocol == "temporal" and open_split(data, "leave_last_out").protocol != "temporal"
    assert open_split(replace(data, default_protocol="temporal")).protocol == "temporal"
    assert open_split(replace(data, name="caixin")).protocol == "leave_last_out"  # a name decides nothing
    assert open_split(replace(data, has_time=False)).protocol == "random"
    with pytest.raises(DataError, match="只有 1 位能评测的用户.*第 00 章"):
        open_split(load_dataset(only_users(own_folder, 1)), "random")


def test_a_threshold_of_nought_is_taken_as_given(own_folder):
    data = replace(load_dataset(own_folder), min_value=5.0)
    own, five, none = (open_split(data, min_value=value) for value in (None, 5.0, 0.0))
    assert len(own.train) == len(five.train) < len(none.train) and (own.train["value"] == 5).all()
    assert none.train["value"].min() == 3
    for nought in ("0", 0, 0.0, "0.0"):
        assert threshold(nought, data.min_value) == 0.0
        assert len(open_split(data, min_value=threshold(nought)).train) == len(none.train)
    assert threshold("auto") is None and threshold("auto", 5.0) == 5.0 and threshold("-1.5") == -1.5
    for wrong in ("", "default", "nan", "inf", None, "4分"):
        with pytest.raises(DataError, match="min_value 应是 auto") as error:
            threshold(wrong)
        assert "\n" not in str(error.value)


def test_what_a_report_is_asked_for_is_checked(taste):
    for wrong in ({"k": 0}, {"budget": -1}):
        with pytest.raises(DataError, match="至少是"):
            Report(taste, **wrong)
    with pytest.raises(ValueError, match="没有方案 huge"):
        Report(taste, "huge")
