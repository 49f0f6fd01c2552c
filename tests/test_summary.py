"""The report in figures: what programs read, and bars that decide an exit status."""

import json
import re

import pytest
from click.testing import CliRunner

from tests.small_course import notebook
from tests.small_report import made
from textrec_utils.cli import main
from textrec_utils.core import DataError
from textrec_utils.report import METHODS
from textrec_utils.report.claims import gather
from textrec_utils.report.summary import missed, read_bars, write
from textrec_utils.report.verdict import in_words


def run(*words: str):
    return CliRunner().invoke(main, list(words))


@pytest.fixture(scope="module")
def report(taste):
    return made(taste)


def test_the_summary_says_what_the_page_says(report, tmp_path):
    case = gather(report)
    write(tmp_path / "report.json", report, case, None, parameters={"k": 5})
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON
    assert found["verdict"] == in_words(report, case).splitlines() and found["parameters"] == {"k": 5}
    assert list(found["methods"]) == sorted(report.results, key=lambda k: -report.results[k].mean(report.main))
    ease, result = found["methods"]["ease"], report.results["ease"]
    assert ease["label"] == "EASE" and ease["metrics"]["ndcg@5"]["mean"] == result.mean("ndcg@5")
    assert ease["metrics"]["ndcg@5"]["low"] <= ease["metrics"]["ndcg@5"]["mean"] <= ease["metrics"]["ndcg@5"]["high"]
    assert ease["tuning_seconds"] >= 0 and found["methods"]["popularity"]["tuning_seconds"] is None
    assert found["ship"] in METHODS and found["first"] == case.first.key and found["data"]["name"] == "taste"
    assert len(found["comparisons"]) == len(case.peers) + len(case.rivals) and found["new_items"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["made"]) and "torch" in found["versions"]


def test_the_summary_keeps_new_items_apart(report, tmp_path):
    cold = report.among_new_items()
    cold.run()
    write(tmp_path / "report.json", report, gather(report, cold), cold)
    new = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["new_items"]
    assert new["main_metric"] == "ndcg@2" and new["among_all"]["main_metric"] == "ndcg@5"
    assert new["among_all"]["both"] == cold.mixed["both"][0].mean("ndcg@5") and set(new["methods"]) == set(cold.results)
    assert list(cold.mixed_board().columns) == [
        "方法",
        "新物品之间（ndcg@2）",
        "混在全库（ndcg@5）",
        "混，留位置（ndcg@5）",
    ]


BARS = [
    ("[ship]\n'ndcg@10' = 0.4", None),
    ("[ship]\n'ndcg@10' = 0.5", None),
    ("[ship]\n'ndcg@10' = 0.51", "ship（ease） 的 ndcg@10 是 0.5，低于至少的 0.51"),
    ("[ease]\nseconds = 2", "ease 的 seconds 是 3，高于至多的 2"),
    ("[ease]\nseconds = 3\npeak_mb = 9", None),
    ("users = 20", None),
    ("users = 21", "report 的 users 是 20，低于至少的 21"),
    ("cautions = 0", "report 的 cautions 是 1，高于至多的 0"),
    ("[first]\n'ndcg@10' = 0.1", "first 没有结果，ndcg@10 无从比"),
    ("[ease]\n'ndcg@20' = 0.1", "ease 的 ndcg@20 没有量"),
]
FOUND = {
    "ship": "ease", "first": None, "users": 20, "cautions": ["一条"],
    "methods": {"ease": {"metrics": {"ndcg@10": {"mean": 0.5}}, "seconds": 3.0, "peak_mb": 9.0}},
}  # fmt: skip


@pytest.mark.parametrize("text, said", BARS)
def test_bars(text, said, tmp_path):
    (tmp_path / "bars.toml").write_text(text, encoding="utf-8")
    told = missed(FOUND, read_bars(tmp_path / "bars.toml"))
    assert not told if said is None else len(told) == 1 and told[0].startswith(said), told


