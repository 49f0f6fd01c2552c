"""The runner: parameters checked first, failures told, nothing lost, nothing stale."""

import importlib.metadata
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from tests.small_course import REPORT_PARAMETERS, notebook
from textrec_utils.cli import main
from textrec_utils.core.files import atomic_path
from textrec_utils.core.paths import notebooks_dir
from textrec_utils.course import (
    Chapter,
    CourseError,
    build_index,
    check_parameters,
    find_chapter,
    jobs,
    runner,
    slug_of,
)
from textrec_utils.course.index import read_state


def run(*words: str):
    return CliRunner().invoke(main, list(words))


@pytest.mark.kernels
def test_run_all_then_skip_then_rerun_what_changed(small_course):
    first = run("run")
    assert first.exit_code == 0, first.output
    report = small_course / "build" / "report"
    index = (report / "index.html").read_text(encoding="utf-8")
    assert all(name in index for name in ("00_first.html", "01_next.html", "report.html", "0.5000"))
    assert list(pd.read_csv(report / "metrics.csv")["method"]) == ["m"]
    again = run("run")
    assert again.output.count("未变") == 3
    notebook(small_course / "notebooks" / "01_next.ipynb", "print('改过')")
    third = run("run")
    assert third.output.count("未变") == 2 and "改过" in (report / "01_next.html").read_text(encoding="utf-8")
    (report / "00_first.html").write_text("damaged", encoding="utf-8")
    assert run("run").output.count("未变") == 2


# ---------------------------------------------------------------- what "unchanged" means


def test_a_deleted_page_of_answers_or_table_of_metrics_comes_back(small_course):
    notebook(small_course / "notebooks" / "solutions" / "00_first.ipynb", "1")
    report = small_course / "build" / "report"
    assert run("run", "0", "report").exit_code == 0
    for path in (report / "solutions-00_first.html", report / "metrics" / "report.csv"):
        path.unlink()
        assert run("run", "0", "report").output.count("未变") == 1 and path.exists()
    notebook(small_course / "notebooks" / "solutions" / "00_first.ipynb", "print('另一种答案')")
    assert "未变" not in run("run", "0").output
    assert "另一种答案" in (report / "solutions-00_first.html").read_text(encoding="utf-8")


CHANGES = (
    "requirements.lock", "textrec_utils/plotting.py", "textrec_utils/core/store.py",
    "textrec_utils/static/page.html.j2",
    "data/stopwords.csv", "data/models/mini/model.safetensors", "shop/items.csv", "shop/deeper/users.csv",
    "encoder/model.safetensors", "notebooks/solutions/00_first.ipynb",
)  # fmt: skip


@pytest.mark.parametrize("changed", CHANGES)
def test_the_fingerprint_covers(small_course, monkeypatch, changed):
    for name in CHANGES:
        (small_course / name).parent.mkdir(parents=True, exist_ok=True)
        (small_course / name).write_text("before", encoding="utf-8")
    module = importlib.import_module("textrec_utils.course.chapters")  # the package has a function of this name
    monkeypatch.setattr(module, "project_root", lambda: small_course)
    monkeypatch.setattr(module, "project_data", lambda: small_course / "data")
    chapter = Chapter(small_course / "notebooks" / "00_first.ipynb")
    given = {"dataset": str(small_course / "shop"), "model": str(small_course / "encoder")}
    before = chapter.fingerprint(given)
    assert chapter.fingerprint(given) == before
    (small_course / changed).write_text("after it changed", encoding="utf-8")
    assert chapter.fingerprint(given) != before


def test_the_fingerprint_covers_cells_tags_parameters_and_the_mirror(small_course, monkeypatch):
    path = small_course / "notebooks" / "00_first.ipynb"
    chapter = Chapter(path)
    content = chapter.read()
    content["metadata"]["textrec"] = {"datasets": ["caixin"]}
    path.write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.delenv("TEXTREC_MIRROR", raising=False)
    found = [chapter.fingerprint({}), chapter.fingerprint({"k": 20})]
    monkeypatch.setenv("TEXTREC_MIRROR", "elsewhere")
    found.append(chapter.fingerprint({}))
    content["cells"][2]["metadata"]["tags"] = ["hide-input"]
    path.write_text(json.dumps(content), encoding="utf-8")
    found.append(chapter.fingerprint({}))
    content["cells"][2]["source"] = "print(word)"
    path.write_text(json.dumps(content), encoding="utf-8")
    found.append(chapter.fingerprint({}))
    assert len(set(found)) == 5


