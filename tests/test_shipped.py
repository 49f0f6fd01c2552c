"""Shipped tables: remade part by part, whole or refused, and held to what the code gives now."""

import json
import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from textrec_utils.baselines import EASE
from textrec_utils.cli import main
from textrec_utils.core.errors import DataError
from textrec_utils.core.files import sha256_of
from textrec_utils.datasets import load_dataset
from textrec_utils.evaluation import evaluate
from textrec_utils.finetuning import TwoTowerConfig
from textrec_utils.finetuning.features import untrained
from textrec_utils.ranking import recommend
from textrec_utils.shipped import TABLES, about, assert_within, read
from textrec_utils.shipped.pairs import Lists, blended
from textrec_utils.splits import make_split

VALUES = {"none": (0.10, 0.12), "half": (0.20, 0.21)}


def toy_rows(setting: str, stop: bool = False) -> pd.DataFrame:
    return pd.DataFrame({"setting": setting, "seed": [0, 1], "ndcg@10": VALUES[setting]})


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A registered table `toy` of two parts; `calls` are the parts that were computed."""
    module = ModuleType("textrec_utils.shipped.toy")
    module.PARTS, module.calls, module.stop = [{"setting": "none"}, {"setting": "half"}], [], None

    def rows(setting: str) -> pd.DataFrame:
        if setting == module.stop:
            raise KeyboardInterrupt
        module.calls.append(setting)
        return toy_rows(setting)

    module.rows = rows
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(TABLES, "toy", "一张小表")
    monkeypatch.setattr("textrec_utils.shipped.tables.project_data", lambda: tmp_path / "data")
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "cache"))
    return module


def run(*words: str):
    return CliRunner().invoke(main, list(words))


def test_a_table_is_made_read_and_not_made_again(toy, tmp_path):
    assert "textrec remake toy" in run("list").output
    made = run("remake", "toy")
    assert made.exit_code == 0 and "[2/2] setting=half：" in made.output, made.output
    table, note = read("toy"), json.loads((tmp_path / "data" / "results" / "toy.json").read_text(encoding="utf-8"))
    assert table.values.tolist() == [["none", 0, 0.1], ["none", 1, 0.12], ["half", 0, 0.2], ["half", 1, 0.21]]
    assert table.attrs == {"name": "toy", **note} and note["command"] == "textrec remake toy"
    assert (
        note["seeds"] == [0, 1] and note["rows"] == 4 and "torch" in note["versions"] and "threads" in note["machine"]
    )
    assert note["sha256"] == sha256_of(tmp_path / "data" / "results" / "toy.csv") and len(note["code"]) == 64
    assert f"{note['date']} 用 " in run("list").output
    assert "不用重做" in run("remake", "toy").output and toy.calls == ["none", "half"]
    toy.PARTS.append({"setting": "half"})  # other settings: made again, what is known from the store
    assert "已重做" in run("remake", "toy").output and len(read("toy")) == 6 and toy.calls == ["none", "half"]
    assert "已重做" in run("remake", "toy", "--force").output and len(toy.calls) == 5


def test_after_ctrl_c_the_finished_parts_come_from_the_store(toy, tmp_path):
    toy.stop = "half"
    stopped = run("remake", "toy")
    assert stopped.exit_code == 130 and "做完的部分都存下了" in stopped.output
    assert not (tmp_path / "data").exists() and toy.calls == ["none"]
    toy.stop = None
    assert "setting=none：0 秒（已有）" in run("remake", "toy").output and toy.calls == ["none", "half"]


def test_what_is_not_whole_is_one_sentence(toy, tmp_path):
    with pytest.raises(DataError, match="toy.csv 不在：.*textrec remake toy"):
        read("toy")
    assert run("remake", "toy").exit_code == 0
    path = tmp_path / "data" / "results" / "toy.csv"
    path.write_text(path.read_text("utf-8").replace("0.12", "0.13"), encoding="utf-8")
    with pytest.raises(DataError, match="校验和不符.*textrec remake toy"):
        read("toy")
    assert "已重做" in run("remake", "toy").output and len(read("toy")) == 4
    path.with_suffix(".json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="说明读不懂"):
        read("toy")
    refused = run("remake", "toys")
    assert refused.exit_code == 2 and "没有结果表 toys：可用的有 " in refused.output and refused.output.count("\n") == 1


def live(setting: str, value: float) -> pd.DataFrame:
    return pd.DataFrame({"setting": [setting], "seed": [0], "ndcg@10": [value]})


def test_a_live_slice_lies_within_the_seeds_widened_spread(toy):
    assert run("remake", "toy").exit_code == 0
    table = read("toy")
    assert_within(toy_rows("none"), table, ["setting"], "ndcg@10")
    for value in (0.081, 0.139):  # from .10 to .12, and as far again on both sides
        assert_within(live("none", value), table, ["setting"], "ndcg@10")
    for value in (0.079, 0.141, float("nan")):
        with pytest.raises(AssertionError, match=f"setting=none：现在算出的 ndcg@10 是 {value:.4g}，.*remake toy"):
            assert_within(live("none", value), table, ["setting"], "ndcg@10")
    one = table[table["seed"] == 0]  # no spread: a hundredth
    assert_within(live("half", 0.2019), one, ["setting", "seed"], "ndcg@10")
    with pytest.raises(AssertionError, match="setting=half，seed=0"):
        assert_within(live("half", 0.2021), one, ["setting", "seed"], "ndcg@10")
    with pytest.raises(AssertionError, match="没有 setting=full 这一行.*remake toy"):
        assert_within(live("full", 0.1), table, ["setting"], "ndcg@10")


@pytest.mark.parametrize("name", TABLES)
def test_what_is_shipped_is_whole(name):
    table = read(name)
    assert len(table) == table.attrs["rows"] and table.attrs == {"name": name, **about(name)}


def test_lists_put_into_another_order(taste):
    split = make_split(taste.dataset, "leave_last_out")
    ease, users = EASE().fit(split), split.test_users
    items = recommend(ease, split, 20)
    asked = Lists(split, ease, items, np.take_along_axis(ease.score(users), items, axis=1))
    own = evaluate(ease, split, ["ndcg@10"]).users["ndcg@10"]
    assert asked.judged(asked.scores)["ndcg@10"].tolist() == pytest.approx(own.tolist())
    best = asked.judged(1.0 * (asked.items == asked.answers[:, None]))
    assert (best["ndcg@10"] == asked.found).all() and asked.found.any() and (asked.of(ease.score(users)) >= 0).any()
    for weight, same in ((0.0, True), (1e6, False)):
        order = np.argsort(-blended(asked.scores, -asked.scores, weight), axis=1, kind="stable")
        assert (order == np.arange(20)).all() == same


def test_a_draw_of_new_films_is_what_the_table_says():
    split = make_split(load_dataset("movielens-zh"), "cold_items", seed=1)
    spelled = untrained(split, TwoTowerConfig(features="lexical", seed=1))
    score = evaluate(spelled, split, ["ndcg@10"]).mean("ndcg@10")
    live = pd.DataFrame([{"draw": 1, "reads": "lexical", "how": "frozen", "ndcg@10": score}])
    assert_within(live, read("draws"), ["draw", "reads", "how"], "ndcg@10")
