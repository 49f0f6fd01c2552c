"""From report to production: every method of the report is kept, read again, exported, and serves by id."""

import ast
import json
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.small_report import SMALL, made
from textrec_utils.baselines import EASE, Recommender
from textrec_utils.core import DataError
from textrec_utils.core.paths import project_root
from textrec_utils.datasets import Dataset, load_dataset
from textrec_utils.ranking import explain
from textrec_utils.report import METHODS
from textrec_utils.serving import Service, load, save, train
from textrec_utils.serving.reasons import AGAIN
from textrec_utils.splits import make_split

QUICK = {"budget": 2, "k": 5, "two_tower": SMALL}
NO_PRODUCT = {"random", "userknn", "hybrid"}  # served by the package alone
OUTSIDE = "import sys, runpy; sys.modules['textrec_utils'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"


@pytest.fixture(scope="module", params=METHODS)
def service(request, taste) -> Service:
    """Each method of the registry, trained on all data: a new one can't be forgotten."""
    return train(taste.dataset, request.param, **QUICK)


@pytest.fixture(scope="module")
def bundle(service, tmp_path_factory) -> Path:
    return save(service, tmp_path_factory.mktemp("bundle") / service.method)


def own_history(service: Service, row: int) -> list[str]:
    return [service.item_ids[item] for item in service.split.histories[row]]


class TestEveryMethodOfTheReport:
    def test_kept_and_read_again_it_scores_the_same(self, service, tmp_path):
        everyone = np.arange(service.split.n_users)
        service.model.save(tmp_path)
        again = Recommender.load(tmp_path)
        assert np.array_equal(again.score(everyone), service.model.score(everyone))
        assert again.settings() == service.model.settings() and again.needs == service.model.needs

    def test_a_bundle_serves_as_what_it_was_made_from(self, service, bundle):
        again = load(bundle)
        assert (again.method, again.label) == (service.method, METHODS[service.method].label)
        assert again.about == json.loads(json.dumps(service.about))
        for repeat in (False, True):
            lists = [pd.concat(s.lists(n=7, repeat=repeat), ignore_index=True) for s in (service, again)]
            pd.testing.assert_frame_equal(*lists)
        history = ["i4", "i7", "i1"]
        pd.testing.assert_frame_equal(service.recommend_from(history, 7), again.recommend_from(history, 7))

    def test_the_example_serves_without_the_package(self, service, bundle, monkeypatch, capsys):
        script = bundle / "example.py"
        code = script.read_text(encoding="utf-8")
        nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in nodes for alias in node.names}
        given = json.loads((bundle / "bundle.json").read_text("utf-8"))["recipe"]["kind"]
        assert (given == "package") == (service.method in NO_PRODUCT)
        user = service.user_ids[5]
        words = own_history(service, 5) if given in ("history", "scores") else [user]
        if given == "package":  # in this process: in another the package alone takes seconds to import
            monkeypatch.setattr(sys, "argv", [str(script), *words])
            runpy.run_path(str(script))
            said = capsys.readouterr().out
        else:
            assert names == {"csv", "json", "sys", "Path", "numpy"}
            assert sum(bool(line.strip()) for line in code.splitlines()) <= 24
            done = subprocess.run([sys.executable, "-c", OUTSIDE, script, *words], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            said = done.stdout
        found = {item: float(score) for item, score in map(str.split, said.splitlines())}
        wanted = service.recommend_for(user, 10)
        scores = dict(zip(wanted["item"], wanted["score"]))
        assert list(found.values()) == pytest.approx(list(scores.values()), rel=1e-3, abs=2e-5)
        assert all(found[item] == pytest.approx(scores[item], rel=1e-3, abs=2e-5) for item in {*found} & {*scores})

    def test_lists_leave_out_what_was_liked_unless_repeats_are_allowed(self, service):
        liked = set(own_history(service, 5))
        user, n = service.user_ids[5], service.split.n_items
        assert not liked & set(service.recommend_for(user, n)["item"])
        again = service.recommend_for(user, n, repeat=True)
        assert liked < set(again["item"]) and len(again) == n and list(again["rank"]) == list(range(1, n + 1))
        assert (np.diff(again["score"]) <= 0).all()

    def test_a_history_outside_the_data_is_served_as_one_in_them(self, service):
        found = service.recommend_from(own_history(service, 5), 10)
        wanted = service.recommend_for(service.user_ids[5], 10)
        assert list(found.columns) == ["rank", "item", "title", "score", "reason"]
        if service.method in {"random", "userknn", "als"}:  # tests/test_recommenders.py tells how near they are
            assert len(found) == 10
        else:
            assert list(found["score"]) == pytest.approx(list(wanted["score"]), rel=1e-4, abs=1e-5)

    def test_who_has_liked_nothing_gets_what_is_popular(self, service):
        new = service.recommend_from([], 10)
        assert len(new) == 10 and set(new["reason"]) <= {"热门", "此刻热门"}
        if service.method != "recent":
            assert (np.diff(service.split.likes[[service._items[item] for item in new["item"]]]) <= 0).all()

    def test_every_line_has_a_reason(self, service):
        assert (pd.concat(service.lists(n=5))["reason"].str.len() > 0).all()


def test_the_lists_without_all_data_are_those_that_the_report_judged(taste):
    report = made(taste, "full", budget=2)
    options = QUICK | {"split": "leave_last_out", "all_data": False}
    for key in ("popularity", "ease", "ease_text", "tfidf_char", "two_tower_both", "hybrid"):
        service = train(taste.dataset, key, **options)
        assert service.split.fingerprint == taste.fingerprint
        found = pd.concat(service.lists(taste.test_users, 5))
        wanted = taste.dataset.items["item_id"].to_numpy()[report.results[key].ranked]
        assert found["item"].to_numpy().reshape(-1, 5).tolist() == wanted.tolist(), key
        both = [service.about["settings"], report.results[key].parameters]
        assert all(both[1][name] == value for name, value in both[0].items()), key


def test_all_data_are_learned_from_with_the_settings_of_the_report(own_folder):
    data = load_dataset(own_folder)
    both = [train(data, "ease", all_data=all_data, budget=2) for all_data in (True, False)]
    assert both[0].about["settings"] == both[1].about["settings"]
    assert both[0].about["likes"] == len(data.positives()) > both[1].about["likes"]
    wanted = EASE(**both[0].about["settings"]).fit(both[0].split).score(np.arange(20))
    assert np.array_equal(both[0].model.score(np.arange(20)), wanted)


@pytest.mark.parametrize("protocol", ["leave_last_out", "temporal", "cold_items", "random"])
def test_everything_is_every_like_of_every_protocol(own_folder, protocol):
    data = load_dataset(own_folder)
    split = make_split(data, protocol)
    whole = split.everything()
    assert len(whole.train) == len(data.positives()) and whole.candidates.all() and not len(whole.test)
    assert whole.train_matrix.nnz == len(whole.train) and whole.train["timestamp"].is_monotonic_increasing


def test_fresh_items_alone_are_candidates_where_items_live_for_days(taste):
    items = taste.dataset.items.assign(published=np.arange(60) * 86400.0)
    rows = taste.dataset.interactions.assign(timestamp=lambda t: t["timestamp"] * 5 * 86400)
    split = make_split(replace(taste.dataset, items=items, interactions=rows), "temporal", fresh_days=10)
    last = rows["timestamp"].max()
    whole = split.everything()
    assert (
        whole.candidates.tolist() == (items["published"] >= last - 10 * 86400).tolist() and not whole.candidates.all()
    )
    assert whole.candidates.sum() < split.candidates.sum()


def test_the_reason_is_the_liked_item_that_adds_most(taste):
    service = train(taste.dataset, "ease", budget=0)  # every like counts the same
    titles = {f"第{n}件": n for n in range(60)}
    items = taste.dataset.items.assign(title=list(titles))
    service = replace(service, split=replace(service.split, dataset=replace(service.split.dataset, items=items)))
    found = service.recommend_from(["i0", "i3", "i7"], 8)
    alone = {i: service.recommend_from([i], 60).set_index("item")["score"] for i in ("i0", "i3", "i7")}
    assert len(found) == 8
    for row in found.itertuples():
        named = items["item_id"][titles[re.fullmatch("喜欢过《(.+)》", row.reason)[1]]]
        assert alone[named][row.item] == max(scores.get(row.item, -9) for scores in alone.values())
    again = service.recommend_from(["i0", "i3"], 60, repeat=True).set_index("item")["reason"]
    assert AGAIN not in set(again)  # EASE says nothing of an item by itself
    words = train(taste.dataset, "tfidf_char", **QUICK).recommend_from(["i0", "i3"], 60, repeat=True)
    assert list(words.set_index("item")["reason"][["i0", "i3"]]) == [AGAIN] * 2


def test_reasons_agree_with_the_explanation_of_the_course(taste):
    service = train(taste.dataset, "bert_mean", **QUICK | {"budget": 0})
    vectors = service.model._vectors
    for user in range(5):
        table = service.recommend_for(service.user_ids[user], 5)
        for row in table.itertuples():
            (best, _), *_ = explain(service._items[row.item], service.split.histories[user], vectors)
            assert row.reason == f"喜欢过《{service.split.dataset.items['title'][best]}》"


def silent(service: Service, text: str = " ") -> Dataset:
    return replace(service.split.dataset, items=service.split.dataset.items.assign(text=text))


WRONG = [
    (lambda s: s.recommend_for(7), "用户编号是文字，得到 int 的 7：请写成 '7'"),
    (lambda s: s.recommend_for(["u1"]), "用户编号是文字，得到 list"),
    (lambda s: s.recommend_for("nobody"), "数据里没有用户 nobody：请检查编号，数据里的编号像 u"),
    (lambda s: s.recommend_for("u1", 0), "应是不小于 1 的整数，得到 0"),
    (lambda s: s.recommend_for("u1", True), "应是不小于 1 的整数，得到 True"),
    (lambda s: s.recommend_for("u1", 2.5), "应是不小于 1 的整数，得到 2.5"),
    (lambda s: s.recommend_from("i1"), "历史应是物品编号的列表，例如 .*得到 str"),
    (lambda s: s.recommend_from(5), "历史应是物品编号的列表，例如 .*得到 int"),
    (lambda s: s.recommend_from([1, 2]), "物品编号是文字，得到 int 的 1"),
    (lambda s: s.recommend_from(["i1", "a", "b", "c", "d"]), "数据里没有物品 a、b、c等 4 个"),
    (lambda s: train(s.split.dataset, "magic"), "没有方法 magic：可用的有 random、popularity"),
    (lambda s: train(s.split.dataset, "ease", k=0), "k 至少是 1"),
    (lambda s: train("no-such", "ease"), "没有数据集 no-such"),
    (lambda s: train(s.split.dataset, "hybrid", budget=0), "taste 上做不出“融合.*”，请换一个方法：协同方法没有调参。"),
    (lambda s: train(silent(s), "tfidf_char"), "taste 上做不出“TF-IDF（字）”，请换一个方法：物品没有文字。"),
    (lambda s: train(silent(s, "……"), "tfidf_word"), "请换一个方法：全部文字里没有一个词，算不出 TF-IDF；请检查"),
]


@pytest.mark.parametrize("call, said", WRONG, ids=[said for _, said in WRONG])
def test_wrong_words_are_refused_in_a_sentence(taste, call, said):
    service = train(taste.dataset, "ease", budget=0)
    with pytest.raises(DataError, match=said):
        call(service)


def test_a_history_counts_each_item_once_where_it_came_last(taste):
    service = train(taste.dataset, "tfidf_char", **QUICK)
    service.model.half_life = 1.0
    service = replace(service)
    found, wanted = (service.recommend_from(h, 5) for h in (["i0", "i4", "i0"], np.array(["i4", "i0"], dtype=object)))
    pd.testing.assert_frame_equal(found, wanted)
    assert not found.equals(service.recommend_from(["i0", "i4"], 5))


def test_what_is_no_bundle_or_has_changed_is_refused(taste, tmp_path):
    service = train(taste.dataset, "ease", budget=0)
    folder = save(service, tmp_path / "ease")
    assert save(service, folder) == folder  # its own may be written again
    with pytest.raises(DataError, match="不是 textrec export 写的文件夹"):
        load(tmp_path)
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder)
    assert done.returncode == 0
    items = (folder / "items.csv").read_text(encoding="utf-8")
    (folder / "items.csv").write_text(items.replace("绿茶", "红茶"), encoding="utf-8")
    with pytest.raises(DataError, match="items.csv 变过"):
        load(folder)
    (folder / "items.csv").unlink()
    with pytest.raises(DataError, match="缺了文件"):
        load(folder)
    (folder / "mine.txt").write_text("…")
    with pytest.raises(DataError, match="mine.txt，不覆盖"):
        save(service, folder)


