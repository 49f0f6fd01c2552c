"""Names that are markup, formulas, fields or commands somewhere stand everywhere as they are written."""

from __future__ import annotations

import json
import re

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from matplotlib import pyplot as plt
from matplotlib.cbook import is_math_text
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.hostile import FOLDER, NASTY, hostile_folder
from tests.small_report import made, only
from textrec_utils.cli import main
from textrec_utils.core.escape import in_markdown
from textrec_utils.course import build_index, slug_of, write_page
from textrec_utils.course.chapters import the_report, title_of
from textrec_utils.datasets import load_dataset
from textrec_utils.evaluation import metric_rows
from textrec_utils.plotting import plot_leaderboard
from textrec_utils.report import Report, advice, open_split
from textrec_utils.report.claims import gather
from textrec_utils.report.examples import pick, situations, with_lists
from textrec_utils.report.figures import cost_figure, group_figure
from textrec_utils.report.verdict import in_words
from textrec_utils.report.words import twin_words


def run(*words: str):
    return CliRunner().invoke(main, list(words))


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    with only("random", "popularity", "itemknn", "tfidf_char"):
        made_of = made(open_split(load_dataset(hostile_folder(tmp_path_factory.mktemp("data")))))
        made_of.validate()
    return made_of


def page_of(tmp_path, *outputs: str | pd.DataFrame) -> BeautifulSoup:
    """Markdown and tables as the report's page shows them."""
    kinds = {str: "text/markdown", pd.DataFrame: "text/html"}
    cells = [
        new_code_cell("1", outputs=[new_output("display_data", {kinds[type(o)]: o if type(o) is str else o.to_html()})])
        for o in outputs
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "a.ipynb")
    write_page(tmp_path / "a.ipynb", tmp_path / "a.html", "report", title_of(the_report(), {"dataset": f"/a/{FOLDER}"}))
    return BeautifulSoup((tmp_path / "a.html").read_text(encoding="utf-8"), "html.parser")


def test_the_reports_words_and_tables(report, tmp_path):
    case = gather(report)
    data, sides = report.split.dataset, case.sides
    head = f"# {in_markdown(data.name)}\n\n- 来源：{in_markdown(data.source)}\n- {in_markdown(twin_words(data))}"
    said = [head, in_words(report, case), advice.in_words(report, case)]
    tables = [report.board(), *(g.table for g in case.groups)]
    for row in pick(report, situations(report, sides)).values():
        told, lists = with_lists(report, sides, row)
        said, tables = [*said, told], [*tables, lists]
    whole = page_of(tmp_path, *said, *tables)
    shown = whole.main
    assert whole.title.text == f"报告：{FOLDER}" and shown.h1.get_text().rstrip("¶") == FOLDER
    assert not shown.select("img, b, code, em, math, script") and not shown.select("a:not(.anchor-link)")
    text = " ".join(shown.get_text(" ").split())
    assert "onerror" in text and "{2024}" in text and "US$$" in text
    categories = [cell.get_text() for cell in shown.select("td") if cell.get_text() in NASTY]
    assert sorted(set(categories)) == sorted(NASTY[:6])


def test_the_reports_figures(report):
    case = gather(report)
    axes = group_figure(case.groups, case.sides)
    labels = [label.get_text() for label in axes[-1].get_yticklabels()]
    assert {label.replace(r"\$", "$") for label in labels} == {name[:9] for name in NASTY[:6]}
    named = plot_leaderboard(report.results.values(), report.main, title=report.split.dataset.name)
    for ax in (axes[-1], cost_figure(report, case.sides), named):
        ax.figure.canvas.draw()  # a formula that isn't one raises here
    assert not any(map(is_math_text, [*labels, named.get_title()]))
    plt.close("all")


def test_the_numbers_and_the_front_page(report, small_course):
    slug = slug_of(the_report(), {"dataset": f"/a/{FOLDER}", "prefix": NASTY[2]})
    assert re.fullmatch(r"[\w.\-]+", slug)
    build = small_course / "build"
    for folder in ("state", "report/metrics"):
        (build / folder).mkdir(parents=True)
    told = metric_rows(report.results.values(), report.split, report="=1+1")
    told.to_csv(build / "report" / "metrics" / f"{slug}.csv", index=False)
    state = {"chapter": "report", "title": "t", "seconds": 1, "error": f"断了 {NASTY[2]}"}
    state["parameters"] = {"dataset": f"/a/{FOLDER}", "prefix": NASTY[2]}
    (build / "state" / f"{slug}.json").write_text(json.dumps(state), encoding="utf-8")
    index = BeautifulSoup(build_index().read_text(encoding="utf-8"), "html.parser")
    assert not index.select("img, b, script") and f"一眼看结果：{FOLDER}，" in index.text
    assert f"dataset={FOLDER}，prefix={NASTY[2]}" in index.text and f"断了 {NASTY[2]}" in index.text
    assert set(pd.read_csv(build / "report" / "metrics.csv")["report"]) == {"'=1+1"}


def test_names_of_any_length_and_script_are_names_of_files(small_course, own_folder):
    """A folder's name may take all 255 bytes; a page's name, and that of the file it is first written to, take more."""
    folder = own_folder.rename(own_folder.with_name("𠮷" * 63))
    result = run("report", "-p", "dataset", str(folder))
    assert result.exit_code == 0, result.output
    (page,) = (small_course / "build" / "report").glob("report-*.html")
    assert page.name.startswith("report-𠮷𠮷")


@pytest.mark.kernels
def test_braces_and_dollars_in_the_folders_names(small_course, monkeypatch):
    """papermill takes a brace in a path for a field of str.format: IndexError."""
    notebooks = (small_course / "notebooks").rename(small_course / "笔记{0}$x")
    monkeypatch.setenv("TEXTREC_NOTEBOOKS", str(notebooks))
    monkeypatch.setenv("TEXTREC_BUILD", str(small_course / "课程{2024}$x <b>"))
    result = run("run", "0", "-p", "k", "3")
    assert result.exit_code == 0, result.output
    assert "好 3" in (small_course / "课程{2024}$x <b>" / "report" / "00_first-k-3.html").read_text(encoding="utf-8")
    assert run("run", "0", "-p", "k", "3").output.count("未变") == 1
