"""Exercises: what every chapter's share. The answers themselves are tried in test_exercises_<chapter>.py."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.notebook_text import text_of
from textrec_utils.core.errors import DataError
from textrec_utils.exercises import check, hint, verdict
from textrec_utils.exercises.judge import REGISTER, Wrong, exercise, find, require_array, require_number, run

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "textrec_utils" / "exercises").glob("chapter_*.py"))
CHAPTERS = {path.stem.removeprefix("chapter_"): path for path in FILES}


@pytest.fixture
def doubled():
    @exercise("99-1", "先想想加法", "x + x")
    def judge(answer, factor=2):
        if run(answer, [3], shown="[3]") != [3 * factor]:
            raise Wrong("3没有变成6")

    yield
    del REGISTER["99-1"]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapters_exercises_are_judged_and_solved(chapter):
    (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    find(f"{chapter}-1")
    names = [name for name in REGISTER if name.partition("-")[0] == chapter]
    assert 4 <= len(names) <= 6
    assert all(2 <= len(REGISTER[name].hints) <= 4 for name in names)
    for where in (path, path.parent / "solutions" / path.name):
        assert re.findall(r'check\("([^"]+)"', text_of(where, "code")) == sorted(names)


def test_one_line_says_how_it_stands(capsys, doubled, monkeypatch):
    monkeypatch.setattr("textrec_utils.exercises.judge.find", REGISTER.get)
    for answer in (None, lambda x: [2 * x[0]], lambda x: x, lambda x: x.nothing, 6):
        check("99-1", answer)
    check("99-1", lambda x: [3 * x[0]], factor=3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "还没有作答" and lines[1] == lines[5] == "正确"
    assert lines[2] == '还不对：3没有变成6。要提示，运行 hint("99-1")'
    assert "AttributeError" in lines[3] and "[3]" in lines[3] and "函数" in lines[4]


def test_hints_come_in_stages_and_begin_again(capsys, doubled, monkeypatch):
    monkeypatch.setattr("textrec_utils.exercises.judge.find", REGISTER.get)
    for _ in range(3):
        hint("99-1")
    first, second, third = capsys.readouterr().out.splitlines()
    assert "1/2" in first and "再运行一次" in first and "最后一条" in second and third == first


def test_a_function_cannot_spoil_the_case_for_others():
    case = [1, 2]
    run(lambda x: x.clear(), case)
    assert case == [1, 2]


@pytest.mark.parametrize("answer", [True, "2", None, float("nan"), [2], 2.1])
def test_a_number_is_a_number(answer):
    with pytest.raises(Wrong):
        require_number(answer, 2.0, "它")


def test_numbers_and_arrays_of_any_library_pass():
    require_number(np.float32(2), 2, "它")
    require_array([[1, 2]], np.array([[1.0, 2.0]]), "它")
    for wrong in ([1, 2], [[1, 3]], "ab", [[1], [2, 3]], None):
        with pytest.raises(Wrong):
            require_array(wrong, [[1, 2]], "它")


@pytest.mark.parametrize("name", ["42-1", "01-99", "", "../x", "01"])
def test_an_unknown_exercise_is_named(name):
    with pytest.raises(DataError, match="没有练习"):
        verdict(name, 1)