def test_ids_that_look_like_numbers_or_nothing_stay_texts(taste, tmp_path, monkeypatch):
    names = {"u0": "007", "u1": "NA", "u2": "1.0"}
    data = replace(
        taste.dataset,
        users=taste.dataset.users.replace({"user_id": names}),
        interactions=taste.dataset.interactions.replace({"user_id": names, "item_id": {"i0": "null"}}),
        items=taste.dataset.items.replace({"item_id": {"i0": "null"}}).assign(title='他说"好", 真\n的'),
    )
    again = load(save(train(data, "ease", budget=0), tmp_path / "ease"))
    for user in names.values():
        assert len(again.recommend_for(user, 3)) == 3
    assert len(again.recommend_from(["null"], 3)) == 3
    assert '他说"好", 真 的' in again.recommend_for("007")["reason"][0]
    monkeypatch.setattr(sys, "argv", ["example.py", "null"])
    assert runpy.run_path(str(tmp_path / "ease" / "example.py"))["items"][0]["title"] == '他说"好", 真\n的'


READMES = [project_root() / name for name in ("README.md", "README.zh-CN.md")]


def python_of(page: Path) -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S))


def test_the_python_of_the_readmes_runs(tmp_path, monkeypatch):
    code = [python_of(page) for page in READMES]
    assert [ast.dump(ast.parse(c)) for c in code] == [ast.dump(ast.parse(code[0]))] * 2 and "recommend_from" in code[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(train.__kwdefaults__, "budget", 0)  # choosing settings takes longer than the rest
    exec(code[0], {})
    assert (tmp_path / "build" / "ease" / "example.py").is_file()
