"""Chapters side by side: the longest first, each with its share of the processors, and one view of how far they are."""

import json
import os
import re

import pytest
from click.testing import CliRunner

from tests.small_course import notebook
from textrec_utils.cli import main
from textrec_utils.course import Outcome, jobs


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
    notebook(small_course / "notebooks" / "00_first.ipynb", "import time; time.sleep(1.5)", "1")
    lines = run("run", "0").stdout.splitlines()
    assert lines[0] == "[1/1] 00_first：开始，共 4 格"
    assert any(re.fullmatch(r"\[1/1\] 00_first：跑完 [23]/4 格，已用 \d+ 秒", line) for line in lines[1:-2]), lines
    assert re.fullmatch(r"\[1/1\] 00_first：\d+ 秒", lines[-2])
    again = run("run", "0").stdout
    assert "开始" not in again and "未变" in again


@pytest.mark.kernels
def test_the_kernel_gets_its_variables_and_this_process_keeps_its_own(small_course, monkeypatch):
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    seen = "import os; print('seed', os.environ['PYTHONHASHSEED'], os.environ['HF_HUB_DISABLE_PROGRESS_BARS'])"
    notebook(small_course / "notebooks" / "00_first.ipynb", seen)
    assert run("run", "0").exit_code == 0
    assert "seed 0 1" in (small_course / "build" / "notebooks" / "00_first.ipynb").read_text(encoding="utf-8")
    assert os.environ["PYTHONHASHSEED"] == "7" and "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ
