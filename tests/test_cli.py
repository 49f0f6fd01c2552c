"""The command line: refusals in one sentence, exit statuses, nothing half written."""

import errno
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import psutil
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.small_course import notebook
from textrec_utils.cli import main
from textrec_utils.core.paths import project_root
from textrec_utils.core.processes import Terminated
from textrec_utils.course import runner
from textrec_utils.course.chapters import FILLED, SECONDS, chapters, the_report
from textrec_utils.course.meanings import OWN, meaning
from textrec_utils.course.pages import is_made
from textrec_utils.datasets import DATASETS
from textrec_utils.report import methods_of
from textrec_utils.serving import load


def run(*words: str):
    return CliRunner().invoke(main, list(words))


def test_command_line_refusals(small_course):
    for arguments, message in (
        (["run", "99"], "没有章节"),
        (["run", "²"], "没有章节 ²"),
        (["run", "00", "-p", "depth", "3"], "没有参数 depth"),
        (["report", "-p", "dataset", "no-such"], "没有数据集"),
        (["report", "-p", "k", "很多"], "应是整数"),
        (["report", "-p", "k", "0"], "k 至少是 1"),
        (["report", "-p", "k", "2000"], "k 至多是物品总数 1682"),
        (["data", "no-such"], "没有数据集"),
        (["rum"], "没有命令 rum：可用的有"),
        (["--fast"], "没有选项 --fast"),
        (["run", "--jobs", "-1"], "选项 --jobs 的值不对：应是不小于0的整数；写法见 "),
        (["run", "--quick"], "没有选项 --quick；写法见 "),
        (["data"], "缺少 数据集；写法见 "),
        (["pretrain", "--out", "x"], "缺少 --corpora；写法见 "),
        (["pretrain", "--out", "x", "--corpora", "x", "-p", "depth=3"], "pretrain 没有参数 depth：可用的有 seed、"),
        (["eval-encoder", "mini-bert-zh", "-p", "depth=3"], "eval-encoder 没有参数 depth：可用的有 prefix"),
        (
            ["run", "-p", "min_value", "3"],
            "：report 有，00_first、01_next 没有；请只运行有它的，例如 textrec run report -p ",
        ),
        (
            ["run", "0", "report", "-p", "word", "x"],
            "00 有，report 没有；请只运行有它的，例如 textrec run 00 -p word x",
        ),
        (["report", "-p", "k"], "选项 -p 后面要有名字和值两个词：-p 名字 值；写法见 main report -h。"),
        (["finetune", "--device", "nosuch", "-p", "steps", "1"], "没有可用的 nosuch：--device 可以是 cpu"),
        (["pretrain", "--out", "x", "--corpora", "x", "--device", "gpu"], "没有可用的 gpu：--device 可以是 cpu"),
        (["pretrain", "--out"], "选项 --out 后面要有一个值"),
        (["doctor", "now"], "多出了 now"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2 and message in result.output, result.output
        assert result.output.startswith("错误：") and result.output.count("\n") == 1, result.output
    assert not (small_course / "build" / "notebooks").exists()


FINETUNE = [
    (["-p", "depth", "3"], "finetune 没有参数 depth：可用的有 rung"),
    (["-p", "steps", "many"], "steps 应是整数"),
    (["-p", "rung", "top"], "rung 应是 head"),
    (["-p", "metric=auc"], "不认识指标"),
    (["-p", "dataset=no-such"], "没有数据集 no-such"),
    (["--out", "x", "-p", "features", "both"], "features=encoder"),
    (["-p", "split=weekly"], "没有划分方式 weekly"),
    (["--device", "cuda"], "没有可用的 cuda"),
    (["--device", "cuda:0"], "没有可用的 cuda:0"),
]


@pytest.mark.parametrize("words, message", FINETUNE, ids=lambda value: "")
def test_finetune_refuses_before_it_trains(words, message, monkeypatch):
    monkeypatch.setattr("textrec_utils.finetuning.train_two_tower", lambda *a, **k: pytest.fail("it trained"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = run("finetune", *words)
    assert result.exit_code == 2 and result.output.startswith("错误：") and message in result.output
    assert result.output.count("\n") == 1


def test_finetune_trains_stops_early_and_saves(own_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "cache"))
    quick = {"rung": "lora", "steps": 10, "encoder_steps": 2, "users": 8, "items": 10, "hidden": 16, "dim": 8}
    quick |= {"max_length": 16, "dataset": own_folder}
    words = [word for name, value in quick.items() for word in ("-p", f"{name}={value}")]
    out = tmp_path / "tower"
    result = run("finetune", *words, "--early-stopping", "--out", str(out), "--bundle", str(tmp_path / "bundle"))
    assert result.exit_code == 0, result.output
    assert "早停：验证 ndcg@10" in result.output and "ndcg@10 = 0." in result.output
    assert (out / "modules.json").exists() and (out / "model.safetensors").exists()
    service = load(tmp_path / "bundle")  # what serves: ids, vectors, how a user comes about
    assert len(service.recommend_for("u3", 5)) == 5 and service.about["settings"]["rung"] == "lora"


@pytest.mark.parametrize("stop, status, word", [(KeyboardInterrupt, 130, "已中断"), (Terminated, 143, "已被终止")])
def test_a_stopped_training_ends_with_the_signals_status(own_folder, monkeypatch, stop, status, word):
    """A polite kill once ended `finetune` and `pretrain` with 130, as Ctrl-C does."""

    class Run:
        texts, tokenizer, step, total_steps = [], [], 7, 9

        def train(self, *_, **__):
            raise stop

    monkeypatch.setattr("textrec_utils.finetuning.train_two_tower", Run().train)
    monkeypatch.setattr("textrec_utils.pretraining.Pretraining", lambda *a, **k: Run())
    result = run("finetune", "-p", "dataset", str(own_folder))
    assert result.exit_code == status and f"{word}：训练若已开始" in result.output
    result = run("pretrain", "--corpora", "c", "--out", "o")
    assert result.exit_code == status and f"{word}：第 7 步的检查点在 o" in result.output


def test_parameters_reach_pretraining_and_the_encoders_measure(monkeypatch):
    seen = []

    def stands_in(*given, **options):
        seen.append((given, options))
        raise KeyboardInterrupt

    monkeypatch.setattr("textrec_utils.pretraining.Pretraining", stands_in)
    given = ["-p", "seed=3", "-p", "temperature", "0.1", "-p", "teacher=elsewhere"]
    run("pretrain", "--corpora", "c", "--out", "o", *given)
    (config, *_), options = seen.pop()
    assert (config.seed, config.temperature, options["teacher"]) == (3, 0.1, "elsewhere")
    assert config.teacher == "intfloat/multilingual-e5-small"  # whose run it is stays the same
    monkeypatch.setattr("textrec_utils.encoder_quality.evaluate_encoder", stands_in)
    run("eval-encoder", "mini-bert-zh", "-p", "prefix=query: ")
    assert seen.pop()[1]["prefix"] == "query: "


def test_bad_folder_is_refused_by_the_report(small_course, own_folder):
    (own_folder / "items.csv").write_text("item_id\n1\n", encoding="utf-8")
    result = run("report", "-p", "dataset", str(own_folder))
    assert result.exit_code == 2 and "缺少列 title" in result.output


def test_one_user_is_refused_before_a_kernel_starts(small_course, own_folder):
    table = pd.read_csv(own_folder / "interactions.csv")
    table[table["user_id"] == "u0"].to_csv(own_folder / "interactions.csv", index=False)
    result = run("report", "-p", "dataset", str(own_folder))
    assert result.exit_code == 2 and "只有 1 位能评测的用户" in result.output and result.output.count("\n") == 1
    assert not (small_course / "build" / "notebooks").exists()


def test_unreachable_model_is_refused_by_the_report():
    result = run("report", "-p", "model", "no-such-model")
    assert result.exit_code == 2 and "模型 no-such-model 取不到" in result.output


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to a process")
@pytest.mark.parametrize("number, status, word", [(signal.SIGINT, 130, "已中断"), (signal.SIGTERM, 143, "已被终止")])
def test_interrupted_run_leaves_no_half_file_and_an_index(small_course, number, status, word):
    """Two chapters are stopped side by side, one of them in a cell that Ctrl-C can't end; a third was done before."""
    begin = "import os; open(f'kernel-{os.getpid()}', 'w').close()"
    notebook(small_course / "notebooks" / "01_next.ipynb", begin, "import time; time.sleep(60)")
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    notebook(small_course / "notebooks" / "02_last.ipynb", begin, deaf)
    assert run("run", "0").exit_code == 0
    command = [sys.executable, "-m", "textrec_utils", "run", "0", "1", "2", "--jobs", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=project_root())
    for _ in range(600):
        kernels = list((small_course / "notebooks").glob("kernel-*"))
        if len(kernels) == 2 or process.poll() is not None:
            break
        time.sleep(0.1)
    time.sleep(0.5)  # into the second cells
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status and word in err.decode() and err.decode().count("\n") == 2, err.decode()
    assert len(kernels) == 2 and not [path for path in kernels if psutil.pid_exists(int(path.name.split("-")[1]))]
    build = small_course / "build"
    assert (build / "report" / "00_first.html").exists()
    assert 'href="00_first.html"' in (build / "report" / "index.html").read_text(encoding="utf-8")
    assert not list(build.rglob("*.part*")) and not [p for p in build.rglob("*0[12]_*") if p.suffix != ".html"]
    assert not any(is_made(build / "report" / f"{name}.html") for name in ("01_next", "02_last"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to a process")
def test_a_kernel_that_is_starting_is_stopped_without_a_word(small_course, tmp_path):
    """It once printed where in Python's own start it was."""
    slow = tmp_path / "slow"
    slow.mkdir()
    lines = ["import os, time", "if path := os.environ.get('TEXTREC_STEP'):", "    open(path + '.up', 'w').close()"]
    (slow / "sitecustomize.py").write_text("\n".join([*lines, "    time.sleep(60)"]))
    path = os.pathsep.join([str(slow), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "textrec_utils", "run", "0"]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=project_root(), env=os.environ | {"PYTHONPATH": path}, **pipes)
    for _ in range(600):
        if list((small_course / "build").rglob("*.up")) or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.decode().count("\n") == 2 and "已中断" in err.decode(), err.decode()


def test_two_runs_into_one_build_folder_wait_for_each_other(small_course):
    from filelock import FileLock

    (small_course / "build").mkdir()
    lock = FileLock(small_course / "build" / "run.lock")
    command = [sys.executable, "-m", "textrec_utils", "run", "0"]
    with lock:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=project_root())
        assert "另一个 textrec run" in process.stderr.readline().decode()
        assert not (small_course / "build" / "notebooks").exists()
    out, err = process.communicate()
    assert process.returncode == 0 and "[1/1] 00_first" in out.decode(), err.decode()


def test_what_the_memory_will_not_hold_is_told_before_a_kernel_starts(small_course, own_folder, monkeypatch):
    monkeypatch.setattr("textrec_utils.report.run.free_memory", lambda: 10)
    told = run("report", "-p", "dataset", str(own_folder)).output
    assert told.startswith("注意：EASE、EASE＋文字没有跑：30件物品要") and told.index("注意") < told.index("[1/1]")


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device", "vocab.txt")


def test_full_disk_is_one_sentence_and_keeps_the_old_page(small_course, monkeypatch):
    assert run("run", "0").exit_code == 0
    page = small_course / "build" / "report" / "00_first.html"
    before = page.read_bytes()
    monkeypatch.setattr("textrec_utils.course.pages.write_atomic", full)
    monkeypatch.setattr("textrec_utils.course.index.write_atomic", full)
    monkeypatch.setattr(runner, "write_atomic", full)
    result = run("run", "0", "--force")
    assert result.exit_code == 2 and "写不进磁盘" in result.output and "换一个 TEXTREC_BUILD" in result.output
    assert page.read_bytes() == before


@pytest.mark.parametrize("command", ["data", "report"])
def test_a_cache_that_takes_nothing_is_one_sentence(monkeypatch, small_course, mirror, command):
    (small_course / "file").write_text("")
    words = {"data": ["data", "caixin"], "report": ["report", "-p", "dataset", "caixin"]}[command]
    nowhere = [Path("/proc/nothing")] if sys.platform == "linux" else []
    for folder in (small_course / "file" / "deeper", *nowhere):
        monkeypatch.setenv("TEXTREC_CACHE", str(folder))
        result = run(*words)
        assert result.exit_code == 2 and "换一个 TEXTREC_CACHE 后再运行" in result.output, result.output
        assert result.output.count("\n") == 1 and result.output.startswith("错误：写不进磁盘（")


@pytest.mark.kernels
def test_a_disk_that_fills_within_a_cell_is_told_as_such(small_course):
    cell = "raise OSError(28, 'No space left on device', 'x')"
    notebook(small_course / "notebooks" / "00_first.ipynb", cell)
    result = run("run", "0")
    assert result.exit_code == 2 and "第 3 格（In [2]）写不进磁盘（No space left on device: 'x'）" in result.output
    assert "用 TEXTREC_CACHE 换一个文件夹" in result.output


def test_full_disk_names_what_the_command_writes_to(monkeypatch):
    monkeypatch.setattr("textrec_utils.pretraining.Pretraining", full)
    result = run("pretrain", "--corpora", "c", "--out", "o")
    assert result.exit_code == 2 and "换一个 --out 后再运行" in result.output and "TEXTREC_BUILD" not in result.output


def test_list_and_doctor():
    listed = run("list")
    assert listed.exit_code == 0 and "mini-bert-zh" in listed.output and "movielens-zh" in listed.output
    assert "03_word2vec" in listed.output and "\n    window=5  左右各看几个词，至少1\n" in listed.output
    assert "metrics_csv" not in listed.output and all(name in listed.output for name in DATASETS)
    checked = run("doctor")
    assert checked.exit_code == 0 and "一切就绪" in checked.output, checked.output
    for told in ("缓存文件夹：", "报告文件夹：", f"内核：{sys.executable}，跑得起来，画得出图", "kuairec 读得进"):
        assert told in checked.output, checked.output


def test_the_doctor_tries_everything_and_dies_of_nothing(monkeypatch, tmp_path):
    def breaks(*_, **__):
        raise RuntimeError("断了\n两行")

    for name in ("plotting.use_cjk_font", "course.runner.try_kernel", "encoder.Encoder", "datasets.load_dataset"):
        monkeypatch.setattr(f"textrec_utils.{name}", breaks)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("TEXTREC_BUILD", str(tmp_path / "file" / "build"))
    ill = run("doctor")
    sentence = ill.output.splitlines()[-1]
    assert ill.exit_code == 2 and sentence.startswith("错误：") and "Traceback" not in ill.output
    for what in ("字体：请重装 mplfonts（", "缓存文件夹：", "报告文件夹：", "内核：", "模型：", "自带的数据："):
        assert what in sentence and f"{what.partition('：')[0]}：不行" in ill.output, what
    assert "用 TEXTREC_CACHE 换一个" in sentence and "RuntimeError: 断了 两行" in sentence


def test_every_parameter_has_a_meaning():
    for chapter in [*chapters(), the_report()]:
        own = [name for name in chapter.parameters() if name not in FILLED]
        assert not [name for name in own if not meaning(chapter, name)], chapter.name
        known = OWN.get(chapter.name.partition("_")[0], {})
        assert not set(known) - set(own), chapter.name
    assert "  budget=12  训练慢的方法在验证集上至多试几组设置" in run("report", "-h").output
    assert "    window=5  左右各看几个词" in run("run", "-h").output


def test_lab_passes_its_options_on(monkeypatch):
    called = []
    monkeypatch.setattr(subprocess, "call", lambda command: called.append(command) or 0)
    assert run("lab", "--no-browser", "--port", "8889", "--ip=0.0.0.0").exit_code == 0
    assert called[0][-4:] == ["--no-browser", "--port", "8889", "--ip=0.0.0.0"] and "jupyterlab" in called[0]


def test_help_names_every_command_and_runs_without_the_heavy_libraries():
    code = "import sys; from textrec_utils.cli import main; main(['-h'], standalone_mode=False); "
    code += "assert not {'torch', 'pandas', 'papermill'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=project_root())
    text = done.stdout.decode()
    assert done.returncode == 0 and all(f"\n  {name}" in text for name in ("run", "finetune", "eval-encoder", "test"))
    told = text.partition("Commands:")[2]
    assert "doctor" in told and "..." not in told and "…" not in told  # no sentence is cut


def test_a_card_is_found_by_its_number(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("textrec_utils.pretraining.Pretraining", lambda *a, device, **k: pytest.fail(device))
    for device, said in (("cuda", "cuda"), ("cuda:1", "cuda:1")):
        with pytest.raises(pytest.fail.Exception, match=f"^{said}$"):
            run("pretrain", "--corpora", "c", "--out", "o", "--device", device)
    refused = run("pretrain", "--corpora", "c", "--out", "o", "--device", "cuda:2")
    assert refused.exit_code == 2 and "没有可用的 cuda:2：--device 可以是 cpu、cuda、cuda:0、cuda:1" in refused.output


def test_help_tells_the_settings_of_training_and_of_the_report():
    text = run("finetune", "-h").output
    assert (
        "历史怎样变成用户向量：\n  user='mean'  mean（平均）" in text and "\n  learning_rate=0.002  头的学习率" in text
    )
    assert "\n  dataset='movielens-zh'  数据集的名字或文件夹。" in text
    assert "teacher、teacher_prefix" in run("pretrain", "-h").output
    told = run("report", "-h").output
    full_profile = "、".join(method.label for method in methods_of("full"))
    assert "budget=12" in told and f"  full  完整：{full_profile}\n" in told and "metrics_csv" not in told


def test_a_plain_wheel_says_what_it_lacks(tmp_path):
    shutil.copytree(project_root() / "textrec_utils", tmp_path / "textrec_utils")
    away = {k: v for k, v in os.environ.items() if not k.startswith("TEXTREC_")} | {"PYTHONPATH": str(tmp_path)}
    for words in (["list"], ["run"], ["doctor"], ["data", "caixin"], ["list", "-h"], ["finetune", "-h"]):
        command = [sys.executable, "-m", "textrec_utils", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, env=away)
        told = done.stderr.decode()
        if "-h" in words:  # help needs neither
            assert done.returncode == 0 and "Usage:" in done.stdout.decode(), told
            continue
        assert done.returncode == 2 and "请克隆课程的仓库" in told and told.count("\n") == 1, told


# ---------------------------------------------------------------- tests that need data


def pytest_in(folder: Path, *words: str) -> str:
    """What pytest prints that runs in a folder with the course's own conftest."""
    shutil.copy(project_root() / "conftest.py", folder / "conftest.py")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "textrec_utils.course",
        "-rs",
        *words,
        str(folder),
    ]
    path = os.pathsep.join([str(project_root()), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, cwd=folder, capture_output=True, env=os.environ | {"PYTHONPATH": path})
    return done.stdout.decode() + done.stderr.decode()


def test_a_notebook_without_its_data_runs_and_is_not_compared(tmp_path):
    cell = new_code_cell("# NBVAL_CHECK_OUTPUT\nprint('no data')", execution_count=1)
    cell.outputs = [new_output("stream", text="with data\n")]
    for name, datasets in (("needs", ["movielens-zh", "no-such-data"]), ("has", ["movielens-zh"])):
        page = new_notebook(cells=[cell], metadata={"textrec": {"datasets": datasets}})
        nbformat.write(page, tmp_path / f"{name}.ipynb")
    said = pytest_in(tmp_path, "--nbval-lax", "--nbval-current-env", "-n", "1")  # as `textrec test` does
    assert re.search(r"每个笔记本用的秒数：\w+\.ipynb \d+，\w+\.ipynb \d+\n", said), said
    assert "1 failed, 1 passed" in said and "has.ipynb" in said.split("1 failed")[0], said
    assert "needs.ipynb：跑过了，输出没有比较，因为缺数据。没有数据集 no-such-data" in said


def test_what_needs_data_is_marked(tmp_path):
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), tmp_path / "free.ipynb")
    needs = new_notebook(cells=[new_code_cell("1")], metadata={"textrec": {"datasets": ["caixin"]}})
    nbformat.write(needs, tmp_path / "needs.ipynb")
    tests = (
        "import pytest\n@pytest.fixture\ndef mirror(): pass\ndef test_loader(mirror): pass\ndef test_other(): pass\n"
    )
    (tmp_path / "test_some.py").write_text(tests)
    said = pytest_in(tmp_path, "--nbval-lax", "--nbval-current-env", "-m", "needs_data", "--collect-only", "-q")
    assert "test_loader" in said and "needs.ipynb" in said, said
    assert "test_other" not in said and "free.ipynb" not in said, said


@pytest.mark.parametrize(
    "words, why, marked, books",
    [([], "", False, ["09_b", "06_c", "00_a"]), ([], "没有网络", False, ["06_c", "00_a"]),
     (["--data"], "", True, ["09_b"]), (["--fast"], "", False, [])],
)  # fmt: skip
def test_which_tests_are_run(small_course, monkeypatch, words, why, marked, books):
    """And the longest notebook first, each whole on one core; one whose data can't be had is named, with the reason."""
    calls = []

    def started(command, **_):
        calls.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", started)
    monkeypatch.setattr(importlib.import_module("textrec_utils.cli.test"), "why_not", lambda name: why)
    for name, seconds in (("09", 3000), ("06", 2000), ("00", 1000)):
        monkeypatch.setitem(SECONDS, name, seconds)
    shutil.rmtree(small_course / "notebooks")
    for name, datasets in (("00_a", []), ("09_b", ["caixin"]), ("06_c", [])):
        (small_course / "notebooks").mkdir(exist_ok=True)
        page = new_notebook(metadata={"textrec": {"datasets": datasets}})
        nbformat.write(page, small_course / "notebooks" / f"{name}.ipynb")
    done = run("test", *words)
    assert done.exit_code == 0 and ("09_b.ipynb：不检查，因为缺数据。没有网络" in done.output) == bool(why)
    assert ("needs_data" in calls[0]) == marked
    assert [Path(word).stem for call in calls for word in call if word.endswith(".ipynb")] == books
    assert not books or {"loadfile", "--no-loadscope-reorder"} <= set(calls[1])
