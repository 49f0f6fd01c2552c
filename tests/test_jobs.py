"""Chapters side by side: the longest first, each with its share of the processors, and one view of how far they are."""

import json
import os
import re
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from tests.small_course import notebook
from textrec_utils.cli import main
from textrec_utils.course import Outcome, find_chapter, jobs
from textrec_utils.course.runner import try_kernel


def run(*words: str):
    return CliRunner().invoke(main, list(words))


def wait_for(name: str) -> str:
    """A cell that ends when the file is there, or fails."""
    lines = ["import pathlib, time", "for _ in range(300):", f"    if pathlib.Path({name!r}).exists(): break"]
    return "\n".join([*lines, "    time.sleep(0.1)", "else: raise TimeoutError"])


@pytest.mark.kernels
def test_chapters_run_side_by_side_and_share_the_processors(small_course, monkeypatch):
    """Each of two waits for the other; the third fails and stops neither."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(jobs, "cores", lambda: 6)
    say = "import os; print('threads', os.environ.get('OMP_NUM_THREADS'), os.getcwd())"
    for name, mine, others in (("00_first", "a", "b"), ("01_next", "b", "a")):
        notebook(small_course / "notebooks" / f"{name}.ipynb", f"open({mine!r}, 'w').close()", wait_for(others), say)
    notebook(small_course / "notebooks" / "report.ipynb", "1 / 0")
    result = run("run", "--jobs", "3")
    assert result.exit_code == 2 and "report 没有跑完" in result.output, result.output
    notebooks = small_course / "notebooks"
    for name in ("00_first", "01_next"):
        assert f"threads 2 {notebooks}" in (small_course / "build" / "report" / f"{name}.html").read_text("utf-8")
    assert run("run", "0", "--force").exit_code == 0  # alone it has them all
    assert "threads None" in (small_course / "build" / "report" / "00_first.html").read_text("utf-8")


def test_the_longest_chapter_comes_first(small_course, monkeypatch):
    """By what they took the last time, else by what the course says."""
    notebook(small_course / "notebooks" / "06_long.ipynb", "1")
    state = dict(fingerprint="", title="", chapter="", parameters={}, files={}, error="", seconds=100_000)
    path = small_course / "build" / "state" / "01_next.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(state), encoding="utf-8")
    order = []
    monkeypatch.setattr(jobs, "run_notebook", lambda chapter, *_: order.append(chapter.name) or Outcome(chapter.name))
    assert run("run", "00", "01", "06", "06", "--jobs", "1").exit_code == 0
    assert order == ["01_next", "06_long", "00_first"]


def test_memory_holds_back_what_cores_could_do(small_course, monkeypatch):
    monkeypatch.setattr(jobs, "cores", lambda: 8)
    monkeypatch.setattr(jobs, "MEMORY", 1e15)
    at_once = []
    monkeypatch.setattr(
        jobs, "_run", lambda todo, n: at_once.append(n) or {job.slug: Outcome(job.slug) for job in todo}
    )
    assert run("run").exit_code == 0
    monkeypatch.setattr(jobs, "MEMORY", 1.0)
    assert run("run").exit_code == 0 and at_once == [1, 3]


@pytest.mark.kernels
def test_progress_is_told_where_no_bar_can_move(small_course, monkeypatch):
    """Output into a pipe: a line at the start, one every so often, one at the end with the seconds."""
    monkeypatch.setattr(jobs, "TELL_EVERY", 0.3)
    says = "from textrec_utils.core.progress import tell_step; tell_step('跑“EASE”'); import time; time.sleep(1.5)"
    notebook(small_course / "notebooks" / "00_first.ipynb", says, "import time; time.sleep(1)")
    lines = run("run", "0").stdout.splitlines()
    assert lines[0] == "[1/1] 00_first：开始，共 4 格"
    told = r"\[1/1\] 00_first：跑完 2/4 格，正在跑“EASE”，已用 \d+ 秒，照通常的 35 秒算，还要约 \d+ 秒"
    assert any(re.fullmatch(told, line) for line in lines[1:-2]), lines
    later = [line for line in lines if "跑完 3/4 格" in line]
    assert later and not any("EASE" in line for line in later), lines  # a step ends with its cell
    assert not list((small_course / "build").rglob("*.step"))
    assert re.fullmatch(r"\[1/1\] 00_first：\d+ 秒", lines[-2])
    again = run("run", "0").stdout
    assert "开始" not in again and "未变" in again


def test_the_time_left_is_told_by_the_last_run_and_never_below_nothing(small_course):
    path = small_course / "build" / "state" / "00_first.json"
    chapter = find_chapter("0")
    assert jobs._Job("", chapter, {}, "00_first").left(5) == "照通常的 35 秒算，还要约 30 秒"
    assert jobs._Job("", chapter, {"k": 3}, "00_first-k-3").left(5) == "默认的设置通常共用 35 秒"
    path.parent.mkdir(parents=True)
    state = dict(fingerprint="", title="", chapter="", parameters={}, files={}, error="", seconds=100)
    path.write_text(json.dumps(state), encoding="utf-8")
    job = jobs._Job("", chapter, {}, "00_first")
    assert job.left(40) == "照上次算还要约 60 秒" and job.left(140) == "上次共用 100 秒"


@pytest.mark.kernels
def test_notebooks_run_in_this_python_and_keep_their_figures(small_course, monkeypatch, tmp_path):
    """Whatever a kernelspec of the user's calls python3, and whatever MPLBACKEND says."""
    spec = {"argv": ["no-such-python", "{connection_file}"], "display_name": "other", "language": "python"}
    folder = tmp_path / "jupyter $HOME" / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(folder.parent.parent))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("TEXTREC_BUILD", str(tmp_path / "build $HOME"))
    cell = "import os, sys, matplotlib.pyplot as plt; plt.plot([1]); print(sys.executable, os.environ['TEXTREC_STEP'])"
    notebook(small_course / "notebooks" / "00_first.ipynb", cell)
    assert run("run", "0").exit_code == 0
    made = (tmp_path / "build $HOME" / "notebooks" / "00_first.ipynb").read_text(encoding="utf-8")
    assert f"{sys.executable} {tmp_path / 'build $HOME'}" in made and "image/png" in made
    assert try_kernel() == sys.executable


def test_folders_that_take_nothing_are_told_before_a_chapter_runs(small_course, monkeypatch):
    monkeypatch.setattr(jobs, "run_notebook", lambda *_: pytest.fail("it ran"))
    (small_course / "file").write_text("")
    for name in ("TEXTREC_CACHE", "TEXTREC_BUILD"):
        with monkeypatch.context() as here:
            here.setenv(name, str(small_course / "file" / "deeper"))
            refused = run("run", "0")
        assert refused.exit_code == 2 and f"用 {name} 换一个文件夹" in refused.output, refused.output
        assert "Traceback" not in refused.output and refused.output.count("\n") == 1
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**20))
    full = run("run", "0")
    assert full.exit_code == 2 and "只剩 1 MB，至少要 20 MB" in full.output


@pytest.mark.kernels
def test_the_kernel_gets_its_variables_and_this_process_keeps_its_own(small_course, monkeypatch):
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    seen = "import os; print('seed', os.environ['PYTHONHASHSEED'], os.environ['HF_HUB_DISABLE_PROGRESS_BARS'])"
    notebook(small_course / "notebooks" / "00_first.ipynb", seen)
    assert run("run", "0").exit_code == 0
    assert "seed 0 1" in (small_course / "build" / "notebooks" / "00_first.ipynb").read_text(encoding="utf-8")
    assert os.environ["PYTHONHASHSEED"] == "7" and "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ
