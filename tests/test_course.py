"""The runner and the command line: parameters checked first, failures told, nothing lost."""

import errno
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner

from textrec_utils import course
from textrec_utils.cache import atomic_path
from textrec_utils.course import Chapter, CourseError, check_parameters, main


def notebook(path: Path, *sources: str, parameters: str = 'word = "好"\nk = 10\nseed = 0\nrate = 0.5\nfast = True\nks = [5, 10]') -> None:
    cells = [nbformat.v4.new_markdown_cell("# 测试章\n公式 $a_i^2$ 和\n\n$$\\sum_{r=1}^{k} \\frac{1}{r}$$\n\n```mermaid\nflowchart LR\n a-->b\n```\n\n[下一章](01_next.ipynb)")]
    cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    cells += [nbformat.v4.new_code_cell(s) for s in sources]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.fixture
def small_course(tmp_path, monkeypatch):
    """A course of two chapters and a report in a folder of its own."""
    notebooks = tmp_path / "notebooks"
    notebook(notebooks / "00_first.ipynb", "print(word, k)")
    notebook(notebooks / "01_next.ipynb", "print('第二章')")
    notebook(
        notebooks / "report.ipynb",
        "from pathlib import Path\nimport pandas as pd\npd.DataFrame([dict(dataset=Path(dataset).name, protocol='p', method='m', metric='recall', k=k, value=.5, low=.4, high=.6, users=90, seconds=1.0, peak_mb=2.0, parameters='{}', seed=0)]).to_csv(metrics_csv, index=False)",
        parameters='dataset = "movielens-zh"\nk = 10\nmetrics_csv = ""',
    )
    monkeypatch.setattr(course, "NOTEBOOKS", notebooks)
    monkeypatch.setenv("TEXTREC_BUILD", str(tmp_path / "build"))
    return tmp_path


def test_run_all_then_skip_then_rerun_what_changed(small_course):
    runner = CliRunner()
    first = runner.invoke(main, ["run"])
    assert first.exit_code == 0, first.output
    report = small_course / "build" / "report"
    index = (report / "index.html").read_text(encoding="utf-8")
    assert all(name in index for name in ("00_first.html", "01_next.html", "report.html", "0.5000"))
    assert list(pd.read_csv(report / "metrics.csv")["method"]) == ["m"]
    again = runner.invoke(main, ["run"])
    assert again.output.count("未变") == 3
    notebook(small_course / "notebooks" / "01_next.ipynb", "print('改过')")
    third = runner.invoke(main, ["run"])
    assert third.output.count("未变") == 2 and "改过" in (report / "01_next.html").read_text(encoding="utf-8")
    (report / "00_first.html").write_text("damaged", encoding="utf-8")
    assert runner.invoke(main, ["run"]).output.count("未变") == 2


def test_pages_need_no_network(small_course):
    assert CliRunner().invoke(main, ["run", "0"]).exit_code == 0
    page = (small_course / "build" / "report" / "00_first.html").read_text(encoding="utf-8")
    assert "<math" in page and "$" not in page.split("<main>")[1]
    assert 'src="http' not in page and "cdn" not in page.lower() and 'import("' not in page
    assert (small_course / "build" / "report" / "assets" / "mermaid.tiny.js").stat().st_size > 1_000_000
    assert 'class="mermaid"' in page or "mermaid" in page.split("<main>")[1]
    assert 'href="01_next.html"' in page and 'href="index.html"' in page


def test_failing_chapter_is_told_and_others_are_kept(small_course):
    notebook(small_course / "notebooks" / "01_next.ipynb", "x = 1", "raise RuntimeError('没有电了')")
    result = CliRunner().invoke(main, ["run"])
    assert result.exit_code == 2
    assert "第 4 格" in result.output and "RuntimeError: 没有电了" in result.output and "01_next.log" in result.output
    build = small_course / "build"
    assert (build / "report" / "00_first.html").exists() and (build / "report" / "report.html").exists()
    assert "没有电了" in (build / "logs" / "01_next.log").read_text(encoding="utf-8")
    assert not (build / "notebooks" / "01_next.ipynb").exists()
    # mended, only the failed chapter runs again
    notebook(small_course / "notebooks" / "01_next.ipynb", "x = 1")
    again = CliRunner().invoke(main, ["run"])
    assert again.exit_code == 0 and again.output.count("未变") == 2


def test_a_failure_leaves_the_last_good_page(small_course):
    CliRunner().invoke(main, ["run", "01"])
    page = small_course / "build" / "report" / "01_next.html"
    before = page.read_bytes()
    notebook(small_course / "notebooks" / "01_next.ipynb", "1 / 0")
    assert CliRunner().invoke(main, ["run", "01"]).exit_code == 2
    assert page.read_bytes() == before
    assert not list((small_course / "build").rglob("*.part*"))


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
    ],
)
def test_parameters_are_refused_before_anything_runs(small_course, name, text, message):
    with pytest.raises(CourseError) as error:
        check_parameters(Chapter(small_course / "notebooks" / "00_first.ipynb"), [(name, text)])
    assert message in error.value.message and "\n" not in error.value.message


def test_parameters_are_typed(small_course):
    chapter = Chapter(small_course / "notebooks" / "00_first.ipynb")
    given = check_parameters(chapter, [("word", "3"), ("k", "20"), ("seed", "0"), ("rate", "1"), ("fast", "False"), ("ks", "[1, 2]")])
    assert given == {"word": "3", "k": 20, "seed": 0, "rate": 1.0, "fast": False, "ks": [1, 2]}
    assert isinstance(given["rate"], float)


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("budget", "-1", "report 的参数 budget 至少是 0（0 表示协同方法不调参，用默认设置），得到 -1"),
        ("min_value", "inf", "report 的参数 min_value 应是有限的数"),
        ("k", "-3", "report 的参数 k 至少是 1"),
        ("split", "none", "report 的参数 split 应是 auto、leave_last_out、temporal、cold_items、random 之一"),
        ("profile", "huge", "report 的参数 profile 应是 quick、full 之一"),
    ],
)
def test_the_report_refuses_what_makes_no_sense(monkeypatch, name, text, message):
    monkeypatch.setattr(course, "run_notebook", lambda *a, **k: pytest.fail("a kernel was started"))
    for command in (["report"], ["run", "report"]):
        result = CliRunner().invoke(main, [*command, "-p", name, text])
        assert result.exit_code == 2 and message in result.output and result.output.count("\n") == 1, result.output
    assert check_parameters(Chapter(course.NOTEBOOKS / "report.ipynb"), [("budget", "0")]) == {"budget": 0}


def test_folders_become_absolute_and_names_stay(tmp_path, monkeypatch):
    """Notebooks run in a folder of their own, where a relative path would lead astray."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    (tmp_path / "caixin").mkdir()
    report = Chapter(course.NOTEBOOKS / "report.ipynb")
    assert check_parameters(report, [("dataset", "shop"), ("model", "a/b")]) == {"dataset": str(tmp_path / "shop"), "model": "a/b"}
    assert check_parameters(report, [("dataset", "caixin")]) == {"dataset": "caixin"}
    result = CliRunner().invoke(main, ["report", "-p", "dataset", "no-such"])
    assert result.exit_code == 2 and "没有数据集 no-such：" in result.output and str(tmp_path) not in result.output


def test_command_line_refusals(small_course):
    runner = CliRunner()
    for arguments, message in (
        (["run", "99"], "没有章节"),
        (["run", "00", "-p", "depth", "3"], "没有参数 depth"),
        (["report", "-p", "dataset", "no-such"], "没有数据集"),
        (["report", "-p", "k", "很多"], "应是整数"),
        (["report", "-p", "k", "0"], "k 至少是 1"),
        (["report", "-p", "k", "2000"], "k 至多是物品总数 1682"),
        (["data", "no-such"], "没有数据集"),
        (["rum"], "没有命令 rum：可用的有"),
        (["--fast"], "没有选项 --fast"),
        (["run", "--quick"], "没有选项 --quick；写法见 "),
        (["data"], "缺少 数据集；写法见 "),
        (["pretrain", "--out", "x"], "缺少 --corpora；写法见 "),
        (["report", "-p", "k"], "选项 -p 后面要有名字和值两个词，例如 -p k 20"),
        (["pretrain", "--out"], "选项 --out 后面要有一个值"),
        (["doctor", "now"], "多出了 now"),
    ):
        result = runner.invoke(main, arguments)
        assert result.exit_code == 2 and message in result.output, result.output
        assert "Traceback" not in result.output and result.output.count("\n") <= 2 and result.output.startswith("错误：")
    assert not (small_course / "build" / "notebooks").exists()


def test_bad_folder_is_refused_by_the_report(small_course, own_folder):
    (own_folder / "items.csv").write_text("item_id\n1\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["report", "-p", "dataset", str(own_folder)])
    assert result.exit_code == 2 and "缺少列 title" in result.output


def test_one_user_is_refused_before_a_kernel_starts(small_course, own_folder):
    table = pd.read_csv(own_folder / "interactions.csv")
    table[table["user_id"] == "u0"].to_csv(own_folder / "interactions.csv", index=False)
    result = CliRunner().invoke(main, ["report", "-p", "dataset", str(own_folder)])
    assert result.exit_code == 2 and "只有 1 位能评测的用户" in result.output and result.output.count("\n") == 1
    assert not (small_course / "build" / "notebooks").exists()


def test_unreachable_model_is_refused_by_the_report():
    result = CliRunner().invoke(main, ["report", "-p", "model", "no-such-model"])
    assert result.exit_code == 2 and "模型 no-such-model 取不到" in result.output


def test_reports_with_other_parameters_stand_beside(small_course, own_folder):
    runner = CliRunner()
    assert runner.invoke(main, ["report"]).exit_code == 0
    result = runner.invoke(main, ["report", "-p", "dataset", str(own_folder), "-p", "k=20"])
    assert result.exit_code == 0, result.output
    pages = {p.name for p in (small_course / "build" / "report").glob("report*.html")}
    assert pages == {"report.html", "report-shop-k-20.html"}
    assert sorted(pd.read_csv(small_course / "build" / "report" / "metrics.csv")["k"]) == [10, 20]
    state = json.loads((small_course / "build" / "state" / "report.json").read_text(encoding="utf-8"))
    assert state["parameters"] == {}
    index = (small_course / "build" / "report" / "index.html").read_text(encoding="utf-8")
    assert "一眼看结果：movielens-zh，p 划分，k=10" in index  # the default report, though the other is newer
    assert index.index('href="report.html"') < index.index('href="report-shop-k-20.html"')
    (small_course / "build" / "report" / "metrics" / "report.csv").unlink()
    assert "一眼看结果：shop，p 划分，k=20" in course.build_index().read_text(encoding="utf-8")


def test_no_winners_on_the_index_where_users_are_few(small_course):
    assert CliRunner().invoke(main, ["report"]).exit_code == 0
    table = small_course / "build" / "report" / "metrics" / "report.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",90,", ",19,"), encoding="utf-8")
    assert "一眼看结果" not in course.build_index().read_text(encoding="utf-8")


def test_failed_report_is_on_the_index(small_course, own_folder):
    runner = CliRunner()
    assert runner.invoke(main, ["report"]).exit_code == 0
    notebook(small_course / "notebooks" / "report.ipynb", "raise ValueError('断了\\n两行')", parameters='dataset = "movielens-zh"\nk = 10\nmetrics_csv = ""')
    for pairs in ([], ["-p", "dataset", str(own_folder)]):
        assert runner.invoke(main, ["report", *pairs]).exit_code == 2
    build = small_course / "build"
    index = (build / "report" / "index.html").read_text(encoding="utf-8")
    for name, earlier in (("report", True), ("report-shop", False)):
        row = re.search(rf"<tr><td><span class=\"failed\">{name} 失败：.*?</tr>", index)[0]
        assert "第 3 格（In [2]）出错：ValueError: 断了 两行" in row and str(small_course) not in row
        assert f'href="../logs/{name}.log"' in row and (build / "logs" / f"{name}.log").exists()
        assert ("上一次的结果" in row) == earlier


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to a process")
@pytest.mark.parametrize("number, status, word", [(signal.SIGINT, 130, "已中断"), (signal.SIGTERM, 143, "已被终止")])
def test_interrupted_run_leaves_no_half_file_and_an_index(small_course, number, status, word):
    notebook(small_course / "notebooks" / "01_next.ipynb", "open('started', 'w').close()", "import time; time.sleep(60)")
    code = f"from textrec_utils import course; from pathlib import Path; course.NOTEBOOKS = Path({str(small_course / 'notebooks')!r}); course.main()"
    process = subprocess.Popen([sys.executable, "-c", code, "run"], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    flag = small_course / "notebooks" / "started"
    for _ in range(600):
        if flag.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    for _ in range(4):  # as an impatient person does: a signal can get lost in a busy event loop
        process.send_signal(number)
        try:
            _, err = process.communicate(timeout=25)
            break
        except subprocess.TimeoutExpired:
            continue
    assert process.returncode == status and word in err.decode()
    build = small_course / "build"
    assert (build / "report" / "00_first.html").exists()
    assert 'href="00_first.html"' in (build / "report" / "index.html").read_text(encoding="utf-8")
    assert not list(build.rglob("*.part*")) and not (build / "notebooks" / "01_next.ipynb").exists()


def test_full_disk_is_one_sentence_and_keeps_the_old_page(small_course, monkeypatch):
    assert CliRunner().invoke(main, ["run", "0"]).exit_code == 0
    page = small_course / "build" / "report" / "00_first.html"
    before = page.read_bytes()

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(course, "write_atomic", full)
    result = CliRunner().invoke(main, ["run", "0", "--force"])
    assert result.exit_code == 2 and "写不进磁盘" in result.output and "Traceback" not in result.output
    assert page.read_bytes() == before


def test_full_disk_names_what_the_command_writes_to(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "vocab.txt")

    monkeypatch.setattr("textrec_utils.pretraining.Pretraining", full)
    result = CliRunner().invoke(main, ["pretrain", "--corpora", "c", "--out", "o"])
    assert result.exit_code == 2 and "换一个 --out 后再运行" in result.output and "TEXTREC_BUILD" not in result.output


def test_progress_is_told_where_no_bar_can_move(small_course, monkeypatch):
    """Output into a pipe: a line at the start, one every so often, one at the end with the seconds."""
    monkeypatch.setattr(course, "TELL_EVERY", 0.3)
    notebook(small_course / "notebooks" / "00_first.ipynb", "import time; time.sleep(1.5)", "1")
    lines = CliRunner().invoke(main, ["run", "0"]).stdout.splitlines()
    assert lines[0] == "[1/1] 00_first：开始，共 4 格"
    assert any(re.fullmatch(r"\[1/1\] 00_first：跑完 [23]/4 格，已用 \d+ 秒", line) for line in lines[1:-2]), lines
    assert re.fullmatch(r"\[1/1\] 00_first：\d+ 秒", lines[-2])
    again = CliRunner().invoke(main, ["run", "0"]).stdout
    assert "开始" not in again and "未变" in again


def test_figures_have_words_for_those_who_cannot_see_them(small_course):
    plot = "import matplotlib.pyplot as plt\n_, ax = plt.subplots(figsize=(1, 1))\nax.set(xlabel='步', ylabel='损失（nat）')\nax.set_title('学习\"曲线\"')\nplt.show()"
    notebook(small_course / "notebooks" / "00_first.ipynb", "%matplotlib inline\nimport matplotlib.pyplot", plot)
    assert CliRunner().invoke(main, ["run", "0"]).exit_code == 0
    page = (small_course / "build" / "report" / "00_first.html").read_text(encoding="utf-8")
    alts = [image["alt"] for image in BeautifulSoup(page, "html.parser").select("img")]
    assert alts == ['图：测试章。公式 和。步、损失（nat）、学习"曲线"']


def test_atomic_path(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError):
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_list_and_doctor():
    runner = CliRunner()
    listed = runner.invoke(main, ["list"])
    assert listed.exit_code == 0 and "mini-bert-zh" in listed.output and "movielens-zh" in listed.output
    checked = runner.invoke(main, ["doctor"])
    assert checked.exit_code == 0 and "一切就绪" in checked.output, checked.output


def test_finetune_trains_stops_early_and_saves(own_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "cache"))
    quick = {"rung": "lora", "steps": 10, "encoder_steps": 2, "users": 8, "items": 10, "hidden": 16, "dim": 8, "max_length": 16}
    words = [word for name, value in quick.items() for word in ("-p", f"{name}={value}")]
    out = tmp_path / "tower"
    result = CliRunner().invoke(main, ["finetune", "--dataset", str(own_folder), *words, "--early-stopping", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "早停：验证 ndcg@10" in result.output and "ndcg@10 = 0." in result.output
    assert (out / "modules.json").exists() and (out / "model.safetensors").exists()


@pytest.mark.parametrize("words, message", [
    (["-p", "depth", "3"], "finetune 没有参数 depth：可用的有 rung"), (["-p", "steps", "many"], "steps 应是整数"),
    (["-p", "rung", "top"], "rung 应是 head"), (["--metric", "auc"], "不认识指标"), (["--dataset", "no-such"], "没有数据集 no-such"),
    (["--out", "x", "-p", "features", "both"], "features=encoder"), (["--split", "weekly"], "没有划分方式 weekly"),
])  # fmt: skip
def test_finetune_refuses_before_it_trains(words, message):
    result = CliRunner().invoke(main, ["finetune", *words])
    assert result.exit_code != 0 and message in result.output + str(result.exception)