def test_the_fingerprint_covers_every_declared_library_and_the_precision(small_course, monkeypatch):
    chapter = Chapter(small_course / "notebooks" / "00_first.ipynb")
    monkeypatch.delenv("TEXTREC_BF16", raising=False)
    found = {chapter.fingerprint({})}
    monkeypatch.setenv("TEXTREC_BF16", "0")
    found.add(chapter.fingerprint({}))
    version, module = importlib.metadata.version, importlib.import_module("textrec_utils.course.chapters")
    libraries = ("scipy", "faiss-cpu", "peft", "tokenizers", "matplotlib", "torch")
    for library in libraries:
        monkeypatch.setattr(importlib.metadata, "version", lambda n, of=library: "next" if n == of else version(n))
        module._installed.cache_clear()
        found.add(chapter.fingerprint({}))
    module._installed.cache_clear()
    assert len(found) == 2 + len(libraries)


# ---------------------------------------------------------------- failures


@pytest.mark.kernels
def test_failing_chapter_is_told_and_others_are_kept(small_course):
    notebook(small_course / "notebooks" / "01_next.ipynb", "x = 1", "raise RuntimeError('没有电了')")
    result = run("run")
    assert result.exit_code == 2
    assert "第 4 格" in result.output and "RuntimeError: 没有电了" in result.output and "01_next.log" in result.output
    build = small_course / "build"
    assert (build / "report" / "00_first.html").exists() and (build / "report" / "report.html").exists()
    assert "没有电了" in (build / "logs" / "01_next.log").read_text(encoding="utf-8")
    assert not (build / "notebooks" / "01_next.ipynb").exists()
    # mended, only the failed chapter runs again
    notebook(small_course / "notebooks" / "01_next.ipynb", "x = 1")
    again = run("run")
    assert again.exit_code == 0 and again.output.count("未变") == 2


@pytest.mark.kernels
def test_a_failure_leaves_the_last_good_page(small_course):
    run("run", "01")
    page = small_course / "build" / "report" / "01_next.html"
    before = page.read_bytes()
    notebook(small_course / "notebooks" / "01_next.ipynb", "1 / 0")
    assert run("run", "01").exit_code == 2
    assert page.read_bytes() == before
    assert not list((small_course / "build").rglob("*.part*"))


@pytest.mark.kernels
def test_a_dead_kernel_is_an_outcome_with_a_log(small_course):
    notebook(small_course / "notebooks" / "00_first.ipynb", "import os", "os._exit(1)")
    result = run("run", "0", "1", "-p", "k", "3")  # papermill's own cell isn't counted
    assert result.exit_code == 2 and "内核中途没了，停在第 4 格" in result.output, result.output
    assert "[2/2] 01_next-k-3：" in result.output
    build = small_course / "build"
    assert "DeadKernelError" in (build / "logs" / "00_first-k-3.log").read_text(encoding="utf-8")
    assert "内核中途没了" in json.loads((build / "state" / "00_first-k-3.json").read_text(encoding="utf-8"))["error"]
    assert (build / "report" / "01_next-k-3.html").exists()


def test_a_page_that_cannot_be_made_is_an_outcome_with_a_log(small_course, monkeypatch):
    real = runner.write_page

    def fails_once(notebook, page, *others):
        if page.stem == "00_first":
            raise RuntimeError("template lost")
        real(notebook, page, *others)

    monkeypatch.setattr(runner, "write_page", fails_once)
    result = run("run", "0", "1")
    assert result.exit_code == 2 and "RuntimeError: template lost" in result.output
    assert "00_first 没有跑完" in result.output
    assert "fails_once" in (small_course / "build" / "logs" / "00_first.log").read_text(encoding="utf-8")
    assert (small_course / "build" / "report" / "01_next.html").exists()


def test_a_damaged_state_file_means_run_again(small_course):
    assert run("run", "0").exit_code == 0
    state = small_course / "build" / "state" / "00_first.json"
    state.write_text(state.read_text(encoding="utf-8")[:60], encoding="utf-8")  # as a full disk leaves it
    again = run("run", "0")
    assert again.exit_code == 0 and "未变" not in again.output, again.output
    whole = json.loads(state.read_text(encoding="utf-8"))
    changes = ({"parameters": []}, {"seconds": None}, {"seconds": float("nan")}, {"title": 3}, {"error": None})
    odd = [json.dumps(whole | change) for change in changes]
    for damage in ("", "[]", '"a"', '{"seconds": 3', "{}", *odd):
        state.write_text(damage, encoding="utf-8")
        assert 'href="00_first.html"' in build_index().read_text(encoding="utf-8")
        assert read_state(state) == {}
    (state.parent / "folder.json").mkdir()
    build_index()
    state.write_text(odd[1], encoding="utf-8")
    again = run("run", "0")
    assert again.exit_code == 0 and "未变" not in again.output, again.output


def test_a_damaged_table_of_metrics_does_not_hide_the_others(small_course, capsys):
    assert run("report").exit_code == 0
    metrics = small_course / "build" / "report" / "metrics"
    for damage in ("", "dataset\n", "dataset,k\nmovielens-zh,10\n"):
        (metrics / "report-other.csv").write_text(damage, encoding="utf-8")
        build_index()
        assert "report-other.csv 读不了" in capsys.readouterr().err
        assert list(pd.read_csv(metrics.parent / "metrics.csv")["report"]) == ["report"]


def test_the_index_does_not_cover_up_the_real_error(small_course, monkeypatch):
    def index():
        raise RuntimeError("index")

    def kernel(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "build_index", index)
    monkeypatch.setattr(jobs, "run_notebook", kernel)
    assert run("run", "0").exit_code == 130


@pytest.mark.parametrize(
    "damage", ["", "<<<<<<< HEAD\n{}", "{}", "[]", '{"cells": [3]}', '{"cells": [{"metadata": 1}]}']
)
def test_a_notebook_that_is_none_is_named_and_the_others_run(small_course, damage):
    (small_course / "notebooks" / "00_first.ipynb").write_text(damage, encoding="utf-8")
    result = run("run", "0", "1")
    assert result.exit_code == 2 and "notebooks/00_first.ipynb 不是完整的笔记本" in result.output, result.output
    assert "[2/2] 01_next：" in result.output and "CourseError" not in result.output
    build = small_course / "build"
    assert "不是完整的笔记本" in json.loads((build / "state" / "00_first.json").read_text(encoding="utf-8"))["error"]
    assert "不是完整的笔记本" in (build / "report" / "index.html").read_text(encoding="utf-8")
    with_parameters = run("run", "0", "-p", "k", "3")  # what it takes can't be known
    assert with_parameters.exit_code == 2 and "00_first.ipynb 不是完整的笔记本" in with_parameters.output


def test_a_cell_without_metadata_is_a_cell(small_course):
    path = small_course / "notebooks" / "00_first.ipynb"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["cells"][0]["metadata"], content["cells"][2]["metadata"]
    path.write_text(json.dumps(content), encoding="utf-8")
    chapter = Chapter(path)
    assert chapter.title == "测试章" and chapter.parameters()["k"] == 10 and len(chapter.fingerprint({})) == 64


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("depth", "3", "没有参数 depth：可用的有 word、k、seed、rate、fast、ks"),
        ("k", "十", "参数 k 应是整数（默认 10），得到 '十'"),
        ("k", "1.5", "应是整数"),
        ("k", "0", "00_first 的参数 k 至少是 1，得到 0"),
        ("seed", "-1", "参数 seed 应在 0 到 4294967295 之间，得到 -1"),
        ("seed", str(2**32), "参数 seed 应在 0 到 4294967295 之间"),
        ("rate", "快", "应是数"),
        ("rate", "nan", "应是有限的数，得到 nan"),
        ("fast", "也许", "应是true 或 false"),
        ("ks", "5,x", "应是用逗号隔开的列表"),
        ("ks", "5,0", "参数 ks 至少是 1，得到 0"),
    ],
)
def test_parameters_are_refused_before_anything_runs(small_course, name, text, message):
    with pytest.raises(CourseError) as error:
        check_parameters(Chapter(small_course / "notebooks" / "00_first.ipynb"), [(name, text)])
    assert message in error.value.message and "\n" not in error.value.message


def test_parameters_are_typed(small_course):
    chapter = Chapter(small_course / "notebooks" / "00_first.ipynb")
    texts = {"word": "3", "k": "20", "seed": "0", "rate": "1", "fast": "False", "ks": "[1, 2]"}
    given = check_parameters(chapter, texts.items())
    assert given == {"word": "3", "k": 20, "seed": 0, "rate": 1.0, "fast": False, "ks": [1, 2]}
    assert isinstance(given["rate"], float)
    notebook(chapter.path, parameters="days = (6, 8, 10)")
    assert check_parameters(chapter, [("days", "(1, 2)")]) == {"days": [1, 2]}
    notebook(chapter.path, parameters="k = 5 * 2")
    with pytest.raises(CourseError, match="00_first 的参数一格读不懂"):
        chapter.parameters()


REFUSED = [
    ("budget", "-1", "report 的参数 budget 至少是 0（0 表示协同方法不调参，用默认设置），得到 -1"),
    ("min_value", "inf", "report 的参数 min_value 应是 auto（数据集自己的阈值）或一个有限的数"),
    ("k", "-3", "report 的参数 k 至少是 1"),
    ("split", "none", "report 的参数 split 应是 auto、leave_last_out、temporal、cold_items、random、given 之一"),
    ("profile", "huge", "report 的参数 profile 应是 quick、full 之一"),
    ("metrics_csv", "x.csv", "report 没有参数 metrics_csv"),
]


@pytest.mark.parametrize("name, text, message", REFUSED)
def test_the_report_refuses_what_makes_no_sense(monkeypatch, name, text, message):
    monkeypatch.setattr(jobs, "run_notebook", lambda *a, **k: pytest.fail("a kernel was started"))
    for command in (["report"], ["run", "report"]):
        result = run(*command, "-p", name, text)
        assert result.exit_code == 2 and message in result.output and result.output.count("\n") == 1, result.output
    assert check_parameters(Chapter(notebooks_dir() / "report.ipynb"), [("budget", "0")]) == {"budget": 0}


def test_folders_become_absolute_and_names_stay(tmp_path, monkeypatch):
    """Notebooks run in a folder of their own, where a relative path would lead astray."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    for name in ("caixin", "mini-bert-zh"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}", encoding="utf-8")
    report = Chapter(notebooks_dir() / "report.ipynb")
    given = check_parameters(report, [("dataset", "shop"), ("model", "a/b")])
    assert given == {"dataset": str(tmp_path / "shop"), "model": "a/b"}
    for name, word in (("dataset", "caixin"), ("model", "mini-bert-zh")):  # what ships is never shadowed
        assert check_parameters(report, [(name, word)]) == {name: word}
    for name, word in (("model", "caixin"), ("dataset", "mini-bert-zh"), ("model", "./mini-bert-zh")):
        assert check_parameters(report, [(name, word)]) == {name: str((tmp_path / word).resolve())}
    result = run("report", "-p", "dataset", "no-such")
    assert result.exit_code == 2 and "没有数据集 no-such：" in result.output and str(tmp_path) not in result.output


@pytest.mark.parametrize(
    "word, name",
    [("3", "03_word2vec"), ("03", "03_word2vec"), ("report", "report"), ("02", "02_classical_baselines"),
     ("2b", "02b_evaluation"), ("02b", "02b_evaluation")],
)  # fmt: skip
def test_chapters_are_found_by_number_and_name(word, name):
    assert find_chapter(word).name == name


@pytest.mark.parametrize("word", ["²", "٣", "99", "", "0"])
def test_no_such_chapter_is_one_sentence(word):
    if word == "0":
        assert find_chapter(word).name == "00_quickstart"
        return
    with pytest.raises(CourseError, match="没有章节"):
        find_chapter(word)


# ---------------------------------------------------------------- several runs of one notebook


def test_slugs_are_the_parameters_and_never_collide():
    report, third = Chapter(Path("report.ipynb")), Chapter(Path("03_word2vec.ipynb"))
    assert slug_of(report, {}) == "report"
    assert slug_of(report, {"dataset": "amazon-cn", "k": 20}) == "report-amazon-cn-k-20"
    assert slug_of(third, {"window": 3}) == "03_word2vec-window-3"
    long = "x" * 90
    given = [
        {"dataset": "/a/shop"}, {"dataset": "/b/shop"}, {"prefix": "q: "}, {"prefix": "q？"}, {"prefix": "q"},
        {"prefix": "q-seed-1"}, {"prefix": "q", "seed": 1}, {"prefix": f"{long}1"}, {"prefix": f"{long}2"},
        {"prefix": "A"}, {"prefix": "a"}, {"model": "org/bert"}, {"model": "org-bert"},
    ]  # fmt: skip
    slugs = [slug_of(report, parameters) for parameters in given]
    assert len({slug.lower() for slug in slugs}) == len(given)  # disks that don't tell A from a
    assert all(re.fullmatch(r"[\w.\-]{1,100}", slug) for slug in slugs) and slugs[0].startswith("report-shop-")


def test_a_chapter_with_parameters_stands_beside_the_standard_one(small_course):
    assert run("run", "0").exit_code == 0
    report = small_course / "build" / "report"
    before = (report / "00_first.html").read_bytes()
    assert run("run", "0", "-p", "k", "3").exit_code == 0
    assert (report / "00_first.html").read_bytes() == before
    assert "好 3" in (report / "00_first-k-3.html").read_text(encoding="utf-8")
    index = (report / "index.html").read_text(encoding="utf-8")
    assert 'href="00_first.html">测试章</a></td>' in re.sub(r"\s*·.*?</a>", "", index)
    assert 'href="00_first-k-3.html">测试章</a>（k=3）' in index
    assert "未变" in run("run", "0").output and "未变" in run("run", "0", "-p", "k", "10").output


def test_reports_with_other_parameters_stand_beside(small_course, own_folder):
    assert run("report").exit_code == 0
    result = run("report", "-p", "dataset", str(own_folder), "-p", "k=20")
    assert result.exit_code == 0, result.output
    other = tmp_copy(own_folder)
    assert run("report", "-p", "dataset", str(other), "-p", "k=20").exit_code == 0
    build = small_course / "build"
    pages = sorted(p.stem for p in (build / "report").glob("report*.html"))
    assert pages[0] == "report" and len(pages) == 3
    assert all(re.fullmatch(r"report-shop-k-20-[0-9a-f]{8}", name) for name in pages[1:])
    table = pd.read_csv(build / "report" / "metrics.csv")
    assert table["report"][0] == "report" and sorted(table["report"]) == pages  # the default report's rows first
    assert sorted(table["k"]) == [10, 20, 20]
    state = json.loads((build / "state" / "report.json").read_text(encoding="utf-8"))
    assert state["parameters"] == {}
    index = (build / "report" / "index.html").read_text(encoding="utf-8")
    assert "一眼看结果：movielens-zh，p 划分，k=10" in index  # the default report, though others are newer
    assert index.index('href="report.html"') < index.index(f'href="{pages[1]}.html"')
    (build / "report" / "metrics" / "report.csv").unlink()
    assert "一眼看结果：shop，p 划分，k=20" in build_index().read_text(encoding="utf-8")


def test_the_index_tells_reports_apart(small_course, own_folder):
    """All had one title, and two folders of one name the same parameters beside it."""
    folders = [own_folder, tmp_copy(own_folder)]
    assert run("report", "-p", "k=20").exit_code == 0
    for folder in folders:
        assert run("report", "-p", "dataset", str(folder)).exit_code == 0
    assert run("report", "-p", "dataset", str(own_folder), "-p", "k=20").exit_code == 0
    report = small_course / "build" / "report"
    index = (report / "index.html").read_text(encoding="utf-8")
    titles = re.findall(r'<a href="report[^"]*">(报告：.*?)</a></td><td>(.*?)</td>', index)
    above = own_folder.parent.name
    assert sorted(titles) == sorted([
        ("报告：movielens-zh，k=20", "k=20"), (f"报告：{above}/shop", f"dataset={above}/shop"),
        ("报告：other/shop", "dataset=other/shop"), ("报告：shop，k=20", "dataset=shop，k=20"),
    ])  # fmt: skip
    pages = [p.read_text(encoding="utf-8") for p in report.glob("report-*.html")]
    assert sum("<title>报告：shop</title>" in page for page in pages) == 2
    assert any("<title>报告：shop，k=20</title>" in page for page in pages)
    (small_course / "notebooks" / "report.ipynb").write_text("{}", encoding="utf-8")
    assert "报告：other/shop" in build_index().read_text(encoding="utf-8")


def tmp_copy(folder: Path) -> Path:
    """Another folder of the same last name."""
    return Path(shutil.copytree(folder, folder.parent / "other" / folder.name))


def test_two_reports_in_one_table_keep_their_own_numbers(small_course):
    """The rows of a report with another threshold for likes once took the place of the default's on the front page."""
    assert run("report").exit_code == 0
    assert run("report", "-p", "min_value", "5").exit_code == 0
    table = pd.read_csv(small_course / "build" / "report" / "metrics.csv").set_index("report")
    assert table["value"].to_dict() == {"report": 0.5, "report-min_value-5.0": 0.55}
    assert table["min_value"].to_dict() == {"report": 0.0, "report-min_value-5.0": 5.0}
    index = (small_course / "build" / "report" / "index.html").read_text(encoding="utf-8")
    assert "0.5000" in index and "0.5500" not in index
    # the newest of one report's rows wins, and tables from before reports had names are read
    path = small_course / "build" / "report" / "metrics" / "report.csv"
    old = pd.read_csv(path).drop(columns=["report", "min_value"])
    pd.concat([old, old.assign(value=0.7)]).to_csv(path, index=False)
    assert "0.7000" in build_index().read_text(encoding="utf-8")
    table = pd.read_csv(small_course / "build" / "report" / "metrics.csv").set_index("report")
    assert table["value"].to_dict() == {"report": 0.7, "report-min_value-5.0": 0.55}