@pytest.mark.parametrize(
    "text, said",
    [("[shipp]\n'ndcg@10' = 1", "没有方法 shipp"), ("[ship]\nndcg = 1", "ndcg = 1 不认识"),
     ("[ship]\n'ndcg@10' = 'x'", "ndcg@10 = 'x' 不认识"), ("user = 3", "user = 3 不认识"), ("[ship", "不是TOML"),
     ("[ship]\nseconds = true", "seconds = True 不认识"), (None, "读不了")],
)  # fmt: skip
def test_bars_that_are_none_are_refused_before_anything_runs(text, said, tmp_path, small_course):
    if text is not None:
        (tmp_path / "bars.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(said)):
        read_bars(tmp_path / "bars.toml")
    refused = run("report", "--check", str(tmp_path / "bars.toml"))
    assert refused.exit_code == 2 and said in refused.output and refused.output.count("\n") == 1
    assert not (small_course / "build" / "notebooks").exists()


def test_a_report_below_its_bars_ends_with_status_1(small_course, tmp_path):
    cell = f"import json\njson.dump({FOUND!r}, open(summary_json, 'w'))"
    own = 'k = 10\nsummary_json = ""'
    notebook(small_course / "notebooks" / "report.ipynb", cell, parameters=own)
    bars = tmp_path / "bars.toml"
    bars.write_text("[ease]\n'ndcg@10' = 0.4", encoding="utf-8")
    passed = run("report", "--check", str(bars))
    assert passed.exit_code == 0 and "门槛都过了" in passed.output, passed.output
    bars.write_text("[ease]\n'ndcg@10' = 0.6\nseconds = 1", encoding="utf-8")
    failed = run("report", "--check", str(bars))  # the report is not made again
    assert failed.exit_code == 1 and "未变" in failed.output and failed.output.count("没有过门槛：ease 的") == 2
    path = small_course / "build" / "report" / "report.json"
    assert '<a href="report.json">JSON</a>' in path.with_name("index.html").read_text(encoding="utf-8")
    path.unlink()
    assert "未变" not in run("report").output and path.exists()


# ---------------------------------------------------------------- parameters in a file


def test_parameters_come_from_a_file_and_those_given_win(small_course, tmp_path, own_folder):
    file = tmp_path / "shop.toml"
    file.write_text(f'dataset = "{own_folder.as_posix()}"\nk = 5\nmin_value = 3.0\n', encoding="utf-8")
    done = run("report", "--params", str(file), "-p", "k", "7")
    assert done.exit_code == 0, done.output
    (state,) = (small_course / "build" / "state").glob("report-*.json")
    kept = json.loads(state.read_text(encoding="utf-8"))
    assert kept["parameters"] == {"dataset": str(own_folder), "k": 7, "min_value": 3.0}
    assert kept["effective"] == kept["parameters"]  # with the notebook's own; not what the runner fills in


@pytest.mark.parametrize(
    "text, said",
    [("depth = 3", "没有参数 depth"), ("k = 'x'", "k 应是整数"), ("[report]\nk = 3", "[report] 用不上"),
     ("k =", "不是TOML"),
     (None, "读不了")],
)  # fmt: skip
def test_a_file_of_parameters_is_refused_in_one_sentence(small_course, tmp_path, text, said):
    if text is not None:
        (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    refused = run("report", "--params", str(tmp_path / "p.toml"))
    assert refused.exit_code == 2 and said in refused.output and refused.output.count("\n") == 1


def test_the_effective_parameters_hold_the_defaults(small_course):
    assert run("run", "0", "-p", "k", "3").exit_code == 0
    state = json.loads((small_course / "build" / "state" / "00_first-k-3.json").read_text(encoding="utf-8"))
    assert state["parameters"] == {"k": 3}
    assert state["effective"] == {"word": "好", "k": 3, "seed": 0, "rate": 0.5, "fast": True, "ks": [5, 10]}