def test_no_winners_on_the_index_where_users_are_few(small_course):
    assert run("report").exit_code == 0
    table = small_course / "build" / "report" / "metrics" / "report.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",90,", ",19,"), encoding="utf-8")
    assert "一眼看结果" not in build_index().read_text(encoding="utf-8")


def test_the_index_says_which_chapters_have_not_been_run(small_course):
    assert run("report").exit_code == 0
    path = small_course / "build" / "report" / "index.html"
    index = path.read_text(encoding="utf-8")
    assert 'href="report.html"' in index and "还没有运行过任何一章" in index
    assert len(re.findall(r"未运行\s*</td>", index)) == 2 and "<code>make course</code>" in index
    assert run("run", "0").exit_code == 0 and "还有 1 章没有运行" in path.read_text(encoding="utf-8")
    assert run("run").exit_code == 0 and "没有运行" not in path.read_text(encoding="utf-8")


@pytest.mark.kernels
def test_failed_report_is_on_the_index(small_course, own_folder):
    assert run("report").exit_code == 0
    broken = "raise ValueError('断了\\n两行')"
    notebook(small_course / "notebooks" / "report.ipynb", broken, parameters=REPORT_PARAMETERS)
    for pairs in ([], ["-p", "dataset", str(own_folder)]):
        assert run("report", *pairs).exit_code == 2
    build = small_course / "build"
    index = (build / "report" / "index.html").read_text(encoding="utf-8")
    names = [p.stem for p in (build / "logs").glob("*.log")]
    assert len(names) == 2 and "report" in names
    for name in names:
        row = re.search(rf"<tr><td><span class=\"failed\">{name} 失败：.*?</tr>", index)[0]
        assert "第 3 格（In [2]）出错：ValueError: 断了 两行" in row and str(small_course) not in row
        assert f'href="../logs/{name}.log"' in row
        assert ("上一次的结果" in row) == (name == "report")


def test_atomic_path(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError):
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
